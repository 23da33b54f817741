"""Room in the cache of optimised pieces: what was not used for longest goes first."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 512 * 2**20
"""More is kept only of the bundle that was used last."""
LEFT_OVER_S: Final = 86_400.0
"""What was begun so long ago and is still unfinished was broken off."""
UNFINISHED: Final = ".new-"
_KEY: Final = re.compile(r"[0-9a-f]{32}")


class _Kept(NamedTuple):
    used_s: float
    size: int
    folder: Path


def mark_used(folder: Path) -> None:
    """Note that a bundle's pieces are used now; where that cannot be noted, they only go the sooner."""
    try:
        os.utime(folder)
    except OSError as error:
        logger.debug("the use of %s cannot be noted: %s", folder, error)


def make_room(cache_dir: Path, newest: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Remove the pieces that were not used for longest, until all have at most `max_bytes`, and what was broken off.

    Only folders with names such as the cache gives them are touched; what vanishes meanwhile is somebody else's work.

    Args:
        cache_dir: Folder of all cached bundles.
        newest: One that stays, however large it is.
        max_bytes: How much may stay.
    """
    try:
        kept = [_Kept(folder.stat().st_mtime, _size(folder), folder) for folder in _folders(cache_dir, newest)]
        room = max_bytes - _size(newest)
    except OSError as error:
        logger.debug("%s is not tidied up now: %s", cache_dir, error)
        return
    for used in sorted(kept, reverse=True):
        room -= used.size
        if room < 0:
            shutil.rmtree(used.folder, ignore_errors=True)


def _folders(cache_dir: Path, newest: Path) -> Iterator[Path]:
    """Yield the folders of other bundles; remove those that nobody will finish."""
    for folder in cache_dir.iterdir():
        if folder.name.startswith(UNFINISHED):
            if time.time() - folder.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(folder, ignore_errors=True)
        elif _KEY.fullmatch(folder.name) and folder != newest and folder.is_dir():
            yield folder


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
