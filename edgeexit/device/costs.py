"""What work costs on a board, predicted from its profile: the one model behind cost tables and simulated boards.

The profile says how many frames of a reference workload a board does in a second and what it draws meanwhile, at each
operating point. The model takes a board's speed in multiply-accumulates (MACs) as the same for every network::

    rate      = reference_macs * reference_frames_per_s     [MAC/s]
    latency   = macs * work_scale / rate                    [s]
    energy    = input_power * latency                       [J]

That is coarse: a network with a different share of memory traffic scales otherwise. Hence "modelled" on every figure.
A profile that was measured without a meter gives latencies only: every energy is None.
"""

from __future__ import annotations

import math

from edgeexit.device.profile import DeviceProfile
from edgeexit.errors import DeviceError, OptionError
from edgeexit.protocols import Clocks, CostTable, PointCosts, Work, Workload


class CostModel:
    """Predicts latency and energy from a device profile.

    Args:
        profile: The board.
        work_scale: Every multiply-accumulate counts as so many. With `reference_scale` a small network stands for one
            of the size that the profile's figures are for.

    Raises:
        OptionError: If `work_scale` is not finite or not above 0.
        ProfileError: If the profile has no model.
    """

    def __init__(self, profile: DeviceProfile, *, work_scale: float = 1.0) -> None:
        if not (math.isfinite(work_scale) and work_scale > 0.0):
            raise OptionError(f"work_scale must be finite and above 0, not {work_scale}")
        self.profile = profile
        self.work_scale = float(work_scale)
        self._model = profile.require_model()
        points = self._model.operating_points
        self._names = tuple(points[0].clocks)
        self._indexes = {tuple(point.clocks.values()): index for index, point in enumerate(points)}
        self._rates = tuple(self._model.reference_macs * point.reference_frames_per_s for point in points)

    def find_point(self, clocks: Clocks) -> int:
        """Return the index of the operating point with these clocks.

        Raises:
            DeviceError: If the profile has none.
        """
        try:
            return self._indexes[tuple(clocks[name] for name in self._names)]
        except KeyError as error:
            raise DeviceError(f"profile {self.profile.name!r} has no operating point {dict(clocks)}") from error

    def work(self, point: int, macs: int) -> Work:
        """Return latency and energy (None if its power is not known) of `macs` multiply-accumulates at `point`."""
        latency_s = macs * self.work_scale / self._rates[point]
        power_w = self._model.operating_points[point].input_power_w
        return Work(latency_s, None if power_w is None else power_w * latency_s)

    def cost_table(self, workload: Workload) -> CostTable:
        """Return the predicted cost table of a bundle; its source is "modelled"."""
        points = tuple(self._point_costs(index, workload) for index in range(len(self._rates)))
        model = self._model
        return CostTable(
            points, workload.exit_segments, model.switch_latency_s, model.switch_energy_j, source="modelled"
        )

    def _point_costs(self, point: int, workload: Workload) -> PointCosts:
        segments = [self.work(point, macs) for macs in workload.segment_macs]
        heads = [self.work(point, macs) for macs in workload.head_macs]
        return PointCosts(
            clocks=self._model.operating_points[point].clocks,
            idle_power_w=self._model.idle_power_w,
            segment_latency_s=tuple(work.latency_s for work in segments),
            segment_energy_j=_energies_j(segments),
            head_latency_s=tuple(work.latency_s for work in heads),
            head_energy_j=_energies_j(heads),
        )


def _energies_j(works: list[Work]) -> tuple[float, ...] | None:
    """Return the energies, or None if one is not known."""
    energies_j = tuple(work.energy_j for work in works if work.energy_j is not None)
    return energies_j if len(energies_j) == len(works) else None


def reference_scale(profile: DeviceProfile, workload: Workload) -> float:
    """Return the `work_scale` at which a whole network costs as much as one frame of the reference workload.

    The whole network is all segments and the last head. Whoever uses it has to say so beside the figures.

    Raises:
        OptionError: If the workload holds no work.
        ProfileError: If the profile has no model.
    """
    macs = sum(workload.segment_macs) + workload.head_macs[-1]
    if macs <= 0:
        raise OptionError("a workload without multiply-accumulates cannot be scaled")
    return profile.require_model().reference_macs / macs
