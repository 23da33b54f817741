"""Whatever clients do, in whatever order: one holds the clocks at most, and what nobody holds is as it was."""

import tempfile
from pathlib import Path

from clockd_machine import CPU_POINTS, GPU_POINTS, Desk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

CLIENTS = st.integers(0, 2)
CLOCKS = st.dictionaries(
    st.sampled_from(["cpu", "gpu", "npu"]), st.sampled_from([*CPU_POINTS, *GPU_POINTS, 1, 9_000_000_000]), max_size=3
)


class ThreeClients(RuleBasedStateMachine):
    """Three clients do as they like."""

    @initialize()
    def begin(self):
        self._scratch = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self._scratch.name))
        self.before = self.desk.settings()
        self.clients = [self.desk.visitor() for _ in range(3)]
        self.holder = None

    def teardown(self):
        self.desk.close()
        self._scratch.cleanup()

    @rule(client=CLIENTS, clocks=CLOCKS)
    def set(self, client, clocks):
        answer = self.desk.ask(self.clients[client], op="set", clocks=clocks)
        points = {"cpu": CPU_POINTS, "gpu": GPU_POINTS}
        fits = all(hz in range(points[name][0], points[name][-1] + 1) for name, hz in clocks.items() if name in points)
        may = bool(clocks) and clocks.keys() <= points.keys() and fits and self.holder in (None, client)
        assert answer["ok"] == may
        if may:
            self.holder = client
            assert self.desk.ask(self.clients[client], op="read")["clocks"].items() >= answer["applied"].items()

    @rule(client=CLIENTS)
    def release(self, client):
        assert self.desk.ask(self.clients[client], op="release")["ok"]
        self.holder = None if self.holder == client else self.holder

    @rule(client=CLIENTS)
    def go_and_come_back(self, client):
        self.desk.handler.leave(self.clients[client], "has gone")
        self.clients[client] = self.desk.visitor()
        self.holder = None if self.holder == client else self.holder

    @rule(client=CLIENTS)
    def say_that_it_is_alive(self, client):
        assert self.desk.ask(self.clients[client], op="alive")["holds"] == (self.holder == client)

    @rule(client=CLIENTS, data=st.binary(max_size=60))
    def babble(self, client, data):
        settings_before = self.desk.settings()
        assert not self.desk.send(self.clients[client], data)["ok"]
        assert self.desk.settings() == settings_before

    @invariant()
    @precondition(lambda self: self.holder is None)
    def what_nobody_holds_is_as_it_was(self):
        assert self.desk.settings() == self.before


TestThreeClients = ThreeClients.TestCase
TestThreeClients.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
