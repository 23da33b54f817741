"""Device profiles: what is known of a board, as data in a JSON file.

One file says how to recognise a board, which clocks it has and which power rails sum to its input; and, where somebody
measured it or worked it out, what it does and draws at each operating point. A new board is such a file and no code.

A profile is read strictly, so that a slip of the pen in a file does not become a wrong figure in a report: an unknown
or missing key, a wrong type or an impossible value is refused, and the error names the file and the key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

from edgeexit.beside import write_beside
from edgeexit.device.strict import Section, read_section
from edgeexit.errors import DeviceNotFound, ProfileError
from edgeexit.protocols import Clocks

FORMAT = 1
"""The profile format that this version reads and writes."""
COSTS_SUFFIX = ".costs.json"
"""How `edgeexit measure` ends the names of the cost tables that it writes beside a profile."""
CLOCK_KINDS: Final = ("cpufreq", "devfreq", "nvml")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ClockSpec:
    """How a clock domain of a board is found."""

    kind: str
    """"cpufreq", "devfreq" or "nvml"."""
    nodes: tuple[str, ...] = ()
    """For devfreq: shell patterns of the node's name, for instance "*.ga10b"; empty means every known GPU node."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a board does and draws at one setting of its clocks while the reference workload keeps it busy."""

    clocks: Clocks
    input_power_w: float | None
    """Everything the board or module draws; None if it was measured without a meter."""
    rail_power_w: Mapping[str, float]
    """Its parts, as far as they were metered."""
    reference_frames_per_s: float


@dataclass(frozen=True, slots=True)
class PowerModel:
    """What a board does and draws at each of its operating points."""

    reference_name: str
    reference_macs: int
    """Multiply-accumulates of one frame of the reference workload."""
    idle_power_w: float | None
    switch_latency_s: float
    switch_energy_j: float | None
    """All that the board draws while it changes a clock once."""
    operating_points: tuple[OperatingPoint, ...]
    """Ascending; one for each combination of the domains' frequencies."""
    idle_rail_power_w: Mapping[str, float] = field(default_factory=dict)
    """What is known of the rails' shares of `idle_power_w`, by the same names as in the points' `rail_power_w`."""

    @property
    def has_power(self) -> bool:
        """True if every power and energy is known, False if it was measured without a meter."""
        known = (self.idle_power_w, self.switch_energy_j, *(p.input_power_w for p in self.operating_points))
        return None not in known

    def frequencies_hz(self) -> dict[str, tuple[int, ...]]:
        """Return each clock domain's frequencies, ascending."""
        names = self.operating_points[0].clocks
        return {name: tuple(sorted({p.clocks[name] for p in self.operating_points})) for name in names}


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """One board as its JSON file describes it."""

    name: str
    title: str
    provenance: Mapping[str, str]
    """For each group of figures: who measured it, or that it is modelled or an assumption, and how."""
    match: tuple[str, ...] = ()
    """"compatible" texts of the device tree that tell the board, the best first; empty: it is chosen by name only."""
    clocks: Mapping[str, ClockSpec] = field(default_factory=dict)
    """Clock domains by name; "cpu" stands also for "cpu0", "cpu4"... where the cores have several, "gpu" likewise."""
    total_rails: tuple[str, ...] = ()
    """The power rails that sum to the input of the board or module, for instance ("VDD_IN",)."""
    notes: tuple[str, ...] = ()
    """What its user should know."""
    model: PowerModel | None = None

    def require_model(self) -> PowerModel:
        """Return the model.

        Raises:
            ProfileError: If the profile has none.
        """
        if self.model is None:
            raise ProfileError(
                f"profile {self.name!r} says how to drive this board, not what it costs, so the board cannot be "
                "simulated: choose a profile with a model, or measure the board with 'edgeexit measure'"
            )
        return self.model


def default_roots() -> tuple[Path, ...]:
    """Return the folders searched for profiles: the packaged ones, the machine's, those of $EDGEEXIT_PROFILES.

    By name the first folder that has it wins, so a packaged profile cannot be replaced unnoticed: give a changed copy
    a name of its own. To detect a board the search runs the other way round, see `edgeexit.device.detect`.
    """
    return (Path(str(files("edgeexit.profiles"))), Path("/etc/edgeexit/profiles"), *environment_roots())


def environment_roots() -> tuple[Path, ...]:
    """Return the folders that $EDGEEXIT_PROFILES names, whether they are there or not."""
    named = os.environ.get("EDGEEXIT_PROFILES", "")
    return tuple(Path(entry) for entry in named.split(os.pathsep) if entry)


def list_profiles(roots: Sequence[Path] | None = None) -> tuple[str, ...]:
    """List the names of the profiles found in `roots` (default: `default_roots`), sorted."""
    searched = default_roots() if roots is None else roots
    return tuple(sorted({path.stem for root in searched for path in profile_files(root) if is_file(path)}))


def profile_files(root: Path) -> list[Path]:
    """Return what should be profiles in a folder, sorted, also what is no file; cost tables may lie beside them."""
    return sorted(path for path in root.glob("*.json") if not path.name.endswith(COSTS_SUFFIX))


def is_file(path: Path) -> bool:
    """Return whether a file is there: no folder, no link to nowhere, nothing that this user may not look at."""
    try:
        return path.is_file()
    except OSError:
        return False


def load_profile(name_or_path: str | Path, *, roots: Sequence[Path] | None = None) -> DeviceProfile:
    """Load a device profile.

    Args:
        name_or_path: A name such as "jetson-tx2", looked for in `roots`, or the path of a JSON file.
        roots: Folders to search, the first that has the name wins; `default_roots` if None.

    Raises:
        DeviceNotFound: If there is no such profile.
        ProfileError: If the file is damaged or holds unknown, missing or impossible values.
    """
    return _profile(read_section(_find(name_or_path, default_roots() if roots is None else roots)))


def save_profile(profile: DeviceProfile, path: Path) -> None:
    """Write a device profile as JSON: beside the old file, then in its place, so that a reader sees one or the other.

    Raises:
        ProfileError: If the profile holds what `load_profile` would refuse, or the file cannot be written.
    """
    text = profile_text(profile)
    _profile(Section(path, "", json.loads(text)))
    try:
        write_beside(path, text.encode())
    except OSError as error:
        raise ProfileError(f"profile {path} cannot be written: {error.strerror or error}") from error


def profile_text(profile: DeviceProfile) -> str:
    """Return a profile as JSON text, one operating point a line."""
    return _pretty(_document(profile), 0) + "\n"


def _pretty(value: object, depth: int) -> str:
    line = json.dumps(value)
    short = depth > 0 and len(line) <= 100
    if not value or not isinstance(value, (dict, list)) or short or depth >= 3:
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_pretty(item, depth + 1)}" for key, item in value.items()]
    else:
        parts = [_pretty(item, depth + 1) for item in value]
    ends = "{}" if isinstance(value, dict) else "[]"
    inner = ",\n".join("  " * (depth + 1) + part for part in parts)
    return f"{ends[0]}\n{inner}\n{'  ' * depth}{ends[1]}"


def _document(profile: DeviceProfile) -> dict[str, Any]:
    model = profile.model
    return {
        "format": FORMAT,
        "name": profile.name,
        "title": profile.title,
        "match": list(profile.match),
        "clocks": {name: _clock_document(clock) for name, clock in profile.clocks.items()},
        "total_rails": list(profile.total_rails),
        "notes": list(profile.notes),
        "provenance": dict(profile.provenance),
        "model": None
        if model is None
        else {
            "reference_workload": {"name": model.reference_name, "macs": model.reference_macs},
            "idle_power_w": model.idle_power_w,
            **({"idle_rail_power_w": dict(model.idle_rail_power_w)} if model.idle_rail_power_w else {}),
            "switch_latency_s": model.switch_latency_s,
            "switch_energy_j": model.switch_energy_j,
            "operating_points": [_point_document(point) for point in model.operating_points],
        },
    }


def _clock_document(clock: ClockSpec) -> dict[str, Any]:
    return {"kind": clock.kind, **({"nodes": list(clock.nodes)} if clock.nodes else {})}


def _point_document(point: OperatingPoint) -> dict[str, Any]:
    return {
        "clocks_hz": dict(point.clocks),
        "input_power_w": point.input_power_w,
        "rail_power_w": dict(point.rail_power_w),
        "reference_frames_per_s": point.reference_frames_per_s,
    }


def _find(name_or_path: str | Path, roots: Sequence[Path]) -> Path:
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in name or name.endswith(".json"):
        candidates = [Path(name_or_path)]
    else:
        candidates = [root / f"{name}.json" for root in roots]
    for path in candidates:
        if is_file(path):
            return path
    known = ", ".join(list_profiles(roots)) or "none"
    raise DeviceNotFound(f"no device profile {name!r}; there are: {known}; or give the path of a JSON file")


def _profile(section: Section) -> DeviceProfile:
    section.require_keys("format", "name", "title", "match", "clocks", "total_rails", "notes", "provenance", "model")
    if section.whole("format") != FORMAT:
        raise section.error("format", f"this version reads format {FORMAT}")
    provenance = section.section("provenance")
    clocks = _clocks(section.section("clocks"))
    return DeviceProfile(
        name=_name(section, "name"),
        title=section.text("title"),
        provenance={key: provenance.text(key) for key in provenance},
        match=section.texts("match"),
        clocks=clocks,
        total_rails=section.texts("total_rails"),
        notes=section.texts("notes"),
        model=None if section.is_null("model") else _model(section.section("model"), clocks),
    )


def _name(section: Section, key: str) -> str:
    name = section.text(key)
    if not _NAME.fullmatch(name):
        raise section.error(key, f"must be of small letters, digits and - _ ., at most 64, found {name!r}")
    return name


def _clocks(section: Section) -> dict[str, ClockSpec]:
    return {name: _clock(section.section(name)) for name in section}


def _clock(section: Section) -> ClockSpec:
    section.require_keys("kind", optional=("nodes",))
    kind = section.text("kind")
    if kind not in CLOCK_KINDS:
        raise section.error("kind", f"must be one of {', '.join(CLOCK_KINDS)}, found {kind!r}")
    nodes = section.texts("nodes")
    if nodes and kind != "devfreq":
        raise section.error("nodes", f"is for devfreq only, this clock is of kind {kind!r}")
    return ClockSpec(kind, nodes)


def _model(section: Section, clocks: Mapping[str, ClockSpec]) -> PowerModel:
    required = ("reference_workload", "idle_power_w", "switch_latency_s", "switch_energy_j", "operating_points")
    section.require_keys(*required, optional=("idle_rail_power_w",))
    reference = section.section("reference_workload")
    reference.require_keys("name", "macs")
    points = tuple(_point(entry) for entry in section.sections("operating_points"))
    _require_ascending_grid(section, points)
    _require_known_clocks(section, points, clocks)
    return PowerModel(
        reference_name=reference.text("name"),
        reference_macs=reference.whole("macs", least=1),
        idle_power_w=section.number_or_none("idle_power_w"),
        switch_latency_s=section.number("switch_latency_s"),
        switch_energy_j=section.number_or_none("switch_energy_j"),
        operating_points=points,
        idle_rail_power_w=_idle_rails(section) if "idle_rail_power_w" in section else {},
    )


def _idle_rails(section: Section) -> dict[str, float]:
    rails = section.section("idle_rail_power_w")
    return {name: rails.number(name) for name in rails}


def _point(section: Section) -> OperatingPoint:
    section.require_keys("clocks_hz", "input_power_w", "rail_power_w", "reference_frames_per_s")
    clocks = section.section("clocks_hz")
    rails = section.section("rail_power_w")
    rate = section.number("reference_frames_per_s")
    if rate <= 0.0:
        raise section.error("reference_frames_per_s", "must be above 0")
    return OperatingPoint(
        clocks={name: clocks.whole(name, least=1) for name in clocks},
        input_power_w=section.number_or_none("input_power_w"),
        rail_power_w={name: rails.number(name) for name in rails},
        reference_frames_per_s=rate,
    )


def _require_ascending_grid(section: Section, points: tuple[OperatingPoint, ...]) -> None:
    key = "operating_points"
    if not points:
        raise section.error(key, "needs at least one point")
    names = tuple(points[0].clocks)
    if any(tuple(point.clocks) != names for point in points):
        raise section.error(key, f"every point must give the same clocks in the same order: {', '.join(names)}")
    settings = [tuple(point.clocks.values()) for point in points]
    if any(earlier >= later for earlier, later in pairwise(settings)):
        raise section.error(key, "frequencies must ascend")
    if settings != list(product(*(sorted(set(column)) for column in zip(*settings, strict=True)))):
        raise section.error(key, "there must be one point for every combination of the domains' frequencies")


def _require_known_clocks(
    section: Section, points: tuple[OperatingPoint, ...], clocks: Mapping[str, ClockSpec]
) -> None:
    for name in points[0].clocks:
        if name not in clocks and name.rstrip("0123456789") not in clocks:
            raise section.error("operating_points", f"clock {name!r} is not among the board's clocks")
