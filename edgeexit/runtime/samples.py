"""Samples from files: NumPy arrays, archives of them, and images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.errors import DataError, EdgeExitError, InputError, MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle, Preprocess

    Array = NDArray[Any]

ARRAY_SUFFIXES = (".npy", ".npz")
_MAGIC = (b"\x93NUMPY", b"PK")
"""How .npy files and .npz files (zip archives) begin."""
_DEEP_PIXELS = ("I", "F")
"""How the names of Pillow's modes with more than 8 bits a channel begin."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a file."""

    path: Path
    index: int
    """Position in the file, from 0."""
    inputs: Mapping[str, Array]
    """The bundle's inputs by name, each with a batch of one."""

    @property
    def name(self) -> str:
        """File and position, for instance "images.npy[3]"."""
        return f"{self.path}[{self.index}]"


def load_samples(bundle: Bundle, path: str | Path) -> Iterator[Sample]:
    """Read the samples of a file; a large ``.npy`` is read bit by bit.

    Args:
        bundle: The bundle they are for.
        path: A ``.npy`` file with one sample or a batch; a ``.npz`` file with an array named like each input, or with
            only one array if the bundle has one input; else an image (PNG, JPEG, ...), which is prepared as the
            bundle's manifest says: converted, scaled to the network's size without keeping its proportions, and
            normalised. That needs Pillow, the extra "images".

    Returns:
        The samples in the order of the file. Their shapes and values are checked by the session, not here.

    Raises:
        DataError: If the file is missing, damaged or holds no sample.
        InputError: If its arrays are not those that the bundle takes.
        MissingExtra: If the file is an image and Pillow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise DataError(f"{path} {problem}: give .npy, .npz or image files")
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _split(bundle, path, _arrays(bundle, path))
    return iter([Sample(path, 0, {bundle.inputs[0].name: load_image(bundle, path)})])


def load_image(bundle: Bundle, path: str | Path) -> Array:
    """Read an image as input of `bundle`: (1, C, H, W) or (1, H, W, C), as the manifest says.

    Raises:
        DataError: If the file is no image that Pillow can read.
        InputError: If the bundle does not say how an image becomes its input.
        MissingExtra: If Pillow is not installed.
    """
    return pixels_to_input(bundle, _read_pixels(Path(path), _preprocess_of(bundle, path))[np.newaxis])


def pixels_to_input(bundle: Bundle, pixels: NDArray[np.uint8]) -> Array:
    """Make input of `bundle` from images: (pixel * scale - mean) / std, channel by channel.

    Args:
        bundle: Says how, and of which size and channels the images must be.
        pixels: (N, H, W, C) uint8, or (N, H, W) if there is one channel.

    Raises:
        InputError: If the images have another size, or the bundle does not say how an image becomes its input.
    """
    preprocess = _preprocess_of(bundle, "images")
    channels = len(preprocess.mean)
    if pixels.ndim == 3 and channels == 1:
        pixels = pixels[..., np.newaxis]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (*preprocess.size, channels):
        height, width = preprocess.size
        raise InputError(
            f"bundle {bundle.name!r} takes images of {height} x {width} pixels with {channels} channels as uint8, "
            f"not an array of shape {pixels.shape} and type {pixels.dtype}"
        )
    values: Array = pixels.astype(np.float32) * np.float32(preprocess.scale)
    values = (values - np.asarray(preprocess.mean, np.float32)) / np.asarray(preprocess.std, np.float32)
    if preprocess.layout == "NCHW":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values.astype(bundle.inputs[0].dtype, copy=False)


def _preprocess_of(bundle: Bundle, path: str | Path) -> Preprocess:
    if bundle.preprocess is None or len(bundle.inputs) != 1:
        raise InputError(
            f"{path}: bundle {bundle.name!r} does not say how an image becomes its input: give .npy or .npz files"
        )
    return bundle.preprocess


def _read_pixels(path: Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return (H, W) or (H, W, C) uint8 of the size and the mode that `preprocess` names."""
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415  an extra: only images need it
    except ImportError as error:
        raise MissingExtra(f"{path} is an image, which needs Pillow: pip install 'edgeexit[images]'") from error
    height, width = preprocess.size
    try:
        with Image.open(path) as file:
            deep = file.mode.startswith(_DEEP_PIXELS)
            if not deep:
                upright = ImageOps.exif_transpose(file).convert(preprocess.mode)
                return np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
    except Exception as error:  # Pillow's decoders raise nearly everything for a damaged file
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    raise DataError(f"{path} has more than 8 bits a channel: save it with 8, or give its values as .npy")


def _arrays(bundle: Bundle, path: Path) -> dict[str, Array]:
    """Read the arrays of a .npy or .npz file by the names of the bundle's inputs."""
    names = [tensor.name for tensor in bundle.inputs]
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if not start.startswith(_MAGIC):
            raise DataError(f"{path} is no NumPy file: it begins with {start!r}")
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            loaded = {"": loaded}
        chosen = _choose(path, names, list(loaded))
        return {name: np.asanyarray(loaded[key]) for name, key in chosen.items()}
    except EdgeExitError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise nearly everything for a damaged file
        raise DataError(f"{path} cannot be read as NumPy arrays: {error}") from error


def _choose(path: Path, names: list[str], there: list[str]) -> dict[str, str]:
    """Return which of the arrays `there` is which input."""
    if all(name in there for name in names):
        return {name: name for name in names}
    if len(names) == len(there) == 1:
        return {names[0]: there[0]}
    found = ", ".join(repr(name) for name in there if name) or ("one array without a name" if there else "nothing")
    raise InputError(f"{path}: the bundle takes {', '.join(map(repr, names))}, the file holds {found}")


def _split(bundle: Bundle, path: Path, arrays: dict[str, Array]) -> Iterator[Sample]:
    """Take the samples of batches apart; an array without a batch axis is one sample."""
    batches: dict[str, Array] = {}
    for tensor in bundle.inputs:
        array = arrays[tensor.name]
        rank = max(1, array.ndim if tensor.shape is None else len(tensor.shape))
        if array.ndim not in (rank - 1, rank):
            sizes = ", ".join(map(str, tensor.shape or ()))
            raise InputError(f"{path}: input {tensor.name!r} must have the shape ({sizes}), not {array.shape}")
        batches[tensor.name] = array if array.ndim == rank else array[np.newaxis]
    counts = sorted({len(batch) for batch in batches.values()})
    if len(counts) != 1:
        raise InputError(f"{path}: the inputs have different numbers of samples: {', '.join(map(str, counts))}")
    if counts[0] == 0:
        raise DataError(f"{path} holds an empty batch: there is no sample to answer for")
    return (
        Sample(path, index, {name: batch[index : index + 1] for name, batch in batches.items()})
        for index in range(counts[0])
    )
