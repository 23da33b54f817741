"""How an image becomes a network's input: the record in manifest.json and in preprocess.json, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edgeexit.bundle.strict_json import JsonNode

IMAGE_MODES: Final = {"L": 1, "RGB": 3, "BGR": 3}
"""Image mode -> number of channels."""
LAYOUTS: Final = frozenset(("NCHW", "NHWC"))
RESIZE_METHODS: Final = frozenset(("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"))
"""Ways to scale an image, by Pillow's names."""

_KEYS: Final = ("mode", "size", "layout", "scale", "mean", "std")
_DEFAULTS: Final = {"resize": "bilinear", "shorter_side": None}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an image becomes the network's input: (pixel * scale - mean) / std, channel by channel.

    Attributes:
        mode: "L" (grey), "RGB", or "BGR" (blue first, as OpenCV reads images; `mean` and `std` are in that order too).
        size: (height, width) in pixels.
        layout: "NCHW" or "NHWC".
        scale: Factor for pixels of 0 to 255.
        mean: One a channel.
        std: One a channel, none 0.
        resize: How images are scaled, one of `RESIZE_METHODS`.
        shorter_side: If given, an image's shorter side is scaled to so many pixels, proportions kept, and the middle
            of `size` is cut out. None: it is scaled to `size` whatever its proportions.
    """

    mode: str
    size: tuple[int, int]
    layout: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "bilinear"
    shorter_side: int | None = None


def read_preprocess(node: JsonNode) -> Preprocess:
    """Read the record; "resize" and "shorter_side" may be missing.

    Raises:
        BundleError: If a key is unknown or missing, or a value is impossible. Or the error of the node's refusal.
    """
    mode, size, layout, scale, mean, std, resize, shorter_side = node.record(*_KEYS, optional=tuple(_DEFAULTS))
    record = Preprocess(
        mode=mode.one_of(IMAGE_MODES),
        size=_pair(size),
        layout=layout.one_of(LAYOUTS),
        scale=scale.number(),
        mean=mean.items(JsonNode.number),
        std=std.items(JsonNode.number),
        resize=resize.optional(lambda n: n.one_of(RESIZE_METHODS)) or "bilinear",
        shorter_side=shorter_side.optional(JsonNode.count),
    )
    channels = IMAGE_MODES[record.mode]
    if len(record.mean) != channels or len(record.std) != channels or 0.0 in record.std:
        raise node.refuse(f"mode {record.mode} needs {channels} numbers in mean and in std, and no 0 in std")
    if record.shorter_side is not None and record.shorter_side < max(record.size):
        raise shorter_side.refuse(f"expected {max(record.size)} pixels or more, of which the size is cut out")
    return record


def preprocess_json(record: Preprocess) -> dict[str, Any]:
    """Return the record as JSON holds it; what has its default value is left out, as in files written before it."""
    document = {name: getattr(record, name) for name in record.__slots__}
    document = {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}
    return {name: value for name, value in document.items() if name in _KEYS or value != _DEFAULTS[name]}


def _pair(node: JsonNode) -> tuple[int, int]:
    sizes = node.items(JsonNode.count)
    if len(sizes) != 2 or 0 in sizes:
        raise node.refuse("expected [height, width] in pixels")
    return sizes[0], sizes[1]
