"""Who goes first, who is refused, and who runs together; a job takes 1 s and at least 0.5 s if it says nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.engine import graded
from edgeexit.daemon.jobs import Arrivals, Job, RunningMean
from edgeexit.daemon.line import LEAST_S, Line
from edgeexit.errors import Refused

SLOT = SimpleNamespace(served=SimpleNamespace(max_batch=1))
BATCHING = SimpleNamespace(served=SimpleNamespace(max_batch=4))


def job(number, due_s=None, *, priority=0, slot=SLOT, samples=1, expected_s=1.0, least_s=0.5, spread_s=0.0, **options):
    return Job(
        slot,
        {"image": np.zeros((samples, 3), np.float32)},
        samples,
        InferOptions(priority=priority, latency_budget_s=due_s, **options),
        0.0,
        due_s,
        number,
        lambda *_: None,
        expected_s=expected_s,
        least_s=least_s,
        spread_s=spread_s,
    )


def line_of(*jobs, limit=8):
    line = Line(limit)
    for each in jobs:
        line.join(each, 0.0, 0.0)
    return line


def order(line):
    numbers = []
    while len(line):
        numbers.append(line.next(0.0).jobs[0].number)
    return numbers


def test_without_deadlines_who_came_first_goes_first():
    assert order(line_of(job(0), job(1), job(2))) == [0, 1, 2]


def test_the_earliest_deadline_goes_first_and_no_deadline_last():
    assert order(line_of(job(0), job(1, 9.0), job(2, 5.0))) == [2, 1, 0]


def test_a_higher_priority_goes_before_an_earlier_deadline():
    assert order(line_of(job(0, 3.0), job(1, 9.0, priority=1), job(2, priority=-1))) == [1, 0, 2]


def test_one_too_many_is_refused_and_told_when_the_engine_is_free():
    line = line_of(job(0), job(1), limit=2)
    with pytest.raises(Refused, match="queue is full: 2") as refusal:
        line.join(job(2), 0.0, 3.0)
    assert refusal.value.retry_after_s == 5.0
    assert len(line) == 2


def test_what_an_idle_engine_could_not_do_in_time_is_refused_for_good():
    with pytest.raises(Refused, match="at least 500 ms, and is due in 400 ms") as refusal:
        line_of(job(0, 0.4))
    assert refusal.value.retry_after_s is None


def test_what_the_queue_makes_late_is_refused_for_now():
    line = line_of(job(0, 1.0), job(1, 2.0))
    with pytest.raises(Refused, match="due in 2400 ms, the engine is taken for 2000 ms, and") as refusal:
        line.join(job(2, 2.4), 0.0, 0.0)
    assert refusal.value.retry_after_s == 2.0


def test_what_just_fits_behind_the_others_is_taken():
    line = line_of(job(0, 1.0), job(1, 2.0))
    line.join(job(2, 2.5), 0.0, 0.0)
    assert len(line) == 3


def test_times_that_vary_need_room_for_chance():
    line = line_of(job(0, 1.5, spread_s=0.3))
    with pytest.raises(Refused, match="cannot be in time"):
        line.join(job(1, 2.4, spread_s=0.4), 0.0, 0.0)  # 1.0 + 0.5 + 2 * sqrt(0.3^2 + 0.4^2)
    line.join(job(2, 2.6, spread_s=0.4), 0.0, 0.0)
    assert len(line) == 2


def test_whom_nobody_precedes_is_taken_though_chance_may_make_it_late():
    assert order(line_of(job(0, 0.6, spread_s=0.4))) == [0]


def test_the_work_under_way_counts():
    line = Line(8)
    with pytest.raises(Refused):
        line.join(job(0, 1.0), 0.0, 0.6)


def test_nobody_may_make_late_whom_the_line_has_accepted():
    line = line_of(job(0, 1.4))
    with pytest.raises(Refused, match="accepted before"):
        line.join(job(1, 1.2), 0.0, 0.0)
    assert order(line) == [0]


def test_who_is_late_anyway_keeps_nobody_out():
    line = line_of(job(0, 1.4))
    line.join(job(1, 1.2 + 5.0), 5.0, 5.0)
    assert len(line) == 2


def test_a_job_that_left_does_not_come_up():
    first, second = job(0), job(1)
    line = line_of(first, second)
    assert line.leave(first)
    assert not line.leave(first)
    assert order(line) == [1]


def test_jobs_of_one_bundle_run_together_up_to_its_limit():
    line = line_of(*(job(number, slot=BATCHING) for number in range(5)))
    assert [each.number for each in line.next(0.0).jobs] == [0, 1, 2, 3]
    assert [each.number for each in line.next(0.0).jobs] == [4]


def test_a_job_of_several_samples_counts_as_many():
    line = line_of(job(0, slot=BATCHING, samples=3), job(1, slot=BATCHING, samples=2))
    assert [each.number for each in line.next(0.0).jobs] == [0]


@pytest.mark.parametrize(
    "other",
    [
        job(1, slot=SimpleNamespace(served=SimpleNamespace(max_batch=4))),
        job(1, slot=BATCHING, exit_rule="margin"),
        job(1, slot=BATCHING, allowed_drop=1.0),
        job(1, slot=BATCHING, energy_budget_j=1.0),
    ],
    ids=["another bundle", "another rule", "another drop", "a budget of its own"],
)
def test_what_differs_does_not_run_together(other):
    line = line_of(job(0, slot=BATCHING), other)
    assert [each.number for each in line.next(0.0).jobs] == [0]


def test_with_nobody_waiting_nobody_hurries():
    assert line_of(job(0)).next(0.0).wanted_in_s is None


def test_the_engine_is_wanted_when_the_next_would_just_be_in_time():
    line = line_of(job(0, 2.0), job(1, 4.0))
    assert line.next(0.5).wanted_in_s == 4.0 - 0.5 - 1.0


def test_one_without_a_deadline_wants_the_engine_at_once():
    assert line_of(job(0), job(1)).next(0.0).wanted_in_s == LEAST_S


def test_a_mean_takes_its_first_figures_alike_and_the_later_ones_by_a_tenth():
    mean = RunningMean()
    assert mean.value is None
    for figure in (1.0, 3.0):
        mean.add(figure)
    assert mean.value == 2.0
    for _ in range(8):
        mean.add(2.0)
    mean.add(12.0)
    assert mean.value == pytest.approx(3.0)


def test_the_spread_is_how_far_figures_are_from_the_mean_before_them():
    mean = RunningMean()
    for figure in (1.0, 3.0):
        mean.add(figure)
    assert mean.spread == 1.0  # half of |3 - 1|, as the first figure was off by nothing


def test_the_next_request_is_expected_a_mean_gap_after_the_last():
    arrivals = Arrivals()
    arrivals.came(0.0)
    assert arrivals.next_in_s(0.0) is None
    arrivals.came(2.0)
    assert arrivals.next_in_s(2.5) == 1.5
    assert arrivals.next_in_s(4.0) is None


@pytest.mark.parametrize(
    ("duration_s", "steps", "expected_s"), [(1.0, 8, 1.0), (1.5, 1, 1.0), (0.3, 2, 0.25), (3.0, 2, 2 * 2**0.5)]
)
def test_times_are_told_apart_by_parts_of_an_octave(duration_s, steps, expected_s):
    assert graded(duration_s, steps) == pytest.approx(expected_s, rel=1e-12)
