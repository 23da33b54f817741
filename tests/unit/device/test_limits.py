import pytest

from edgeexit.clock import ManualClock
from edgeexit.device.limits import pin, read_number
from edgeexit.errors import ClockRefused, DeviceError


class Limit:
    """A limit that keeps what is written, notes the order, and can refuse or lag behind."""

    def __init__(self, key, value, log, *, clock=None, lag_s=0.0):
        self.key = key
        self.value = str(value)
        self.log = log
        self.refuses = False
        self._clock, self._lag_s = clock, lag_s
        self._next = None

    def read(self):
        if self._next is not None and self._clock.now_s() >= self._next[0]:
            self.value, self._next = self._next[1], None
        return self.value

    def write(self, value):
        if self.refuses:
            raise ClockRefused(f"{self.key}: Invalid argument")
        self.log.append((self.key, value))
        if self._clock is None:
            self.value = value
        else:
            self._next = (self._clock.now_s() + self._lag_s, value)


@pytest.fixture
def log():
    return []


def limits(log, low, high, **options):
    return Limit("min", low, log, **options), Limit("max", high, log, **options)


def test_going_up_the_maximum_is_first(log):
    pin(*limits(log, 600, 600), 1500, ManualClock())
    assert log == [("max", "1500"), ("min", "1500")]


def test_going_down_the_minimum_is_first(log):
    pin(*limits(log, 1500, 1500), 600, ManualClock())
    assert log == [("min", "600"), ("max", "600")]


def test_between_the_limits_the_minimum_is_first(log):
    pin(*limits(log, 600, 1500), 1000, ManualClock())
    assert log == [("min", "1000"), ("max", "1000")]


def test_both_are_written_also_where_both_read_so_already(log):
    pin(*limits(log, 600, 600), 600, ManualClock())
    assert log == [("min", "600"), ("max", "600")]


def test_it_does_not_wait_where_the_limits_show_at_once(log):
    clock = ManualClock()
    pin(*limits(log, 600, 1500), 1000, clock)
    assert clock.now_s() == 0.0


def test_it_waits_until_limits_show_that_the_kernel_applies_later(log):
    clock = ManualClock()
    minimum, maximum = limits(log, 600, 1500, clock=clock, lag_s=0.005)
    pin(minimum, maximum, 1000, clock)
    assert (minimum.value, maximum.value) == ("1000", "1000")
    assert 0.005 <= clock.now_s() < 0.0055


def test_it_waits_50_ms_and_no_longer_for_limits_that_something_else_holds(log):
    clock = ManualClock()
    pin(*limits(log, 600, 1500, clock=clock, lag_s=60.0), 1000, clock)
    assert 0.05 <= clock.now_s() < 0.0505


def test_a_limit_that_is_refused_stops_it_before_the_other(log):
    minimum, maximum = limits(log, 600, 1500)
    minimum.refuses = True
    with pytest.raises(ClockRefused):
        pin(minimum, maximum, 1000, ManualClock())
    assert log == []


@pytest.mark.parametrize("text", ["", "<unsupported>", None, "1.5"])
def test_a_limit_that_is_no_whole_number_is_an_error(log, text):
    limit = Limit("max", 600, log)
    limit.value = text
    with pytest.raises(DeviceError, match=r"max holds .*, not a number"):
        read_number(limit)
