"""The contract check for governors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace

import numpy as np

from edgeexit.protocols import (
    CostTable,
    DecidesMany,
    Decision,
    Governor,
    Observation,
    PreparesAhead,
    SetsClocksAtRest,
)
from edgeexit.testing.observations import sample_observations

LATER_S = (0.013, 0.05, 1.0)
"""How much later than an observation a governor is asked the same once more where it can decide for many times."""


Ask = Callable[[Observation], Decision]


def check_governor(governor: Governor, observations: Iterable[Observation] | None = None) -> None:
    """Check that a governor keeps the contract of `edgeexit.protocols.Governor`.

    It is asked with many observations, twice and in two orders. Each decision has to name allowed frequencies of known
    clock domains only, and an exit that exists and does not lie before the floor, and must depend on nothing but the
    observation, which stays as it was. If it has `decide_many`, that must set the same clocks and the same exits as
    `decide` does at each time; if it has `rest`, that may set allowed frequencies only, too, and must be as pure; if
    it has `prepare`, the same decisions must come from it prepared.

    Args:
        governor: The governor, made with any options.
        observations: What to ask it; by default `edgeexit.testing.observations.sample_observations`.

    Raises:
        AssertionError: If it breaks the contract; the message holds the observation.
    """
    if not isinstance(governor, Governor):
        raise AssertionError(f"{governor!r} has no name or no decide()")
    if not isinstance(governor.name, str) or not governor.name:
        raise AssertionError(f"a governor's name is a text, not {governor.name!r}")
    asked = list(sample_observations() if observations is None else observations)
    prepared = deepcopy(governor) if isinstance(governor, PreparesAhead) else None
    copies = _Copies()
    first, at_rest, rests = [], [], []
    for observation in asked:
        first.append(_first_decision("decide()", governor.decide, observation, copies))
        if isinstance(governor, DecidesMany):
            _check_many(governor, governor, observation, first[-1])
        if isinstance(governor, SetsClocksAtRest) and observation.next_request_s is not None:
            at_rest.append(_at_rest(observation))
            rests.append(_first_decision("rest()", governor.rest, at_rest[-1], copies))
    _check_again("decide()", governor.decide, asked, first, "is not pure")
    if isinstance(governor, SetsClocksAtRest):
        _check_again("rest()", governor.rest, at_rest, rests, "is not pure")
    if prepared is not None:
        _check_prepared(prepared, asked, first)
        if isinstance(prepared, SetsClocksAtRest):
            _check_again("rest()", prepared.rest, at_rest, rests, "is another once it is prepared")


class _Copies:
    """Copies of observations, for telling later whether they were changed; each cost table is copied once."""

    def __init__(self) -> None:
        self._tables: dict[int, CostTable | None] = {}

    def make(self, observation: Observation) -> Observation:
        table = observation.cost_table
        if id(table) not in self._tables:
            self._tables[id(table)] = deepcopy(table)
        return deepcopy(observation, {id(table): self._tables[id(table)]})


def _first_decision(what: str, ask: Ask, observation: Observation, copies: _Copies) -> Decision:
    before = copies.make(observation)
    decision = ask(observation)
    if observation != before:
        raise AssertionError(f"{what} changed its observation: {before}")
    _check_decision(what, decision, observation)
    return replace(decision, clocks=dict(decision.clocks))


def _check_again(what: str, ask: Ask, asked: list[Observation], first: list[Decision], otherwise: str) -> None:
    """Check that the same is decided in the other order."""
    for observation, decision in zip(reversed(asked), reversed(first), strict=True):
        again = ask(observation)
        if again != decision:
            raise AssertionError(f"{what} {otherwise}: {decision}, then {again}, for {observation}")


def _at_rest(observation: Observation) -> Observation:
    """Return the observation once the exit that it is about has answered."""
    o, table = observation, observation.cost_table
    return replace(
        o,
        segments_done=o.segments_done + 1 if table is None else table.exit_segments[o.next_exit] + 1,
        next_exit=min(o.next_exit + 1, o.exit_count - 1),
        exit_distribution=None,
        load=None,
    )


def _check_decision(what: str, decision: Decision, observation: Observation) -> None:
    if not isinstance(decision, Decision):
        raise AssertionError(f"{what} returned {decision!r}, not a Decision")
    if not isinstance(decision.reason, str):
        raise AssertionError(f"the reason is no text: {decision.reason!r}")
    for name, frequency_hz in decision.clocks.items():
        if frequency_hz not in observation.operating_points.get(name, ()):
            raise AssertionError(f"{name} at {frequency_hz} Hz is not allowed; decided for {observation}")
    deepest, floor = decision.max_exit, observation.floor_exit
    if deepest is not None and not 0 <= deepest < observation.exit_count:
        raise AssertionError(f"max_exit {deepest} does not exist; decided for {observation}")
    if deepest is not None and deepest < floor:
        raise AssertionError(f"max_exit {deepest} lies before the floor, exit {floor}; decided for {observation}")
    if decision.next_exit is not None and not 0 <= decision.next_exit < observation.exit_count:
        raise AssertionError(f"next_exit {decision.next_exit} does not exist; decided for {observation}")


def _check_many(governor: Governor, many: DecidesMany, observation: Observation, first: Decision) -> None:
    """Check that deciding for many times gives what deciding one by one does; the reasons may be others."""
    later = [replace(observation, now_s=observation.now_s + later_s) for later_s in LATER_S]
    times_s = [observation.now_s, *(each.now_s for each in later)]
    each_alone = [first, *map(governor.decide, later)]
    decisions, which = many.decide_many(observation, np.array(times_s))
    if len(which) != len(times_s):
        raise AssertionError(f"decide_many() answers for {len(which)} of {len(times_s)} times, for {observation}")
    for now_s, index, alone in zip(times_s, which, each_alone, strict=True):
        at_once = decisions[index]
        if replace(at_once, reason="") != replace(alone, reason=""):
            raise AssertionError(
                f"decide_many() is not decide() at {now_s} s: {at_once}, but {alone}, for {observation}"
            )


def _check_prepared(prepared: PreparesAhead, asked: list[Observation], first: list[Decision]) -> None:
    """Check that a governor that is prepared for each observation decides as it did unprepared."""
    assert isinstance(prepared, Governor)
    known = set()
    for observation, decision in zip(asked, first, strict=True):
        table, points = observation.cost_table, observation.operating_points
        key = id(table), tuple(points.items()), observation.looks_at_every_exit
        if table is not None and key not in known:
            prepared.prepare(table, points, observation.looks_at_every_exit)
            known.add(key)
        now = prepared.decide(observation)
        if now != decision:
            raise AssertionError(f"prepare() changes decisions: {decision}, then {now}, for {observation}")
