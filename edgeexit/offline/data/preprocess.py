"""How images become a model's input: read from preprocess.json, or derived from the input's shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeexit.bundle.preprocess import IMAGE_MODES, Preprocess, read_preprocess
from edgeexit.bundle.strict_json import JsonNode, Refusal, parse_json
from edgeexit.errors import DataError

if TYPE_CHECKING:
    from edgeexit.bundle import Tensor

_REFUSAL: Final = Refusal(DataError, "correct the file", "correct it")
_MODE_OF: Final = {1: "L", 3: "RGB"}


def load_preprocess(path: Path | str) -> Preprocess:
    """Read a preprocess.json: the same keys as "preprocess" in a bundle's manifest.json.

    For example ``{"mode": "RGB", "size": [224, 224], "layout": "NCHW", "scale": 0.00392156862745098,
    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "resize": "bilinear", "shorter_side": 256}``, of which
    the last two may be missing.

    Raises:
        DataError: If the file cannot be read, a key is unknown or missing, or a value is impossible.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return read_preprocess(JsonNode(parse_json(data, str(path), _REFUSAL), str(path), _REFUSAL))


def default_preprocess(tensor: Tensor) -> Preprocess:
    """Derive from an input's shape how images become it: scaled to its size, pixels to 0 to 1 and nothing more.

    Where the model takes uint8, pixels stay as they are.

    Raises:
        DataError: If the shape is not that of images with 1 or 3 channels, or its size is open.
    """
    shape = tensor.shape or ()
    for layout, channels, size in (("NCHW", shape[1:2], shape[2:]), ("NHWC", shape[3:], shape[1:3])):
        if len(shape) == 4 and channels[0] in _MODE_OF and all(isinstance(side, int) for side in size):
            count, height, width = int(channels[0]), int(size[0]), int(size[1])
            scale = 1.0 if tensor.dtype == "uint8" else 1 / 255
            return Preprocess(_MODE_OF[count], (height, width), layout, scale, (0.0,) * count, (1.0,) * count)
    raise DataError(
        f"input {tensor.name!r} of shape ({', '.join(map(str, shape))}) does not tell the size, the channels and the "
        "layout of images: say them in a preprocess.json"
    )


def check_preprocess(preprocess: Preprocess, tensor: Tensor) -> None:
    """Check that what `preprocess` makes is what the input takes.

    Raises:
        DataError: If it is not.
    """
    channels = IMAGE_MODES[preprocess.mode]
    made = (channels, *preprocess.size) if preprocess.layout == "NCHW" else (*preprocess.size, channels)
    shape = tensor.shape
    if shape is None:
        return
    sizes = zip(made, shape[1:], strict=False)
    if len(shape) != 4 or any(isinstance(want, int) and want != size for size, want in sizes):
        raise DataError(
            f"the preprocessing makes images of shape (N, {', '.join(map(str, made))}), input {tensor.name!r} takes "
            f"({', '.join(map(str, shape))}): correct mode, size or layout in the preprocess.json"
        )
