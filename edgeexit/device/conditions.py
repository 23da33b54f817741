"""How the machine is doing, watched from a thread so that nobody waits for a sensor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgeexit.device.repeater import Repeater, Repeating
from edgeexit.device.thermal import Thermometers, ThrottleSensors, hottest_c
from edgeexit.protocols import Conditions

if TYPE_CHECKING:
    from edgeexit.device.firmware import Firmware
    from edgeexit.device.sysfs import Tree
    from edgeexit.protocols import Clock

STALE_INTERVALS = 5
"""Conditions older than so many intervals are no longer told: whoever asks is told that nothing is known."""


class ConditionWatch:
    """Keeps the newest conditions.

    Args:
        read: Reads them from the sensors; an error leaves the older ones until they are stale.
        interval_s: Time between two readings.
        clock: Tells how old they are.
        repeater: Makes what calls `refresh` every `interval_s`.
    """

    def __init__(
        self,
        read: Callable[[], Conditions],
        *,
        interval_s: float = 1.0,
        clock: Clock,
        repeater: Callable[[Callable[[], object], float, str], Repeating] = Repeater,
    ) -> None:
        self._read = read
        self._stale_s = STALE_INTERVALS * interval_s
        self._clock = clock
        self._repeater = repeater(self.refresh, interval_s, "conditions")
        self._refreshing = threading.Lock()
        self._closed = False
        self._newest = (Conditions(), 0.0)

    def latest(self) -> Conditions:
        """Return the newest conditions without waiting; the first call starts the readings and may know nothing."""
        if not self._closed:
            self._repeater.start()
        conditions, read_s = self._newest
        return conditions if self._clock.now_s() - read_s <= self._stale_s else Conditions()

    def refresh(self) -> None:
        """Read the sensors now."""
        with self._refreshing:
            if not self._closed:
                conditions = self._read()
                self._newest = (conditions, self._clock.now_s())

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        self._repeater.close()


class ConditionSensors:
    """Everything that makes up the conditions of a machine.

    Args:
        tree: The machine.
        firmware: A Raspberry Pi's firmware, if it can be asked.
        read_power_w: Gives the power of the whole, for instance `Meters.read_power_w`.
        read_load: Gives the busy share of all cores and the memory that is free for use in bytes.
        gpu_temperatures: Each gives a GPU's temperature in Celsius, or None.
        gpu_reasons: Each gives why a GPU holds its clocks down just now, or None.
    """

    def __init__(
        self,
        tree: Tree,
        *,
        firmware: Firmware | None = None,
        read_power_w: Callable[[], float | None] | None = None,
        read_load: Callable[[], tuple[float | None, int | None]] | None = None,
        gpu_temperatures: Sequence[Callable[[], float | None]] = (),
        gpu_reasons: Sequence[Callable[[], Sequence[str] | None]] = (),
    ) -> None:
        self._thermometers = Thermometers(tree)
        self._throttle = ThrottleSensors(tree, firmware)
        self._read_power_w = read_power_w
        self._read_load = read_load
        self._gpu_temperatures = tuple(gpu_temperatures)
        self._gpu_reasons = tuple(gpu_reasons)

    def read(self) -> Conditions:
        """Read every sensor; what cannot be read is None."""
        cpu_load, memory_available_bytes = (None, None) if self._read_load is None else self._read_load()
        return Conditions(
            temperature_c=self._hottest_c(),
            power_w=None if self._read_power_w is None else self._read_power_w(),
            throttled=self._reasons(),
            cpu_load=cpu_load,
            memory_available_bytes=memory_available_bytes,
        )

    def close(self) -> None:
        """Close the sensors' files."""
        self._thermometers.close()
        self._throttle.close()

    def _hottest_c(self) -> float | None:
        readings = (hottest_c(self._thermometers.read()), *(read() for read in self._gpu_temperatures))
        return max((reading for reading in readings if reading is not None), default=None)

    def _reasons(self) -> tuple[str, ...] | None:
        answers = (self._throttle.read_reasons(), *(read() for read in self._gpu_reasons))
        known = [answer for answer in answers if answer is not None]
        return tuple(dict.fromkeys(reason for answer in known for reason in answer)) if known else None
