"""int8 variants of a bundle's segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import onnx
from tqdm import tqdm

from edgeexit.bundle.manifest import FLOAT32, INT8, Manifest, Segment, Variant
from edgeexit.bundle.precision import with_precision
from edgeexit.errors import DataError, EngineError, GraphError
from edgeexit.offline.batching import choose_batch, fixed_batch, pad_batch
from edgeexit.offline.compress.quantise import Scale, quantise_model, scales_of
from edgeexit.offline.graph.macs import count_work
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.runtime.engine import PieceSession, open_session
from edgeexit.runtime.pieces import portable_pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples

    Tensors = dict[str, NDArray[Any]]

CALIBRATION_SAMPLES: Final = 256
_MOST_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Variants:
    """int8 variants of the segments of a bundle.

    Attributes:
        manifest: The bundle's, with the variants in it; the precisions in use are as they were.
        files: Name of each new file -> its bytes.
        refused: Segment -> why it has no variant.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    refused: Mapping[int, str]


def quantise_segments(
    bundle: Bundle, samples: Samples, *, narrow_weights: bool = False, progress: bool = False
) -> Variants:
    """Make an int8 variant of every segment that can have one.

    The value on the way from one segment to the next is a float, but on the same scale on both sides: where both are
    quantised, a device that optimises the joined graph leaves it in 8 bits.

    Args:
        bundle: Its segments in float are the source.
        samples: For calibration; the first `CALIBRATION_SAMPLES` are used.
        narrow_weights: See `quantise_model`.
        progress: True for a progress bar on stderr.

    Raises:
        DataError: If there are no samples.
        EngineError: If ONNX Runtime fails on the float network.
    """
    if not len(samples):
        raise DataError("there are no samples to calibrate int8 segments with")
    chain = _Chain(with_float(bundle), samples)
    logits = {name for exit_ in bundle.exits for name in exit_.outputs} | {bundle.output}
    scales: dict[str, Scale] = {}
    files: dict[str, bytes] = {}
    segments, refused = list(bundle.segments), dict[int, str]()
    for index in tqdm(range(len(segments)), desc="int8 segments", unit="segment", disable=not progress):
        segment = segments[index]
        name = f"{segment.file.removesuffix('.onnx')}.{INT8}"
        try:
            data = quantise_model(
                bundle.read_file(segment.file),
                chain.feeds(index),
                name=name,
                scales=scales,
                float_outputs=bool(logits & set(segment.outputs)),
                narrow_weights=narrow_weights,
            )
        except GraphError as error:
            refused[index] = str(error)
            continue
        scales |= scales_of(data)
        files[f"{name}.onnx"] = data
        variant = _variant(f"{name}.onnx", data, segment)
        segments[index] = replace(segment, variants={**segment.variants, INT8: variant})
    return Variants(replace(bundle.manifest, segments=tuple(segments)), files, refused)


def with_float(bundle: Bundle) -> Bundle:
    """Return the bundle with all segments in float."""
    return with_precision(bundle, FLOAT32)


def batch_size(bundle: Bundle) -> tuple[int, int | None]:
    """Return how many samples to run at once, and the number that the bundle takes if that is fixed."""
    shapes = [tensor.shape for tensor in bundle.inputs]
    fixed = next((size for size in map(fixed_batch, shapes) if size is not None), None)
    return choose_batch(shapes), fixed


class _Chain:
    """The float segments of a bundle, run one after the other on the calibration samples."""

    def __init__(self, bundle: Bundle, samples: Samples) -> None:
        pieces = portable_pieces(bundle).segments
        self._pieces = [PieceSession(piece, _open(piece.model, piece.name)) for piece in pieces]
        self._samples = samples
        size, self._fixed = batch_size(bundle)
        self._size = min(size, _MOST_AT_ONCE)

    def feeds(self, index: int) -> Callable[[], Iterator[Tensors]]:
        """Return what gives the inputs of segment `index`, batch by batch."""

        def run() -> Iterator[Tensors]:
            names = self._pieces[index].piece.inputs
            for tensors in self._batches():
                for piece in self._pieces[:index]:
                    piece.run(tensors)
                yield {name: tensors[name] for name in names}

        return run

    def _batches(self) -> Iterator[Tensors]:
        done = 0
        for tensors in self._samples.batches(self._size):
            yield tensors if self._fixed is None else pad_batch(tensors, self._fixed)
            done += self._size
            if done >= CALIBRATION_SAMPLES:
                return


def _open(model: bytes, name: str) -> Any:
    try:
        return open_session(model)
    except Exception as error:
        raise EngineError(f"ONNX Runtime refuses {name}: {error}") from error


def _variant(file: str, data: bytes, segment: Segment) -> Variant:
    model = onnx.load_from_string(data)
    return Variant(file, segment.macs, count_work(model.graph, infer_values(model, batch=1)).parameters)
