"""What a service is told: the bundles to serve, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FIRST_VERSION: Final = "1"
CLOCKD_SOCKET: Final = Path("/run/edgeexit/clockd.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBundle:
    """One version of a model.

    Attributes:
        name: What clients call it.
        path: Folder of the bundle, or the name of one that ships with edgeexit.
        version: A whole number as text; a client that names none gets the highest.
        exit_rule: One of the bundle's calibrated settings for requests that name none; None takes the recommended one.
        allowed_drop: Accuracy that it may cost, in points; None as in `Session`.
        threads: Threads for ONNX Runtime.
        max_batch: So many waiting requests may run as one batch; 1 runs one after the other.
        shadow: Share of early answers that are run to the end in idle time; None checks none.
        cost_file: Cost table from `edgeexit measure` for the device; None takes what the device's profile predicts.
    """

    name: str
    path: str
    version: str = FIRST_VERSION
    exit_rule: str | None = None
    allowed_drop: float | None = None
    threads: int = 1
    max_batch: int = 1
    shadow: float | None = None
    cost_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How they are served.

    Attributes:
        device: As for `edgeexit.open_device`.
        work_scale: As for `edgeexit.open_device`: only for a simulated board.
        governor: Name of the governor; None leaves the clocks alone.
        governor_options: For its factory.
        latency_budget_s: Time until an answer is due where the request does not say; None: no deadline.
        queue_limit: So many requests may wait; one more is refused.
        clockd_socket: Where `edgeexit clockd` listens; None never sets a clock of a real board.
        watch_s: How often the bundles' folders are looked at for a new version of them; None never.
        cache_dir: Folder for optimised pieces; by default that of `Session`.
    """

    device: str | None = None
    work_scale: float = 1.0
    governor: str | None = "plan"
    governor_options: Mapping[str, Any] = field(default_factory=dict)
    latency_budget_s: float | None = None
    queue_limit: int = 64
    clockd_socket: Path | None = CLOCKD_SOCKET
    watch_s: float | None = 2.0
    cache_dir: Path | None = None
