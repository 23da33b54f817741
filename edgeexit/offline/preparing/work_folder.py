"""What the finished steps of a preparation came to, so that one that was interrupted goes on where it stopped.

Each result is a file whose name holds a hash of all that it was made from. Another model, other samples or other
options give other names, so what is found is never out of date. Files are written beside and renamed, so what is found
is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import numpy as np

import edgeexit
from edgeexit.beside import write_beside
from edgeexit.errors import DataError, OptionError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    Arrays = Mapping[str, NDArray[Any]]

MARKER: Final = "edgeexit-prepare.txt"
_MARKER_TEXT: Final = b"Work of `edgeexit prepare` that is not finished. It goes on from here; or delete the folder.\n"


def step_key(*made_from: object) -> str:
    """Return a hash, 16 hexadecimal digits, of what a step's result is made from.

    Args:
        made_from: What JSON can hold; a folder that stays the same must give the same text.
    """
    text = json.dumps([edgeexit.__version__, *made_from], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class WorkFolder:
    """A folder of results; one preparation at a time has it.

    Args:
        path: It is made if it is not there.
        keep: True leaves it where it is when the work is done.

    Raises:
        OptionError: If something else is at `path`, or another preparation is at work there.
        OSError: If it cannot be made or written to.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self.path = path
        self.found: list[str] = []
        """Steps whose result was there already."""
        self._keep = keep
        self._lock = self._take()

    def _take(self) -> int:
        marker = self.path / MARKER
        if self.path.exists() and not marker.is_file() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise OptionError(f"{self.path} is needed for unfinished work and holds something else; move it away")
        self.path.mkdir(parents=True, exist_ok=True)
        if not marker.is_file():
            write_beside(marker, _MARKER_TEXT)
        lock = os.open(marker, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise OptionError(
                f"another preparation is at work in {self.path}; wait for it, or name another -o"
            ) from None
        return lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def done(self) -> None:
        """Take the folder away, unless it shall be kept."""
        if not self._keep:
            shutil.rmtree(self.path, ignore_errors=True)

    def folder(self, step: str, key: str) -> Path:
        """Return a folder of its own for a step that keeps its results itself."""
        folder = self.path / f"{step}-{key}"
        folder.mkdir(exist_ok=True)
        return folder

    def keep(self, step: str, key: str, make: Callable[[], bytes]) -> bytes:
        """Return what a step came to: from its file, or made now and written there.

        Raises:
            OSError: If the disk is full; there is then no such file.
        """
        path = self.path / f"{step}-{key}"
        if path.is_file():
            self.found.append(step)
            return path.read_bytes()
        data = make()
        write_beside(path, data)
        return data

    def keep_json(self, step: str, key: str, make: Callable[[], Any]) -> Any:
        """Do the same for what JSON can hold."""
        data = self.keep(step, key, lambda: json.dumps(make(), allow_nan=False).encode())
        try:
            return json.loads(data)
        except ValueError as error:
            raise self._damaged(step, key, error) from error

    def keep_arrays(
        self, step: str, key: str, make: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> dict[str, NDArray[Any]]:
        """Do the same for arrays by name."""
        data = self.keep(step, key, lambda: _packed(make()))
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, BadZipFile, EOFError) as error:
            raise self._damaged(step, key, error) from error

    def _damaged(self, step: str, key: str, error: Exception) -> DataError:
        return DataError(f"{self.path / f'{step}-{key}'} is damaged ({error}); delete it, and it is made again")


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
