"""Where samples are read from: arrays with one row a sample, or one file a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edgeexit.bundle.manifest import ANY_SIZE
from edgeexit.errors import DataError
from edgeexit.offline.data.rows import Rows, open_npy
from edgeexit.runtime.samples import check_image, images_to_input, read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Preprocess, Tensor
    from edgeexit.protocols import IntArray

    Array = NDArray[Any]

_DIGEST_BYTES: Final = 2**22
"""How much is read at a time to hash it."""


class Source(Protocol):
    """Samples in the form in which they are stored, made input of a model when they are read."""

    def __len__(self) -> int: ...

    def read(self, positions: IntArray) -> dict[str, Array]:
        """Return the inputs at `positions` (M,) by name, each (M, ...) and finite."""

    @property
    def digests(self) -> Sequence[bytes]:
        """sha256 of each sample as it is stored."""

    def name(self, position: int) -> str:
        """Return where a sample is from, for messages."""


class ArraySource:
    """One row a sample, in one array for each input of the model.

    Args:
        rows: By the names of the inputs.
        inputs: Of the model.
        preprocess: How uint8 images become the input; None if the rows are the input.
        where: File or folder, for messages.
    """

    def __init__(
        self, rows: Mapping[str, Rows], inputs: Sequence[Tensor], preprocess: Preprocess | None, where: str
    ) -> None:
        self._rows = rows
        self._inputs = tuple(inputs)
        self._preprocess = preprocess
        self._where = where
        check_rows(rows, self._inputs, where, images=preprocess is not None)

    def __len__(self) -> int:
        return self._rows[self._inputs[0].name].shape[0]

    def read(self, positions: IntArray) -> dict[str, Array]:
        """Return the inputs at `positions` (M,) by name, each (M, ...).

        Raises:
            DataError: If a value is not finite, or the file was cut short.
        """
        made = {t.name: to_input(self._rows[t.name].read(positions), t, self._preprocess) for t in self._inputs}
        for array in made.values():
            check_finite(array, lambda row: self.name(int(positions[row])))
        return made

    @cached_property
    def digests(self) -> Sequence[bytes]:
        """sha256 of each sample: of the names, types, shapes and bytes of its rows.

        Raises:
            DataError: If a value is not finite.
        """
        hashes = [hashlib.sha256() for _ in range(len(self))]
        for name, rows in sorted(self._rows.items()):
            head = f"{name} {rows.dtype.str} {rows.shape[1:]}".encode()
            size = max(1, rows.dtype.itemsize * int(np.prod(rows.shape[1:])))
            step = max(1, _DIGEST_BYTES // size)
            for start in range(0, len(self), step):
                chunk = rows.read(np.arange(start, min(start + step, len(self))))
                check_finite(chunk, partial(self._name_behind, start))
                for index, row in enumerate(chunk, start):
                    hashes[index].update(head)
                    hashes[index].update(np.asarray(row).tobytes())
        return tuple(one.digest() for one in hashes)

    def name(self, position: int) -> str:
        """Return file and position."""
        return f"{self._where}[{position}]"

    def _name_behind(self, start: int, row: int) -> str:
        return self.name(start + row)


class FileSource:
    """One file a sample.

    Args:
        files: In the order of the samples.
        decode: Makes input of a file, (1, ...), or raises a `DataError` that names it.
        input_name: Of the model's one input.
    """

    def __init__(self, files: Sequence[Path], decode: Callable[[Path], Array], input_name: str) -> None:
        self._files = tuple(files)
        self._decode = decode
        self._input_name = input_name

    def __len__(self) -> int:
        return len(self._files)

    def read(self, positions: IntArray) -> dict[str, Array]:
        """Return the input at `positions` (M,), (M, ...).

        Raises:
            DataError: If a file is damaged or holds values that are not finite.
        """
        made: Array | None = None
        for row, position in enumerate(positions.tolist()):
            one = self._decode(self._files[position])
            if made is None:
                made = np.empty((len(positions), *one.shape[1:]), one.dtype)
            made[row] = one[0]
        if made is None:
            made = self._decode(self._files[0])[:0]
        check_finite(made, lambda row: self.name(int(positions[row])))
        return {self._input_name: made}

    @cached_property
    def digests(self) -> Sequence[bytes]:
        """sha256 of each file."""
        return tuple(_file_digest(file) for file in self._files)

    def name(self, position: int) -> str:
        """Return the path."""
        return str(self._files[position])


def image_files(files: Sequence[Path], tensor: Tensor, preprocess: Preprocess) -> FileSource:
    """Return a source of images; each file is looked at, and decoded when it is read.

    Raises:
        DataError: If a file does not begin as an image does.
        MissingExtra: If Pillow is not installed.
    """
    for file in files:
        check_image(file)

    def decode(file: Path) -> Array:
        return images_to_input(read_image(file, preprocess)[np.newaxis], preprocess, tensor.dtype)

    return FileSource(files, decode, tensor.name)


def array_files(files: Sequence[Path], tensor: Tensor, preprocess: Preprocess | None) -> FileSource:
    """Return a source of .npy files with one sample each, with a batch axis of 1 or without one.

    Raises:
        DataError: If a file is damaged, does not fit the input, or has another shape or type than the first.
    """
    shapes = [(rows.shape, rows.dtype) for rows in map(open_npy, files)]
    for file, found in zip(files, shapes, strict=True):
        if found != shapes[0]:
            raise DataError(
                f"{file} has shape {found[0]} and type {found[1]}, {files[0].name} has {shapes[0][0]} and "
                f"{shapes[0][1]}: all samples must be alike"
            )
    shape, dtype = shapes[0]
    images = preprocess is not None and dtype == np.uint8
    batched = len(shape) == len(tensor.shape or shape) and shape[0] == 1 and not (images and len(shape) < 4)

    def decode(file: Path) -> Array:
        rows = open_npy(file)
        array = rows.read(np.arange(rows.shape[0]))
        return to_input(array if batched else array[np.newaxis], tensor, preprocess)

    first = _Shape(shape if batched else (1, *shape), dtype)
    check_rows({tensor.name: first}, (tensor,), str(files[0]), images=images)
    return FileSource(files, decode, tensor.name)


class _Shape:
    """Shape and dtype of rows that are not read."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype

    def read(self, indices: IntArray) -> Array:
        return np.empty((len(indices), *self.shape[1:]), self.dtype)


def to_input(array: Array, tensor: Tensor, preprocess: Preprocess | None) -> Array:
    """Make input of rows: uint8 images by `preprocess`, anything else by its type alone.

    Raises:
        DataError: If a whole number is too large for the input's type.
    """
    if preprocess is not None and array.dtype == np.uint8:
        return images_to_input(array, preprocess, tensor.dtype)
    made = array.astype(tensor.dtype, copy=False)
    if made.dtype.kind in "iu" and not np.can_cast(array.dtype, made.dtype) and (made != array).any():
        raise DataError(f"input {tensor.name!r} holds numbers that {tensor.dtype} cannot hold, as {array.dtype}")
    return made


def check_rows(rows: Mapping[str, Rows], inputs: Sequence[Tensor], where: str, *, images: bool) -> None:
    """Check that arrays fit the inputs of a model, and have the same number of samples.

    Args:
        rows: By the names of the inputs.
        inputs: Of the model.
        where: File or folder, for messages.
        images: uint8 arrays are images of any size.

    Raises:
        DataError: If they do not.
    """
    symbols: dict[str, int] = {}
    for tensor in inputs:
        found = rows[tensor.name]
        if images and found.dtype == np.uint8:
            _check_images(found, where)
        else:
            _check_type(found, tensor, where)
            _check_shape(found, tensor, where, symbols)
    counts = {tensor.name: rows[tensor.name].shape[0] for tensor in inputs}
    if len(set(counts.values())) > 1:
        raise DataError(f"{where}: the inputs have different numbers of samples: {counts}")
    if 0 in counts.values():
        raise DataError(f"{where} holds no sample")


def _check_images(found: Rows, where: str) -> None:
    if not (len(found.shape) == 3 or (len(found.shape) == 4 and {1, 3} & {found.shape[1], found.shape[3]})):
        raise DataError(
            f"{where}: images must have the shape (S, H, W), (S, H, W, C) or (S, C, H, W) with 1 or 3 channels, not "
            f"{found.shape}"
        )


def _check_type(found: Rows, tensor: Tensor, where: str) -> None:
    want, kind = np.dtype(tensor.dtype), found.dtype.kind
    if found.dtype != want and (kind not in "fiu" or kind.replace("u", "i") != want.kind.replace("u", "i")):
        raise DataError(
            f"{where}: input {tensor.name!r} must be {tensor.dtype}, not {found.dtype}: convert it as the model was "
            "trained, or give uint8 images and a preprocess.json"
        )


def _check_shape(found: Rows, tensor: Tensor, where: str, symbols: dict[str, int]) -> None:
    if tensor.shape is None:
        return
    fits = len(found.shape) == len(tensor.shape)
    for size, want in zip(found.shape[1:], tensor.shape[1:], strict=False):
        wanted = symbols.setdefault(want, size) if isinstance(want, str) and want != ANY_SIZE else want
        fits &= size > 0 and wanted in (size, ANY_SIZE)
    if not fits:
        wanted = ", ".join(("S", *map(str, tensor.shape[1:])))
        raise DataError(f"{where}: input {tensor.name!r} must have the shape ({wanted}), not {found.shape}")


def check_finite(array: Array, name: Callable[[int], str]) -> None:
    """Refuse NaN and infinity.

    Args:
        array: (M, ...).
        name: Of a row, for the message.

    Raises:
        DataError: If a value is not finite.
    """
    if array.dtype.kind != "f" or np.isfinite(np.vdot(array, array)):  # a dot product passes nearly every array
        return
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    if len(bad):
        raise DataError(f"{name(int(bad[0]))} holds values that are not finite (NaN or infinity)")


def _file_digest(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
