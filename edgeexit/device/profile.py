"""Device profiles: what is known of a board, as data in a JSON file.

A profile is read strictly, so that a slip of the pen in a file does not become a wrong figure in a report: an unknown
or missing key, a wrong type or an impossible value is refused, and the error names the file and the key.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from edgeexit.errors import DeviceNotFound, ProfileError
from edgeexit.protocols import Clocks

FORMAT = 1
"""The profile format that this version reads."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a board does and draws at one setting of its clocks while the reference workload keeps it busy."""

    clocks: Clocks
    input_power_w: float
    """Everything the module draws."""
    rail_power_w: Mapping[str, float]
    """Its parts, as far as they were metered."""
    reference_frames_per_s: float


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """One board as its JSON file describes it."""

    name: str
    title: str
    provenance: Mapping[str, str]
    """For each group of figures: who measured it, or that it is an assumption."""
    reference_name: str
    reference_macs: int
    """Multiply-accumulates of one frame of the reference workload."""
    idle_power_w: float
    switch_latency_s: float
    switch_energy_j: float
    """All that the module draws while it changes a clock once."""
    operating_points: tuple[OperatingPoint, ...]
    """Ascending; one for each combination of the domains' frequencies."""

    def frequencies_hz(self) -> dict[str, tuple[int, ...]]:
        """Return each clock domain's frequencies, ascending."""
        names = self.operating_points[0].clocks
        return {name: tuple(sorted({p.clocks[name] for p in self.operating_points})) for name in names}


def default_roots() -> tuple[Path, ...]:
    """Return the folders searched for profiles: the packaged ones, the machine's, those of $EDGEEXIT_PROFILES."""
    own = os.environ.get("EDGEEXIT_PROFILES", "")
    folders = (Path(entry) for entry in own.split(os.pathsep) if entry)
    return (Path(str(files("edgeexit.profiles"))), Path("/etc/edgeexit/profiles"), *folders)


def list_profiles(roots: Sequence[Path] | None = None) -> tuple[str, ...]:
    """List the names of the profiles found in `roots` (default: `default_roots`), sorted."""
    searched = default_roots() if roots is None else roots
    return tuple(sorted({path.stem for root in searched for path in root.glob("*.json")}))


def load_profile(name_or_path: str | Path, *, roots: Sequence[Path] | None = None) -> DeviceProfile:
    """Load a device profile.

    Args:
        name_or_path: A name such as "jetson-tx2", looked for in `roots`, or the path of a JSON file.
        roots: Folders to search, the first that has the name wins; `default_roots` if None.

    Raises:
        DeviceNotFound: If there is no such profile.
        ProfileError: If the file is damaged or holds unknown, missing or impossible values.
    """
    path = _find(name_or_path, default_roots() if roots is None else roots)
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(f"profile {path} cannot be read as JSON: {error}") from error
    return _profile(_Section(path, "", data))


def _find(name_or_path: str | Path, roots: Sequence[Path]) -> Path:
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in name or name.endswith(".json"):
        candidates = [Path(name_or_path)]
    else:
        candidates = [root / f"{name}.json" for root in roots]
    for path in candidates:
        if path.is_file():
            return path
    known = ", ".join(list_profiles(roots)) or "none"
    raise DeviceNotFound(f"no device profile {name!r}; there are: {known}; or give the path of a JSON file")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"key {key!r} occurs twice")
    return dict(pairs)


def _profile(section: _Section) -> DeviceProfile:
    section.require_keys(
        "format",
        "name",
        "title",
        "provenance",
        "reference_workload",
        "idle_power_w",
        "switch_latency_s",
        "switch_energy_j",
        "operating_points",
    )
    if section.whole("format") != FORMAT:
        raise section.error("format", f"this version reads format {FORMAT}")
    provenance = section.section("provenance")
    reference = section.section("reference_workload")
    reference.require_keys("name", "macs")
    points = tuple(_point(entry) for entry in section.sections("operating_points"))
    _require_ascending_grid(section, points)
    return DeviceProfile(
        name=section.text("name"),
        title=section.text("title"),
        provenance={key: provenance.text(key) for key in provenance},
        reference_name=reference.text("name"),
        reference_macs=reference.whole("macs", least=1),
        idle_power_w=section.number("idle_power_w"),
        switch_latency_s=section.number("switch_latency_s"),
        switch_energy_j=section.number("switch_energy_j"),
        operating_points=points,
    )


def _point(section: _Section) -> OperatingPoint:
    section.require_keys("clocks_hz", "input_power_w", "rail_power_w", "reference_frames_per_s")
    clocks = section.section("clocks_hz")
    rails = section.section("rail_power_w")
    rate = section.number("reference_frames_per_s")
    if rate <= 0.0:
        raise section.error("reference_frames_per_s", "must be above 0")
    return OperatingPoint(
        clocks={name: clocks.whole(name, least=1) for name in clocks},
        input_power_w=section.number("input_power_w"),
        rail_power_w={name: rails.number(name) for name in rails},
        reference_frames_per_s=rate,
    )


def _require_ascending_grid(section: _Section, points: tuple[OperatingPoint, ...]) -> None:
    key = "operating_points"
    if not points or not points[0].clocks:
        raise section.error(key, "needs at least one point with at least one clock")
    names = tuple(points[0].clocks)
    if any(tuple(point.clocks) != names for point in points):
        raise section.error(key, f"every point must give the same clocks in the same order: {', '.join(names)}")
    settings = [tuple(point.clocks.values()) for point in points]
    if any(earlier >= later for earlier, later in pairwise(settings)):
        raise section.error(key, "frequencies must ascend")
    if settings != list(product(*(sorted(set(column)) for column in zip(*settings, strict=True)))):
        raise section.error(key, "there must be one point for every combination of the domains' frequencies")


class _Section:
    """One JSON object of a profile, with the file and the key for the error messages."""

    def __init__(self, path: Path, key: str, data: object) -> None:
        self._path = path
        self._key = key
        if not isinstance(data, dict):
            raise self.error("", f"must be an object, found {_kind(data)}")
        self._data: dict[str, Any] = data

    def error(self, key: str, problem: str) -> ProfileError:
        where = ".".join(part for part in (self._key, key) if part) or "the file"
        return ProfileError(f"profile {self._path}: {where}: {problem}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def require_keys(self, *names: str) -> None:
        for name in names:
            if name not in self._data:
                raise self.error(name, "is missing")
        for key in self._data:
            if key not in names:
                raise self.error(key, f"is unknown; known are {', '.join(names)}")

    def text(self, key: str) -> str:
        value = self._data[key]
        if not isinstance(value, str) or not value:
            raise self.error(key, f"must be a text, found {_kind(value)}")
        return value

    def number(self, key: str) -> float:
        value = self._data[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"must be a number, found {_kind(value)}")
        if not math.isfinite(value) or value < 0:
            raise self.error(key, f"must be finite and not negative, found {value}")
        return float(value)

    def whole(self, key: str, *, least: int = 0) -> int:
        value = self._data[key]
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, found {_kind(value)}")
        if value < least:
            raise self.error(key, f"must be at least {least}, found {value}")
        return value

    def section(self, key: str) -> _Section:
        return _Section(self._path, ".".join(part for part in (self._key, key) if part), self._data[key])

    def sections(self, key: str) -> list[_Section]:
        value = self._data[key]
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, found {_kind(value)}")
        return [_Section(self._path, f"{key}[{i}]", entry) for i, entry in enumerate(value)]


def _kind(value: object) -> str:
    """Name a JSON value's type as a user of JSON knows it."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value}")
