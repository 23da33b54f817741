"""The report as one page: the verdict in words first, then what was run, then pictures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting import markup
from edgeexit.offline.reporting.amounts import percent, saving_text, times
from edgeexit.offline.reporting.comparing import MATERIAL, WORTH, Answer
from edgeexit.offline.reporting.drawings import Drawing, drawings
from edgeexit.offline.reporting.selection import AtDeadline, deadlines, usual_deadline
from edgeexit.offline.reporting.tables import (
    distance_table,
    exits_table,
    forecast_table,
    misses_table,
    planning_table,
    provenance_rows,
    runs_table,
    stock_table,
)
from edgeexit.offline.reporting.theme import PAGE, svg
from edgeexit.offline.reporting.verdict import Finding, verdict

if TYPE_CHECKING:
    from edgeexit.offline.replaying.results import BoardReplay

_KINDS: Final = {Answer.YES: "yes", Answer.HARDLY: "hardly", Answer.NO: "no", Answer.NOT_ASKED: "asked"}
_HOW: Final = (
    f'How the answers come about: "yes" is a saving of at least {percent(WORTH, 0)} whose interval stays above '
    f"{percent(MATERIAL, 0)}, at an accuracy that the intervals cannot tell apart (an answer that is late weighs as "
    f'much as a wrong one) and with no more late answers; "no" is less than {percent(MATERIAL, 0)}, or more late '
    'answers; "hardly" is what lies between. Figures in brackets are 95 % intervals over the samples; those of savings '
    "compare sample by sample where the replay was run for this report; from a file they take both sides as "
    "independent, which makes them wider. The best of several runs is picked with the very samples that are reported."
)
_SIMULATED: Final = "Answers are those of the network; clocks, latency and energy are simulated."


def report_page(replays: Mapping[str, BoardReplay]) -> str:
    """Return the report.

    Args:
        replays: What was replayed, each with one run or more, by how it is called.
    """
    body = [markup.heading(1, "Is early exit worth it here?"), markup.paragraph(_SIMULATED), _overview(replays)]
    body.append(markup.paragraph(_HOW, note=True))
    body.append(planning_table(replays))
    for index, (title, replay) in enumerate(replays.items()):
        body.append(markup.section(list(_replay(replay, title, f"r{index}"))))
    return markup.page(f"edgeexit report: {', '.join(replays)}", body)


def _overview(replays: Mapping[str, BoardReplay]) -> str:
    """Return all answers in short, one row a replay and deadline."""
    rows = []
    for title, replay in replays.items():
        for runs in deadlines(replay):
            rows.append((f"{title}, deadline {times(runs.factor)}", *map(_short, verdict(runs))))
    return markup.table(
        "The answers, with the simulated energy that each saves",
        ("replay and deadline", "early exit", "clock control", "forecast of every sample"),
        rows,
        words=True,
    )


def _short(finding: Finding) -> str:
    if finding.saving is None:
        return finding.answer.value
    return f"{finding.answer.value}: {saving_text(finding.saving)}{f', {finding.remark}' if finding.remark else ''}"


def _replay(replay: BoardReplay, title: str, prefix: str) -> Iterator[str]:
    found = deadlines(replay)
    usual = usual_deadline(found)
    yield markup.heading(2, title)
    yield markup.heading(3, f"Verdict at the deadline {times(usual.factor)}")
    yield markup.answers([_answer(finding) for finding in verdict(usual)])
    others = [runs for runs in found if runs is not usual]
    if others:
        yield markup.folded("The verdict at the other deadlines", "\n".join(_other_verdict(runs) for runs in others))
    yield markup.heading(3, "What was run")
    yield markup.pairs(provenance_rows(replay))
    shown = {drawing.name: (drawing, _picture(drawing, f"{prefix}-{drawing.name}")) for drawing in drawings(replay)}
    yield from _chapters(found, usual, shown)


def _chapters(found: tuple[AtDeadline, ...], usual: AtDeadline, shown: dict[str, tuple[Drawing, str]]) -> Iterator[str]:
    def of(*sections: str) -> str:
        return markup.pictures([piece for drawing, piece in shown.values() if drawing.section in sections])

    yield markup.heading(3, "Accuracy, energy and the bounds")
    yield of("trade-off", "distance")
    if len(found) > 1:
        yield markup.folded(
            "Accuracy against simulated energy at the other deadlines", of("trade-off at other deadlines")
        )
    yield distance_table(found, usual.main_rule)
    yield stock_table(usual)
    yield markup.heading(3, "Latency and the deadline")
    yield of("latency", "timeline", "residency")
    yield misses_table(found)
    yield markup.heading(3, "Exits and forecasts")
    yield of("exits", "calibration")
    yield forecast_table(usual.replay)
    yield exits_table(usual)
    yield markup.heading(3, "All runs")
    for runs in found:
        yield markup.folded(f"Deadline {times(runs.factor)}: {len(runs.runs)} runs", runs_table(runs))


def _answer(finding: Finding) -> str:
    return markup.answer(_KINDS[finding.answer], finding.question, finding.answer.value, finding.sentences)


def _other_verdict(runs: AtDeadline) -> str:
    answers = markup.answers([_answer(finding) for finding in verdict(runs)])
    return markup.heading(4, f"Deadline {times(runs.factor)}") + answers


def _picture(drawing: Drawing, name: str) -> str:
    return markup.picture(svg(drawing.draw(PAGE), name), drawing.description, drawing.caption)
