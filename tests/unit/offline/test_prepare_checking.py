import pytest

from edgeexit.offline.preparing.checking import most_by_chance


@pytest.mark.parametrize(
    ("class_count", "samples", "share"),
    [
        (2, 10_000, 0.55),
        (10, 700, 0.15),
        (100, 100_000, 0.015),
        (1000, 999_000, 0.0015),
        (1000, 999, 0.004),  # 0.001 + 3 standard errors of 0.001
    ],
)
def test_a_network_that_guesses_is_right_for_no_more_than_this(class_count, samples, share):
    assert most_by_chance(class_count, samples) == pytest.approx(share)
