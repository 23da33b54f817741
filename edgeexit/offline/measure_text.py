"""The result of a measurement as text for a terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeexit.offline.measure_notes import clocks_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.bundle.costs import Figure, PointRecord
    from edgeexit.offline.measure import Measurement


def measurement_text(measurement: Measurement) -> str:
    """Return the measurement as a table, one operating point a line, with where the figures are from."""
    lines = [*_head(measurement), "", *_table(measurement), "", *_switch(measurement), *_choice(measurement)]
    provenance = measurement.provenance
    lines.extend(f"Left out: {clocks_text(each.clocks)}: {each.reason}." for each in provenance.left_out)
    lines.extend(f"Note: {note}" for note in provenance.notes)
    lines += [f"Cost table: {measurement.cost_path}", f"Device profile: {measurement.profile_path}"]
    return "\n".join(lines)


def measurement_document(measurement: Measurement) -> dict[str, Any]:
    """Return the measurement as JSON takes it; energies and powers that are not known are null."""
    provenance, table = measurement.provenance, measurement.table
    cheapest = measurement.cheapest
    return {
        "board": provenance.board,
        "simulated": provenance.simulated,
        "bundle": provenance.bundle,
        "bundle_digest": provenance.bundle_digest,
        "measured_at": provenance.measured_at,
        "meter": provenance.meter,
        "energy_source": None if provenance.energy_source is None else provenance.energy_source.value,
        "points": [_point_document(record) for record in provenance.points],
        "cheapest_clocks_hz": None if cheapest is None else dict(table.points[cheapest].clocks),
        "quickest_clocks_hz": dict(table.points[measurement.quickest].clocks),
        "switch_latency_s": table.switch_latency_s,
        "switch_energy_j": table.switch_energy_j,
        "left_out": [{"clocks_hz": dict(each.clocks), "reason": each.reason} for each in provenance.left_out],
        "notes": list(provenance.notes),
        "cost_table": str(measurement.cost_path),
        "device_profile": str(measurement.profile_path),
    }


def _point_document(record: PointRecord) -> dict[str, Any]:
    return {
        "clocks_hz": dict(record.costs.clocks),
        "latency_s": record.whole_latency_s.median,
        "latency_spread": record.whole_latency_s.spread,
        "repeats": record.repeats,
        "load_power_w": _median(record.load_power_w),
        "idle_power_w": _median(record.idle_power_w),
        "energy_j": _median(record.whole_energy_j),
    }


def _median(figure: Figure | None) -> float | None:
    return None if figure is None else figure.median


def _head(measurement: Measurement) -> list[str]:
    found = measurement.provenance
    where = f"simulated board {found.board}" if found.simulated else found.board
    optimised = "optimised as one graph" if found.optimised else "as it stands in the bundle"
    governors = ", ".join(f"{name} {governor}" for name, governor in found.kernel_governors.items())
    return [
        f"{found.bundle} on {where}: the whole network, one sample, at each operating point",
        f"{found.engine}, {', '.join(found.providers)}, {found.threads} thread(s), {optimised}; edgeexit "
        f"{found.edgeexit_version}, {found.measured_at}",
        f"Meter: {_meter(measurement)}" + (f"; kernel governor before: {governors}" if governors else ""),
    ]


def _meter(measurement: Measurement) -> str:
    found = measurement.provenance
    source = "source unknown" if found.energy_source is None else found.energy_source.value
    return "none, so no power and no energy" if found.meter is None else f"{found.meter} ({source})"


def _table(measurement: Measurement) -> list[str]:
    metered = measurement.provenance.meter is not None
    word = " (simulated)" if measurement.provenance.simulated else ""
    titles = ["operating point", f"latency ms{word}", "spread"]
    if metered:
        titles += [f"power W{word}", f"idle W{word}", f"energy mJ{word}"]
    rows = [titles]
    for record in measurement.provenance.points:
        row = [clocks_text(record.costs.clocks), *_latency(record)]
        if metered:
            row += [_text(record.load_power_w), _text(record.idle_power_w), _text(record.whole_energy_j, 1e3)]
        rows.append(row)
    marks = ["", *(_mark(measurement, index) for index in range(len(rows) - 1))]
    return [(line + mark).rstrip() for line, mark in zip(_aligned(rows), marks, strict=True)]


def _latency(record: PointRecord) -> list[str]:
    return [_text(record.whole_latency_s, 1e3), f"{record.whole_latency_s.spread:.1%}"]


def _text(figure: Figure | None, factor: float = 1.0) -> str:
    return "-" if figure is None else f"{factor * figure.median:.4g}"


def _mark(measurement: Measurement, index: int) -> str:
    marks = [
        word
        for word, place in (("cheapest", measurement.cheapest), ("quickest", measurement.quickest))
        if place == index and len(measurement.provenance.points) > 1
    ]
    return f"  <- {' and '.join(marks)}" if marks else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, the first to the left and figures to the right."""
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
        for row in rows
    ]


def _switch(measurement: Measurement) -> list[str]:
    record, table = measurement.provenance.switch, measurement.table
    if record.set_s is None:
        return []
    word = " (simulated)" if measurement.provenance.simulated else ""
    settle = "" if record.settle_s is None else f", work at the new speed after {1e3 * record.settle_s.median:.3g} ms"
    energy = "" if table.switch_energy_j is None else f", {1e3 * table.switch_energy_j:.3g} mJ ({record.energy_method})"
    return [f"A switch{word}: {1e3 * record.set_s.median:.3g} ms to set and read back{settle}{energy}."]


def _choice(measurement: Measurement) -> list[str]:
    cheapest, points = measurement.cheapest, measurement.provenance.points
    if cheapest is None:
        return ["Which point is the cheapest is not known: energy was not metered."]
    quickest = measurement.quickest
    if cheapest == quickest or len(points) == 1:
        return [f"Cheapest and quickest: {clocks_text(points[cheapest].costs.clocks)}."]
    best, fast = points[cheapest].whole_energy_j, points[quickest].whole_energy_j
    saved = "" if best is None or fast is None or fast.median <= 0.0 else f"{1.0 - best.median / fast.median:.0%} less"
    word = " (simulated)" if measurement.provenance.simulated else ""
    return [
        f"Cheapest: {clocks_text(points[cheapest].costs.clocks)}, {saved} energy for an inference{word} than the "
        f"quickest, {clocks_text(points[quickest].costs.clocks)}; idling in between is not counted."
    ]
