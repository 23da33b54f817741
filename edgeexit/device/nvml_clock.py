"""A GPU's graphics clock and the lock on it, by NVML (nvmlDeviceSetGpuLockedClocks, Volta and later).

NVML's unit is MHz; it does not leave this file.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from edgeexit.errors import ClockBusy, ClockRefused, DeviceError
from edgeexit.protocols import Applied, Knob

if TYPE_CHECKING:
    from edgeexit.device.nvml_library import NvmlLibrary

HZ_PER_MHZ: Final = 1_000_000
MAX_POINTS: Final = 32
"""GPUs list some hundred clocks, 7.5 or 15 MHz apart: more than a cost table can measure."""
SWITCH_LATENCY_S: Final = 0.0245
"""The call takes 4.5 ms and the clock settles 20 ms later: medians of 3,000 changes on a V100-class card, published as
a CSV. Others differ (arXiv 2502.20075: A100, GH200, RTX Quadro 6000): measure."""

_RANGE = re.compile(r"([1-9][0-9]{0,4}),([1-9][0-9]{0,4})")


class NvmlKnob:
    """The lock on a GPU's graphics clock: "975,1200" holds it between the two (MHz), "" lets it go.

    The lock outlives the process, until it is let go, the driver is loaded anew, or the machine boots. NVML has no way
    to ask for it, so nobody can tell whether somebody else has changed it since: what was written counts as held.

    Args:
        library: NVML.
        handle: NVML's of the GPU.
        uuid: The GPU's.
        alone: True where another process may have set the lock: then any value counts as held, and `close` closes
            `library`.
    """

    def __init__(self, library: NvmlLibrary, handle: Any, uuid: str, *, alone: bool = False) -> None:
        self._library = library
        self._handle = handle
        self._uuid = uuid
        self._alone = alone
        self._held: tuple[str, ...] = ("",)
        self.before_write: Callable[[Knob, str], None] | None = None

    @property
    def key(self) -> str:
        """Its name in the journal."""
        return f"nvml/{self._uuid}/locked_clocks"

    @property
    def locked_mhz(self) -> int | None:
        """The highest clock that we have locked it to; None if we have not, or it is uncertain."""
        match = _RANGE.fullmatch(self._held[0]) if len(self._held) == 1 else None
        return None if match is None else int(match[2])

    def read(self) -> str | None:
        """Return None: NVML has no way to ask."""
        return None

    def holds(self, value: str) -> bool:
        """Return whether `value` is what NVML took last from us, or may have taken.

        A value that was refused is not held: a process without the permission has nothing to put back.
        """
        return self._alone or value in self._held

    def write(self, value: str) -> None:
        """Lock the clock or let it go, once `before_write` has taken note of it.

        Raises:
            ClockNotWritable: If this process may not, or the GPU cannot.
            ClockBusy: If it cannot now, for instance because the GPU is lost.
            ClockRefused: If the value is none, or NVML does not take it.
        """
        match = _RANGE.fullmatch(value)
        if value and match is None:
            raise ClockRefused(f"{self.key} takes two clocks in MHz, as in '975,975', or nothing; found {value!r}")
        if self.before_write is not None:
            self.before_write(self, value)
        try:
            self._set(match)
        except ClockBusy:
            self._held = (*self._held[-1:], value)
            raise
        self._held = (value,)

    def close(self) -> None:
        """Close what `open_knob` opened; the lock stays as it is."""
        if self._alone:
            self._library.close()

    def _set(self, match: re.Match[str] | None) -> None:
        if match is None:
            failure = f"the clock of {self._uuid} cannot be let go"
            self._library.set(failure, "nvmlDeviceResetGpuLockedClocks", self._handle)
            return
        low, high = int(match[1]), int(match[2])
        failure = f"the clock of {self._uuid} cannot be locked to {low} to {high} MHz"
        self._library.set(failure, "nvmlDeviceSetGpuLockedClocks", self._handle, low, high)


class NvmlDomain:
    """A GPU's graphics clock.

    Args:
        name: "gpu", or "gpu" with NVML's number of it where there are several.
        points_mhz: Its clocks, ascending.
        knob: Its lock.
        read_mhz: Reads the clock that runs.
    """

    how = "locked clocks"
    switch_latency_s = SWITCH_LATENCY_S
    """From the request to the new clock; work that is much shorter gains nothing from a change."""

    def __init__(self, name: str, points_mhz: Sequence[int], knob: NvmlKnob, read_mhz: Callable[[], int]) -> None:
        self._name = name
        self._points_hz = tuple(mhz * HZ_PER_MHZ for mhz in points_mhz)
        self._knob = knob
        self._read_mhz = read_mhz

    @property
    def name(self) -> str:
        """Name of the domain."""
        return self._name

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The lock."""
        return (self._knob,)

    @property
    def operating_points_hz(self) -> tuple[int, ...]:
        """Clocks that NVML lists at the fastest memory clock and below the GPU's maximum, ascending; at most 32."""
        return self._points_hz

    def read_hz(self) -> int:
        """Return the clock that we have locked it to, else the one that runs.

        Raises:
            DeviceError: If it cannot be read.
        """
        locked_mhz = self._knob.locked_mhz
        return (self._read_mhz() if locked_mhz is None else locked_mhz) * HZ_PER_MHZ

    def read_running_hz(self) -> int:
        """Return the clock that runs; it follows a lock some 20 ms later, and lies below it in heat.

        Raises:
            DeviceError: If it cannot be read.
        """
        return self._read_mhz() * HZ_PER_MHZ

    def set_hz(self, frequency_hz: int) -> Applied:
        """Lock the clock to the lowest operating point that is not below `frequency_hz`, or to the highest there is.

        It does not wait until the clock has settled: `verified_by` is "read back" if the clock that runs is already the
        one that was asked for, and else "accepted by NVML".

        Raises:
            ClockNotWritable: If this process may not, or the GPU cannot.
            ClockBusy: If it cannot now, for instance because the GPU is lost.
            ClockRefused: If NVML does not take the clock.
        """
        start_s = perf_counter()
        target_hz = self._points_hz[min(bisect_left(self._points_hz, frequency_hz), len(self._points_hz) - 1)]
        mhz = target_hz // HZ_PER_MHZ
        self._knob.write(f"{mhz},{mhz}")
        verified_by = "read back" if self._runs_at(mhz) else "accepted by NVML"
        return Applied(frequency_hz, target_hz, verified_by, perf_counter() - start_s)

    def _runs_at(self, mhz: int) -> bool:
        try:
            return self._read_mhz() == mhz
        except DeviceError:
            return False


def thin(points_mhz: Sequence[int]) -> tuple[int, ...]:
    """Return at most `MAX_POINTS` of the clocks, evenly taken from their list, with both ends."""
    if len(points_mhz) <= MAX_POINTS:
        return tuple(points_mhz)
    last = len(points_mhz) - 1
    return tuple(points_mhz[round(index * last / (MAX_POINTS - 1))] for index in range(MAX_POINTS))
