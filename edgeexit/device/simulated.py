"""A simulated board: answers come from the real network, time and energy from a device profile.

It has its own clock, which stands still until work is reported, a clock is changed or somebody waits. Its figures are
a model's: whoever shows them says "simulated".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeexit.clock import ManualClock
from edgeexit.device.costs import CostModel
from edgeexit.device.profile import DeviceProfile
from edgeexit.errors import DeviceError, ProfileError
from edgeexit.protocols import (
    Applied,
    ClockDomain,
    Conditions,
    CostTable,
    EnergySource,
    Knob,
    PowerMeter,
    Workload,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class SimulatedMeter:
    """Sums what the board has drawn since it was opened."""

    name = "simulated"
    source = EnergySource.SIMULATED
    min_window_s = 0.0

    def __init__(self) -> None:
        self._energy_j = 0.0

    def add_j(self, energy_j: float) -> None:
        """Count `energy_j` joules."""
        self._energy_j += energy_j

    def uncertainty_j(self, energy_j: float, duration_s: float) -> float | None:
        """Return None: how far the model is from a real board is not known."""
        return None

    def read_energy_j(self) -> float:
        """Return the simulated energy since the board was opened, in joules."""
        return self._energy_j


class SimulatedClock(ManualClock):
    """The board's time; while somebody waits on it the board is idle and draws idle power."""

    def __init__(self, meter: SimulatedMeter, idle_power_w: float) -> None:
        super().__init__()
        self._meter = meter
        self._idle_power_w = idle_power_w

    def sleep_s(self, duration_s: float) -> None:
        """Move forward by `duration_s` idle seconds; zero or less does nothing."""
        super().sleep_s(duration_s)
        if duration_s > 0.0:
            self._meter.add_j(self._idle_power_w * duration_s)


class SimulatedDomain:
    """A clock domain that takes what a kernel's userspace setspeed takes.

    A frequency between two operating points becomes the upper one, one outside the range its nearest end: that is what
    Linux 6.1 does with a table (RELATION_L, then clamped). A change costs the profile's switching time and energy,
    asking for the frequency that is set costs nothing.

    The domain starts at its lowest operating point, where an idle board's kernel governor leaves it.
    """

    knobs: tuple[Knob, ...] = ()
    """None: nothing outlives the process."""

    def __init__(
        self,
        name: str,
        frequencies_hz: tuple[int, ...],
        *,
        switch_latency_s: float,
        switch_energy_j: float,
        clock: ManualClock,
        meter: SimulatedMeter,
    ) -> None:
        self._name = name
        self._frequencies_hz = frequencies_hz
        self._switch_latency_s = switch_latency_s
        self._switch_energy_j = switch_energy_j
        self._clock = clock
        self._meter = meter
        self._hz = frequencies_hz[0]

    @property
    def name(self) -> str:
        """Name of the domain, for instance "gpu"."""
        return self._name

    @property
    def operating_points_hz(self) -> tuple[int, ...]:
        """The frequencies of the profile, ascending."""
        return self._frequencies_hz

    def read_hz(self) -> int:
        """Return the frequency that is set."""
        return self._hz

    def set_hz(self, frequency_hz: int) -> Applied:
        """Set the lowest operating point that is not below `frequency_hz`, or the highest there is."""
        points = self._frequencies_hz
        effective_hz = points[min(bisect_left(points, frequency_hz), len(points) - 1)]
        if effective_hz == self._hz:
            return Applied(frequency_hz, effective_hz, "simulated", 0.0)
        self._hz = effective_hz
        self._clock.advance_s(self._switch_latency_s)
        self._meter.add_j(self._switch_energy_j)
        return Applied(frequency_hz, effective_hz, "simulated", self._switch_latency_s)


class SimulatedDevice:
    """A board that exists as a profile only.

    Args:
        profile: The board.
        work_scale: Every multiply-accumulate counts as so many; see `edgeexit.device.costs.reference_scale`.

    Raises:
        OptionError: If `work_scale` is not finite or not above 0.
        ProfileError: If the profile has no model, or one without power.
    """

    simulated = True
    journal = None

    def __init__(self, profile: DeviceProfile, *, work_scale: float = 1.0) -> None:
        self._model = CostModel(profile, work_scale=work_scale)
        model = profile.require_model()
        if model.idle_power_w is None or model.switch_energy_j is None or not model.has_power:
            raise ProfileError(
                f"profile {profile.name!r} was measured without a meter: it has latencies but no power, so the board "
                "cannot be simulated; measure it again with a meter"
            )
        self._meter = SimulatedMeter()
        self._clock = SimulatedClock(self._meter, model.idle_power_w)
        self._domains = {
            name: SimulatedDomain(
                name,
                frequencies,
                switch_latency_s=model.switch_latency_s,
                switch_energy_j=model.switch_energy_j,
                clock=self._clock,
                meter=self._meter,
            )
            for name, frequencies in model.frequencies_hz().items()
        }

    @property
    def name(self) -> str:
        """Name to open it by, for instance "simulated:jetson-tx2"."""
        return f"simulated:{self._model.profile.name}"

    @property
    def profile(self) -> DeviceProfile:
        """The profile it is made from."""
        return self._model.profile

    @property
    def work_scale(self) -> float:
        """How many multiply-accumulates each one counts as."""
        return self._model.work_scale

    @property
    def domains(self) -> Mapping[str, ClockDomain]:
        """The profile's clock domains."""
        return self._domains

    @property
    def clock(self) -> SimulatedClock:
        """The board's own clock; it starts at 0."""
        return self._clock

    @property
    def meter(self) -> SimulatedMeter:
        """The simulated energy meter."""
        return self._meter

    @property
    def rails(self) -> Mapping[str, PowerMeter]:
        """None: only the whole board is simulated."""
        return {}

    def conditions(self) -> Conditions:
        """Return that nothing is known: heat and load are not simulated."""
        return Conditions()

    def modelled_costs(self, workload: Workload) -> CostTable:
        """Return the cost table of the model that this board runs by, so both agree."""
        return self._model.cost_table(workload)

    def work_done(self, macs: int) -> None:
        """Let the time and the energy pass that `macs` multiply-accumulates take at the clocks as they are.

        Raises:
            DeviceError: If `macs` is negative.
        """
        if macs < 0:
            raise DeviceError(f"work cannot be undone: {macs} multiply-accumulates")
        point = self._model.find_point({name: domain.read_hz() for name, domain in self._domains.items()})
        latency_s, energy_j = self._model.work(point, macs)
        self._clock.advance_s(latency_s)
        self._meter.add_j(energy_j or 0.0)

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
