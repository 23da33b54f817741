"""The demo's images: Fashion-MNIST test images that ship, or a user's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.errors import DataError, InputError
from edgeexit.runtime.samples import pixels_to_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle

    Array = NDArray[Any]

SHIPPED = "fashion-images.npz"


def load_demo_images(bundle: Bundle, path: Path | None = None, *, count: int | None = None) -> tuple[Array, Array]:
    """Read images as input of `bundle`, and their labels.

    Args:
        bundle: Must have one input.
        path: A ``.npz`` file with ``images``, uint8 pixels (N, H, W) or (N, H, W, C) or ready input of the bundle, and
            ``labels`` (N,), whole numbers; by default the Fashion-MNIST test images that ship.
        count: How many at most, from the first on; by default all.

    Raises:
        DataError: If the file is missing, damaged or holds no images with labels.
        InputError: If the images do not fit the bundle.
    """
    if len(bundle.inputs) != 1:
        raise InputError(f"the demo runs bundles with one input; {bundle.name!r} has {len(bundle.inputs)}")
    path = Path(str(files("edgeexit.reference") / SHIPPED)) if path is None else path
    images, labels = _read(path)
    if len(images) == 0 or images.ndim < 2 or labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path} must hold images (N, ...) and labels (N,), N from 1 on, labels as whole numbers, not images "
            f"{images.shape} and labels {labels.shape} of type {labels.dtype}"
        )
    images, labels = images[:count], labels[:count].astype(np.int64)
    if images.dtype != np.uint8 or bundle.inputs[0].dtype == "uint8":
        return images, labels
    try:
        return pixels_to_input(bundle, images), labels
    except InputError as error:
        raise InputError(f"{path} does not fit: {error}") from error


def _read(path: Path) -> tuple[Array, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive["images"], archive["labels"]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: give a .npz file with the arrays images and labels") from error
    except Exception as error:  # zipfile, zlib and NumPy raise nearly everything for a damaged file
        raise DataError(f"{path} cannot be read as .npz file with the arrays images and labels: {error}") from error
