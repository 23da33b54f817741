import pytest

from edgeexit.device import open_device
from edgeexit.registry import load_governor
from edgeexit.testing.observations import make_observation


def decide(load, current_hz=400_000_000, **changes):
    return load_governor("stock").decide(make_observation(load=load, clocks={"gpu": current_hz}, **changes))


@pytest.mark.parametrize(
    ("load", "current_hz", "set_hz"),
    [
        (0.91, 100_000_000, 400_000_000),  # above 90 %: the maximum
        (1.0, 200_000_000, 400_000_000),
        (0.90, 200_000_000, 200_000_000),  # above 85 %: kept
        (0.86, 200_000_000, 200_000_000),
        (0.85, 400_000_000, 400_000_000),  # 0.85 x 400 x 100 / 88 = 386.4 MHz, upwards to 400
        (0.50, 400_000_000, 300_000_000),  # 227.3 MHz, upwards to 300
        (0.44, 400_000_000, 200_000_000),  # 200.0 MHz exactly: the divisor is 88, not 87.5 or 85
        (0.45, 400_000_000, 300_000_000),  # 204.5 MHz
        (0.0, 400_000_000, 100_000_000),
        (0.5, 0, 400_000_000),  # current clock unknown: the maximum
    ],
)
def test_it_follows_the_load_as_simple_ondemand_does(load, current_hz, set_hz):
    assert decide(load, current_hz).clocks == {"gpu": set_hz}


def test_a_current_clock_between_two_points_is_kept_at_the_upper_one():
    assert decide(0.87, 250_000_000).clocks == {"gpu": 300_000_000}


def test_without_a_load_the_clocks_stay():
    assert decide(None).clocks == {}


def test_the_clocks_stay_while_an_inference_runs():
    assert decide(0.1, segments_done=1, next_exit=1).clocks == {}


def test_it_goes_down_step_by_step_on_a_lightly_loaded_jetson_tx2():
    with open_device("simulated:jetson-tx2") as board:
        points = {"gpu": board.domains["gpu"].operating_points_hz}
    clocks, seen = {"gpu": 1_300_500_000}, []
    for _ in range(3):
        clocks = decide(0.5, clocks["gpu"], operating_points=points).clocks
        seen.append(clocks["gpu"])
    # 738.9 -> 854.25, 485.4 -> 522.75, 297.0 -> 318.75 MHz
    assert seen == [854_250_000, 522_750_000, 318_750_000]
