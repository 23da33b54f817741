"""The energy counter of an NVIDIA GPU."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Final

from edgeexit.errors import DeviceError
from edgeexit.protocols import EnergySource

UPDATE_S: Final = 0.1
"""Longest time between two updates of energy and power: published are about 10 ms (gpuopenanalytics/pynvml #18), and 20
to 100 ms for newer GPUs (PETSc manual, PetscLogGpuEnergyMeter)."""
WINDOW_UPDATES: Final = 10
RELATIVE_ERROR: Final = 0.05
"""nvml.h gives +-5 % of the present draw, for Fermi and Kepler only; later GPUs have no figure, and A100 and H100 look
at a quarter of the time (arXiv 2312.02741), so work that comes in bursts may be further off."""


class NvmlMeter:
    """A GPU's energy counter (Volta and later), of the whole card with its memory.

    Args:
        name: What is metered and how, for instance "gpu (NVML)".
        read_mj: Reads the counter: millijoules since the driver was loaded.
    """

    source = EnergySource.COUNTER
    min_window_s = WINDOW_UPDATES * UPDATE_S
    """Ten updates at the slowest rate that was published."""

    def __init__(self, name: str, read_mj: Callable[[], int]) -> None:
        self._name = name
        self._read_mj = read_mj
        self._lock = threading.Lock()
        self._last_mj: int | None = None
        self._sum_mj = 0

    @property
    def name(self) -> str:
        """What is metered and how."""
        return self._name

    def uncertainty_j(self, energy_j: float, duration_s: float) -> float | None:
        """Return the standard deviation of the energy of a stretch, in joules; None if the stretch has no length.

        Two parts, taken as independent: the sensor's `RELATIVE_ERROR`, and the two ends of the stretch, each seen up to
        one update T late: uniform within P T for the mean power P = E / d, and so of variance (P T)^2 / 12 (JCGM
        100:2008, 4.3.7).

            u = sqrt((relative_error E)^2 + (P T)^2 / 6)
        """
        if duration_s <= 0.0:
            return None
        return math.hypot(RELATIVE_ERROR * energy_j, energy_j / duration_s * UPDATE_S / math.sqrt(6.0))

    def read_energy_j(self) -> float | None:
        """Return the energy since the first call, in joules; None if it cannot be read, or was just set back."""
        with self._lock:
            try:
                now_mj = self._read_mj()
            except DeviceError:
                return None
            last_mj, self._last_mj = self._last_mj, now_mj
            if last_mj is not None and now_mj < last_mj:
                return None
            self._sum_mj += 0 if last_mj is None else now_mj - last_mj
            return self._sum_mj / 1000.0
