"""Measure what a bundle costs on a board, at each of its operating points.

Clocks are pinned through the lease, one point after the other; what is found goes into the bundle's cost table and
into a device profile. Whatever the board lacks is done without, and said: without a meter there are latencies alone,
without clocks that can be set there is one point, the clocks as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from edgeexit import __version__
from edgeexit.bundle.costs import CostProvenance, LeftOut, SwitchRecord, save_cost_table
from edgeexit.device import Lease
from edgeexit.device.profile import COSTS_SUFFIX, save_profile
from edgeexit.errors import ClocksUnavailable, DeviceError, OptionError
from edgeexit.offline.measure_bench import Bench
from edgeexit.offline.measure_files import PartialFile
from edgeexit.offline.measure_notes import clocks_text, make_notes
from edgeexit.offline.measure_plan import Plan, plan_points, slowest_first
from edgeexit.offline.measure_point import Measured, PointMeter, Tell
from edgeexit.offline.measure_profile import make_profile, profile_name
from edgeexit.offline.measure_switch import SwitchCost, SwitchMeter
from edgeexit.protocols import CostTable

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.protocols import ClockDomain, Device

SECONDS_PER_POINT: Final = 5.0
SWITCH_TIME: Final = 0.5
"""Time for measuring switches, in parts of a point's."""

LOAD_SETTLES_S: Final = 2.2
"""Conditions are read once a second: after so long they are of a second in which nothing of ours has run."""

Progress = Callable[[str, float], None]
"""Is told what is being done, and how much of all is done: 0 to 1."""


@runtime_checkable
class _HasKernelGovernor(Protocol):
    def read_kernel_governor(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found, and where it was written to."""

    table: CostTable
    provenance: CostProvenance
    cost_path: Path
    profile_path: Path

    @property
    def cheapest(self) -> int | None:
        """Index of the point where the whole network costs least energy; None if no energy is known."""
        points = self.provenance.points
        energies = [(p.whole_energy_j.median, i) for i, p in enumerate(points) if p.whole_energy_j is not None]
        return min(energies)[1] if len(energies) == len(points) else None

    @property
    def quickest(self) -> int:
        """Index of the point where the whole network takes least time."""
        points = self.provenance.points
        return min(range(len(points)), key=lambda index: points[index].whole_latency_s.median)


def measure_device(
    bundle: Bundle,
    device: Device,
    folder: Path,
    *,
    threads: int = 1,
    providers: Sequence[str] | None = None,
    optimise: bool = True,
    cache_dir: Path | None = None,
    seconds_per_point: float = SECONDS_PER_POINT,
    points: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Measurement:
    """Measure a bundle on a board, and write the board's profile and the bundle's cost table.

    Points that are finished are kept in a file beside the output: if this is interrupted, calling it again with the
    same settings goes on from there. The clocks are given back at the end, also after an interrupt.

    Args:
        bundle: The network. An input size that is left open counts as 1.
        device: The board; the caller closes it.
        folder: Where to write; it is made if need be.
        threads: For ONNX Runtime in all.
        providers: ONNX Runtime's execution providers; the CPU by default.
        optimise: Optimise the whole graph on this device first, as a session does.
        cache_dir: Folder for optimised pieces; by default that of every session.
        seconds_per_point: Time for each operating point; a meter that needs long windows makes it longer.
        points: Take so many frequencies of each clock domain; None takes all.
        fresh: Forget what an interrupted measurement has found.
        progress: Called now and then.
        tell: Called with a line of text when there is something to say at once: what an interrupted measurement had
            finished, and what becomes of this one when it is interrupted.

    Raises:
        DeviceError: If every point had to be left out.
        EngineError: If ONNX Runtime refuses the bundle.
        OptionError: If an option is out of range, or an unfinished measurement in `folder` has other settings.
        OSError: If `folder` cannot be written to.
    """
    if not 0.0 < seconds_per_point < 3600.0:
        raise OptionError(f"the seconds for a point must be above 0 and below an hour, not {seconds_per_point}")
    bench = Bench(bundle, device, threads=threads, providers=providers, optimise=optimise, cache_dir=cache_dir)
    domains, notes = _settable(device)
    plan = plan_points({name: domain.operating_points_hz for name, domain in domains.items()}, points)
    settings = {
        "bundle": bundle.digest,
        "board": device.name,
        "meter": None if device.meter is None else device.meter.name,
        "edgeexit": __version__,
        "engine": _engine(),
        "providers": list(bench.providers),
        "threads": threads,
        "optimised": bench.optimised,
        "seconds_per_point": seconds_per_point,
        "points": [dict(clocks) for clocks in plan.points],
    }
    partial = _open_partial(folder, bundle, device, settings, fresh=fresh)
    run = _Run(bench, domains, plan, partial, seconds_per_point, progress)
    governors = _kernel_governors(domains or device.domains)
    with _telling(partial, plan, tell, pinned=bool(domains), fresh=fresh):
        run.run()
    measured, table = run.table(bundle)
    records = tuple(each.record for each in measured)
    notes += make_notes(bundle, device, plan, records, pinned=bool(domains))
    provenance = CostProvenance(
        bundle=bundle.name,
        bundle_digest=bundle.digest,
        board=device.name,
        simulated=device.simulated,
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        edgeexit_version=__version__,
        engine=_engine(),
        providers=bench.providers,
        threads=threads,
        optimised=bench.optimised,
        meter=None if device.meter is None else device.meter.name,
        energy_source=None if device.meter is None else device.meter.source,
        kernel_governors=governors,
        switch=run.switch.record,
        points=records,
        left_out=tuple(run.left_out),
        notes=(*notes, *([run.problem] if run.problem else [])),
    )
    profile_path, cost_path = folder / f"{profile_name(device)}.json", folder / f"{bundle.name}{COSTS_SUFFIX}"
    save_cost_table(cost_path, table, provenance)
    save_profile(make_profile(bundle, device, table, provenance, measured), profile_path)
    partial.remove()
    return Measurement(table, provenance, cost_path, profile_path)


def _open_partial(
    folder: Path, bundle: Bundle, device: Device, settings: Mapping[str, Any], *, fresh: bool
) -> PartialFile:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{profile_name(device)}.{bundle.name}.partial.json"
    partial = PartialFile(path, settings, segments=len(bundle.segments), heads=bundle.exit_count)
    if fresh:
        partial.remove()
    partial.read()
    return partial


@contextmanager
def _telling(
    partial: PartialFile, plan: Plan, tell: Callable[[str], None] | None, *, pinned: bool, fresh: bool
) -> Iterator[None]:
    """Tell what was taken over, and after an interrupt how it stands; by then the clocks are given back."""
    say = (lambda text: None) if tell is None else tell
    if partial.finished:
        say(f"taken over from {partial.path}, finished before: {_finished(partial, plan)}")
    try:
        yield
    except Exception:
        raise
    except BaseException:
        clocks = "the clocks are given back; " if pinned else ""
        again = f"the same command{' without --fresh' if fresh else ''} goes on from there"
        kept = f"finished and kept: {_finished(partial, plan)}; {again}"
        say(clocks + (kept if partial.finished else "no operating point was finished, so none is kept"))
        raise


def _finished(partial: PartialFile, plan: Plan) -> str:
    return f"{len(partial.finished)} of {len(plan.points)} operating points"


class _Run:
    """Goes through the plan, and keeps what it finds."""

    def __init__(
        self,
        bench: Bench,
        domains: Mapping[str, ClockDomain],
        plan: Plan,
        partial: PartialFile,
        seconds: float,
        progress: Progress | None,
    ) -> None:
        self._bench = bench
        self._domains = domains
        self._plan = plan
        self._partial = partial
        self._seconds = seconds
        self._progress = progress
        self.left_out: list[LeftOut] = []
        meter = bench.device.meter
        self.switch = SwitchCost(0.0, None if meter is None else 0.0, SwitchRecord(None, None, None))
        self.problem = ""
        """What went wrong on the way without ending it."""

    def run(self) -> None:
        """Measure every point that is not finished yet, then switches; the clocks are given back whatever happens."""
        with ExitStack() as stack:
            lease = None
            if self._domains:
                lease = stack.enter_context(Lease(self._domains, journal=self._bench.device.journal))
            meter = PointMeter(self._bench, lease, self._seconds, self._other_load())
            for index, clocks in enumerate(self._plan.points):
                if self._partial.find(clocks) is None:
                    self._take(meter.measure(clocks, self._tell(index, clocks_text(clocks))))
            if lease is not None and self._partial.finished:
                self._tell(len(self._plan.points), "switches")("", 0.0)
                self._measure_switch(lease)
        if not self._partial.finished:
            reasons = "; ".join(f"{clocks_text(each.clocks)}: {each.reason}" for each in self.left_out)
            raise DeviceError(f"no operating point could be measured: {reasons}")

    def table(self, bundle: Bundle) -> tuple[list[Measured], CostTable]:
        """Return what was measured, from the slowest to the fastest point, and the cost table of it."""
        found = self._partial.finished
        order = slowest_first([(each.record.costs.clocks, each.record.whole_latency_s.median) for each in found])
        measured = [found[index] for index in order]
        table = CostTable(
            points=tuple(each.record.costs for each in measured),
            exit_segments=bundle.workload.exit_segments,
            switch_latency_s=self.switch.latency_s,
            switch_energy_j=self.switch.energy_j,
            source="measured",
        )
        return measured, table

    def _other_load(self) -> float | None:
        """Wait a little, and return how busy the machine is without us; None if that is not known or takes too long."""
        device = self._bench.device
        if device.simulated or self._seconds < LOAD_SETTLES_S:
            return None
        device.conditions()
        device.clock.sleep_s(LOAD_SETTLES_S)
        return device.conditions().cpu_load

    def _take(self, found: Measured | LeftOut) -> None:
        if isinstance(found, LeftOut):
            self.left_out.append(found)
        else:
            self._partial.add(found)

    def _measure_switch(self, lease: Lease) -> None:
        records = [each.record for each in self._partial.finished]
        order = slowest_first([(record.costs.clocks, record.whole_latency_s.median) for record in records])
        low, high = records[order[0]], records[order[-1]]
        found = None
        if low is not high:
            found = SwitchMeter(self._bench, lease, low, high, SWITCH_TIME * self._seconds).measure()
            self.problem = "" if found else "The cost of a switch could not be measured, and counts as nothing."
        if found is not None:
            self.switch = found

    def _tell(self, index: int, title: str) -> Tell:
        steps = len(self._plan.points) + SWITCH_TIME

        def tell(what: str, done: float) -> None:
            if self._progress is not None:
                self._progress(f"{title} {what}".strip(), min(1.0, (index + done) / steps))

        return tell


def _settable(device: Device) -> tuple[dict[str, ClockDomain], list[str]]:
    """Return the clock domains that can be set, found by setting each to what it is at, and why the others cannot."""
    settable: dict[str, ClockDomain] = {}
    notes = []
    for name, domain in device.domains.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ClocksUnavailable)
            with Lease({name: domain}, journal=device.journal) as trial:
                applied = trial.set({name: domain.read_hz()})
        if applied:
            settable[name] = domain
        else:
            why = "; ".join(str(each.message) for each in caught) or "it is busy, or does not take its own value"
            notes.append(f"Clock {name} is left as it is: {why}.")
    return settable, notes


def _kernel_governors(domains: Mapping[str, ClockDomain]) -> dict[str, str]:
    found = {
        name: domain.read_kernel_governor()
        for name, domain in domains.items()
        if isinstance(domain, _HasKernelGovernor)
    }
    return {name: governor for name, governor in found.items() if governor}


def _engine() -> str:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return f"onnxruntime {version(name)}"
        except PackageNotFoundError:
            continue
    return "onnxruntime of unknown version"
