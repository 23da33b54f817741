"""Cost table files: what a bundle's pieces cost on one board, as `edgeexit measure` writes it.

One JSON file for a bundle and a board. It is read strictly, and belongs to one bundle, whose digest it holds: with the
table of another network a governor would promise deadlines that it cannot keep.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgeexit.beside import write_beside
from edgeexit.bundle.strict_json import JsonNode, Refusal, parse_json
from edgeexit.errors import CostTableError
from edgeexit.protocols import Clocks, CostTable, EnergySource, PointCosts

if TYPE_CHECKING:
    from edgeexit.bundle.load import Bundle

FORMAT: Final = 1
"""The format of cost table files that this version reads and writes."""
MAX_BYTES: Final = 16 * 2**20
MAX_POINTS: Final = 4096
REFUSAL: Final = Refusal(
    CostTableError,
    "measure again with 'edgeexit measure'",
    "the cost table is damaged, measure again with 'edgeexit measure'",
)


class Figure(NamedTuple):
    """A measured figure."""

    median: float
    spread: float
    """Interquartile range, as a share of the median: what single measurements differ by."""
    repeats: int


@dataclass(frozen=True, slots=True)
class PointRecord:
    """How the costs of one operating point were measured; `costs` are the medians."""

    costs: PointCosts
    verified_by: str
    """How the clocks are known to be those of the point, for instance "read back"."""
    repeats: int
    """How often each piece, and the whole network, was timed."""
    segment_latency_spread: tuple[float, ...]
    """Interquartile ranges as shares of the medians, as `Figure.spread`."""
    head_latency_spread: tuple[float, ...]
    whole_latency_s: Figure
    """The whole network with its last head, in one go."""
    idle_power_w: Figure | None
    load_power_w: Figure | None
    """While the whole network runs over and over."""
    whole_energy_j: Figure | None
    energy_method: str | None
    """How the pieces' energies were found; None without a meter."""
    temperature_c: float | None
    cpu_load: float | None
    """Busy share of all cores before anything was run, 0 to 1: other work spoils the figures."""


@dataclass(frozen=True, slots=True)
class SwitchRecord:
    """How the cost of a switch was measured."""

    set_s: Figure | None
    """Setting the clocks and reading them back; None where no clock can be set."""
    settle_s: Figure | None
    """From the request until the work runs at the new speed, where that could be seen."""
    energy_method: str | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An operating point that was not measured, or whose figures were thrown away."""

    clocks: Clocks
    reason: str


@dataclass(frozen=True, slots=True)
class CostProvenance:
    """Where a cost table is from."""

    bundle: str
    bundle_digest: str
    board: str
    simulated: bool
    measured_at: str
    """Date and time in UTC, ISO 8601."""
    edgeexit_version: str
    engine: str
    """For instance "onnxruntime 1.22.0"."""
    providers: tuple[str, ...]
    threads: int
    optimised: bool
    """True if the pieces were optimised on the board as one graph."""
    meter: str | None
    energy_source: EnergySource | None
    kernel_governors: Mapping[str, str]
    """The kernel governor of each clock domain before it was pinned, as far as it is known."""
    switch: SwitchRecord
    points: tuple[PointRecord, ...]
    """As in the table."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """What the reader of the figures has to know."""


def save_cost_table(path: Path, table: CostTable, provenance: CostProvenance) -> None:
    """Write a cost table file: beside the old one, then in its place, so that a reader sees one or the other.

    Raises:
        CostTableError: If there is not one record for each point of the table.
        OSError: If the disk is full or the place cannot be written to.
    """
    if tuple(record.costs for record in provenance.points) != table.points:
        raise CostTableError(f"{path}: the records do not describe the points of the table")
    document = {
        "format": FORMAT,
        "bundle": {"name": provenance.bundle, "digest": provenance.bundle_digest},
        "source": table.source,
        "exit_segments": table.exit_segments,
        "switch_latency_s": table.switch_latency_s,
        "switch_energy_j": table.switch_energy_j,
        "points": [point_document(record) for record in provenance.points],
        "provenance": _provenance_document(provenance),
    }
    write_json(path, document)


def load_cost_table(path: str | os.PathLike[str], bundle: Bundle) -> CostTable:
    """Load the cost table of a bundle.

    Raises:
        CostTableError: If the file cannot be read, is damaged, or is that of another bundle; the message names the key.
    """
    return load_cost_file(path, bundle)[0]


def load_cost_file(path: str | os.PathLike[str], bundle: Bundle) -> tuple[CostTable, CostProvenance]:
    """Load the cost table of a bundle, and where it is from.

    Raises:
        CostTableError: As `load_cost_table`.
    """
    node = read_json(Path(path))
    keys = "format", "bundle", "source", "exit_segments", "switch_latency_s", "switch_energy_j", "points", "provenance"
    version, owner, source, exits, latency, energy, points, provenance = node.record(*keys)
    if version.count() != FORMAT:
        raise version.refuse(f"this version reads format {FORMAT}")
    name, digest = (part.text() for part in owner.record("name", "digest"))
    if digest != bundle.digest:
        raise CostTableError(
            f"{path}: is for bundle {name!r} with digest {digest[:12]}, this is {bundle.name!r} with digest "
            f"{bundle.digest[:12]}: measure this one with 'edgeexit measure'"
        )
    if exits.items(JsonNode.count) != bundle.workload.exit_segments:
        raise exits.refuse(f"expected the bundle's {list(bundle.workload.exit_segments)}")
    pieces = len(bundle.segments), bundle.exit_count
    if isinstance(points.value, list) and len(points.value) > MAX_POINTS:
        raise points.refuse(f"expected no more than {MAX_POINTS} points")
    records = points.items(lambda point: read_point(point, *pieces), at_least=1)
    _require_ascending(points, [record.costs.clocks for record in records])
    table = CostTable(
        points=tuple(record.costs for record in records),
        exit_segments=bundle.workload.exit_segments,
        switch_latency_s=latency.amount(),
        switch_energy_j=energy.optional(JsonNode.amount),
        source=source.one_of(("measured", "modelled")),
    )
    return table, _read_provenance(provenance, name, digest, records)


def point_document(record: PointRecord) -> dict[str, Any]:
    """Return a measured point as JSON takes it; `read_point` reads it."""
    document = asdict(record)
    costs = document.pop("costs")
    costs["clocks_hz"] = costs.pop("clocks")
    for key in _FIGURES:
        figure = getattr(record, key)
        document[key] = None if figure is None else figure._asdict()
    return {"costs": costs, **document}


def read_point(node: JsonNode, segments: int, heads: int) -> PointRecord:
    """Read a measured point with so many segments and heads.

    Raises:
        CostTableError: If it is damaged.
    """
    record_keys = (*PointRecord.__slots__,)
    nodes = dict(zip(record_keys, node.record(*record_keys), strict=True))
    return PointRecord(
        costs=_read_costs(nodes["costs"], segments, heads),
        verified_by=nodes["verified_by"].text(),
        repeats=nodes["repeats"].count(),
        segment_latency_spread=_row(nodes["segment_latency_spread"], segments),
        head_latency_spread=_row(nodes["head_latency_spread"], heads),
        whole_latency_s=_figure(nodes["whole_latency_s"]),
        idle_power_w=nodes["idle_power_w"].optional(_figure),
        load_power_w=nodes["load_power_w"].optional(_figure),
        whole_energy_j=nodes["whole_energy_j"].optional(_figure),
        energy_method=nodes["energy_method"].optional(JsonNode.text),
        temperature_c=nodes["temperature_c"].optional(JsonNode.number),
        cpu_load=nodes["cpu_load"].optional(JsonNode.amount),
    )


_FIGURES: Final = ("whole_latency_s", "idle_power_w", "load_power_w", "whole_energy_j")


def read_json(path: Path) -> JsonNode:
    """Read a file that `write_json` wrote.

    Raises:
        CostTableError: If it is not there, too large or no JSON.
    """
    try:
        if not path.is_file():
            raise CostTableError(f"{path}: there is no such file; 'edgeexit measure' writes cost tables")
        if path.stat().st_size > MAX_BYTES:
            raise CostTableError(f"{path}: is larger than {MAX_BYTES} bytes: no cost table")
        data = path.read_bytes()
    except OSError as error:
        raise CostTableError(f"{path}: cannot be read: {error.strerror or error}") from error
    return JsonNode(parse_json(data, str(path), REFUSAL), str(path), REFUSAL)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file beside the old one, then in its place.

    Raises:
        OSError: If the disk is full or the place cannot be written to; it names `path`.
    """
    write_beside(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def _provenance_document(provenance: CostProvenance) -> dict[str, Any]:
    document = asdict(provenance)
    for key in ("bundle", "bundle_digest", "points"):
        del document[key]
    source, switch = provenance.energy_source, provenance.switch
    document["energy_source"] = None if source is None else source.value
    document["left_out"] = [{"clocks_hz": dict(each.clocks), "reason": each.reason} for each in provenance.left_out]
    for key, figure in (("set_s", switch.set_s), ("settle_s", switch.settle_s)):
        document["switch"][key] = None if figure is None else figure._asdict()
    return document


def _read_provenance(node: JsonNode, name: str, digest: str, records: tuple[PointRecord, ...]) -> CostProvenance:
    own = [key for key in CostProvenance.__slots__ if key not in ("bundle", "bundle_digest", "points")]
    nodes = dict(zip(own, node.record(*own), strict=True))
    sources = {source.value: source for source in EnergySource}
    return CostProvenance(
        bundle=name,
        bundle_digest=digest,
        board=nodes["board"].text(),
        simulated=nodes["simulated"].truth(),
        measured_at=nodes["measured_at"].text(),
        edgeexit_version=nodes["edgeexit_version"].text(),
        engine=nodes["engine"].text(),
        providers=nodes["providers"].items(JsonNode.text, at_least=1),
        threads=nodes["threads"].count(),
        optimised=nodes["optimised"].truth(),
        meter=nodes["meter"].optional(JsonNode.text),
        energy_source=nodes["energy_source"].optional(lambda n: sources[n.one_of(sources)]),
        kernel_governors=nodes["kernel_governors"].table(JsonNode.text),
        switch=_read_switch(nodes["switch"]),
        points=records,
        left_out=nodes["left_out"].items(_read_left_out),
        notes=nodes["notes"].items(JsonNode.text),
    )


def _read_switch(node: JsonNode) -> SwitchRecord:
    set_s, settle_s, method = node.record("set_s", "settle_s", "energy_method")
    return SwitchRecord(set_s.optional(_figure), settle_s.optional(_figure), method.optional(JsonNode.text))


def _read_left_out(node: JsonNode) -> LeftOut:
    clocks, reason = node.record("clocks_hz", "reason")
    return LeftOut(clocks.table(_frequency), reason.text())


def _read_costs(node: JsonNode, segments: int, heads: int) -> PointCosts:
    keys = "clocks_hz", "idle_power_w", "segment_latency_s", "segment_energy_j", "head_latency_s", "head_energy_j"
    clocks, idle, segment_s, segment_j, head_s, head_j = node.record(*keys)
    return PointCosts(
        clocks=clocks.table(_frequency),
        idle_power_w=idle.optional(JsonNode.amount),
        segment_latency_s=_row(segment_s, segments),
        segment_energy_j=segment_j.optional(_rows(segments)),
        head_latency_s=_row(head_s, heads),
        head_energy_j=head_j.optional(_rows(heads)),
    )


def _frequency(node: JsonNode) -> int:
    if node.count() == 0:
        raise node.refuse("expected a frequency in Hz above 0")
    return node.count()


def _figure(node: JsonNode) -> Figure:
    median, spread, repeats = node.record("median", "spread", "repeats")
    return Figure(median.amount(), spread.amount(), repeats.count())


def _rows(length: int) -> Callable[[JsonNode], tuple[float, ...]]:
    return lambda node: _row(node, length)


def _row(node: JsonNode, length: int) -> tuple[float, ...]:
    row = node.items(JsonNode.amount)
    if len(row) != length:
        raise node.refuse(f"expected {length} numbers, one for each piece of the bundle")
    return row


def _require_ascending(node: JsonNode, settings: list[Clocks]) -> None:
    """Check that every point gives the same clocks, and that none comes after one that is at least as high in all."""
    if any(clocks.keys() != settings[0].keys() for clocks in settings):
        raise node.refuse("expected the same clocks at every point")
    for index, clocks in enumerate(settings):
        for earlier in settings[:index]:
            if all(clocks[name] <= earlier[name] for name in clocks):
                raise node.refuse("expected the points from the slowest to the fastest, each once")
