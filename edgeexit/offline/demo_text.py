"""The demo's report as text: what is real and what is simulated, the table, and what it says."""

from __future__ import annotations

from textwrap import fill
from typing import Final

from edgeexit.offline.demo_report import DemoReport, PolicyResult, governor_title, scale_title, setting_title

WIDTH: Final = 99
_COLUMNS: Final = (
    # width, heading in two lines
    (-20, "", "exits"),
    (-16, "", "clocks"),
    (7, "accu-", "racy %"),
    (6, "mean", "exit"),
    (7, "looked", "at"),
    (7, "MACs", "%"),
    (11, "simulated", "latency ms"),
    (6, "late", "%"),
    (10, "simulated", "energy mJ"),
    (7, "of the", "first"),
)


def report_text(report: DemoReport) -> str:
    """Return the whole report; every energy carries the word "simulated"."""
    return "\n\n".join(part for part in (header_text(report), table_text(report), findings_text(report)) if part)


def header_text(report: DemoReport) -> str:
    """Say what was done, what in it is real and what is simulated."""
    deadline = (
        f"{1e3 * report.deadline_s:.1f} ms for each image, {report.deadline_factor:g} times the whole network's time "
        "at the highest clock; the rest of this time is idled away, and its energy counts"
    )
    drop = f"chosen on validation images to cost at most {report.allowed_drop:g} points of accuracy"
    assumed = [name for name, text in report.board_provenance.items() if "Assumption" in text]
    table = f"a table of {_source(report)} operating points" + (
        f" (assumptions: {', '.join(assumed)})" if assumed else ""
    )
    lines = (
        f"edgeexit {report.edgeexit_version}: {report.bundle} ({report.exit_count} exits), {report.images:,} images",
        _entry("real", f"every answer: ONNX Runtime {report.onnxruntime_version} runs the network here"),
        _entry("simulated", f"clocks, latency and energy: a model of {report.board_title}, from {table}"),
        _entry("scaled", _scale_text(report)),
        _entry("deadline", deadline),
        _entry("exits", drop),
    )
    return "\n".join(lines)


def table_text(report: DemoReport) -> str:
    """Return the policies as a table, one a line, and what its columns mean."""
    headings = (_line(*words) for words in zip(*(words for _, *words in _COLUMNS), strict=True))
    lines = [*headings, *map(_row, report.policies)]
    lines.append(
        fill(
            f"Exits count from 0 to {report.exit_count - 1}. MACs: multiply-accumulates, heads included, of the full "
            f"network's. Energy: simulated, for a whole period. One image is {100.0 / report.images:.2g} points of "
            "accuracy. The bound knows the first exit that agrees with the full network in advance, and switches "
            "clocks for free.",
            WIDTH,
        )
    )
    if report.left_out:
        reason = next(iter(report.left_out.values()))
        lines.append(fill(f"Left out: {', '.join(report.left_out)} ({reason})", WIDTH))
    return "\n".join(lines)


def findings_text(report: DemoReport) -> str:
    """Return what the figures say, one sentence a paragraph."""
    return "\n".join(fill(sentence, WIDTH, initial_indent="* ", subsequent_indent="  ") for sentence in report.findings)


def _entry(name: str, text: str) -> str:
    return fill(text, WIDTH, initial_indent=f"  {name + ':':<11}", subsequent_indent=" " * 13)


def _source(report: DemoReport) -> str:
    measured = report.board_provenance.get("operating_points", "").startswith("Measured")
    return "measured" if measured else "modelled"


def _scale_text(report: DemoReport) -> str:
    if report.work_scale_is_reference:
        return (
            f"each multiply-accumulate counts as {scale_title(report)}, so that the whole network costs as much as "
            f"what the board was {_source(report)} with ({report.reference_workload})"
        )
    if report.work_scale == 1.0:
        return "nothing: the work counts as it is"
    return f"each multiply-accumulate counts as {scale_title(report)}"


def _row(row: PolicyResult) -> str:
    return _line(
        setting_title(row),
        governor_title(row),
        f"{100.0 * row.accuracy:.1f}",
        f"{row.mean_exit:.2f}",
        f"{row.exits_looked_at:.2f}",
        f"{100.0 * row.macs_share:.1f}",
        f"{1e3 * row.simulated_latency_s:.1f}",
        f"{100.0 * row.missed_share:.1f}",
        f"{1e3 * row.simulated_energy_j:,.0f}",
        f"{row.relative_energy:.2f}",
    )


def _line(*cells: str) -> str:
    """Fill the columns: a negative width is that of a column of words."""
    pairs = zip(cells, (width for width, *_ in _COLUMNS), strict=True)
    return "".join(cell.ljust(1 - width) if width < 0 else cell.rjust(width) for cell, width in pairs).rstrip()
