"""Read Fashion-MNIST from the folder of the Debian package, and split it.

The split is defined here and nowhere else: what a network is trained on, what
predictors are fitted on and what thresholds are chosen on never overlap, and
none of them touches the test images.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeexit.errors import DataError

DEFAULT_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where `apt-get install dataset-fashion-mnist` puts the files."""

CLASS_NAMES: Final[tuple[str, ...]] = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

IMAGE_SIDE: Final = 28
FIT_COUNT: Final = 5_000
SELECT_COUNT: Final = 5_000
SPLIT_SEED: Final = 2206_04685
"""Fixed: with another seed, networks trained earlier have seen images of `fit` and `select`."""

_UNSIGNED_BYTE: Final = 0x08


class FashionMnistMissing(DataError, FileNotFoundError):
    """A Fashion-MNIST file is not where it was looked for."""


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images with one label each.

    Attributes:
        images: (N, 28, 28) uint8, 0 is background.
        labels: (N,) uint8, an index into `CLASS_NAMES`.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse images and labels of different number."""
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{len(self.images)} images but {len(self.labels)} labels: take both files from the same package"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.intp]) -> LabelledImages:
        """Return the images at `indices`, in that order.

        Args:
            indices: (M,) positions.
        """
        return LabelledImages(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class FashionMnist:
    """The four disjoint parts every offline step works with.

    Attributes:
        train: 50,000 images, for the weights of a network.
        fit: 5,000 images, for predictors.
        select: 5,000 images, for choosing thresholds and recipes.
        test: the 10,000 test images, for reporting only.
    """

    train: LabelledImages
    fit: LabelledImages
    select: LabelledImages
    test: LabelledImages


def load_fashion_mnist(folder: Path = DEFAULT_FOLDER) -> FashionMnist:
    """Read the data set and split its training images.

    Args:
        folder: Holds `train-images-idx3-ubyte.gz` and its three neighbours.

    Raises:
        FashionMnistMissing: A file is not there.
        DataError: A file is not an idx file of the expected shape.
    """
    known = _load_part(folder, "train")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(known))
    train, fit, select = np.split(order, [-FIT_COUNT - SELECT_COUNT, -SELECT_COUNT])
    return FashionMnist(
        train=known.take(train),
        fit=known.take(fit),
        select=known.take(select),
        test=_load_part(folder, "t10k"),
    )


def as_input(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Make network input of raw images.

    Args:
        images: (N, 28, 28) uint8.

    Returns:
        (N, 1, 28, 28) float32 in [0, 1].
    """
    return images[:, np.newaxis].astype(np.float32) / np.float32(255)


def _load_part(folder: Path, name: str) -> LabelledImages:
    images = _load_idx(folder / f"{name}-images-idx3-ubyte.gz", dimensions=3)
    labels = _load_idx(folder / f"{name}-labels-idx1-ubyte.gz", dimensions=1)
    return LabelledImages(images, labels)


def _load_idx(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read one idx file: two zero bytes, type, rank, big-endian sizes, data.

    The format is described at the end of LeCun's MNIST page.
    """
    data = _unzip(path)
    header = 4 + 4 * dimensions
    if data[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise DataError(
            f"{path}: expected an idx file of bytes in {dimensions} dimensions, "
            f"found a file that begins with {data[:4].hex()}; install the package again"
        )
    shape = tuple(int(size) for size in np.frombuffer(data[4:header], dtype=">u4"))
    if len(data) - header != math.prod(shape):
        raise DataError(
            f"{path}: the header announces {shape}, {len(data) - header} bytes follow; install the package again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _unzip(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise FashionMnistMissing(
            f"Fashion-MNIST was looked for in {path.parent}, which has no {path.name}: "
            "run `apt-get install dataset-fashion-mnist`, or name the folder that has it"
        ) from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path} is not a complete gzip file ({error}); install the package again") from error
