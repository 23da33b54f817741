"""A bundle that is loaded: its session, who uses it, and how long it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.bundle import load_bundle
from edgeexit.bundle.costs import load_cost_table
from edgeexit.bundle.manifest import MANIFEST
from edgeexit.daemon.jobs import RunningMean
from edgeexit.registry import load_governor
from edgeexit.runtime.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from edgeexit.bundle import Bundle
    from edgeexit.daemon.settings import ServedBundle, ServiceSettings
    from edgeexit.protocols import Device, Governor
    from edgeexit.runtime.clocking import SetsClocks

Stamp = tuple[int, int, int]
"""Tells a bundle's folder from another at the same place: device, inode and time of change of its manifest."""


class Slot:
    """One loaded version of a model.

    Args:
        served: What it was loaded from.
        bundle: The bundle, checked.
        session: Runs it; only the engine's thread may call `infer`.

    Attributes:
        users: Requests that were handed over and not yet answered.
        pace: Seconds that the engine is busy with one sample.
    """

    def __init__(self, served: ServedBundle, bundle: Bundle, session: Session) -> None:
        self.served = served
        self.bundle = bundle
        self.session = session
        self.users = 0
        self.pace = RunningMean()

    @property
    def expected_s(self) -> float:
        """How long the engine will be busy with a sample; 0 if that is not known yet."""
        return self.pace.value or 0.0

    @property
    def least_s(self) -> float:
        """The least time that an answer takes: from the first exit at the highest clocks, if costs are known.

        Without them a session cannot tell when to answer early, and what was usual is the least.
        """
        table = self.session.cost_table
        if table is None:
            return self.expected_s
        return self.session.latency_guard * table.work(len(table.points) - 1, 0, 0).latency_s


def stamp_of(served: ServedBundle) -> Stamp | None:
    """Return what tells the bundle's folder from a later one; None for a bundle by name, or if there is none."""
    try:
        info = (Path(served.path) / MANIFEST).stat()
    except OSError:
        return None
    return (info.st_dev, info.st_ino, info.st_mtime_ns)


def make_governor(name: str | None, options: Mapping[str, Any]) -> Governor | None:
    """Return the governor of that name; None for None and for "none".

    Raises:
        PluginNotFound: If there is none.
        OptionError: If it does not take an option.
    """
    return None if name in (None, "none") else load_governor(str(name), **options)


def open_slot(served: ServedBundle, settings: ServiceSettings, device: Device, hold: SetsClocks) -> Slot:
    """Load a bundle and get it ready to answer; takes a second or more.

    Raises:
        BundleError: If it is damaged, or there is none.
        EngineError: If ONNX Runtime refuses it.
        OptionError: If the bundle has no such setting.
        CostTableError: If the cost table is of another bundle.
    """
    bundle = load_bundle(served.path)
    session = Session(
        bundle,
        device,
        make_governor(settings.governor, settings.governor_options),
        exit_rule=served.exit_rule,
        allowed_drop=served.allowed_drop,
        threads=served.threads,
        shadow=served.shadow,
        cost_table=None if served.cost_file is None else load_cost_table(served.cost_file, bundle),
        cache_dir=settings.cache_dir,
        lease=hold,
    )
    return Slot(served, bundle, session)
