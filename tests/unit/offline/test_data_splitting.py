"""Parts of the samples are disjoint, alike, and the same each time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.data import check_disjoint, limit_samples, samples_of_arrays, split_samples

QUARTERS = {"heads": 0.25, "fit": 0.25, "select": 0.25, "certify": 0.25}


def numbered(count, labels=None):
    return samples_of_arrays({"x": np.arange(count, dtype=np.float32)[:, np.newaxis]}, labels)


def numbers(samples):
    return samples.read(np.arange(len(samples)))["x"][:, 0].astype(int).tolist()


def test_every_sample_is_in_one_part():
    parts = split_samples(numbered(100), {"a": 0.7, "b": 0.3}, seed=0)
    assert [len(part) for part in parts.values()] == [70, 30]
    assert sorted(numbers(parts["a"]) + numbers(parts["b"])) == list(range(100))
    assert numbers(parts["a"]) == sorted(numbers(parts["a"]))


def test_every_class_has_its_share_in_every_part():
    labels = np.array([0] * 80 + [1] * 40 + [2] * 8)
    parts = split_samples(numbered(128, labels), QUARTERS, seed=3)
    assert [np.bincount(part.labels).tolist() for part in parts.values()] == [[20, 10, 2]] * 4


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.integers(0, 99),
)
def test_no_class_is_off_its_share_by_two(counts, weights, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    shares = {str(i): w / sum(weights) for i, w in enumerate(weights)}
    parts = split_samples(numbered(len(labels), labels), shares, seed=seed, at_least=0)
    for name, part in parts.items():
        off = np.bincount(part.labels, minlength=len(counts)) - shares[name] * np.array(counts)
        assert abs(off).max() < 2.0
        assert abs(len(part) - shares[name] * len(labels)) < 1.0


def test_sets_of_labels_are_spread_too():
    labels = np.array([[1, 0, 0]] * 20 + [[0, 1, 1]] * 12 + [[0, 0, 0]] * 8, bool)
    parts = split_samples(numbered(40, labels), QUARTERS, seed=1)
    assert [part.labels.sum(axis=0).tolist() for part in parts.values()] == [[5, 3, 3]] * 4


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    first, again, other = (split_samples(numbered(100), QUARTERS, seed=seed)["fit"] for seed in (5, 5, 6))
    assert numbers(first) == numbers(again) != numbers(other)
    assert first.sha256 == again.sha256 != other.sha256


def test_copies_of_a_sample_stay_together_whatever_their_labels():
    values = np.repeat(np.arange(20, dtype=np.float32), 3)[:, np.newaxis]
    samples = samples_of_arrays({"x": values}, np.arange(60) % 4)
    parts = split_samples(samples, QUARTERS, seed=0)
    check_disjoint(parts)
    assert all(numbers(part).count(n) == 3 for part in parts.values() for n in set(numbers(part)))


def test_an_overlap_is_found_and_named():
    samples = numbered(10)
    parts = {"fit": samples.take(np.array([1, 2, 3])), "certify": samples.take(np.array([7, 3]))}
    with pytest.raises(DataError, match=r"given\[3\] in 'certify' is the same sample as .*given\[3\] in 'fit'"):
        check_disjoint(parts)


def test_a_copy_in_another_file_is_found():
    with pytest.raises(DataError, match=r"given\[2\] in 'b' is the same sample as the arrays given\[2\] in 'a'"):
        check_disjoint({"a": numbered(3).take(np.array([2])), "b": numbered(5).take(np.array([4, 2]))})


def test_too_few_samples_are_refused_with_the_number_needed():
    with pytest.raises(DataError, match=r"39 samples are too few: heads, fit, .* need 10 or more each, 40 in all"):
        split_samples(numbered(39), QUARTERS, seed=0, at_least=10)
    split_samples(numbered(40), QUARTERS, seed=0, at_least=10)


def test_copies_do_not_count_where_parts_must_have_samples_of_their_own():
    samples = samples_of_arrays({"x": np.zeros((8, 1), np.float32)})
    with pytest.raises(DataError, match=r"8 samples are too few: the part '\w+' has 0, .* 7 samples are copies"):
        split_samples(samples, QUARTERS, seed=0)


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": 1.0, "b": 0.0}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(OptionError, match="shares of a split must be above 0 and add up to 1"):
        split_samples(numbered(10), shares, seed=0)


def test_a_limit_takes_so_many_of_every_class_its_share():
    samples = numbered(90, np.arange(90) % 3)
    assert np.bincount(limit_samples(samples, 30, seed=0).labels).tolist() == [10, 10, 10]
    assert len(limit_samples(samples, 7, seed=0)) == 7
    assert limit_samples(samples, None, seed=0) is samples
    assert limit_samples(samples, 90, seed=0) is samples


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 80), st.data())
def test_a_limit_is_kept_exactly(count, data):
    limit = data.draw(st.integers(1, count))
    assert len(limit_samples(numbered(count), limit, seed=0)) == limit
