"""The journal's file: what every knob was before us, and what it may hold because of us.

It is JSON, one knob a line::

    {"format": 1,
     "boot_id": "0c2e...", "pid": 4711, "pid_started": 123456, "created_by": "edgeexit 0.1.0",
     "knobs": [
     {"key": "cpufreq/policy0/scaling_governor", "was": "schedutil", "ours": ["userspace       ", "", ""]}
     ]}

The three texts of "ours" have a fixed width, so that a later value is written over them by one system call: a journal
costs microseconds for every clock, and is never half written. A process that is killed loses nothing that a system
call has taken; what does not outlive a power cut, the clocks do not either.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeexit.device.processes import ProcessMark
from edgeexit.errors import JournalError

FORMAT = 1
SLOTS = 3
SLOT_WIDTH = 24
"""Longer than every value: a kernel governor's name has at most 15 characters, a frequency 10 digits."""
PAGE_BYTES = 4096
"""The kernel copies a write page by page and may be stopped between two: no knob's slots lie on both sides."""
MAX_BYTES = 1_000_000
_VALUE = re.compile(r"[A-Za-z0-9_<>,.:-]{0,24}")


@dataclass(frozen=True, slots=True)
class KnobEntry:
    """One knob in a journal."""

    key: str
    was: str | None
    """Its value before us; None if the machine had no way to ask."""
    ours: tuple[str, ...]
    """What it may hold because of us; empty if it was never written."""


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """Whose journal it is."""

    boot_id: str
    process: ProcessMark
    created_by: str


def slots_text(values: Sequence[str]) -> str:
    """Return the fixed-width text of a knob's slots.

    Raises:
        JournalError: If a value cannot stand in a journal.
    """
    for value in values:
        if not _VALUE.fullmatch(value):
            raise JournalError(f"{value!r} cannot stand in the journal of the clocks")
    padded = [*values, *[""] * (SLOTS - len(values))][:SLOTS]
    return "[" + ", ".join(f'"{value:<{SLOT_WIDTH}}"' for value in padded) + "]"


def encode(header: JournalHeader, entries: Sequence[KnobEntry]) -> tuple[bytes, dict[str, int]]:
    """Return a journal's bytes, and where each knob's slots begin.

    Raises:
        JournalError: If a value cannot stand in a journal.
    """
    text = _head_text(header) + ', "knobs": [\n'
    offsets: dict[str, int] = {}
    for index, entry in enumerate(entries):
        slots_text([entry.was or ""])
        before = f'{"," if index else " "}{{"key": {json.dumps(entry.key)}, "was": {json.dumps(entry.was)}, "ours": '
        slots = slots_text(entry.ours)
        start = len(text) + len(before)
        if start // PAGE_BYTES != (start + len(slots)) // PAGE_BYTES:
            text += " " * (PAGE_BYTES - start % PAGE_BYTES)
        offsets[entry.key] = len(text) + len(before)
        text += before + slots + "}\n"
    return (text + "]}\n").encode("ascii"), offsets


def hand_over(descriptor: int, header: JournalHeader, process: ProcessMark) -> None:
    """Write over a journal's head that another process holds it; that takes no room on the disk, and opens no file.

    Args:
        descriptor: To write the journal by.
        header: What its head says.
        process: Whose it is from now on; its figures have no more digits than those of the one before.

    Raises:
        OSError: With the kernel's errno.
    """
    head = _head_text(header)
    os.pwrite(descriptor, _head_text(replace(header, process=process)).ljust(len(head)).encode("ascii"), 0)


def decode(path: Path, data: bytes) -> tuple[JournalHeader, list[KnobEntry]]:
    """Return what a journal says.

    Raises:
        JournalError: If it is damaged; the message says what to do.
    """
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, this version reads {FORMAT}")
        process = ProcessMark(_whole(document, "pid"), _whole(document, "pid_started"))
        header = JournalHeader(str(document["boot_id"]), process, str(document["created_by"]))
        return header, [_entry(knob) for knob in document["knobs"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JournalError(
            f"the journal of the clocks {path} cannot be read ({error}); look at it, then delete it: a reboot gives "
            "all clocks back too"
        ) from error


def read_file(path: Path) -> bytes | None:
    """Return a journal's bytes, or None if there is none; never through a link that somebody has planted.

    Raises:
        JournalError: If it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"the journal of the clocks {path} cannot be opened: {error.strerror}") from error
    try:
        return os.read(descriptor, MAX_BYTES)
    except OSError as error:
        raise JournalError(f"the journal of the clocks {path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def create_file(path: Path, data: bytes, *, replace: bool) -> int:
    """Write a journal beside its place and put it there; return a descriptor to write its slots by.

    Args:
        path: Its place.
        data: All of it.
        replace: True for a journal of our own that gets more knobs; False never overwrites one.

    Raises:
        JournalError: If it cannot be written, for instance because the disk is full; then nothing is left behind.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(28, "No space left on device")
            if replace:
                beside.rename(path)
            else:
                path.hardlink_to(beside)
                beside.unlink()
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise JournalError(f"the journal of the clocks {path} cannot be written: {error.strerror}") from error
    return descriptor


def _head_text(header: JournalHeader) -> str:
    head = {
        "format": FORMAT,
        "boot_id": header.boot_id,
        "pid": header.process.pid,
        "pid_started": header.process.started,
        "created_by": header.created_by,
    }
    return json.dumps(head)[:-1]


def _entry(knob: Mapping[str, Any]) -> KnobEntry:
    was, ours = knob["was"], knob["ours"]
    texts = [*ours, "" if was is None else was]
    if not all(isinstance(text, str) and _VALUE.fullmatch(text.strip()) for text in texts):
        raise ValueError(f"a value of {knob['key']!r} is none that a clock can have")
    return KnobEntry(str(knob["key"]), was, tuple(value.strip() for value in ours if value.strip()))


def _whole(document: Mapping[str, Any], key: str) -> int:
    value = document[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key} is {value!r}, not a whole number")
    return value
