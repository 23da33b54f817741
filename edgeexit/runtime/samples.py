"""Samples from files: NumPy arrays, archives of them, and images.

How an image becomes input of a network is told in a `Preprocess` record and done here alone, by `images_to_input`: on
the device and when a network is prepared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.bundle.preprocess import IMAGE_MODES
from edgeexit.errors import DataError, EdgeExitError, InputError, MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle, Preprocess

    Array = NDArray[Any]

ARRAY_SUFFIXES = (".npy", ".npz")
_MAGIC = (b"\x93NUMPY", b"PK")
"""How .npy files and .npz files (zip archives) begin."""
_CHANNELS = (1, 3)
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
            bundle's manifest says: converted, scaled to the network's size, and normalised. That needs Pillow, the
            extra "images". Arrays of uint8 are images too, and prepared in the same way, if the manifest says how and
            the network takes other numbers.

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
    preprocess = _preprocess_of(bundle, path)
    return images_to_input(read_image(Path(path), preprocess)[np.newaxis], preprocess, bundle.inputs[0].dtype)


def pixels_to_input(bundle: Bundle, pixels: NDArray[np.uint8]) -> Array:
    """Make input of `bundle` from images: (pixel * scale - mean) / std, channel by channel.

    Args:
        bundle: Says how, and of which size and channels the images must be.
        pixels: (N, H, W, C) uint8, or (N, H, W) if there is one channel.

    Raises:
        InputError: If the images have another size, or the bundle does not say how an image becomes its input.
    """
    preprocess = _preprocess_of(bundle, "images")
    channels = IMAGE_MODES[preprocess.mode]
    if pixels.ndim == 3 and channels == 1:
        pixels = pixels[..., np.newaxis]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (*preprocess.size, channels):
        height, width = preprocess.size
        raise InputError(
            f"bundle {bundle.name!r} takes images of {height} x {width} pixels with {channels} channels as uint8, "
            f"not an array of shape {pixels.shape} and type {pixels.dtype}"
        )
    return images_to_input(pixels, preprocess, bundle.inputs[0].dtype)


def images_to_input(pixels: NDArray[np.uint8], preprocess: Preprocess, dtype: str = "float32") -> Array:
    """Make a network's input of images of any size, grey or in colour.

    Images that have another size or mode than `preprocess` says are converted and scaled as image files are, which
    needs Pillow; then each pixel becomes (pixel * scale - mean) / std.

    Args:
        pixels: (N, H, W), (N, H, W, C) or (N, C, H, W) uint8; C is 1 or 3: red, green and blue, in that order.
        preprocess: How.
        dtype: Of the input.

    Returns:
        (N, C, H, W) or (N, H, W, C), as `preprocess` says.

    Raises:
        InputError: If `pixels` are no images.
        MissingExtra: If they must be scaled or converted, and Pillow is not installed.
    """
    pixels = _channels_last(pixels)
    size = (*preprocess.size, IMAGE_MODES[preprocess.mode])
    if pixels.shape[1:] != size:
        resized = np.empty((len(pixels), *size), np.uint8)
        for index, image in enumerate(pixels):
            resized[index] = _resize(image, preprocess)
        pixels = resized
    return _normalise(pixels, preprocess, dtype)


def read_image(path: Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Read an image file, upright, in the size and mode that `preprocess` names.

    Returns:
        (H, W, C) uint8; colours as red, green and blue, whatever the mode: `images_to_input` brings them in order.

    Raises:
        DataError: If the file is no image that Pillow can read, or has more than 8 bits a channel.
        MissingExtra: If Pillow is not installed.
    """
    from_pillow = _pillow(f"{path} is an image")
    try:
        with from_pillow.Image.open(path) as file:
            if not file.mode.startswith(_DEEP_PIXELS):
                return _to_pixels(from_pillow, from_pillow.ImageOps.exif_transpose(file), preprocess)
    except Exception as error:  # Pillow's decoders raise nearly everything for a damaged file
        raise _damaged_image(path, error) from error
    raise DataError(f"{path} has more than 8 bits a channel: save it with 8, or give its values as .npy")


def check_image(path: Path) -> None:
    """Check that a file begins as an image does; its pixels are not decoded.

    Raises:
        DataError: If Pillow does not know it.
        MissingExtra: If Pillow is not installed.
    """
    from_pillow = _pillow(f"{path} is an image")
    try:
        with from_pillow.Image.open(path):
            pass
    except Exception as error:  # as above
        raise _damaged_image(path, error) from error


def _damaged_image(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as an image ({error}): mend or remove it")


def _channels_last(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (N, H, W, C); three axes are grey images, and channels may stand first."""
    shape = pixels.shape
    if pixels.dtype == np.uint8 and 0 not in shape[1:]:
        if pixels.ndim == 3:
            return pixels[..., np.newaxis]
        if pixels.ndim == 4 and shape[3] in _CHANNELS:
            return pixels
        if pixels.ndim == 4 and shape[1] in _CHANNELS:
            return pixels.transpose(0, 2, 3, 1)
    raise InputError(
        f"images must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, not an array of "
        f"shape {shape} and type {pixels.dtype}"
    )


def _normalise(pixels: NDArray[np.uint8], preprocess: Preprocess, dtype: str) -> Array:
    """Turn (N, H, W, C) uint8 of the right size into input; image by image, which stays in the processor's cache."""
    if preprocess.mode == "BGR":
        pixels = pixels[..., ::-1]
    channels_first = preprocess.layout == "NCHW"
    if channels_first:
        pixels = pixels.transpose(0, 3, 1, 2)
    of_channels = (-1, 1, 1) if channels_first else (1, 1, -1)
    mean = np.asarray(preprocess.mean, np.float32).reshape(of_channels)
    std = np.asarray(preprocess.std, np.float32).reshape(of_channels)
    made: Array = np.empty(pixels.shape, dtype)
    for index, image in enumerate(pixels):
        values = image.astype(np.float32, order="C")
        values *= np.float32(preprocess.scale)
        values -= mean
        values /= std
        made[index] = values
    return made


def _preprocess_of(bundle: Bundle, path: str | Path) -> Preprocess:
    if bundle.preprocess is None or len(bundle.inputs) != 1:
        raise InputError(
            f"{path}: bundle {bundle.name!r} does not say how an image becomes its input: give .npy or .npz files"
        )
    return bundle.preprocess


def _resize(image: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Bring one image (H, W, C) to the size and mode that `preprocess` names."""
    from_pillow = _pillow(f"images of {image.shape[0]} x {image.shape[1]} pixels must be scaled or converted")
    plane = image[..., 0] if image.shape[2] == 1 else image
    return _to_pixels(from_pillow, from_pillow.Image.fromarray(np.ascontiguousarray(plane)), preprocess)


def _to_pixels(from_pillow: Any, image: Any, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Convert and scale a Pillow image to (H, W, C) uint8, colours as red, green and blue.

    With a shorter side given it is what torchvision's `Resize(shorter_side)` and `CenterCrop(size)` make of it, their
    rounding included.
    """
    height, width = preprocess.size
    method = from_pillow.Image.Resampling[preprocess.resize.upper()]
    mode = "L" if preprocess.mode == "L" else "RGB"
    if image.mode != "L":  # grey becomes colour at the end: the same pixels for a third of the work
        image = image.convert(mode)
    if preprocess.shorter_side is None:
        image = image.resize((width, height), method)
    else:
        scaled = [preprocess.shorter_side * side // min(image.size) for side in image.size]
        left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
        image = image.resize(scaled, method).crop((left, top, left + width, top + height))
    return np.asarray(image.convert(mode)).reshape(height, width, -1)


def _pillow(what: str) -> Any:
    try:
        import PIL.Image  # noqa: PLC0415  an extra: only images need it
        import PIL.ImageOps  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(f"{what}, which needs Pillow: pip install 'edgeexit[images]'") from error
    return PIL


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
    if _are_images(bundle, arrays):
        return _split_images(bundle, path, arrays[bundle.inputs[0].name])
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
    _check_some(path, counts[0])
    return (
        Sample(path, index, {name: batch[index : index + 1] for name, batch in batches.items()})
        for index in range(counts[0])
    )


def _are_images(bundle: Bundle, arrays: Mapping[str, Array]) -> bool:
    first = bundle.inputs[0]
    return bundle.preprocess is not None and arrays[first.name].dtype == np.uint8 and first.dtype != "uint8"


def _split_images(bundle: Bundle, path: Path, array: NDArray[np.uint8]) -> Iterator[Sample]:
    """Take a batch of images apart; (H, W) and (H, W, C) are one image."""
    preprocess = _preprocess_of(bundle, path)
    one = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    images = array[np.newaxis] if one else array
    _check_some(path, len(images) if images.ndim else 0)
    try:
        _channels_last(images[:0])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    name, dtype = bundle.inputs[0].name, bundle.inputs[0].dtype
    return (
        Sample(path, index, {name: images_to_input(images[index : index + 1], preprocess, dtype)})
        for index in range(len(images))
    )


def _check_some(path: Path, count: int) -> None:
    if count == 0:
        raise DataError(f"{path} holds an empty batch: there is no sample to answer for")
