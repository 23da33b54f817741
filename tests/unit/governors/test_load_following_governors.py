import pytest

from edgeexit.errors import OptionError
from edgeexit.registry import load_governor
from edgeexit.testing.observations import make_observation

POINTS = {"gpu": (100_000_000, 200_000_000, 300_000_000, 400_000_000)}


def decide(name, load, current_hz=400_000_000, *, options=(), **changes):
    observation = make_observation(load=load, clocks={"gpu": current_hz}, operating_points=POINTS, **changes)
    return load_governor(name, **dict(options)).decide(observation).clocks


@pytest.mark.parametrize(
    ("load", "current_hz", "set_hz"),
    [
        (1.0, 400_000_000, 400_000_000),  # 500 MHz, as far as it goes
        (1.0, 200_000_000, 300_000_000),  # 250 MHz, upwards to 300
        (0.8, 400_000_000, 400_000_000),  # 400 MHz exactly
        (0.79, 400_000_000, 400_000_000),  # 395 MHz
        (0.6, 400_000_000, 300_000_000),  # 300 MHz exactly
        (0.5, 200_000_000, 200_000_000),  # 125 MHz
        (0.0, 400_000_000, 100_000_000),
    ],
)
def test_schedutil_leaves_a_quarter_of_headroom(load, current_hz, set_hz):
    assert decide("schedutil", load, current_hz) == {"gpu": set_hz}


@pytest.mark.parametrize(
    ("load", "set_hz"),
    [
        (0.81, 400_000_000),  # above 80 %: the maximum
        (0.80, 300_000_000),  # 100 + 0.8 x 300 = 340 MHz, closest to 300
        (0.84, 400_000_000),
        (0.50, 200_000_000),  # 250 MHz, as close to 200 as to 300: the lower one
        (0.49, 200_000_000),
        (0.17, 200_000_000),  # 151 MHz
        (0.16, 100_000_000),  # 148 MHz
        (0.0, 100_000_000),
    ],
)
def test_ondemand_follows_the_load_from_the_lowest_clock_up(load, set_hz):
    assert decide("ondemand", load, 100_000_000) == {"gpu": set_hz}


@pytest.mark.parametrize(
    ("load", "current_hz", "set_hz"),
    [
        (1.0, 100_000_000, 400_000_000),  # from 99 % on: the maximum
        (0.99, 100_000_000, 400_000_000),
        (0.98, 100_000_000, 200_000_000),  # 98 x 100 / 90 = 108.9 MHz, upwards to 200
        (0.98, 400_000_000, 400_000_000),  # 435.6 MHz, as far as it goes
        (0.90, 300_000_000, 300_000_000),  # 300 MHz exactly
        (0.91, 300_000_000, 400_000_000),  # 303.3 MHz
        (0.45, 400_000_000, 200_000_000),  # 200 MHz exactly
        (0.46, 400_000_000, 300_000_000),  # 204.4 MHz
        (0.0, 400_000_000, 100_000_000),
    ],
)
def test_interactive_takes_the_lowest_clock_at_which_the_load_would_be_ninety_per_cent(load, current_hz, set_hz):
    assert decide("interactive", load, current_hz) == {"gpu": set_hz}


def test_the_loads_of_interactive_can_be_chosen():
    assert decide("interactive", 0.45, options={"target_load": 50.0}) == {"gpu": 400_000_000}  # 360 MHz
    assert decide("interactive", 0.8, 100_000_000, options={"go_hispeed_load": 80.0}) == {"gpu": 400_000_000}


@pytest.mark.parametrize("option", ["target_load", "go_hispeed_load"])
@pytest.mark.parametrize("load", [0.0, 100.1, float("nan")])
def test_an_impossible_load_is_refused(option, load):
    with pytest.raises(OptionError, match=option):
        load_governor("interactive", **{option: load})


def test_the_threshold_of_ondemand_can_be_a_raspberry_pi_s():
    assert decide("ondemand", 0.6, options={"up_threshold": 50.0}) == {"gpu": 400_000_000}
    assert decide("ondemand", 0.4, options={"up_threshold": 50.0}) == {"gpu": 200_000_000}


@pytest.mark.parametrize("threshold", [0.0, 100.1, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(OptionError, match="up_threshold"):
        load_governor("ondemand", up_threshold=threshold)


@pytest.mark.parametrize("name", ["schedutil", "ondemand", "interactive"])
def test_without_a_load_or_within_an_inference_the_clocks_stay(name):
    assert decide(name, None) == {}
    assert decide(name, 0.1, segments_done=1, next_exit=1) == {}
