"""When inferences are asked for in a replay, and how latencies vary."""

import numpy as np
import pytest

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.replaying.arrivals import Bursts, Periodic, Poisson, Recorded, load_recorded
from edgeexit.offline.replaying.noise import Noise


def gaps(arrivals, streams=200, count=200):
    return arrivals.gaps_s(streams, count, np.random.default_rng(0))


def test_periodic_requests_are_equally_far_apart_and_known_in_advance():
    assert gaps(Periodic(0.1), 2, 3).tolist() == [[0.1] * 3] * 2
    assert Periodic(0.1).period_s == 0.1


def test_poisson_requests_have_the_rate_and_spread_of_an_exponential():
    drawn = gaps(Poisson(50.0))
    assert drawn.mean() == pytest.approx(0.02, rel=0.02)
    assert drawn.std() == pytest.approx(0.02, rel=0.03)
    assert Poisson(50.0).period_s is None


def test_bursts_have_the_length_and_the_gaps_that_were_asked_for():
    drawn = gaps(Bursts(gap_s=0.01, pause_s=1000.0, length=4.0))
    pauses = drawn > 1.0
    assert pauses.mean() == pytest.approx(0.25, abs=0.01)
    assert drawn[~pauses].mean() == pytest.approx(0.01, rel=0.03)


def test_recorded_requests_are_repeated_and_streams_begin_at_different_places():
    recorded = Recorded(np.array([0.0, 1.0, 3.0, 6.0, 10.0]))
    assert gaps(recorded, 2, 5).tolist() == [[1.0, 2.0, 3.0, 4.0, 1.0], [3.0, 4.0, 1.0, 2.0, 3.0]]


def test_recorded_times_are_read_one_a_line(tmp_path):
    (tmp_path / "day.txt").write_text("0\n0.5\n2\n")
    recorded = load_recorded(tmp_path / "day.txt")
    assert recorded.times_s.tolist() == [0.0, 0.5, 2.0]
    assert recorded.text == "day.txt, 3 requests in 2 s"


@pytest.mark.parametrize("text", ["1\n0\n", "1\n", "soon\n", "0\nnan\n"])
def test_a_file_without_ascending_times_is_refused_by_name(tmp_path, text):
    (tmp_path / "day.txt").write_text(text)
    with pytest.raises(DataError, match=r"day\.txt"):
        load_recorded(tmp_path / "day.txt")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"day\.txt"):
        load_recorded(tmp_path / "day.txt")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Periodic(0.0),
        lambda: Poisson(float("inf")),
        lambda: Bursts(1.0, 0.0, 2.0),
        lambda: Bursts(1.0, 1.0, 0.5),
    ],
)
def test_impossible_arrivals_are_refused(make):
    with pytest.raises(OptionError):
        make()


def test_truncated_noise_never_passes_its_guard():
    noise = Noise(0.1)
    factors = noise.draw((1000, 100), np.random.default_rng(0))
    assert noise.guard == pytest.approx(1.3)
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3
    assert factors.mean() == pytest.approx(1.0, abs=0.001)
    assert factors.std() == pytest.approx(0.0987, abs=0.001)  # a standard normal cut at 3 has deviation 0.9866


def test_no_latency_falls_below_a_tenth():
    assert Noise(0.5).draw((100, 100), np.random.default_rng(0)).min() == 0.1


def test_lognormal_noise_has_mean_1_and_no_guard():
    noise = Noise(0.3, "lognormal")
    factors = noise.draw((1000, 100), np.random.default_rng(0))
    assert noise.guard is None
    assert factors.mean() == pytest.approx(1.0, abs=0.005)
    assert factors.std() == pytest.approx(0.3, abs=0.005)
    assert factors.max() > 2.0


@pytest.mark.parametrize("arguments", [(-0.1,), (float("nan"),), (0.1, "uniform")])
def test_impossible_noise_is_refused(arguments):
    with pytest.raises(OptionError):
        Noise(*arguments)
