"""The ONNX models that a session runs: portable ones from the bundle, or optimised ones made on this device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeexit.bundle.graph.cut import join
from edgeexit.bundle.graph.schema import parse_model

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Piece:
    """One ONNX model of a bundle, with the names of the tensors it takes and gives."""

    name: str
    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pieces:
    """All segments and heads of a bundle.

    `optimised` tells that ONNX Runtime optimised the whole graph before it was cut: such pieces are loaded as they
    are, and belong to one kind of CPU and one version of ONNX Runtime.
    """

    segments: tuple[Piece, ...]
    heads: tuple[Piece, ...]
    optimised: bool


def portable_pieces(bundle: Bundle) -> Pieces:
    """Read the pieces as they stand in the bundle, each segment in the precision in use.

    Raises:
        BundleError: If a file has changed since the bundle was loaded.
    """
    segments = tuple(
        Piece(f"segment {index}", bundle.read_file(segment.used.file), segment.inputs, segment.outputs)
        for index, segment in enumerate(bundle.segments)
    )
    heads = tuple(
        Piece(f"head {exit_.index}", bundle.read_file(exit_.file), exit_.inputs, bundle.head_outputs(exit_.index))
        for exit_ in bundle.exits
    )
    return Pieces(segments, heads, optimised=False)


def fuse(segment: Piece, head: Piece) -> Piece:
    """Join a head to its segment, which saves a call wherever the head runs each time."""
    outputs = segment.outputs + tuple(name for name in head.outputs if name not in segment.outputs)
    inputs = segment.inputs + tuple(
        name for name in head.inputs if name not in segment.outputs and name not in segment.inputs
    )
    model = join([parse_model(piece.model, name=piece.name) for piece in (segment, head)], outputs)
    return Piece(f"{segment.name} with {head.name}", model.SerializeToString(), inputs, outputs)
