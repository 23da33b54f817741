r"""The text of a board recording: what a machine's files say about its clocks and sensors, for people to read too.

One entry a line, paths as in `edgeexit.device.sysfs`:

    edgeexit board recording 1
    # recorded on linux 6.6.31, 3 Nov 2025

    /sys/class/thermal/thermal_zone0/type 0444 0:0 = cpu-thermal
    /proc/device-tree/model 0444 0:0 := Raspberry Pi 4 Model B Rev 1.4\0
    /sys/class/hwmon/hwmon1 -> ../../devices/platform/soc/soc:firmware/raspberrypi-hwmon/hwmon/hwmon1
    /sys/class/powercap/intel-rapl:0/energy_uj 0400 0:0 ! EACCES
    /sys/devices/system/cpu/cpufreq/policy0/stats/time_in_state 0444 0:0 |
    | 600000 1234
    | 1500000 56
    /dev/vcio 020660 0:44

Each has its permission bits (those of a type too where it is no regular file) and the numbers of its owner and group.
``=`` is a text that ends with a line feed, ``:=`` one that does not, ``|`` one of several lines that do. ``!``
is the error that reading gives. A file with none of them was not read. A folder that is empty ends with a slash.
Backslashes, control characters but tabs, and a space at the end are escaped as in Python (``\\``, ``\0``, ``\x20``).
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from edgeexit.errors import RecordingError

HEADER = "edgeexit board recording 1"
MAX_TEXT_BYTES = 1 << 20
"""A recording is no longer than this, neither written nor read."""
_FILE = re.compile(r"(/\S*) (0[0-7]{3,6}) (\d+):(\d+)(?: (=|:=|!|\|)(?: (.*))?)?")
_LINK = re.compile(r"(/\S*) -> (\S+)")
_FOLDER = re.compile(r"(/\S*)/")
_ESCAPE = re.compile(r"\\(0|\\|x[0-9a-f]{2})")
_TO_ESCAPE = re.compile(r"[\\\x00-\x08\x0a-\x1f\x7f]|[\udc80-\udcff]|[ \t]\Z")
_IN_A_PATH = re.compile(r"[\\\x00-\x20\x7f]|[\udc80-\udcff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, link or empty folder of a recording.

    Of `text`, `target` (of a symbolic link) and `error` (errno of reading) at most one is given. A folder's `mode` has
    the type bits of one.
    """

    path: str
    mode: int = stat.S_IFREG | 0o444
    owner: tuple[int, int] = (0, 0)
    text: str | None = None
    target: str | None = None
    error: int | None = None

    @property
    def is_folder(self) -> bool:
        """True for an empty folder."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded board: notes on where it is from, and its files by path."""

    notes: tuple[str, ...]
    entries: tuple[Entry, ...]


def format_recording(notes: Iterable[str], entries: Iterable[Entry]) -> str:
    """Return a recording's text, its entries ordered by path."""
    lines = [HEADER, *(f"# {line}".rstrip() for note in notes for line in note.splitlines()), ""]
    for entry in sorted(entries, key=lambda entry: entry.path):
        lines += _lines(entry)
    return "\n".join([*lines, ""])


def parse_board(text: str) -> Recording:
    """Return what a recording holds.

    Raises:
        RecordingError: If it is not one, is damaged or too long; the message names the line.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise RecordingError(f"a board recording has at most {MAX_TEXT_BYTES} characters, this has {len(text)}")
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0] != HEADER:
        raise RecordingError(f"no board recording: its first line is {lines[0][:80]!r}, not {HEADER!r}")
    notes: list[str] = []
    entries: dict[str, Entry] = {}
    blocks: dict[str, list[str]] = {}
    open_block: list[str] | None = None
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("|"):
            if open_block is None:
                raise RecordingError(f"line {number}: {line[:80]!r} belongs to no file")
            open_block.append(_unescape(line[2:], number))
            continue
        open_block = None
        if line.startswith("#"):
            notes.append(line[1:].strip())
        elif line.strip():
            entry, has_block = _parse_line(line, number)
            if entry.path in entries:
                raise RecordingError(f"line {number}: {entry.path} is there twice")
            entries[entry.path] = entry
            if has_block:
                open_block = blocks.setdefault(entry.path, [])
    return Recording(tuple(notes), tuple(_with_block(entry, blocks.get(entry.path)) for entry in entries.values()))


def _with_block(entry: Entry, block: list[str] | None) -> Entry:
    if block is None:
        return entry
    text = "".join(f"{line}\n" for line in block)
    return Entry(path=entry.path, mode=entry.mode, owner=entry.owner, text=text)


def _parse_line(line: str, number: int) -> tuple[Entry, bool]:
    """Return the entry of a line, and whether its text follows on lines of its own."""
    link = _LINK.fullmatch(line)
    if link:
        return Entry(path=_path(link[1], number), mode=stat.S_IFLNK | 0o777, target=_unescape(link[2], number)), False
    folder = _FOLDER.fullmatch(line)
    if folder:
        return Entry(path=_path(folder[1], number), mode=stat.S_IFDIR | 0o755), False
    match = _FILE.fullmatch(line)
    if not match:
        raise RecordingError(f"line {number}: {line[:120]!r} is no entry of a board recording")
    mode = int(match[2], 8)
    mode = mode if stat.S_IFMT(mode) else mode | stat.S_IFREG
    path, owner = _path(match[1], number), (int(match[3]), int(match[4]))
    kind, value = match[5], match[6] or ""
    if kind == "!":
        return Entry(path=path, mode=mode, owner=owner, error=_errno(value, number)), False
    if kind is None or kind == "|":
        return Entry(path=path, mode=mode, owner=owner), kind == "|"
    text = _unescape(value, number) + ("\n" if kind == "=" else "")
    return Entry(path=path, mode=mode, owner=owner, text=text), False


def _path(text: str, number: int) -> str:
    path = _unescape(text, number)
    if any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise RecordingError(f"line {number}: {path!r} is no plain absolute path")
    return path


def _errno(name: str, number: int) -> int:
    code = getattr(errno, name, None) if re.fullmatch(r"E[A-Z0-9]+", name) else None
    if not isinstance(code, int):
        raise RecordingError(f"line {number}: {name!r} is no name of an error")
    return code


def _lines(entry: Entry) -> list[str]:
    path = _IN_A_PATH.sub(_escape, entry.path)
    if entry.target is not None:
        return [f"{path} -> {_IN_A_PATH.sub(_escape, entry.target)}"]
    if entry.is_folder:
        return [f"{path}/"]
    mode = stat.S_IMODE(entry.mode) if stat.S_ISREG(entry.mode) else entry.mode
    start = f"{path} 0{mode:03o} {entry.owner[0]}:{entry.owner[1]}"
    if entry.error is not None:
        return [f"{start} ! {errno.errorcode[entry.error]}"]
    return [start] if entry.text is None else _text_lines(start, entry.text)


def _text_lines(start: str, text: str) -> list[str]:
    sign, text = ("=", text[:-1]) if text.endswith("\n") else (":=", text)
    if sign == "=" and "\n" in text:
        return [f"{start} |", *(f"| {_TO_ESCAPE.sub(_escape, line)}".rstrip(" ") for line in text.split("\n"))]
    return [f"{start} {sign} {_TO_ESCAPE.sub(_escape, text)}".rstrip(" ")]


def _escape(match: re.Match[str]) -> str:
    """Escape a character; a byte that is no UTF-8 (a surrogate, as Python reads it) becomes its number."""
    code = ord(match[0]) & 0xFF
    return {0: "\\0", 0x5C: "\\\\"}.get(code, f"\\x{code:02x}")


def _unescape(text: str, number: int) -> str:
    if "\\" in _ESCAPE.sub("", text):
        raise RecordingError(f"line {number}: {text[:80]!r} has a backslash that escapes nothing")

    def plain(match: re.Match[str]) -> str:
        if match[1] in "0\\":
            return {"0": "\0"}.get(match[1], "\\")
        code = int(match[1][1:], 16)
        return chr(code) if code < 0x80 else chr(0xDC00 + code)

    return _ESCAPE.sub(plain, text)
