"""The live session on the simulated board and the replay agree, sample by sample."""

from itertools import pairwise

import numpy as np
import pytest
from tiny_bundle import make_bundle, network_input

from edgeexit.device import load_profile
from edgeexit.device.costs import CostModel, reference_scale
from edgeexit.device.simulated import SimulatedDevice
from edgeexit.offline.record import record_trace
from edgeexit.offline.replaying.arrivals import Periodic
from edgeexit.offline.replaying.engine import ReplayOptions, replay_governor
from edgeexit.offline.replaying.paths import trace_paths
from edgeexit.registry import load_governor
from edgeexit.runtime import Session

ORDER = np.array([0, 7, 3, 8, 1, 1, 6, 4, 2, 7, 5, 0, 6, 8, 3, 7, 2, 6, 1, 4])
GOVERNORS = ["performance", "stock", "deadline", "predictive-exit", "plan"]
RULES = ["threshold", "check-and-cap", "predictive-exit", "last"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def trace(bundle):
    return record_trace(bundle, network_input(), np.arange(9) % 3)


class Live:
    """A run of a session: what each inference came to, energy up to the begin of the next.

    With `by_rate` it is told of the period by its frame rate, without by each request.
    """

    def __init__(self, bundle, profile, governor, rule, deadline_s, period_s, anytime, by_rate):
        self.results, self.latency_s, self.energy_j, self.clocks = [], [], [], []
        device = SimulatedDevice(profile, work_scale=reference_scale(profile, bundle.workload))
        settings = {"exit_rule": rule, "anytime": anytime, "frame_rate_hz": 1.0 / period_s if by_rate else None}
        with Session(bundle, device, load_governor(governor), **settings) as session:
            self.rule = session.rule
            request_s = 0.0
            for sample in ORDER:
                before_j = device.meter.read_energy_j()
                waited_s = device.clock.now_s() - request_s
                result = session.infer(
                    network_input()[sample : sample + 1],
                    latency_budget_s=max(deadline_s - waited_s, 1e-9),
                    next_request_in_s=None if by_rate else max(period_s - waited_s, 1e-9),
                )
                self.results.append(result)
                self.latency_s.append(waited_s + result.latency_s)
                self.clocks.append({name: domain.read_hz() for name, domain in device.domains.items()})
                request_s += period_s
                device.clock.sleep_s(request_s - device.clock.now_s())
                self.energy_j.append(device.meter.read_energy_j() - before_j)


def assert_agree(bundle, trace, governor, rule, *, factor, period_factor, anytime=False, floor_exit=2, by_rate=False):
    profile = load_profile("jetson-tx2")
    table = CostModel(profile, work_scale=reference_scale(profile, bundle.workload)).cost_table(bundle.workload)
    deadline_s = factor * table.work(len(table.points) - 1, 0, 2).latency_s
    period_s = period_factor * deadline_s
    live = Live(bundle, profile, governor, rule, deadline_s, period_s, anytime, by_rate)
    run = replay_governor(
        trace_paths(live.rule, trace),
        table,
        bundle.workload,
        load_governor(governor),
        arrivals=Periodic(period_s),
        deadline_s=deadline_s,
        options=ReplayOptions(order=ORDER, streams=1, warm_up=0, floor_exit=floor_exit, looked_share=1.0),
    )
    found = run.samples
    assert found.exit_index.tolist() == [result.exit_index for result in live.results]
    assert trace.label[ORDER, found.exit_index].tolist() == [result.label for result in live.results]
    assert found.looks.tolist() == [len(result.exits_looked_at) for result in live.results]
    assert found.latency_s == pytest.approx(live.latency_s)
    assert found.energy_j == pytest.approx(live.energy_j)
    assert [table.points[point].clocks for point in found.point] == live.clocks
    return run


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("governor", GOVERNORS)
@pytest.mark.parametrize("factor", [1.0, 1.5, 4.0])
def test_label_exit_looks_latency_energy_and_clocks_are_those_of_the_session(bundle, trace, rule, governor, factor):
    assert_agree(bundle, trace, governor, rule, factor=factor, period_factor=1.0)


@pytest.mark.parametrize("governor", GOVERNORS)
def test_they_agree_where_the_next_request_comes_long_after_the_deadline(bundle, trace, governor):
    assert_agree(bundle, trace, governor, "threshold", factor=1.25, period_factor=2.0)


def test_they_agree_where_late_answers_keep_the_next_requests_waiting(bundle, trace):
    run = assert_agree(bundle, trace, "predictive-exit", "threshold", factor=1.0, period_factor=1.0)
    assert run.misses > 0


@pytest.mark.parametrize("rule", ["threshold", "predictive-exit"])
def test_they_agree_where_the_governor_cuts_samples_short(bundle, trace, rule):
    run = assert_agree(bundle, trace, "plan", rule, factor=0.9, period_factor=1.0, anytime=True, floor_exit=0)
    assert run.cut_short > 0


def changes_at_rest(run):
    return sum((a.what, b.what) == ("switch", "idle") for a, b in pairwise(run.timeline))


@pytest.mark.parametrize("by_rate", [False, True])
@pytest.mark.parametrize("period_factor", [1.0, 1.3])
def test_they_agree_where_the_governor_sets_the_clocks_between_inferences(bundle, trace, period_factor, by_rate):
    """From the lowest clock only the highest is in time; a lower one is set once the first answer stands."""
    run = assert_agree(bundle, trace, "plan", "last", factor=1.1, period_factor=period_factor, by_rate=by_rate)
    assert changes_at_rest(run) == 1
    assert run.misses == 0


@pytest.mark.parametrize("rule", ["threshold", "check-and-cap"])
@pytest.mark.parametrize("factor", [1.45, 2.0])
def test_they_agree_where_rules_stop_early_and_the_clocks_are_set_between(bundle, trace, rule, factor):
    run = assert_agree(bundle, trace, "plan", rule, factor=factor, period_factor=1.5, by_rate=True)
    assert run.misses == 0
