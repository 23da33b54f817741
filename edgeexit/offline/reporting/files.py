"""Read replay results and write reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edgeexit.beside import write_beside
from edgeexit.errors import DataError, MissingExtra
from edgeexit.offline.replaying.results import BoardReplay, load_replays
from edgeexit.offline.reporting.checks import check_replay
from edgeexit.offline.reporting.selection import split_by_conditions

_ADVICE: Final = "run 'edgeexit replay BUNDLE --board NAME --json FILE' to make it"


def read_results(paths: Iterable[Path]) -> dict[str, BoardReplay]:
    """Read the results of replays.

    Args:
        paths: Files that `edgeexit replay --json` wrote.

    Returns:
        The replays by the name of the file, with a number behind it where a file holds several.

    Raises:
        DataError: If one cannot be read or holds impossible figures; it names the file and what to do.
    """
    found: dict[str, BoardReplay] = {}
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file; {_ADVICE}")
        try:
            replays = load_replays(path)
        except DataError as error:
            raise DataError(f"{error}; {_ADVICE}") from error
        for number, replay in enumerate(replays):
            name = str(path) if len(replays) == 1 else f"{path}, {number + 1}"
            check_replay(replay, name)
            found[name] = replay
    return found


def require_drawing() -> None:
    """Check that pictures can be drawn.

    Raises:
        MissingExtra: If Matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtra("the report needs Matplotlib: pip install 'edgeexit[report]'")


def write_report(replays: Mapping[str, BoardReplay], path: Path, png_folder: Path | None = None) -> list[Path]:
    """Write a report as one HTML file, and its pictures as PNG files.

    Each file is written beside the old one, then put in its place.

    Args:
        replays: The results by the name of the file, or whatever else tells them apart.
        path: The HTML file.
        png_folder: Where the pictures go; made if it is not there. None writes no pictures.

    Returns:
        The files that were written, the page first.

    Raises:
        DataError: If there is no replay, or one without runs.
        MissingExtra: If Matplotlib is not installed.
        OSError: If a file cannot be written; it names the file.
    """
    require_drawing()
    from edgeexit.offline.reporting.page import report_page  # noqa: PLC0415  needs Matplotlib to be there

    if not replays:
        raise DataError("there are no results to report: run 'edgeexit replay BUNDLE --board NAME --json FILE' first")
    titled = _titled(replays)
    write_beside(path, report_page(titled).encode())
    return [path, *([] if png_folder is None else _write_pictures(titled, png_folder))]


def _write_pictures(titled: Mapping[str, BoardReplay], folder: Path) -> list[Path]:
    from edgeexit.offline.reporting.drawings import drawings  # noqa: PLC0415  needs Matplotlib to be there
    from edgeexit.offline.reporting.theme import PRINT, png  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for title, replay in titled.items():
        for drawing in drawings(replay):
            path = folder / f"{_file_name(title)}-{drawing.name}.png"
            write_beside(path, png(drawing.draw(PRINT)))
            written.append(path)
    return written


def _titled(replays: Mapping[str, BoardReplay]) -> dict[str, BoardReplay]:
    """Return the replays by what a reader calls each: bundle and board, and what else it takes to tell them apart."""
    found = [
        (name, under, part) for name, replay in replays.items() for under, part in split_by_conditions(replay).items()
    ]
    short = [_title(part) for _, _, part in found]
    longer = [
        text if short.count(text) == 1 else f"{text}, {under}" for text, (_, under, _) in zip(short, found, strict=True)
    ]
    return {
        text if longer.count(text) == 1 else f"{text} ({name})": part
        for text, (name, _, part) in zip(longer, found, strict=True)
    }


def _title(replay: BoardReplay) -> str:
    share = "" if replay.static_share is None else f" with {100.0 * replay.static_share:.0f} % static power"
    return f"{replay.bundle} on {replay.board}{share}"


def _file_name(title: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in ".-_" else "-" for letter in title)
    return "-".join(part for part in kept.split("-") if part)
