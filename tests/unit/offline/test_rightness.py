import numpy as np
import pytest
from synthetic_traces import make_trace

from edgeexit.offline.rightness import combine_logs, estimate_rightness, fit_weights, log_probabilities, weigh_truth
from edgeexit.offline.traces import Trace

TRACE = make_trace(samples=4000, exits=4)


def test_the_estimate_is_as_accurate_on_average_as_the_count():
    estimated = estimate_rightness(TRACE)
    assert estimated.mean(axis=0) == pytest.approx(TRACE.correct.mean(axis=0), abs=0.02)


def test_what_an_exit_loses_is_what_was_counted():
    """The second network is right less often than its exits say together: where they differ it is often wrong."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 4, 6000)
    full = 2.0 * np.eye(4)[labels] + generator.normal(size=(6000, 4))
    early = np.where((labels == 0)[:, None], 0.2 * full, full) + generator.normal(size=(6000, 4))
    trace = Trace(np.stack([early, full], axis=1).astype(np.float32), labels)
    estimated, counted = estimate_rightness(trace), trace.correct.mean(axis=0)
    assert estimated[:, 1].mean() - estimated[:, 0].mean() == pytest.approx(counted[1] - counted[0], abs=1e-3)


def test_what_two_exits_say_alike_is_as_right_at_both():
    estimated = estimate_rightness(TRACE)
    alike = TRACE.label[:, 0] == TRACE.label[:, -1]
    assert (estimated[alike, 0] == estimated[alike, -1]).all()


def test_the_estimate_of_a_drop_varies_less_than_the_count():
    estimated = estimate_rightness(TRACE)
    counted = TRACE.correct.astype(float)
    assert np.std(estimated[:, 1] - estimated[:, -1]) < 0.95 * np.std(counted[:, 1] - counted[:, -1])


def test_settings_are_chosen_by_the_mean_of_the_estimate_and_the_count():
    truth = weigh_truth(TRACE)
    assert truth.expected == pytest.approx((truth.estimated + TRACE.correct) / 2)
    assert truth.accuracy == pytest.approx(truth.expected[:, -1].mean())


def test_an_exit_that_is_too_sure_of_itself_gets_a_weight_below_one():
    generator = np.random.default_rng(0)
    labels = (generator.random(5000) < 0.25).astype(int)  # class 1 in one of four
    logits = np.tile(np.float32([2 * np.log(3.0), 0.0]), (5000, 1, 1))  # says 9 to 1 where 3 to 1 is true
    weights = fit_weights(log_probabilities(Trace(logits, labels)), labels)
    assert weights == pytest.approx([0.5], abs=0.03)


def test_no_weight_is_below_zero():
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 500)
    right = 4.0 * np.eye(3)[labels] + generator.normal(size=(500, 3))
    logs = log_probabilities(Trace(np.stack([-right, right], axis=1).astype(np.float32), labels))
    assert fit_weights(logs, labels)[0] == 0.0


def test_logs_are_combined_as_worked_by_hand():
    logs = np.log([[[0.8, 0.2], [1 / 3, 2 / 3]]])
    assert np.exp(combine_logs(logs, np.array([1.0, 1.0]))) == pytest.approx(np.array([[2 / 3, 1 / 3]]))


def test_a_set_of_labels_is_counted():
    trace = Trace(np.float32([[[3.0, -3.0]], [[3.0, 3.0]]]), np.array([1, 1]), "labels")
    assert estimate_rightness(trace).tolist() == [[1.0], [0.0]]
