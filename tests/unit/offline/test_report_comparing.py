from dataclasses import replace

import numpy as np
import pytest
from replay_results import run

from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.replaying.results import SampleArrays
from edgeexit.offline.reporting.comparing import (
    Answer,
    accuracy_gain,
    best,
    energy_saving,
    is_less_accurate,
    judge,
    objection,
    saving,
)


def test_a_saving_is_a_part_of_what_the_other_takes():
    exact = Estimate(75.0, 75.0, 75.0), Estimate(100.0, 100.0, 100.0)
    assert energy_saving(*exact) == Estimate(0.25, 0.25, 0.25)


def test_the_interval_of_a_saving_adds_both_sides_as_squares():
    found = energy_saving(Estimate(60.0, 58.2, 61.8), Estimate(100.0, 96.0, 104.0))  # 3 % and 4 %: 5 % of 0.6
    assert (found.value, found.low, found.high) == pytest.approx((0.4, 0.37, 0.43))


def test_nothing_is_said_of_a_saving_of_no_energy():
    assert energy_saving(Estimate(1.0, 1.0, 1.0), Estimate(0.0, 0.0, 0.0)).low == -float("inf")


def test_the_interval_of_a_difference_in_accuracy_adds_both_sides_as_squares():
    found = accuracy_gain(run(accuracy=0.92, half=0.03), run(accuracy=0.90, half=0.04))
    assert (found.value, found.low, found.high) == pytest.approx((0.02, -0.03, 0.07))


def test_the_same_accuracy_differs_by_nothing():
    assert accuracy_gain(run(), run()) == Estimate(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("accuracy", "less"), [(0.88, True), (0.89, False), (0.92, False)])
def test_a_run_is_less_accurate_if_intervals_say_so(accuracy, less):
    assert is_less_accurate(run(accuracy=accuracy, half=0.01), run(accuracy=0.90, half=0.01)) is less


@pytest.mark.parametrize(
    ("energy_mj", "answer"),
    [(90.0, Answer.YES), (98.0, Answer.HARDLY), (99.5, Answer.NO), (120.0, Answer.NO)],
)
def test_what_is_saved_decides(energy_mj, answer):
    assert judge(run(energy_mj=energy_mj), run(energy_mj=100.0)) is answer


def test_a_saving_that_may_be_chance_is_hardly_worth_it():
    assert judge(run(energy_j=Estimate(0.09, 0.07, 0.11)), run(energy_mj=100.0)) is Answer.HARDLY


def test_what_is_late_more_often_is_not_worth_it():
    assert judge(run(energy_mj=50.0, misses=1), run(energy_mj=100.0)) is Answer.NO


def test_what_costs_accuracy_is_hardly_worth_it():
    assert judge(run(energy_mj=50.0, accuracy=0.8), run(energy_mj=100.0)) is Answer.HARDLY


def test_a_late_answer_weighs_as_much_as_a_wrong_one():
    in_time, late = run(energy_mj=50.0, accuracy=0.85), run(energy_mj=100.0, accuracy=0.9, misses=80)
    assert judge(in_time, late) is Answer.YES
    assert judge(in_time, run(energy_mj=100.0, accuracy=0.9, misses=20)) is Answer.HARDLY


def test_what_speaks_against_a_run_is_said():
    plain = run()
    assert objection(run(misses=1), plain) == "but late more often"
    assert objection(run(accuracy=0.8), plain) == "but less accurate"
    assert objection(run(), plain) == ""


def test_a_run_in_time_is_preferred_to_an_accurate_one_that_is_late():
    late, worse = run(energy_mj=10.0, misses=1), run(energy_mj=20.0, accuracy=0.7)
    assert best([late, worse], as_accurate_as=run()) is worse


def test_the_best_run_is_late_least_often_and_then_the_cheapest():
    late, dear, cheap = run(energy_mj=10.0, misses=1), run(energy_mj=30.0), run(energy_mj=20.0)
    assert best([late, dear, cheap]) is cheap


def test_the_best_run_is_as_accurate_as_another_if_any_is():
    worse, good = run(energy_mj=10.0, accuracy=0.7), run(energy_mj=20.0)
    assert best([worse, good], as_accurate_as=run()) is good
    assert best([worse], as_accurate_as=run()) is worse


def test_there_is_no_best_of_none():
    assert best([]) is None


def with_samples(made, energies_j, correct, sample=(0, 1, 2, 3)):
    count = len(sample)
    filler = np.zeros(count, dtype=np.int64)
    arrays = SampleArrays(
        np.array(sample), filler, filler, np.array(correct, dtype=bool), np.zeros(count), np.array(energies_j), filler
    )
    mean_j = float(np.mean(energies_j))
    return replace(made, samples=arrays, energy_j=Estimate(mean_j, 0.5 * mean_j, 1.5 * mean_j))


def test_runs_that_hold_their_samples_are_compared_sample_by_sample():
    one = with_samples(run(), [1.0, 2.0, 3.0, 4.0], [1, 1, 1, 0])
    other = with_samples(run(), [2.0, 4.0, 6.0, 8.0], [1, 1, 1, 0])
    found = saving(one, other)  # exactly half in every sample, however much they differ among themselves
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert accuracy_gain(one, other) == Estimate(0.0, 0.0, 0.0)


def test_the_interval_of_a_paired_difference_is_that_of_its_mean():
    one, other = with_samples(run(), [1.0] * 4, [1, 1, 1, 1]), with_samples(run(), [1.0] * 4, [1, 1, 0, 0])
    found = accuracy_gain(one, other)  # gains 0, 0, 1, 1: the standard error is sqrt(4 * 0.25) / 4
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - 1.959964 / 4, 0.5 + 1.959964 / 4))


def test_runs_of_other_samples_are_not_paired():
    one = with_samples(run(), [1.0, 2.0, 3.0, 4.0], [1, 1, 1, 0])
    other = with_samples(run(), [2.0, 4.0, 6.0, 8.0], [1, 1, 1, 0], sample=(3, 2, 1, 0))
    assert saving(one, other).low < 0.2
