"""Whether results can be reported: files are edited, cut and mixed up by people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from edgeexit.errors import DataError
from edgeexit.offline.bootstrap import Estimate

if TYPE_CHECKING:
    from edgeexit.offline.replaying.results import BoardReplay, GovernorRun

_LATENCIES: Final = ("mean", "p50", "p95", "p99", "max")


def check_replay(replay: BoardReplay, name: str) -> None:
    """Check that results hold something to report, and no impossible figures.

    Args:
        replay: The results.
        name: Of the file, for the message.

    Raises:
        DataError: If there is no run, or something is impossible; it says what and what to do.
    """
    if not replay.runs:
        raise DataError(f"{name}: holds no run; run 'edgeexit replay' with a --rule and a --governor")
    for problem in _problems(replay):
        raise DataError(f"{name}: {problem}; the file is damaged: run 'edgeexit replay' again")


def _problems(replay: BoardReplay) -> Iterator[str]:
    texts: tuple[tuple[str, Any], ...] = (("board", replay.board), ("bundle", replay.bundle), ("source", replay.source))
    for what, text in texts:
        if not isinstance(text, str):
            yield f"{what} is {text!r}, no text"
    if not _is_amount(replay.full_latency_s):
        yield f"full_latency_s is {replay.full_latency_s!r}"
    for run in replay.runs:
        for problem in _run_problems(run):
            yield f"run {run.rule!r} with {run.governor!r}: {problem}"
    for bounds in replay.bounds:
        for figure in (bounds.clairvoyant_j, bounds.optimum_j, bounds.without_looks_j):
            if figure is not None and not _is_amount(figure):
                yield f"bounds of {bounds.rule!r}: {figure!r} is no energy"


def _run_problems(run: GovernorRun) -> Iterator[str]:
    if not all(isinstance(text, str) for text in (run.rule, run.governor, run.arrivals)):
        yield "rule, governor and arrivals must be texts"
    for what, estimate in (("accuracy", run.accuracy), ("energy_j", run.energy_j), *run.rail_energy_j.items()):
        if not _is_estimate(estimate):
            yield f"{what} is {estimate}"
    if not _is_count(run.inferences) or run.inferences == 0:
        yield f"inferences is {run.inferences!r}"
    if not all(_is_count(count) for count in (run.misses, run.cut_short, *run.exit_counts)) or not run.exit_counts:
        yield "misses, cut_short and exit_counts must be counts"
    elif max(run.misses, run.cut_short) > run.inferences:
        yield f"{run.misses} misses and {run.cut_short} answers cut short of {run.inferences} inferences"
    for what in ("deadline_s", "deadline_factor"):
        figure = getattr(run, what)
        if figure is not None and not _is_amount(figure):
            yield f"{what} is {figure!r}"
    if not all(_is_amount(run.latency_s.get(what)) for what in _LATENCIES):
        yield f"latency_s must have {', '.join(_LATENCIES)}"
    yield from _series_problems(run)


def _series_problems(run: GovernorRun) -> Iterator[str]:
    edges_s, counts = run.latency_histogram
    if len(edges_s) != len(counts) + 1 or not all(_is_amount(edge) for edge in edges_s):
        yield "latency_histogram must have one edge more than counts"
    elif any(one > other for one, other in pairwise(edges_s)) or not all(_is_count(count) for count in counts):
        yield "latency_histogram must have ascending edges, and counts"
    if not all(_is_amount(figure) for figure in (run.looks, run.macs_share, run.switches, *run.residency.values())):
        yield "looks, macs_share, switches and residency must be numbers that are not negative"
    if not all(_is_amount(step.end_s - step.start_s) and _is_amount(step.power_w) for step in run.timeline):
        yield "the timeline must have steps that end after they begin"


def _is_estimate(estimate: Estimate) -> bool:
    """Return whether this is a figure within its interval; a normal interval may reach below 0."""
    slack = 1e-6 * estimate.value if _is_amount(estimate.value) else 0.0
    finite = _is_amount(estimate.value) and all(_is_amount(abs(each)) for each in (estimate.low, estimate.high))
    return finite and estimate.low - slack <= estimate.value <= estimate.high + slack


def _is_amount(figure: Any) -> bool:
    """Return whether this is a number that is finite and not negative."""
    return isinstance(figure, (int, float)) and not isinstance(figure, bool) and isfinite(figure) and figure >= 0


def _is_count(figure: Any) -> bool:
    return isinstance(figure, int) and _is_amount(figure)
