"""What the demo finds out: one record a policy, and the report that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeexit.protocols import Clocks


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What one policy gave, as means over the images. Shares are parts of 1; exits count from 0."""

    setting: str
    """Name of the exit setting; "last" is the whole network."""
    governor: str
    clocks_hz: Clocks | None
    """The operating point of governor "fixed"; None for the others."""
    is_bound: bool
    """True for figures that no policy can reach, because they need to know the answers in advance."""
    accuracy: float
    mean_exit: float
    exits_looked_at: float
    macs_share: float
    """Work with heads, in parts of the whole network with its last head alone."""
    simulated_latency_s: float
    missed_share: float
    """Images answered after the deadline."""
    simulated_energy_j: float
    """Of a whole period: from an image to the deadline, or to the answer if that is later."""
    relative_energy: float
    """In parts of the first policy's."""
    exit_counts: tuple[int, ...]
    """How many images each exit answered."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a policy gave with exits calibrated for one allowed drop, as means over the images."""

    allowed_drop: float
    """In percentage points."""
    accuracy: float
    mean_exit: float
    macs_share: float
    missed_share: float
    simulated_energy_j: float


@dataclass(frozen=True, slots=True)
class PolicyCurve:
    """One policy with exits calibrated for several allowed drops, from the smallest on: its trade-off."""

    setting: str
    governor: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The policies side by side, and what they were compared on."""

    edgeexit_version: str
    onnxruntime_version: str
    bundle: str
    bundle_digest: str
    exit_count: int
    images: int
    board: str
    board_title: str
    board_provenance: Mapping[str, str]
    reference_workload: str
    work_scale: float
    """How many multiply-accumulates each one counts as on the simulated board."""
    work_scale_is_reference: bool
    """True if the whole network was made to cost as much as one frame of the reference workload."""
    deadline_factor: float
    deadline_s: float
    allowed_drop: float
    policies: tuple[PolicyResult, ...]
    left_out: Mapping[str, str]
    """Exit settings that the bundle does not have, and why."""
    findings: tuple[str, ...]
    """What the figures say, in plain sentences."""
    curves: tuple[PolicyCurve, ...] = ()
    """What allowing another drop would give; empty where nobody asked."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return asdict(self)


SETTING_TITLES = {"last": "full network", "thresholds": "per-exit thresholds", "oracle": "oracle exit (bound)"}
"""How exit settings are called where people read; the others by their own names."""


def setting_title(result: PolicyResult) -> str:
    """Return how people call the exit setting."""
    return SETTING_TITLES.get(result.setting, result.setting)


def governor_title(result: PolicyResult) -> str:
    """Return how people call the way the clocks are chosen."""
    if result.clocks_hz is None:
        return result.governor
    return f"fixed {', '.join(f'{hz / 1e6:g}' for hz in result.clocks_hz.values())} MHz"


def scale_title(report: DemoReport) -> str:
    """Return how many multiply-accumulates each one counts as."""
    scale = report.work_scale
    return f"{scale:,.0f}" if scale >= 1000.0 else f"{scale:.4g}"
