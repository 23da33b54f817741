"""Arrays of .npy and .npz files, read row by row: what is not asked for is never in memory.

Files are read at offsets and not mapped, so that the memory in use is what was asked for and nothing else. Members of
a compressed archive are unpacked to a temporary file that nobody else sees and that ends with the process.
"""

from __future__ import annotations

import os
import tempfile
import weakref
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import numpy as np

from edgeexit.errors import DataError, EdgeExitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.protocols import IntArray

    Array = NDArray[Any]

_CHUNK: Final = 2**20
_LOCAL_HEADER: Final = 30
"""Bytes of a zip member's local header before its name (APPNOTE.TXT 4.3.7); their lengths are the last two numbers."""


class Rows(Protocol):
    """An array of which some rows can be had at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array; the first axis is that of the rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its items."""

    def read(self, indices: IntArray) -> Array:
        """Return the rows at `indices` (M,), as an array (M, ...)."""


class MemoryRows:
    """Rows of an array in memory, in the dtype that it has."""

    def __init__(self, array: Array) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self._array.dtype

    def read(self, indices: IntArray) -> Array:
        """Return the rows at `indices` (M,), as an array (M, ...)."""
        return self._array[indices]


class StoredRows:
    """Rows of an array in a file, in C order.

    Args:
        file: Is read through a descriptor of its own and may be closed.
        offset: Where the first row begins, in bytes.
        shape: Of the whole array, with one axis or more.
        dtype: Of its items.
        where: Name of the array, for error messages.

    Raises:
        DataError: If the file ends before the array does.
    """

    def __init__(self, file: BinaryIO, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
        self.shape = shape
        self.dtype = dtype
        self._offset = offset
        self._where = where
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        if offset + shape[0] * self._row_bytes > os.fstat(self._descriptor).st_size:
            raise DataError(f"{where} is cut short: its header promises the shape {shape} of {dtype}; copy it again")

    def read(self, indices: IntArray) -> Array:
        """Return the rows at `indices` (M,), as an array (M, ...).

        Raises:
            DataError: If the file was cut short since it was opened.
        """
        rows: Array = np.empty((len(indices), *self.shape[1:]), self.dtype)
        target = rows.reshape(-1).view(np.uint8).data
        ends = [*(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
        start = 0
        for end in ends:
            view = target[start * self._row_bytes : end * self._row_bytes]
            self._fill(view, self._offset + int(indices[start]) * self._row_bytes if end > start else 0)
            start = end
        return rows

    def _fill(self, view: memoryview, offset: int) -> None:
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptor, [view[done:]], offset + done)
            if count == 0:
                raise DataError(f"{self._where} was cut short while it was in use; copy it again")
            done += count


def open_npy(path: Path) -> Rows:
    """Open the array of a .npy file.

    Raises:
        DataError: If the file cannot be read, is damaged, or holds Python objects or a single number.
    """
    try:
        with path.open("rb") as file:
            return _rows(file, str(path))
    except EdgeExitError:
        raise
    except Exception as error:  # NumPy raises nearly everything for a damaged file
        raise _unreadable(path, error) from error


def open_npz(path: Path) -> dict[str, Rows]:
    """Open the arrays of a .npz file by their names; checksums are verified first.

    Raises:
        DataError: If the file cannot be read, is damaged, or holds Python objects or a single number; or if there is no
            room to unpack it.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            return {m.filename.removesuffix(".npy"): _member(file, archive, m, path) for m in members}
    except EdgeExitError:
        raise
    except Exception as error:  # so do zipfile and zlib
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, OSError):
        return DataError(f"{path} cannot be read: {error.strerror or error}")
    return DataError(f"{path} cannot be read as NumPy arrays: {error}")


def _member(file: BinaryIO, archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Rows:
    where = f"{path}[{member.filename.removesuffix('.npy')}]"
    if member.compress_type != zipfile.ZIP_STORED:
        with tempfile.TemporaryFile() as unpacked:
            _unpack(archive, member, unpacked, where)
            unpacked.seek(0)
            return _rows(unpacked, where)
    with archive.open(member) as stream:
        while stream.read(_CHUNK):  # whose end verifies the checksum
            pass
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
    return _rows(file, where)


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: BinaryIO, where: str) -> None:
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            try:
                target.write(chunk)
                target.flush()
            except OSError as error:
                raise DataError(
                    f"{where}: no room to unpack it in {tempfile.gettempdir()} ({error.strerror}): let TMPDIR name a "
                    "folder with room, or save the archive uncompressed (numpy.savez)"
                ) from error


def _rows(file: BinaryIO, where: str) -> Rows:
    """Open the array whose .npy header begins here."""
    layout: Any = np.lib.format  # older NumPy has no types for it
    version = layout.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{where} has fields with names, which no model takes: save plain numbers")
    read = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if dtype.hasobject or dtype.names is not None:
        raise DataError(f"{where} holds Python objects or fields, which are not loaded: save plain numbers")
    if not shape or min(shape) < 0:
        raise DataError(f"{where} has the shape {shape}: the first axis must be that of the samples")
    if not fortran_order or len(shape) == 1:
        return StoredRows(file, file.tell(), shape, dtype, where)
    flat = StoredRows(file, file.tell(), (int(np.prod(shape, dtype=object)),), dtype, where)
    return MemoryRows(flat.read(np.arange(flat.shape[0])).reshape(shape[::-1]).transpose())
