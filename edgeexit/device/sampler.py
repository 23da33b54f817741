"""Energy from power readings: for sensors that tell watts and count no joules."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeexit.device.repeater import Repeater, Repeating
from edgeexit.protocols import EnergySource

if TYPE_CHECKING:
    from edgeexit.protocols import Clock

STALE_INTERVALS = 5
"""A reading older than so many intervals says nothing about now."""
WINDOW_INTERVALS = 3
"""A stretch shorter than so many intervals is mostly its two ends, whose power is guessed."""


class SampledMeter:
    """Integrates a power sensor by the trapezoid rule.

    The first `read_energy_j` starts a daemon thread that reads the sensor every `interval_s` seconds until `close`.
    Reading the energy touches no sensor: it is the integral up to the last sample, and the last power for the time
    since. The sum never falls: where power has dropped since the last sample it stands still until it is caught up.

    A sample that fails is bridged by the straight line between its neighbours. If there is none for `STALE_INTERVALS`
    intervals the energy is not known (None) until the sensor answers again; the gap is then bridged too, `gap_count`
    says so, and the uncertainty of a stretch that reaches back into it is not known (None).

    Args:
        name: What is metered and how, for instance "VDD_IN (INA3221)".
        read_power_w: Reads the sensor, in watts; None or an error if it cannot. Below 0 counts as 0.
        interval_s: Time between two samples.
        relative_error: Standard deviation of the sensor's own error, as a share of the reading.
        clock: What tells the time of a sample.
        close_sensor: Called once by `close`.
        repeater: Makes what calls `take_sample` every `interval_s`.
    """

    source = EnergySource.INTEGRATED

    def __init__(
        self,
        name: str,
        read_power_w: Callable[[], float | None],
        *,
        interval_s: float,
        relative_error: float,
        clock: Clock,
        close_sensor: Callable[[], None] | None = None,
        repeater: Callable[[Callable[[], object], float, str], Repeating] = Repeater,
    ) -> None:
        self._name = name
        self._read_sensor = read_power_w
        self._interval_s = interval_s
        self._relative_error = relative_error
        self._clock = clock
        self._close_sensor = close_sensor
        self._repeater = repeater(self.take_sample, interval_s, f"meter {name}")
        self._stale_s = STALE_INTERVALS * interval_s
        self._sampling = threading.Lock()
        self._lock = threading.Lock()
        self._closed = False
        self._integral_j = 0.0
        self._told_j = 0.0
        self._until_s: float | None = None
        self._integral_power_w: float | None = None
        self._power_w: float | None = None
        self._sampled_s = 0.0
        self._gap_count = 0
        self._gap_end_s = -math.inf

    @property
    def name(self) -> str:
        """What is metered and how."""
        return self._name

    @property
    def interval_s(self) -> float:
        """Time between two samples."""
        return self._interval_s

    @property
    def min_window_s(self) -> float:
        """Three intervals."""
        return WINDOW_INTERVALS * self._interval_s

    @property
    def gap_count(self) -> int:
        """How many times the sensor gave nothing for so long that the energy of that time is a guess."""
        return self._gap_count

    def uncertainty_j(self, energy_j: float, duration_s: float) -> float | None:
        """Return the standard deviation of the energy of a stretch that has just ended, in joules.

        Two parts, taken as independent: the sensor's own error, and the two ends of the stretch, where the power of up
        to one interval T is guessed and taken to lie anywhere between 0 and twice the mean power P = E / d. An error
        that is uniform within +-P T has the variance (P T)^2 / 3 (JCGM 100:2008, 4.3.7), so

            u = sqrt((relative_error E)^2 + 2 (P T)^2 / 3).

        None if the stretch has no length or part of it could not be sampled.
        """
        if duration_s <= 0.0 or self._clock.now_s() - duration_s < self._gap_end_s:
            return None
        ends_j = energy_j / duration_s * self._interval_s * math.sqrt(2.0 / 3.0)
        return math.hypot(self._relative_error * energy_j, ends_j)

    def read_energy_j(self) -> float | None:
        """Return the energy since the first call, in joules; None while there is no fresh sample, or after `close`.

        The first call returns 0 and starts the sampling. Unless the power was known already the next calls return None
        until there is a sample, which the thread takes at once.
        """
        if self._closed:
            return None
        now_s = self._clock.now_s()
        with self._lock:
            energy_j = self._begin(now_s) if self._until_s is None else self._energy_at(now_s, self._until_s)
        self._repeater.start()
        return energy_j

    def read_power_w(self) -> float | None:
        """Return the power of the last sample, in watts; None if there is none or it is old. Touches no sensor."""
        with self._lock:
            return self._fresh_power_w(self._clock.now_s())

    def take_sample(self) -> float | None:
        """Read the sensor once, add to the energy, and return the power in watts, or None if it cannot be read."""
        with self._sampling:
            if self._closed:
                return None
            before_s = self._clock.now_s()
            power_w = self._read_or_none()
            if power_w is not None:
                self._add((before_s + self._clock.now_s()) / 2.0, power_w)
            return power_w

    def close(self) -> None:
        """Stop sampling and close the sensor."""
        self._closed = True
        self._repeater.close()
        with self._sampling:
            close_sensor, self._close_sensor = self._close_sensor, None
        if close_sensor is not None:
            close_sensor()

    def _begin(self, now_s: float) -> float:
        self._until_s = now_s
        self._integral_power_w = self._fresh_power_w(now_s)
        return 0.0

    def _fresh_power_w(self, now_s: float) -> float | None:
        return self._power_w if now_s - self._sampled_s <= self._stale_s else None

    def _read_or_none(self) -> float | None:
        try:
            power_w = self._read_sensor()
        except (OSError, ValueError, RuntimeError):
            return None
        return None if power_w is None or not math.isfinite(power_w) else max(0.0, power_w)

    def _add(self, now_s: float, power_w: float) -> None:
        with self._lock:
            self._power_w = power_w
            self._sampled_s = now_s
            if self._until_s is None:
                return
            elapsed_s = max(0.0, now_s - self._until_s)
            before_w = power_w if self._integral_power_w is None else self._integral_power_w
            self._integral_j += (before_w + power_w) / 2.0 * elapsed_s
            self._until_s = now_s
            self._integral_power_w = power_w
            if elapsed_s > self._stale_s:
                self._gap_count += 1
                self._gap_end_s = now_s

    def _energy_at(self, now_s: float, until_s: float) -> float | None:
        if self._integral_power_w is None or now_s - until_s > self._stale_s:
            return None
        energy_j = self._integral_j + self._integral_power_w * max(0.0, now_s - until_s)
        self._told_j = max(self._told_j, energy_j)
        return self._told_j
