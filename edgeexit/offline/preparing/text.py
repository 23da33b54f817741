"""The report of a preparation, as text for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from edgeexit.offline.preparing.preparation import AsGiven, ExitFigures, Place, Preparation, place_name

_PLACE_WIDTHS: Final = (11, 9, 8, 8)
"""Of the columns before a place's name, in characters."""


def preparation_text(done: Preparation) -> str:
    """Return the report: places, exits, rules, certificate, times and the verdict."""
    lines = [*_heading(done), "", *_places(done)]
    if done.bundle is not None:
        lines += ["", *_exits(done), "", *_rules(done)]
    if done.certified is not None:
        lines += ["", f"Certificate: {done.certified.text}"]
    if done.as_given is not None:
        lines += ["", _as_given(done, done.as_given)]
    if done.compression:
        lines += ["", "Compression:", *(f"  {line}" for line in done.compression)]
    if done.times is not None:
        lines += ["", _times(done)]
    lines += [f"Note: {note}" for note in done.notes]
    if done.worth is not None:
        lines += ["", done.worth.sentence, _next_step(done)]
    return "\n".join(lines)


def _next_step(done: Preparation) -> str:
    if done.bundle is None:
        return "No bundle was made."
    if done.worth is not None and not done.worth.yes:
        return "The bundle was made all the same, for trying its settings out."
    setting = f"--exit-rule {done.reported} --allowed-drop {done.allowed_drop:g}"
    return f"Use it with: edgeexit run {shlex.quote(str(done.bundle.path))} {setting} FILE..."


def _heading(done: Preparation) -> Iterator[str]:
    if done.bundle is not None:
        yield f"bundle   {done.bundle.path}"
    yield f"model    {done.model}: {done.macs / 1e6:,.2f} M MACs, {done.class_count} classes"
    if done.samples:
        parts = ", ".join(f"{name} {count:,}" for name, count in done.samples.items())
        yield f"samples  {sum(done.samples.values()):,}: {parts}"
        yield f"right    means {'as labelled' if done.by_labels else f'as the {done.judge_name} says'}"
    if done.side_inputs:
        yield f"every segment reads {', '.join(done.side_inputs)}"


def _places(done: Preparation) -> Iterator[str]:
    kept = sum(place.refusal is None for place in done.places)
    tried = f"{done.found} places to cut at, {len(done.places)} tried"
    yield tried + (f", {kept} kept" if done.bundle is not None else "")
    if not done.places:
        return
    rows = [("work so far", "bytes", "time", "accuracy", "tensor"), *map(_place, done.places)]
    filled = [any(column[1:]) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (*(f"{text:>{width}}" for text, width in zip(row, _PLACE_WIDTHS, strict=False)), row[-1])
        yield "  ".join(text for text, shown in zip(padded, filled, strict=True) if shown)


def _place(place: Place) -> tuple[str, ...]:
    time = "" if place.segment_s is None else f"{1e3 * place.segment_s:.3g} ms"
    accuracy = "" if place.accuracy is None else f"{place.accuracy:.2%}"
    refusal = f": no exit, {place.refusal}" if place.refusal else ""
    tensors = f"{place_name(place.tensors)} ({place.kind}){refusal}"
    return f"{place.macs_share:.1%}", f"{place.boundary_bytes:,}", time, accuracy, tensors


def _exits(done: Preparation) -> Iterator[str]:
    certify = done.samples["certify"]
    yield f'Exits; accuracy is that on the {certify:,} samples of "certify", on which nothing was chosen'
    yield f"{'exit':>4}  {'work so far':>11}  {'head':>6}  {'accuracy':>8}  behind"
    for index, figures in enumerate(done.exits):
        yield _exit(index, figures)


def _exit(index: int, figures: ExitFigures) -> str:
    return (
        f"{index:4d}  {figures.macs_share:11.1%}  {figures.head_share:6.2%}  {figures.accuracy:8.2%}  "
        f"{place_name(figures.behind)}"
    )


def _rules(done: Preparation) -> Iterator[str]:
    yield "Exit settings on the same samples"
    yield f"{'allowed drop':>12}  {'accuracy':>8}  {'work':>6}  {'exits seen':>10}  setting"
    drop: float | None = None
    for rule in done.rules:
        shown = "" if rule.allowed_drop == drop else f"{rule.allowed_drop:g} points"
        drop = rule.allowed_drop
        yield f"{shown:>12}  {rule.accuracy:8.2%}  {rule.macs_share:6.1%}  {rule.looks:10.2f}  {rule.setting}"


def _as_given(done: Preparation, figures: AsGiven) -> str:
    shares = f"the {done.full_name} {figures.full:.2%}, setting {done.reported!r} {figures.setting:.2%}"
    if figures.given is None:
        return f"Agreement with the model as you gave it, on the same samples: {shares}"
    return f"Accuracy on the same samples: the model as you gave it {figures.given:.2%}, {shares}"


def _times(done: Preparation) -> str:
    times = done.times
    assert times is not None, "asked before"
    return (
        f"Time on this machine, one thread, {times.samples} samples: {1e3 * times.whole_s:.3g} ms for the model in one "
        f"piece, {1e3 * times.exits_s:.3g} ms with exits ({times.exits_s / times.whole_s:.0%})"
    )
