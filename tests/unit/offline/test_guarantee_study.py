"""The study counts violations over random splits: seldom for Learn-then-Test, often for the greedy picker."""

import numpy as np
import pytest

from edgeexit.offline.guarantee.paths import Bound
from edgeexit.offline.guarantee.study import GREEDY, LTT, PoolOutcomes, certified_step, greedy_step, study, study_text

BOUND = Bound(2.0, 0.9, "labels")


def pool(*lost_share, samples=6000, seed=0):
    """Return outcomes of settings that lose these shares of the samples, each those of the one before and more."""
    luck = np.random.default_rng(seed).permutation(samples) / samples
    lost = np.stack([luck < share for share in lost_share], axis=1).astype(np.int64)
    cost = np.tile(np.linspace(0.9, 0.1, len(lost_share)), (samples, 1))
    return PoolOutcomes(lost, np.zeros_like(lost), cost)


FINE = pool(*np.linspace(0.0, 0.04, 41))


def test_learn_then_test_breaks_the_bound_no_more_often_than_it_says():
    careful, greedy = study(FINE, BOUND, 500, splits=150)
    assert (careful.way, greedy.way) == (LTT, GREEDY)
    assert careful.population <= 0.1
    assert greedy.population > 0.2
    assert careful.macs_share > greedy.macs_share


def test_a_setting_that_nobody_can_tell_apart_is_not_certified():
    careful, greedy = study(pool(0.019), BOUND, 300, splits=40)
    assert careful.none > 0.8
    assert careful.macs_share > 0.8
    assert greedy.none < 0.8


def test_the_same_seed_gives_the_same_figures():
    assert study(FINE, BOUND, 300, splits=10, seed=4) == study(FINE, BOUND, 300, splits=10, seed=4)


def test_testing_stops_at_the_first_failure():
    outcomes = pool(0.0, 0.03, 0.0)
    everything = np.arange(6000)
    assert certified_step(outcomes, everything, BOUND) == 0
    assert greedy_step(outcomes, everything, BOUND) == 2


def test_no_step_may_be_good_enough():
    assert certified_step(pool(0.5), np.arange(6000), BOUND) == -1
    assert greedy_step(pool(0.5), np.arange(6000), BOUND) == -1


def test_the_table_has_a_line_for_each_row():
    rows = study(FINE, BOUND, 300, splits=5)
    lines = study_text(rows).splitlines()
    assert len(lines) == 4
    assert "Learn-then-Test" in lines[2]
    assert "greedy" in lines[3]


def test_drops_of_the_pool_are_losses_less_gains():
    outcomes = PoolOutcomes(np.ones((10, 1), np.int64), np.array([[1]] * 4 + [[0]] * 6), np.ones((10, 1)))
    assert outcomes.drops == pytest.approx([0.6])
