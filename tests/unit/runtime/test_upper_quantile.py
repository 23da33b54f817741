import random

import pytest

from edgeexit.errors import OptionError
from edgeexit.runtime.quantile import UpperQuantile


def quantile(share=0.9, **options):
    return UpperQuantile(share, **{"low": -1.0, "high": 1.0, "width": 0.01, **options})


def test_before_the_first_number_there_is_none():
    assert quantile().value is None


def test_until_enough_numbers_were_seen_it_is_the_largest():
    tracked = quantile(0.9)
    for number in (0.10, 0.50, 0.20, 0.30):
        tracked.add(number)
    assert tracked.value == pytest.approx(0.50)


def test_it_is_the_upper_edge_of_a_bin():
    tracked = quantile()
    tracked.add(0.123)
    assert tracked.value == pytest.approx(0.13)


def test_a_number_on_an_edge_stays_there():
    tracked = quantile()
    tracked.add(0.0)
    assert tracked.value == 0.0


def test_of_many_numbers_it_is_the_quantile():
    tracked = quantile(0.9, memory=1e6)
    numbers = [index / 1000 for index in range(1000)]
    random.Random(0).shuffle(numbers)
    for number in numbers:
        tracked.add(number)
    assert tracked.value == pytest.approx(0.90, abs=0.0101)


def test_old_numbers_are_forgotten():
    tracked = quantile(0.9, memory=20)
    for number in [0.8] * 100 + [0.1] * 100:
        tracked.add(number)
    assert tracked.value == pytest.approx(0.1)


def test_it_goes_up_again():
    tracked = quantile(0.9, memory=20)
    for number in [0.1] * 100 + [0.8] * 3:
        tracked.add(number)
    assert tracked.value == pytest.approx(0.8)


def test_numbers_out_of_range_count_as_its_ends():
    tracked = quantile()
    tracked.add(1e9)
    assert tracked.value == pytest.approx(1.0)
    low = quantile()
    low.add(-1e9)
    assert low.value == pytest.approx(-1.0)


def test_weights_that_have_grown_large_are_scaled_down_without_a_change():
    tracked = quantile(0.9, memory=1.0)  # a weight doubles with every number
    for _ in range(200):
        tracked.add(0.3)
        tracked.add(0.2)
    assert tracked.value == pytest.approx(0.3)


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.0}, {"memory": 0.5}])
def test_an_option_out_of_range_is_refused(options):
    with pytest.raises(OptionError):
        quantile(**options)
