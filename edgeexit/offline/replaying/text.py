"""Replay results as a table of text."""

from __future__ import annotations

from collections.abc import Iterable

from edgeexit.offline.replaying.results import BoardReplay, Bounds, GovernorRun

_HEAD = (
    f"{'governor':<20}{'accuracy %':>16}{'energy mJ':>26}{'late %':>8}{'early %':>9}{'p50 ms':>8}{'p99 ms':>9}"
    f"{'switches':>10}  above bounds %: own / clairvoyant / optimum"
)


def replay_text(replay: BoardReplay) -> str:
    """Return all runs of a replay, by rule and deadline, every energy being simulated.

    "late" are answers after the deadline, "early" samples that the governor cut short. The last column says how far
    the energy lies above three bounds:

    * own: every exit that this run answered known in advance, and no other looked at (`GovernorRun.clairvoyant_j`);
    * clairvoyant: the exits that the rule wants known in advance, its looks paid for (`Bounds.clairvoyant_j`);
    * optimum: the best governor without foresight, for the exits that the rule wants (`Bounds.optimum_j`).

    The last two are in brackets where the run was late, cut short or sent on without a look: it has not done what they
    are bounds of, and may lie below them.
    """
    lines = [
        f"{replay.bundle} on {replay.board}, {replay.samples:,} samples; every energy is {replay.source}, for an "
        "inference and the time until the next",
        f"full network at the highest clock: {1e3 * replay.full_latency_s:.4g} ms (each multiply-accumulate counts "
        f"{replay.work_scale:.4g} times)",
    ]
    for (rule, factor), runs in _by_rule_and_deadline(replay.runs).items():
        bounds = next((b for b in replay.bounds if (b.rule, b.deadline_factor) == (rule, factor)), None)
        lines += ["", _title(rule, factor, runs[0]), _HEAD]
        lines += [_line(run, bounds) for run in runs]
    return "\n".join(lines)


def _by_rule_and_deadline(runs: Iterable[GovernorRun]) -> dict[tuple[str, float | None], list[GovernorRun]]:
    groups: dict[tuple[str, float | None], list[GovernorRun]] = {}
    for run in runs:
        groups.setdefault((run.rule, run.deadline_factor), []).append(run)
    return groups


def _title(rule: str, factor: float | None, run: GovernorRun) -> str:
    due = "no deadline" if run.deadline_s is None else f"deadline {1e3 * run.deadline_s:.4g} ms ({factor:g} x)"
    noise = "" if run.noise is None else f", noise {run.noise}, guard {run.guard:g}"
    return f"{rule}: {due}, {run.arrivals}{noise}, {run.inferences:,} inferences"


def _line(run: GovernorRun, bounds: Bounds | None) -> str:
    late = "-" if run.deadline_s is None else f"{100.0 * run.misses / run.inferences:.2f}"
    energy = f"{1e3 * run.energy_j.value:.2f} ({1e3 * run.energy_j.low:.2f}-{1e3 * run.energy_j.high:.2f})"
    return (
        f"{run.governor:<20}{100.0 * run.accuracy.value:8.2f} +- {50.0 * (run.accuracy.high - run.accuracy.low):4.2f}"
        f"{energy:>26}{late:>8}{100.0 * run.cut_short / run.inferences:9.2f}{1e3 * run.latency_s['p50']:8.2f}"
        f"{1e3 * run.latency_s['p99']:9.2f}{run.switches:10.2f}  {_above(run, bounds)}"
    )


def _above(run: GovernorRun, bounds: Bounds | None) -> str:
    own = _percent(run, run.clairvoyant_j)
    if bounds is None:
        return own
    others = f"{_percent(run, bounds.clairvoyant_j)} / {_percent(run, bounds.optimum_j)}"
    return f"{own} / ({others})" if run.misses or run.cut_short or run.sent_on else f"{own} / {others}"


def _percent(run: GovernorRun, bound_j: float | None) -> str:
    return "-" if bound_j is None else f"{round(100.0 * (run.energy_j.value / bound_j - 1.0), 2) + 0.0:+.2f}"
