"""Read the files of a bundle, and none outside it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from edgeexit.bundle.manifest import FileRecord
from edgeexit.errors import BundleError, BundleNotFound

LARGEST_PROTOBUF: Final = 2**31 - 1
"""Bytes that one protobuf message, and so one ONNX file without external data, may have."""


def read_plain_file(folder: Path, name: str, *, max_bytes: int) -> bytes:
    """Read the file `name` of the bundle `folder`; its size is looked at before a byte is read.

    Raises:
        BundleError: If it does not exist, is no plain file, is a link that leaves the bundle or is larger than
            `max_bytes`.
    """
    path = folder / name
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True)):
            raise BundleError(f"{path}: is a link that leaves the bundle; put the file itself there")
        # Without O_NONBLOCK a named pipe in place of the file would hang the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise BundleNotFound(f"{path}: does not exist; copy the bundle again with all its files") from error
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{path}: cannot be read ({error})") from error
    try:
        status = os.fstat(descriptor)
        _check_file(path, status, max_bytes)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size + 1)  # Python allocates as much as is asked for, before it reads
    finally:
        os.close(descriptor)


def read_listed_file(folder: Path, name: str, record: FileRecord, *, max_bytes: int) -> bytes:
    """Read the file `name` and check that it is the one that `record` describes.

    Raises:
        BundleError: If it cannot be read, see `read_plain_file`, or if its size or content is another.
    """
    if record.size > max_bytes:
        raise BundleError(
            f"{folder / name}: should have {record.size} bytes, more than the {max_bytes} allowed; "
            "raise max_file_bytes if you trust it"
        )
    data = read_plain_file(folder, name, max_bytes=max_bytes)
    if len(data) != record.size:
        what = "is truncated" if len(data) < record.size else "was changed"
        raise BundleError(f"{folder / name}: {what}: {len(data)} bytes instead of {record.size}; copy the bundle again")
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise BundleError(f"{folder / name}: was changed: its sha256 is not the manifest's; copy the bundle again")
    return data


def _check_file(path: Path, status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path}: is no plain file; put the file itself there")
    if status.st_size > max_bytes:
        raise BundleError(
            f"{path}: has {status.st_size} bytes, more than the {max_bytes} allowed; "
            "raise max_file_bytes if you trust it"
        )
