"""The verdict in words: is early exit worth it here, is clock control, is the forecast of every sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting.amounts import (
    joules,
    joules_with_interval,
    listed,
    percent,
    percent_with_interval,
    rare_share,
    saving_text,
)
from edgeexit.offline.reporting.comparing import Answer, accuracy_gain, best, judge, miss_share, objection, saving
from edgeexit.offline.reporting.selection import FORECASTING, FULL, AtDeadline, governor_of, setting_of

if TYPE_CHECKING:
    from edgeexit.offline.bootstrap import Estimate
    from edgeexit.offline.replaying.results import Bounds, GovernorRun

PLAN: Final = "plan"
POPULATION: Final = "plan-population"
FIXED: Final = "best-fixed"
UNCONTROLLED: Final = ("stock", "performance")
"""What a board does when nobody chooses its clocks, and what racing to idle comes to."""
_TITLES: Final = {FULL: "the full network"}
_ROUNDING: Final = 1e-6
_AS_MUCH: Final = 5e-5
"""Energies that differ by a smaller share are shown as equal."""
_ORDER: Final = (Answer.NOT_ASKED, Answer.NO, Answer.HARDLY, Answer.YES)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question at one deadline."""

    question: str
    answer: Answer
    saving: Estimate | None
    """Of energy, as the answer rests on it; None if nothing was compared."""
    sentences: tuple[str, ...]
    remark: str = ""
    """How it saves, where there are several ways, and what speaks against it."""


def verdict(runs: AtDeadline) -> tuple[Finding, Finding, Finding]:
    """Answer the three questions from the runs at one deadline."""
    return early_exit(runs), clock_control(runs), forecast(runs)


def early_exit(runs: AtDeadline) -> Finding:
    """Say whether exits save energy: the best of all runs with them against the best of the full network's.

    Both sides get their best governor, so that what the clocks bring is not put down to the exits.
    """
    question = "Is early exit worth it here?"
    whole = runs.best(lambda run: setting_of(run.rule) == FULL)
    early = runs.best(lambda run: setting_of(run.rule) != FULL, as_accurate_as=whole)
    if whole is None or early is None:
        missing = f"--rule {FULL} --governor stock --governor performance" if whole is None else "--rule threshold"
        return _not_asked(question, missing)
    share = saving(early, whole)
    sentences = (
        f"The best run with exits, {_name(early)}, takes {_energy(early)} of simulated energy for each inference; the "
        f"full network takes {_whole_energies(runs, whole)}.",
        f"That is {saving_text(share)} than the full network's best{_than_stock(early, runs, whole)}.",
        _accuracy(early, whole),
        _late(early, whole),
    )
    return Finding(question, judge(early, whole), share, _said(sentences), objection(early, whole))


def clock_control(runs: AtDeadline) -> Finding:
    """Say whether choosing clocks saves energy, with the same exits on both sides.

    Asked twice: one clock chosen once (the best fixed one, picked with the very samples reported), and clocks planned
    before each piece of work.
    """
    question = "Is clock control worth it here?"
    rule = _controlled_rule(runs)
    free = None if rule is None else runs.best(lambda run: run.rule == rule and _is(run, *UNCONTROLLED))
    controlled = None if rule is None else runs.best(lambda run: run.rule == rule and _is(run, FIXED, PLAN))
    if rule is None or free is None or controlled is None:
        asked = "--rule threshold --governor stock --governor performance --governor best-fixed --governor plan"
        return _not_asked(question, asked)
    share = saving(controlled, free)
    energies = [
        f"{_energy(run)} with {run.governor}"
        for name in (*UNCONTROLLED, FIXED, PLAN)
        if (run := runs.find_rule(rule, name)) is not None
    ]
    sentences = (
        f"With the exits of {_title(rule)}, an inference takes {listed(energies)} (simulated).",
        f"The best choice of clocks, {controlled.governor}, takes {saving_text(share)} than {free.governor}, the "
        "better of what a board does without it.",
        _on_the_way(runs, rule),
        _accuracy(controlled, free, only_if_other=True),
        _late(controlled, free),
    )
    return Finding(question, judge(controlled, free), share, _said(sentences), objection(controlled, free))


def forecast(runs: AtDeadline) -> Finding:
    """Say whether a forecast for every sample saves energy, for the clocks and for the exits.

    For the clocks: the same rule planned with each sample's own distribution against the usual one of all samples. For
    the exits: a rule that forecasts, so that it skips heads, against the best rule that does not. The better of the
    two answers counts.
    """
    question = "Is the forecast of every sample worth it here?"
    by_clocks, by_exits = _forecast_for_clocks(runs), _forecast_for_exits(runs)
    leading = max(by_clocks, by_exits, key=lambda each: _ORDER.index(each.answer))
    sentences = (
        f"For the clocks: {_with_answer(by_clocks)}",
        *_to_the_bounds(runs),
        f"For the exits: {_with_answer(by_exits)}",
    )
    return Finding(question, leading.answer, leading.saving, sentences, leading.remark)


def _forecast_for_clocks(runs: AtDeadline) -> Finding:
    rule = _planned_rule(runs, POPULATION)
    own = None if rule is None else runs.find_rule(rule, PLAN)
    usual = None if rule is None else runs.find_rule(rule, POPULATION)
    if own is None or usual is None:
        return _not_asked("", f"--rule forecast --governor {PLAN} --governor {POPULATION}")
    share = saving(own, usual)
    text = (
        f'with the exits of {_title(own.rule)}, "{PLAN}" takes {_energy(own)} when it uses each sample\'s forecast and '
        f"{_energy(usual)} when it knows only how often each exit answers: {saving_text(share)} (simulated)."
    )
    remark = _remark("by the clocks", objection(own, usual))
    return Finding("", judge(own, usual), share, _said((text, _late(own, usual))), remark)


def _forecast_for_exits(runs: AtDeadline) -> Finding:
    own = runs.best(lambda run: setting_of(run.rule) in FORECASTING)
    other = runs.best(lambda run: setting_of(run.rule) not in (*FORECASTING, FULL), as_accurate_as=own)
    if own is None or other is None:
        return _not_asked("", "--rule forecast --rule threshold --rule check-and-cap")
    share = saving(own, other)
    text = (
        f"the best run with a forecasting rule, {_name(own)}, takes {_energy(own)}, the best with a rule that does not "
        f"forecast, {_name(other)}, {_energy(other)}: {saving_text(share)} (simulated)."
    )
    sentences = _said((text, _accuracy(own, other), _late(own, other)))
    return Finding("", judge(own, other), share, sentences, _remark("by the exits", objection(own, other)))


def _to_the_bounds(runs: AtDeadline) -> tuple[str, ...]:
    """Say what a better forecast could still give."""
    rule = _planned_rule(runs, POPULATION) or _planned_rule(runs, PLAN)
    run = None if rule is None else runs.find_rule(rule, PLAN)
    bounds = None if rule is None else runs.bounds(rule)
    if run is None or bounds is None:
        return ("What is left to the bounds was not asked: run with --optimum, periodic requests and no --noise.",)
    if run.energy_j.value < bounds.clairvoyant_j * (1.0 - _ROUNDING):
        return (_below_the_bound(run, bounds.clairvoyant_j),)
    parts = []
    if bounds.optimum_j is not None:
        parts.append(f"{_above(run.energy_j.value, bounds.optimum_j)} the optimum with the same knowledge")
    parts.append(
        f"{_above(run.energy_j.value, bounds.clairvoyant_j)} the clairvoyant bound of "
        f"{joules(bounds.clairvoyant_j)}, for which every exit is known in advance"
    )
    return (
        f'With the exits of {_title(run.rule)}, "{PLAN}" lies {" and ".join(parts)}: while the rule looks at '
        "the same exits, no forecast, however good, could save more than the latter.",
        *_without_looks(run, bounds),
    )


def _without_looks(run: GovernorRun, bounds: Bounds) -> tuple[str, ...]:
    """Say what looks at exits that do not answer cost, where somebody worked it out."""
    if bounds.without_looks_j is None:
        return ()
    return (
        f"If it looked at no exit but the one that answers, the bound would be {joules(bounds.without_looks_j)}: "
        f'"{PLAN}" lies {_above(run.energy_j.value, bounds.without_looks_j)} that.',
    )


def _below_the_bound(run: GovernorRun, bound_j: float) -> str:
    """Say why a run can take less than a bound: the bound lets every answer be as deep as the rule wants."""
    counts = f"{rare_share(run.cut_short, run.inferences)} cut short, {rare_share(run.misses, run.inferences)} late"
    return (
        f'With the exits of {_title(run.rule)}, "{PLAN}" lies {_above(run.energy_j.value, bound_j)} the clairvoyant '
        f"bound of {joules(bound_j)}, which neither cuts answers short nor lets them be late ({counts}): here it is no "
        "bound."
    )


def _on_the_way(runs: AtDeadline, rule: str) -> str:
    fixed, plan = runs.find_rule(rule, FIXED), runs.find_rule(rule, PLAN)
    if fixed is None or plan is None:
        missing = FIXED if fixed is None else PLAN
        return f"Whether changing the clock on the way pays was not asked: run with --governor {missing}."
    answer = judge(plan, fixed)
    words = {Answer.YES: "pays too", Answer.HARDLY: "hardly pays", Answer.NO: "does not pay"}[answer]
    late = "" if miss_share(plan) <= miss_share(fixed) else ", because it is late more often"
    return (
        f"Changing the clock on the way {words}{late}: plan takes {saving_text(saving(plan, fixed))} than best-fixed."
    )


def _controlled_rule(runs: AtDeadline) -> str | None:
    """Return the rule that clock control is judged with: the threshold, or else one that ran with enough governors."""
    for rule in sorted(runs.rules, key=lambda rule: setting_of(rule) != "threshold"):
        names = {governor_of(run.governor) for run in runs.of_rule(rule)}
        if names.intersection(UNCONTROLLED) and names.intersection((FIXED, PLAN)):
            return rule
    return None


def _planned_rule(runs: AtDeadline, governor: str) -> str | None:
    """Return the rule that is cheapest with "plan" among those that ran with `governor` too, forecasting ones first."""
    asked = [run for run in runs.runs if run.governor == PLAN and runs.has(run.rule, governor)]
    forecasting = [run for run in asked if setting_of(run.rule) in FORECASTING]
    found = best(forecasting or [run for run in asked if setting_of(run.rule) != FULL])
    return None if found is None else found.rule


def _is(run: GovernorRun, *governors: str) -> bool:
    return governor_of(run.governor) in governors


def _not_asked(question: str, options: str) -> Finding:
    return Finding(question, Answer.NOT_ASKED, None, (f"not asked: run with {options}.",))


def _with_answer(finding: Finding) -> str:
    """Return a part's sentences after its answer."""
    text = " ".join(finding.sentences)
    return text if finding.answer is Answer.NOT_ASKED else f"{finding.answer.value}; {text}"


def _remark(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _said(sentences: Sequence[str]) -> tuple[str, ...]:
    return tuple(sentence for sentence in sentences if sentence)


def _title(rule: str) -> str:
    return _TITLES.get(rule, f'"{rule}"')


def _name(run: GovernorRun) -> str:
    return f"{_title(run.rule)} with {run.governor}"


def _energy(run: GovernorRun) -> str:
    return joules_with_interval(run.energy_j)


def _whole_energies(runs: AtDeadline, whole: GovernorRun) -> str:
    """Return what the full network takes with stock, performance and best-fixed, and with its best governor."""
    shown = [run for name in (*UNCONTROLLED, FIXED) if (run := runs.find_rule(whole.rule, name)) is not None]
    if whole not in shown:
        shown.append(whole)
    return listed([f"{_energy(run)} with {run.governor}{' (its best)' if run is whole else ''}" for run in shown])


def _than_stock(early: GovernorRun, runs: AtDeadline, whole: GovernorRun) -> str:
    stock = runs.find_rule(whole.rule, "stock")
    if stock is None or stock is whole:
        return ""
    return f", and {saving_text(saving(early, stock))} than the full network with stock"


def _accuracy(run: GovernorRun, other: GovernorRun, *, only_if_other: bool = False) -> str:
    """Say how the accuracies compare."""
    gain = accuracy_gain(run, other)
    if only_if_other and gain.low <= 0.0 <= gain.high:
        return ""
    pair = f"{percent_with_interval(run.accuracy)} against {percent_with_interval(other.accuracy)}"
    if gain.low <= 0.0 <= gain.high:
        return f"Accuracy is {pair}: equal as far as the intervals tell."
    points = 100.0 * abs(gain.value)
    if gain.high < 0.0:
        return f"This is not at equal accuracy: {pair}; {points:.1f} points are the price."
    return f"This is not at equal accuracy: {pair}; it is {points:.1f} points more accurate as well."


def _late(run: GovernorRun, other: GovernorRun) -> str:
    """Say whose answers are late or cut short; nothing where none is."""
    if not any((run.misses, other.misses, run.cut_short, other.cut_short)):
        return ""
    counts = [
        f"{_name(each)} is late in {rare_share(each.misses, each.inferences)} and cut short in "
        f"{rare_share(each.cut_short, each.inferences)}"
        for each in (run, other)
    ]
    text = f"{counts[0]}; {counts[1]}."
    return text[0].upper() + text[1:]


def _above(energy_j: float, bound_j: float) -> str:
    """Return how far an energy lies above a bound."""
    if not bound_j > 0.0:
        return "an unknown share above"
    share = energy_j / bound_j - 1.0
    if abs(share) < _AS_MUCH:
        return "at"
    return f"{percent(abs(share), 2)} {'above' if share >= 0.0 else 'below'}"
