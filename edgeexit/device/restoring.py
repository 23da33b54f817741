"""Puts back what the clocks were, only where a knob still holds our value, and never crossing two limits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeexit.device.cpufreq import UNSUPPORTED
from edgeexit.device.journal_file import KnobEntry
from edgeexit.device.limits import held_down, read_settled
from edgeexit.errors import DeviceError
from edgeexit.protocols import Clock, Knob

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Restoration:
    """What became of a journal."""

    restored: list[str] = field(default_factory=list)
    """Keys of the knobs that were put back."""
    left: dict[str, str] = field(default_factory=dict)
    """Key and present value of the knobs that somebody else has set since; they were not touched."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key of the knobs that could not be put back now, and why."""


def restore_knobs(entries: Sequence[KnobEntry], open_knob: Callable[[str], Knob], clock: Clock) -> Restoration:
    """Put back every knob of a journal that still holds our value; the first failure does not stop the rest.

    A knob that fails is tried again after the others: a kernel before 5.3 refuses a limit that crosses the other.

    Args:
        entries: From a journal, in the order to put back.
        open_knob: Returns the knob of a key; raises DeviceError if there is none.
        clock: To wait by.
    """
    done = Restoration()
    pending = [entry for entry in entries if entry.ours and entry.was != UNSUPPORTED]
    for _ in range(2):
        done.failed.clear()
        knobs = _open(pending, open_knob, done)
        ours = _judge_limits(pending, knobs, clock)
        for entry, knob in _in_order(pending, knobs):
            _restore(entry, knob, done, clock, ours=ours.get(entry.key))
        pending = [entry for entry in pending if entry.key in done.failed]
    return done


def _restore(entry: KnobEntry, knob: Knob, done: Restoration, clock: Clock, *, ours: bool | None) -> None:
    was = entry.was or ""
    try:
        if ours is None:
            ours = any(knob.holds(value) for value in entry.ours if value != was)
        if not ours:
            if knob.holds(was):
                _let_go(entry, knob)
            else:
                found = done.left[entry.key] = knob.read() or "unknown"
                log.info("%s is left at %s: somebody else has set it since", entry.key, found)
            return
        knob.write(was)
        found_now = read_settled(knob, was, clock) if _is_limit(entry) else knob.read()
    except DeviceError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            done.left[entry.key] = "gone"
        else:
            done.failed[entry.key] = str(error)
        return
    done.restored.append(entry.key)
    if found_now is not None and found_now != was:
        log.info("%s was put back to %s; the kernel holds it at %s for now", entry.key, was, found_now)


def _let_go(entry: KnobEntry, knob: Knob) -> None:
    """Take back what we may still ask of a limit that reads as it was: a kernel may apply a write after it returned."""
    if entry.was is not None and _is_limit(entry):
        with contextlib.suppress(DeviceError):  # who never could write it has nothing to take back
            knob.write(entry.was)


def _is_limit(entry: KnobEntry) -> bool:
    return entry.key.endswith("_freq")


def _judge_limits(entries: Sequence[KnobEntry], knobs: Mapping[str, Knob], clock: Clock) -> dict[str, bool]:
    """Return whether limits are ours still of which the maximum reads lower than ours, by their keys.

    A maximum that heat holds down does not follow what is written. One that somebody else has set does; then the
    minimum shows whether it is ours, which theirs may have hidden, and they get their value back.
    """
    ours: dict[str, bool] = {}
    by_key = {entry.key: entry for entry in entries}
    for entry in entries:
        minimum = entry.key.replace("max_freq", "min_freq")
        if minimum != entry.key and entry.key in knobs and minimum in knobs:
            with contextlib.suppress(DeviceError, ValueError):  # what goes wrong here does so again, and is told
                ours.update(_judge_pair(by_key[minimum], knobs[minimum], entry, knobs[entry.key], clock))
    return ours


def _judge_pair(low: KnobEntry, minimum: Knob, high: KnobEntry, maximum: Knob, clock: Clock) -> dict[str, bool]:
    with held_down(maximum, high.ours, clock) as by_the_machine:
        if by_the_machine is None:
            return {}
        if by_the_machine:
            return {high.key: True}
        return {high.key: False, low.key: any(minimum.holds(value) for value in low.ours)}


def _open(entries: Sequence[KnobEntry], open_knob: Callable[[str], Knob], done: Restoration) -> dict[str, Knob]:
    knobs: dict[str, Knob] = {}
    for entry in entries:
        try:
            knobs[entry.key] = open_knob(entry.key)
        except DeviceError as error:
            done.failed[entry.key] = str(error)
    return knobs


def _in_order(entries: Sequence[KnobEntry], knobs: Mapping[str, Knob]) -> Iterator[tuple[KnobEntry, Knob]]:
    """Yield entries with their knobs; a maximum comes before its minimum where the minimum rises above it."""
    waiting = {entry.key: entry for entry in entries if entry.key in knobs}
    while waiting:
        entry = next(iter(waiting.values()))
        maximum = entry.key.replace("min_freq", "max_freq")
        if maximum != entry.key and maximum in waiting and _rises_above(entry, knobs[maximum]):
            entry = waiting[maximum]
        yield waiting.pop(entry.key), knobs[entry.key]


def _rises_above(entry: KnobEntry, maximum: Knob) -> bool:
    try:
        return int(entry.was or "") > int(maximum.read() or "")
    except (ValueError, DeviceError):
        return False
