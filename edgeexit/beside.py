"""Write a file beside the one that is there, then put it in its place: nobody ever finds half of it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_beside(path: Path, data: bytes) -> None:
    """Write `data` to `path`, all of it or nothing.

    What a symbolic link points to is replaced, not the link; a device or a pipe is written to as it is.

    Raises:
        OSError: If the disk is full or the place cannot be written to; it names `path`. What was there is as it was.
    """
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _put_in_place(target, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _put_in_place(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink(missing_ok=True)
        raise
