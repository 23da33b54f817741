"""Heads by scikit-learn: what they learn, how they are chosen, and what is refused."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.heads import Features, Pooling, fit_heads, trace_of
from edgeexit.offline.heads.targets import read_targets
from edgeexit.offline.heads.temperature import cross_entropy, fit_sharpness, probabilities

CLASSES = 4
KINDS = ("ridge", "logistic")


def samples(count=400, *, noise=0.7, seed=0):
    """Features (S, 6) whose mean tells the class, on scales from 0.1 to 10, and the classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    centres = np.random.default_rng(99).standard_normal((CLASSES, 6)) * 2
    features = centres[labels] + noise * random.standard_normal((count, 6))
    return (features * np.geomspace(0.1, 10, 6) + 5).astype(np.float32), labels


def recorded(features, logits=None):
    own = np.zeros((len(features), CLASSES), np.float32) if logits is None else logits
    return Features((features,), own, (Pooling("x", "vector"),))


def accuracy(head, features, labels):
    return float((head.logits(features).argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_learns_the_classes(kind):
    (head,) = fit_heads(recorded(samples()[0]), samples()[1], kind=kind)
    assert head.weights.shape == (6, CLASSES)
    assert head.bias.shape == (CLASSES,)
    assert accuracy(head, *samples(seed=1)) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_says_how_sure_it_is(kind):
    """With noise that mixes the classes, mean confidence on new samples is near the share of right answers."""
    (head,) = fit_heads(recorded(samples(2000, noise=3.0)[0]), samples(2000, noise=3.0)[1], kind=kind)
    features, labels = samples(2000, noise=3.0, seed=1)
    confidence = probabilities(head.logits(features).astype(np.float64), "classes").max(axis=1).mean()
    assert abs(confidence - accuracy(head, features, labels)) < 0.04


def standardised(features):
    return (features - features.mean(axis=0)) / features.std(axis=0)


def test_a_logistic_head_is_the_regression_of_scikit_learn_up_to_its_temperature():
    features, labels = samples(noise=3.0)
    (head,) = fit_heads(recorded(features), labels, kind="logistic")
    scaled = standardised(features.astype(np.float64))
    model = LogisticRegression(C=1 / (head.penalty * len(features)), tol=1e-6, max_iter=1000).fit(scaled, labels)
    scores = model.decision_function(scaled)
    logits = head.logits(features)
    centred = logits - logits.mean(axis=1, keepdims=True)
    factor = (centred * scores).sum() / (scores**2).sum()
    np.testing.assert_allclose(centred / factor, scores, rtol=0, atol=0.05)


def test_a_ridge_head_is_the_regression_of_scikit_learn_up_to_its_temperature():
    features, labels = samples(noise=3.0)
    (head,) = fit_heads(recorded(features), labels, kind="ridge")
    scaled = standardised(features.astype(np.float64))
    model = Ridge(alpha=head.penalty * len(features)).fit(scaled, np.eye(CLASSES)[labels])
    scores = model.predict(scaled)
    scores -= scores.mean(axis=1, keepdims=True)
    logits = head.logits(features)
    centred = logits - logits.mean(axis=1, keepdims=True)
    factor = (centred * scores).sum() / (scores**2).sum()
    np.testing.assert_allclose(centred / factor, scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_without_labels_a_head_learns_the_networks_own_answers(kind):
    features, labels = samples()
    own = 3.0 * np.eye(CLASSES)[labels] + 0.3 * np.random.default_rng(7).standard_normal((len(labels), CLASSES))
    wanted = probabilities(own, "classes")
    (head,) = fit_heads(recorded(features, own.astype(np.float32)), wanted, kind=kind)
    trace = trace_of(recorded(features, own.astype(np.float32)), (head,))
    np.testing.assert_array_equal(trace.labels, own.argmax(axis=1))
    assert trace.accuracies[0] > 0.9
    assert trace.accuracies[1] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_sure_of_nothing_is_learnt_by_its_likeliest_class(kind):
    """With 200 classes no probability is above 0.01."""
    features, labels = samples()
    wanted = np.full((len(labels), 200), 0.995 / 199)
    wanted[np.arange(len(labels)), labels] = 0.005
    wanted /= wanted.sum(axis=1, keepdims=True)
    wanted[np.arange(len(labels)), labels] *= 1.0001
    own = np.zeros((len(labels), 200), np.float32)
    (head,) = fit_heads(Features((features,), own, (Pooling("x", "vector"),)), wanted, kind=kind)
    assert accuracy(head, features, wanted.argmax(axis=1)) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_several_labels_is_learnt_by_itself(kind):
    features, labels = samples()
    holds = np.stack([labels < 2, labels % 2 == 0, labels == 3, labels > 0], axis=1)
    (head,) = fit_heads(recorded(features), holds, kind=kind, task="labels")
    fresh, classes = samples(seed=1)
    wanted = np.stack([classes < 2, classes % 2 == 0, classes == 3, classes > 0], axis=1)
    assert ((head.logits(fresh) > 0) == wanted).mean() > 0.85


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_samples_does_not_come_up(kind):
    features, labels = samples()
    kept = labels != 2
    (head,) = fit_heads(recorded(features[kept]), labels[kept], kind=kind)
    assert head.weights.shape == (6, CLASSES)
    assert 2 not in head.logits(features).argmax(axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_two_classes_have_two_logits(kind):
    features, labels = samples()
    features, labels = features[labels < 2], labels[labels < 2]
    own = np.zeros((len(labels), 2), np.float32)
    (head,) = fit_heads(Features((features,), own, (Pooling("x", "vector"),)), labels, kind=kind)
    assert accuracy(head, features, labels) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_never_holds_stays_below_a_half(kind):
    features, labels = samples()
    holds = np.stack([labels < 2, labels < 0], axis=1)
    own = np.zeros((len(labels), 2), np.float32)
    (head,) = fit_heads(Features((features,), own, (Pooling("x", "vector"),)), holds, kind=kind, task="labels")
    assert (head.logits(features)[:, 1] < 0).all()


def test_a_feature_that_never_changes_gets_no_weight_to_speak_of():
    features, labels = samples()
    features = np.concatenate([features, np.full((len(features), 1), 7.0, np.float32)], axis=1)
    (head,) = fit_heads(recorded(features), labels)
    assert np.isfinite(head.weights).all()
    assert np.abs(head.weights[6]).max() < 1e-6


def test_among_much_noise_a_head_is_regularised_more():
    features, labels = samples(200)
    noise = np.random.default_rng(5).standard_normal((200, 300)).astype(np.float32) * 3
    (free,) = fit_heads(recorded(features), labels)
    (held,) = fit_heads(recorded(np.concatenate([features, noise], axis=1)), labels)
    assert free.penalty < held.penalty
    assert free.loss < held.loss


def test_the_same_seed_gives_the_same_heads():
    first, second = (fit_heads(recorded(samples()[0]), samples()[1], seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_scores_are_sharpened_until_they_say_how_often_they_are_right():
    """Of 4 samples with the scores (1, 0), 3 are right, and one more counts as half right: 3.5 to 1.5."""
    scores = np.array([[1.0, 0.0]] * 4)
    targets = read_targets(np.array([0, 0, 0, 1]), 2, "classes")
    assert fit_sharpness(scores, targets) == pytest.approx(np.log(3.5 / 1.5))


def test_scores_that_are_always_right_do_not_become_certain():
    """Of 9 samples all are right, and one more counts as half right: 9.5 to 0.5."""
    targets = read_targets(np.array([0] * 9 + [1]), 2, "classes").take(np.arange(9))
    assert fit_sharpness(np.array([[1.0, 0.0]] * 9), targets) == pytest.approx(np.log(9.5 / 0.5))


def test_the_loss_is_the_mean_surprise_in_nats():
    targets = read_targets(np.array([0, 0, 0, 1]), 2, "classes")
    expected = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert cross_entropy(np.array([[np.log(3), 0.0]] * 4), targets) == pytest.approx(expected)


def test_a_trace_needs_one_head_for_each_candidate():
    with pytest.raises(DataError, match="0 heads were given for features at 1 candidates"):
        trace_of(recorded(samples()[0]), ())


@pytest.mark.parametrize(
    ("targets", "task", "message"),
    [
        (np.full(400, 1), "classes", "all samples have the same answer"),
        (np.arange(400), "classes", "labels go from 0 to 399, the network has the classes 0 to 3"),
        (np.arange(400) - 1, "classes", "labels go from -1"),
        (np.arange(400) % 4 * 1.0, "classes", "labels must be whole numbers"),
        (np.eye(5)[np.arange(400) % 5], "classes", r"\(400, 5\) .* do not fit 4 classes: give \(S,\) classes or"),
        (np.arange(400) % 4, "labels", r"give \(S, 4\) labels"),
        (np.ones((400, 4)), "classes", "must add up to 1"),
        (np.full((400, 4), -1.0), "labels", "probabilities from 0 to 1"),
        (np.full((400, 4), np.nan), "classes", "probabilities from 0 to 1"),
        (np.arange(399) % 4, "classes", "399 targets were given for the features of 400 samples"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets, task, message):
    with pytest.raises(DataError, match=message):
        fit_heads(recorded(samples()[0]), targets, task=task)


def test_too_few_samples_are_refused():
    features, labels = samples(39)
    with pytest.raises(DataError, match="heads need at least 40 samples to be fitted on, there are 39"):
        fit_heads(recorded(features), labels)


def test_unknown_kinds_and_tasks_are_refused():
    features, labels = samples()
    with pytest.raises(OptionError, match="of the kind logistic or ridge, not 'forest'"):
        fit_heads(recorded(features), labels, kind="forest")
    with pytest.raises(OptionError, match="no task 'ranks'"):
        fit_heads(recorded(features), labels, task="ranks")
