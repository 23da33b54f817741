"""The replay of governors, on a board worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.replaying.arrivals import Periodic, Poisson, Recorded
from edgeexit.offline.replaying.board import RailPower
from edgeexit.offline.replaying.engine import ReplayOptions, replay_governor
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.paths import trace_paths
from edgeexit.offline.traces import Trace
from edgeexit.protocols import CostTable, Decision, PointCosts, Workload
from edgeexit.registry import load_exit_rule, load_governor

SLOW, FAST = {"gpu": 100}, {"gpu": 200}
WORKLOAD = Workload((100, 100, 100), (10, 10, 0), (0, 1, 2))


def point(clocks, segment_s, power_w):
    heads = (segment_s / 10, segment_s / 10, 0.0)
    return PointCosts(
        clocks=clocks,
        idle_power_w=1.0,
        segment_latency_s=(segment_s,) * 3,
        segment_energy_j=(segment_s * power_w,) * 3,
        head_latency_s=heads,
        head_energy_j=tuple(power_w * s for s in heads),
    )


TABLE = CostTable((point(SLOW, 2.0, 3.0), point(FAST, 1.0, 8.0)), (0, 1, 2), 0.5, 4.0, "modelled")


def sample(*confidences):
    """Return logits that say class 0 with these probabilities, of two classes."""
    return [[np.log(p / (1 - p)), 0.0] for p in confidences]


TRACE = Trace(
    np.array([sample(0.95, 0.96, 0.97), sample(0.6, 0.95, 0.97), sample(0.6, 0.7, 0.8)], dtype=np.float32),
    np.array([0, 1, 0]),
)
"""With a threshold of 0.9 the samples answer at the exits 0, 1 and 2; the second one wrongly."""


class Always:
    """A governor that decides as it is told, and notes what it is asked."""

    name = "always"

    def __init__(self, decide=lambda o: Decision(FAST)):
        self._decide = decide
        self.asked = []

    def decide(self, observation):
        self.asked.append((observation.segments_done, observation.next_exit))
        return self._decide(observation)


def run(governor=None, rule=None, arrivals=None, deadline_s=10.0, table=TABLE, trace=TRACE, **options):
    rule = load_exit_rule("threshold", 3, threshold=0.9) if rule is None else rule
    defaults = {"order": np.arange(len(trace)), "streams": 1, "warm_up": 0}
    return replay_governor(
        trace_paths(rule, trace),
        table,
        WORKLOAD,
        Always() if governor is None else governor,
        arrivals=Periodic(10.0) if arrivals is None else arrivals,
        deadline_s=deadline_s,
        options=ReplayOptions(**{**defaults, **options}),
    )


def test_latency_and_energy_worked_by_hand():
    found = run()
    # a switch of 0.5 s and 4 J first; then each segment takes 1 s and 8 J, each head but the last 0.1 s and 0.8 J
    assert found.samples.latency_s.tolist() == pytest.approx([0.5 + 1.1, 2.2, 3.2])
    assert found.samples.energy_j.tolist() == pytest.approx([4 + 8.8 + 8.4, 17.6 + 7.8, 25.6 + 6.8])
    assert found.samples.exit_index.tolist() == [0, 1, 2]
    assert found.samples.looks.tolist() == [1, 2, 3]
    assert found.energy_parts_j == pytest.approx({"work": 52 / 3, "switches": 4 / 3, "idle": 23 / 3})
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.looks == 2.0
    assert found.macs_share == pytest.approx((110 + 220 + 320) / 900)
    assert found.exit_counts == (1, 1, 1)
    assert found.switches == pytest.approx(1 / 3)
    assert found.residency == {"gpu 0.0002 MHz": 1.0}
    assert found.deadline_factor == pytest.approx(10 / 3)
    assert found.source == "simulated"


def test_the_timeline_shows_every_step():
    steps = run().timeline[:5]
    assert [step.what for step in steps] == ["switch", "segment 0", "head 0", "idle", "segment 0"]
    assert [step.start_s for step in steps] == pytest.approx([0.0, 0.5, 1.5, 1.6, 10.0])
    assert [step.power_w for step in steps] == pytest.approx([8.0, 8.0, 8.0, 1.0, 8.0])
    assert steps[0].clocks == "gpu 0.0002 MHz"


def test_the_timeline_adds_up_to_the_energy():
    found = run(Always(lambda o: Decision(FAST if o.segments_done else SLOW)))
    energy_j = sum(step.power_w * (step.end_s - step.start_s) for step in found.timeline)
    assert energy_j == pytest.approx(found.samples.energy_j.sum())


def test_a_late_answer_keeps_the_next_request_waiting():
    found = run(Always(lambda o: Decision({})), arrivals=Periodic(2.0), deadline_s=3.0)
    # at the slow clock the inferences take 2.2, 4.4 and 6.4 s
    assert found.samples.latency_s.tolist() == pytest.approx([2.2, 0.2 + 4.4, 2.6 + 6.4])
    assert found.samples.energy_j.tolist() == pytest.approx([6.6, 13.2, 19.2])
    assert found.misses == 2


def test_a_deadline_that_is_just_kept_is_no_miss():
    found = run(deadline_s=3.2, order=np.array([2, 2]))
    assert found.misses == 1  # the first had to switch
    assert sum(found.latency_histogram[1]) == 2


def test_time_waited_counts_against_the_deadline():
    seen = []

    def decide(observation):
        seen.append((round(observation.now_s, 6), observation.deadline_s, observation.next_request_s))
        return Decision({})

    run(Always(decide), arrivals=Periodic(2.0), deadline_s=3.0, order=np.array([0, 0]))
    assert seen == [(0.0, 3.0, 2.0), (0.2, 3.0, 2.0)]


def test_the_load_is_the_busy_share_since_the_inference_before():
    loads = []

    def decide(observation):
        loads.append((observation.segments_done, observation.load))
        return Decision({})

    run(Always(decide), order=np.array([0, 1]))
    assert loads == [(0, None), (0, pytest.approx(0.22)), (1, None)]


def test_race_to_idle_sets_the_lowest_clocks_while_the_board_idles():
    found = run(rest_at_lowest=True, order=np.array([0, 0]))
    # switch up, work, switch down, 7.9 s idle: 4 + 8.8 + 4 + 7.9
    assert found.samples.latency_s.tolist() == pytest.approx([1.6, 1.6])
    assert found.samples.energy_j.tolist() == pytest.approx([24.7, 24.7])
    assert found.switches == 2.0


class Resting(Always):
    """Works fast, and rests as it is told."""

    def __init__(self, rest=lambda o: Decision(SLOW), decide=lambda o: Decision(FAST)):
        super().__init__(decide)
        self._rest = rest
        self.rested = []

    def rest(self, observation):
        o = observation
        self.rested.append((o.segments_done, o.next_exit, dict(o.clocks), o.exit_distribution, o.requested_s))
        return self._rest(o)


def test_a_governor_may_set_the_clocks_once_the_answer_stands():
    found = run(Resting(), order=np.array([0, 0]))
    # switch up, work, switch down, 7.9 s idle: 4 + 8.8 + 4 + 7.9
    assert found.samples.latency_s.tolist() == pytest.approx([1.6, 1.6])
    assert found.samples.energy_j.tolist() == pytest.approx([24.7, 24.7])
    assert found.samples.point.tolist() == [0, 0]
    assert found.switches == 2.0
    assert [step.what for step in found.timeline[3:5]] == ["switch", "idle"]


def test_at_rest_it_sees_what_has_run_and_is_asked_once_for_each_place():
    governor = Resting()
    run(governor, order=np.array([0, 1, 2, 0, 1, 2]))
    assert governor.rested == [(1, 1, FAST, None, 0.0), (2, 2, FAST, None, 0.0), (3, 2, FAST, None, 0.0)]


def test_what_a_decision_at_rest_says_of_exits_does_not_count():
    found = run(Resting(lambda o: Decision(SLOW, max_exit=0, next_exit=2)))
    assert found.samples.exit_index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("noise", [None, Noise(0.2)])
def test_at_rest_a_governor_that_looks_at_the_time_is_asked_for_every_time(noise):
    found = run(
        Resting(lambda o: Decision(SLOW if o.next_request_s - o.now_s >= 7.6 else {}), lambda o: Decision({})),
        order=np.tile([0, 1, 2], 30),
        start_clocks=FAST,
        noise=noise,
        streams=9,
    )
    waited_s = 10.0 - found.samples.latency_s
    fast = found.samples.point == 1
    assert (waited_s[fast] < 7.6).all()
    assert 0 < fast.sum() < 90


def test_a_request_waits_for_a_switch_at_rest():
    found = run(Resting(), arrivals=Periodic(2.0), order=np.array([0, 0, 0]))
    # up 0.5 s and work 1.1 s; down until 2.1 s: the next waits for 0.1 s, and ends at 1.7 s; then 0.2 s
    assert found.samples.latency_s.tolist() == pytest.approx([1.6, 1.7, 1.8])


def test_after_a_late_answer_the_clocks_are_not_set_at_rest():
    governor = Resting()
    found = run(governor, arrivals=Periodic(1.0), order=np.array([0, 0]))
    assert found.samples.latency_s.tolist() == pytest.approx([1.6, 0.6 + 1.1])
    assert governor.rested == []


def test_without_a_known_next_request_the_clocks_are_not_set_at_rest():
    governor = Resting()
    run(governor, arrivals=Poisson(0.1))
    run(governor, next_request_known=False)
    assert governor.rested == []


def test_racing_to_idle_does_not_ask_at_rest():
    governor = Resting(lambda o: Decision(FAST))
    assert run(governor, rest_at_lowest=True, order=np.array([0, 0])).samples.point.tolist() == [0, 0]
    assert governor.rested == []


def test_a_sample_is_cut_short_at_the_deepest_exit_allowed():
    found = run(Always(lambda o: Decision(FAST, max_exit=1)))
    assert found.samples.exit_index.tolist() == [0, 1, 1]
    assert found.samples.looks.tolist() == [1, 2, 2]
    assert found.cut_short == 1


def test_a_sample_that_is_cut_short_before_its_look_is_judged_there():
    rule = load_exit_rule("threshold", 3, threshold=[0.9, None, 0.0])
    found = run(Always(lambda o: Decision(FAST, max_exit=1)), rule=rule)
    # the rule goes from exit 0 to 2; cut to 1 it is judged there, goes on to 2 and may not
    assert found.samples.exit_index.tolist() == [0, 1, 1]
    assert found.samples.latency_s.tolist() == pytest.approx([1.6, 2.2, 2.2])


def test_a_sample_that_is_cut_short_may_go_on_later():
    allowed = {0: 0, 1: 2, 2: 2}
    rule = load_exit_rule("threshold", 3, threshold=[None, 0.9, 0.0])
    found = run(Always(lambda o: Decision(FAST, max_exit=allowed[o.segments_done])), rule=rule, order=np.array([2, 0]))
    assert found.samples.exit_index.tolist() == [2, 1]
    assert found.samples.looks.tolist() == [3, 2]


def test_a_sample_may_be_sent_on_without_a_look():
    found = run(Always(lambda o: Decision(FAST, next_exit=1)))
    assert found.samples.exit_index.tolist() == [1, 1, 2]
    assert found.samples.looks.tolist() == [1, 1, 2]
    assert (found.sent_on, found.cut_short) == (3, 0)


def test_a_governor_that_looks_at_no_time_is_asked_once_for_each_place():
    governor = Always()
    run(governor, arrivals=Poisson(0.1), order=np.tile(np.arange(3), 50))
    assert sorted(governor.asked) == [(0, 0), (0, 0), (1, 1), (2, 2)]  # the first one at the slow clock too


def test_a_governor_that_looks_at_the_time_is_asked_for_every_time():
    times = set()

    def decide(observation):
        times.add(observation.now_s)
        return Decision(SLOW if observation.now_s < 1.05 else FAST)

    run(Always(decide), noise=Noise(0.1), order=np.tile([2], 20))
    assert len(times) == 1 + 2 * 20


class Many:
    """A governor that decides by the time, for many at once."""

    name = "many"

    def decide(self, observation):
        return Decision(SLOW if observation.now_s < 2.0 else FAST)

    def decide_many(self, observation, now_s):
        return [Decision(SLOW), Decision(FAST)], (now_s >= 2.0).astype(np.int64)


class One:
    name = "one"
    decide = Many.decide


@pytest.mark.parametrize("noise", [None, Noise(0.2)])
def test_deciding_for_many_at_once_is_deciding_for_each(noise):
    options = {"order": np.tile(np.arange(3), 40), "streams": 6, "noise": noise}
    many, one = run(Many(), **options), run(One(), **options)
    assert many.samples.energy_j.tolist() == one.samples.energy_j.tolist()
    assert many.samples.latency_s.tolist() == one.samples.latency_s.tolist()


@pytest.mark.parametrize("name", ["stock", "schedutil", "deadline", "predictive-exit", "plan"])
def test_what_is_remembered_changes_nothing(name):
    """Recorded arrivals that happen to be periodic: no answer is remembered then."""
    order = np.tile(np.arange(3), 30)
    times = np.arange(200) * 4.0
    exact = run(load_governor(name), arrivals=Periodic(4.0), deadline_s=4.0, order=order, next_request_known=False)
    anew = run(load_governor(name), arrivals=Recorded(times), deadline_s=4.0, order=order)
    assert exact.samples.energy_j.tolist() == anew.samples.energy_j.tolist()
    assert exact.samples.exit_index.tolist() == anew.samples.exit_index.tolist()


def test_streams_are_independent_boards():
    order = np.repeat(np.arange(3), 4)
    alone = [run(load_governor("stock"), order=np.full(3, which)).samples.energy_j for which in range(3)]
    together = run(load_governor("stock"), order=np.tile(np.arange(3), 3), streams=3)
    assert together.samples.energy_j.reshape(3, 3).T.tolist() == [energy_j.tolist() for energy_j in alone]
    assert len(run(order=order, streams=5).samples.energy_j) == 12  # the last turn is not full


def test_rails_draw_their_busy_and_their_idle_power():
    found = run(rails={"gpu": RailPower(np.array([2.0, 5.0]), 0.25)}, order=np.array([0, 0]))
    assert found.rail_energy_j["gpu"].value == pytest.approx((5 * 1.6 + 0.25 * 8.4 + 5 * 1.1 + 0.25 * 8.9) / 2)


def test_noise_changes_latency_and_energy_alike():
    found = run(noise=Noise(0.1), order=np.full(500, 2))
    work_s = found.samples.latency_s[1:]
    assert work_s.std() > 0.0
    assert found.samples.energy_j[1:] == pytest.approx(8.0 * work_s + (10.0 - work_s))
    assert work_s.mean() == pytest.approx(3.2, rel=0.01)


def test_the_guard_covers_the_noise():
    noise = Noise(0.1)
    found = run(
        load_governor("plan"),
        noise=noise,
        guard=noise.guard,
        deadline_s=6.0,
        order=np.tile(np.arange(3), 400),
        streams=10,
    )
    assert found.misses == 0


def test_the_same_seed_gives_the_same_run():
    options = {"order": None, "streams": None, "warm_up": 10, "inferences": 300, "noise": Noise(0.1)}
    first, again = run(Many(), **options), run(Many(), **options)
    assert first == again
    assert first != run(Many(), **options, seed=1)


def test_each_sample_comes_up_equally_often():
    found = run(order=None, inferences=30)
    assert np.bincount(found.samples.sample).tolist() == [10, 10, 10]


def test_warm_up_is_not_counted():
    found = run(warm_up=1)
    assert found.switches == 0.0
    assert found.inferences == 3


def test_no_request_waits_after_the_warm_up():
    found = run(Always(lambda o: Decision({})), arrivals=Periodic(2.0), warm_up=5)
    assert found.samples.latency_s[0] == pytest.approx(2.2)


def test_clocks_before_the_first_inference_can_be_given():
    assert run(start_clocks=FAST).switches == 0.0


def test_a_frequency_between_two_operating_points_becomes_the_upper_one():
    assert run(Always(lambda o: Decision({"gpu": 150}))).samples.point.tolist() == [1, 1, 1]


def test_two_domains_switch_one_after_the_other():
    table = CostTable(
        tuple(replace(each, clocks={"cpu": cpu, **each.clocks}) for cpu in (10, 20) for each in TABLE.points),
        (0, 1, 2), 0.5, 4.0, "modelled",
    )  # fmt: skip
    found = run(Always(lambda o: Decision({"cpu": 20, "gpu": 200})), table=table)
    assert found.samples.latency_s[0] == pytest.approx(1.0 + 1.1)
    assert found.switches == pytest.approx(2 / 3)


def test_without_a_deadline_nothing_is_late():
    found = run(deadline_s=None)
    assert (found.deadline_factor, found.misses) == (None, 0)


def test_a_clock_that_the_board_does_not_have_is_refused():
    with pytest.raises(DataError, match="clock 'npu'; the board has gpu"):
        run(Always(lambda o: Decision({"npu": 1})))


def test_a_table_without_energy_is_refused():
    table = replace(TABLE, points=tuple(replace(each, segment_energy_j=None) for each in TABLE.points))
    with pytest.raises(OptionError, match="energy figures"):
        run(table=table)


@pytest.mark.parametrize(
    "options",
    [
        {"guard": 0.5},
        {"inferences": 0, "order": None},
        {"streams": 0},
        {"warm_up": -1},
        {"order": np.array([], dtype=int)},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(OptionError):
        run(**options)


def test_an_order_beyond_the_trace_is_refused():
    with pytest.raises(DataError, match="indices of the 3 samples"):
        run(order=np.array([3]))


def test_a_table_of_another_network_is_refused():
    table = replace(
        TABLE,
        exit_segments=(1, 2),
        points=tuple(
            replace(p, head_latency_s=p.head_latency_s[1:], head_energy_j=p.head_energy_j[1:]) for p in TABLE.points
        ),
    )
    with pytest.raises(DataError, match="the trace has 3"):
        run(table=table)
