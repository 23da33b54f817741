"""Keep the rows of a long pass over samples, in memory or in a folder where an interrupted pass goes on."""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeexit.beside import write_beside

FloatArray = NDArray[np.float32]

_KEY: Final = "pass.json"
_WHOLE: Final = "features.npy"


class Rows(Protocol):
    """The rows of a pass, batch by batch."""

    def has(self, batch: int) -> bool:
        """Tell if a batch is there already."""

    def put(self, batch: int, rows: FloatArray) -> None:
        """Keep the rows of a batch."""

    def join(self) -> FloatArray:
        """Return all rows (S, T), once all batches are there."""

    def read(self) -> FloatArray:
        """Return the rows again that `join` returned; those in a file are mapped into memory anew."""


class RowsInMemory:
    """Rows of a pass that cannot be resumed.

    Args:
        sizes: Number of rows of each batch.
    """

    def __init__(self, sizes: list[int]) -> None:
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._rows: FloatArray | None = None

    def has(self, batch: int) -> bool:
        """Nothing is there before the pass."""
        del batch
        return False

    def put(self, batch: int, rows: FloatArray) -> None:
        """Copy the rows into place."""
        if self._rows is None:
            self._rows = np.empty((int(self._starts[-1]), rows.shape[1]), dtype=np.float32)
        self._rows[self._starts[batch] : self._starts[batch + 1]] = rows

    def join(self) -> FloatArray:
        """Return the one array that there is."""
        assert self._rows is not None, "a pass has at least one sample"
        return self._rows

    read = join


class RowsInFolder:
    """Rows of a pass in files: each batch is on disk when `put` returns, and all in one file after `join`.

    What another pass left in the folder is removed.

    Args:
        folder: Made if it is not there; nothing else may lie in it.
        sizes: Number of rows of each batch.
        key: What the rows depend on: the same key stands for the same rows.

    Raises:
        OSError: If the folder cannot be written to.
    """

    def __init__(self, folder: Path, sizes: list[int], key: str) -> None:
        self._folder = folder
        self._sizes = sizes
        folder.mkdir(parents=True, exist_ok=True)
        if self._read_key() != key:
            for path in (folder / _WHOLE, *folder.glob("batch*.npy")):
                path.unlink(missing_ok=True)
            write_beside(folder / _KEY, json.dumps({"key": key}).encode())

    def has(self, batch: int) -> bool:
        """Tell if the batch was kept by this pass or by one before that was interrupted."""
        return (self._folder / _WHOLE).exists() or self._path(batch).exists()

    def put(self, batch: int, rows: FloatArray) -> None:
        """Write the batch beside and put it in place.

        Raises:
            OSError: If the disk is full; the batches before stay.
        """
        data = io.BytesIO()
        np.save(data, rows, allow_pickle=False)
        write_beside(self._path(batch), data.getvalue())

    def join(self) -> FloatArray:
        """Write all rows into one file, remove the batches, and return the file's rows, mapped into memory.

        Raises:
            OSError: If the disk is full; the batches stay.
        """
        whole = self._folder / _WHOLE
        if not whole.exists():
            self._write_whole(whole)
        for batch in range(len(self._sizes)):
            self._path(batch).unlink(missing_ok=True)
        return self.read()

    def read(self) -> FloatArray:
        """Return the file's rows, mapped into memory; what was read of them is given back with the last reference."""
        return np.asarray(np.load(self._folder / _WHOLE, mmap_mode="r", allow_pickle=False))

    def _write_whole(self, whole: Path) -> None:
        """Write by ordinary calls: a full disk under a mapped file would kill the process."""
        unfinished = whole.with_name(f".{whole.name}.new")
        first = np.load(self._path(0), allow_pickle=False)
        layout: Any = np.lib.format  # older NumPy has no types for it
        header = layout.header_data_from_array_1_0(first)
        header["shape"] = (sum(self._sizes), first.shape[1])
        try:
            with unfinished.open("wb") as file:
                layout.write_array_header_1_0(file, header)
                for batch in range(len(self._sizes)):
                    file.write(np.load(self._path(batch), allow_pickle=False).tobytes())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(whole)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise

    def _read_key(self) -> str | None:
        try:
            return str(json.loads((self._folder / _KEY).read_bytes())["key"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, batch: int) -> Path:
        return self._folder / f"batch{batch:06d}.npy"
