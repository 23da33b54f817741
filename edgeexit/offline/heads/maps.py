"""What a head with layers of its own reads of a tensor: a coarser map of it, and the ONNX nodes that compute that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edgeexit.errors import GraphError

if TYPE_CHECKING:
    from edgeexit.offline.graph.cut_candidates import CutCandidate
    from edgeexit.offline.heads.nodes import Nodes

FloatArray = NDArray[np.float32]

LARGEST_SIDE: Final = 14
"""Places along each axis of a map at most: a finer one is averaged. What an early exit lacks is depth, not places."""
SMALLEST_SIDE: Final = 2
MOST_VALUES: Final = 16_384
"""Of a map: of 3,000 samples it then takes 200 MB on disk at most."""

_CHANNELS_FIRST: Final = "map_nchw"
_CHANNELS_LAST: Final = "map_nhwc"
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


@dataclass(frozen=True, slots=True)
class MapPooling:
    """How the map that a head reads is made of a tensor.

    Attributes:
        tensor: Name of the tensor in the network's graph.
        kind: "map_nchw" or "map_nhwc".
        shape: Channels, height and width of the map.
        kernel: Height and width of the windows that are averaged.
        strides: From one window to the next, down and across.
    """

    tensor: str
    kind: str
    shape: tuple[int, int, int]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)

    @property
    def size(self) -> int:
        """Number of values of a map."""
        channels, height, width = self.shape
        return channels * height * width


@dataclass(frozen=True, slots=True)
class RecordedMaps:
    """The maps of S samples at one candidate.

    They are read from their file whenever they are asked for: held mapped, they would count as memory in use.

    Attributes:
        table: Returns the recorded rows, (all samples, all maps) float32.
        start: Column where these maps begin.
        rows: (S,) int64, the rows of the samples.
        pooling: How the maps are made.
    """

    table: Callable[[], FloatArray]
    start: int
    rows: NDArray[np.int64]
    pooling: MapPooling

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: NDArray[np.int64]) -> RecordedMaps:
        """Return the samples at `indices`, in that order."""
        return replace(self, rows=self.rows[indices])

    def read(self, indices: NDArray[np.int64] | slice) -> FloatArray:
        """Return (S, C, H, W) the maps of some samples, copied into memory."""
        columns = slice(self.start, self.start + self.pooling.size)
        return self.table()[self.rows[indices], columns].reshape(-1, *self.pooling.shape)


def map_pooling_of(candidate: CutCandidate) -> MapPooling | None:
    """Return how the map at `candidate` is made; None if its feature is no map of known size, or too small a one.

    Windows are of one size, evenly spaced, and cover all places; they overlap where the size does not divide evenly.

    Args:
        candidate: A place to cut at.
    """
    sizes = [size for size in candidate.shape if size is not None]
    if candidate.kind not in (_CHANNELS_FIRST, _CHANNELS_LAST) or len(sizes) < len(candidate.shape):
        return None
    channels, height, width = sizes if candidate.kind == _CHANNELS_FIRST else (sizes[2], *sizes[:2])
    step = -(-max(height, width) // LARGEST_SIDE)
    while channels * max(height // step, 1) * max(width // step, 1) > MOST_VALUES and step < max(height, width):
        step += 1
    places = height // step, width // step
    if min(places) < SMALLEST_SIDE or channels * places[0] * places[1] > MOST_VALUES:
        return None
    kernel = (height - step * (places[0] - 1), width - step * (places[1] - 1))
    return MapPooling(candidate.feature, candidate.kind, (channels, *places), kernel, (step, step))


def append_map(nodes: Nodes, pooling: MapPooling, *, element_type: int = TensorProto.FLOAT) -> str:
    """Append the nodes that make a map (N, C, H, W) float32 of a tensor, and return its name.

    Args:
        nodes: Where to.
        pooling: How.
        element_type: TensorProto.DataType of the tensor; what is no float32 is cast first.

    Raises:
        GraphError: If the tensor is not of floats.
    """
    value = pooling.tensor
    if element_type not in _FLOATS:
        kind = TensorProto.DataType.Name(element_type)
        raise GraphError(f"tensor {value!r} holds {kind}; a head reads floats: cut at another place")
    if element_type != TensorProto.FLOAT:
        value = nodes.add("Cast", [value], "float", to=TensorProto.FLOAT)
    if pooling.kind == _CHANNELS_LAST:
        value = nodes.add("Transpose", [value], "channels_first", perm=[0, 3, 1, 2])
    if pooling.kernel == (1, 1):
        return value
    kernel, strides = list(pooling.kernel), list(pooling.strides)
    return nodes.add("AveragePool", [value], "coarser", kernel_shape=kernel, strides=strides)
