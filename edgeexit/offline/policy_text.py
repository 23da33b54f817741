"""The policy table as text for people, with a verdict in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from edgeexit.offline.bootstrap import CONFIDENCE, Estimate
from edgeexit.offline.comparison import Comparison
from edgeexit.offline.policy_table import ForecastRow, PolicyTable, Row


def render(table: PolicyTable) -> str:
    """Return the table, the forecasts' quality and the verdict."""
    return "\n".join([*_heading(table), *_rows(table), "", *_forecasts(table), "", *_verdict(table), ""])


def _heading(table: PolicyTable) -> Iterator[str]:
    yield f"{table.network}: {table.samples:,} test images; settings chosen on the select split"
    yield (
        f"Work is MACs with heads as a share of the full network; [{CONFIDENCE:.0%} bootstrap interval of the mean]. "
        "Drop: accuracy allowed to be lost on the select split, in points."
    )
    yield ""


def _rows(table: PolicyTable) -> Iterator[str]:
    yield f"{'rule':40} {'drop':>4}  {'accuracy':24}  {'work':24}  {'exits':>5}  {'mean':>5}  {'wall time':>9}"
    yield f"{'':40} {'':4}  {'':24}  {'':24}  {'seen':>5}  {'exit':>5}  {'ms':>9}"
    drop: float | None = None
    for row in sorted(table.rows, key=_order):
        if row.allowed_drop != drop:
            yield ""
            drop = row.allowed_drop
        yield _row(row)


def _order(row: Row) -> tuple[float, float]:
    return (-1.0 if row.allowed_drop is None else row.allowed_drop, row.macs_share.value)


def _row(row: Row) -> str:
    drop = "" if row.allowed_drop is None else f"{row.allowed_drop:g}"
    wall = "" if row.wall_time_s is None else f"{1e3 * row.wall_time_s:.3f}"
    return (
        f"{row.name:40} {drop:>4}  {_share(row.accuracy):24}  {_share(row.macs_share):24}  "
        f"{row.looks:5.2f}  {row.exit_index:5.2f}  {wall:>9}"
    ).rstrip()


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:7.2%} [{estimate.low:.2%}, {estimate.high:.2%}]"


def _forecasts(table: PolicyTable) -> Iterator[str]:
    yield "Forecasts after the first look (stopping there forecasts that exit)"
    yield "Surprise: mean -ln of the probability given to the exit that answered, where the rule went on; then the same"
    yield "if it had known nothing of the sample but that it went on."
    yield (
        f"{'forecast by':26} {'drop':>4}  {'what':14}  {'compared with':14}  {'exact':>6}  {'error':>5}  "
        f"{'too deep':>8}  {'too early':>9}  {'surprise':>8}  {'(prior)':>8}"
    )
    for row in sorted(table.forecasts, key=_forecast_order):
        yield _forecast(row)


def _forecast_order(row: ForecastRow) -> tuple[bool, str, float, str]:
    return (row.allowed_drop is not None, row.came_true, row.allowed_drop or 0.0, row.name)


def _forecast(row: ForecastRow) -> str:
    quality, given = row.quality, row.distribution
    drop = "" if row.allowed_drop is None else f"{row.allowed_drop:g}"
    surprise = "" if given is None else f"{given.surprise:8.2f}  {given.prior_surprise:8.2f}"
    return (
        f"{row.name:26} {drop:>4}  {row.forecast:14}  {row.came_true:14}  {quality.exact:6.1%}  "
        f"{quality.mean_absolute_error:5.2f}  {quality.overshoot:8.1%}  {quality.undershoot:9.1%}  {surprise}"
    ).rstrip()


def _verdict(table: PolicyTable) -> Iterator[str]:
    rules = " and ".join(dict.fromkeys(comparison.rule for comparison in table.comparisons))
    if rules:
        yield f"Verdict: {rules} against their controls, in points of the full network's work and of accuracy."
        yield "As calibrated: both were chosen for the same allowed drop. At equal accuracy: the control gets the least"
        yield "work with which one of its settings, a single exit, or a coin between two reaches the rule's accuracy."
    for comparison in table.comparisons:
        yield _compare(comparison)
    for drop in sorted({row.allowed_drop for row in table.rows if row.allowed_drop is not None}):
        ranked = sorted((row for row in table.rows if row.allowed_drop == drop), key=_order)
        least = ", ".join(f"{row.name} {row.macs_share.value:.1%} at {row.accuracy.value:.2%}" for row in ranked[:4])
        yield f"- least work at an allowed drop of {drop:g}: {least}"


def _compare(comparison: Comparison) -> str:
    return (
        f"- {comparison.rule}, drop {comparison.allowed_drop:g}, against {comparison.control}: {_winner(comparison)}\n"
        f"    as calibrated: work {_points(comparison.macs_share)}, accuracy {_points(comparison.accuracy)}\n"
        f"    at equal accuracy: work {_points(comparison.macs_share_at_equal_accuracy)}"
    )


def _winner(comparison: Comparison) -> str:
    """Say who wins; a difference counts if its interval does not hold 0."""
    work = comparison.macs_share_at_equal_accuracy
    if work.high < 0:
        return f"{comparison.rule} wins at equal accuracy"
    if work.low > 0:
        return f"{comparison.control} wins at equal accuracy"
    if comparison.macs_share.high < 0 and comparison.accuracy.high >= 0:
        return f"{comparison.rule} needs less work as calibrated; at equal accuracy no clear difference"
    if comparison.macs_share.low > 0 and comparison.accuracy.low <= 0:
        return f"{comparison.control} needs less work as calibrated; at equal accuracy no clear difference"
    return "no clear difference"


def _points(estimate: Estimate) -> str:
    return f"{100 * estimate.value:+.2f} [{100 * estimate.low:+.2f}, {100 * estimate.high:+.2f}]"
