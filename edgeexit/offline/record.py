"""Record what every exit of a bundle says about every sample of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from edgeexit.errors import DataError
from edgeexit.offline.batching import choose_batch, fixed_batch, pad_batch
from edgeexit.offline.fashion_mnist import FashionMnist, LabelledImages, as_input
from edgeexit.offline.heads.features import labelled_trace
from edgeexit.offline.traces import Trace
from edgeexit.runtime.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples

    Array = NDArray[Any]
    Read = Callable[[int, int], dict[str, Array]]


def record_trace(
    bundle: Bundle,
    inputs: Array | Mapping[str, Array] | Samples,
    labels: NDArray[Any] | None = None,
    *,
    progress: bool = False,
) -> Trace:
    """Run the whole network and every head on all samples, a few at a time.

    Args:
        bundle: The bundle to run.
        inputs: (S, ...) as a bundle with one input takes them; arrays by the names of the inputs; or samples, of which
            no more than a batch is read at once.
        labels: (S,) the true classes, or for a bundle of labels (S,) sets or (S, L) bool. None takes those of the
            samples, and where there are none the network's own answers: accuracy is then agreement with it.
        progress: True for a progress bar on stderr.

    Raises:
        DataError: If there are no samples, inputs are missing or of different lengths, or labels do not fit.
        EngineError: If ONNX Runtime fails.
    """
    read, count = _reader(bundle, inputs)
    if labels is None and not isinstance(inputs, np.ndarray | Mapping):
        labels = inputs.labels
    shapes = [tensor.shape for tensor in bundle.inputs]
    size = choose_batch(shapes)
    fixed = any(fixed_batch(shape) is not None for shape in shapes)
    engine = Engine(bundle, fuse_heads=True)
    logits = []
    with tqdm(total=count, desc=bundle.name, unit="sample", disable=not progress) as bar:
        for start in range(0, count, size):
            stop = min(start + size, count)
            tensors = read(start, stop)
            logits.append(_run(engine, pad_batch(tensors, size) if fixed else tensors)[: stop - start])
            bar.update(stop - start)
    return labelled_trace(np.concatenate(logits), labels, bundle.task)


def record_fashion_mnist(bundle: Bundle, data: FashionMnist) -> dict[str, Trace]:
    """Record the parts of Fashion-MNIST that no reference network was trained on: "fit", "select" and "test"."""
    parts: dict[str, LabelledImages] = {"fit": data.fit, "select": data.select, "test": data.test}
    return {split: record_trace(bundle, as_input(part.images), part.labels) for split, part in parts.items()}


def _run(engine: Engine, tensors: dict[str, Array]) -> NDArray[np.float32]:
    for piece in engine.segments:
        piece.run(tensors)
    return np.stack([tensors[exit_.logits] for exit_ in engine.bundle.exits], axis=1)


def _reader(bundle: Bundle, inputs: Array | Mapping[str, Array] | Samples) -> tuple[Read, int]:
    """Return what reads samples from one index to another, and how many there are."""
    if isinstance(inputs, np.ndarray):
        inputs = _by_name(bundle, inputs)
    if isinstance(inputs, Mapping):
        arrays = inputs
        count = _count(bundle, arrays)
        return lambda start, stop: {name: array[start:stop] for name, array in arrays.items()}, count
    if not len(inputs):
        raise DataError(f"there are no samples to record bundle {bundle.name!r} on")
    samples = inputs
    return lambda start, stop: samples.read(np.arange(start, stop)), len(samples)


def _by_name(bundle: Bundle, array: Array) -> dict[str, Array]:
    if len(bundle.inputs) != 1:
        names = ", ".join(tensor.name for tensor in bundle.inputs)
        raise DataError(f"bundle {bundle.name!r} has the inputs {names}: give arrays by these names, not one array")
    return {bundle.inputs[0].name: array}


def _count(bundle: Bundle, arrays: Mapping[str, Array]) -> int:
    names = sorted(tensor.name for tensor in bundle.inputs)
    if sorted(arrays) != names:
        raise DataError(f"bundle {bundle.name!r} has the inputs {', '.join(names)}, not {', '.join(sorted(arrays))}")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1 or not min(lengths):
        raise DataError(f"the inputs of bundle {bundle.name!r} hold {sorted(lengths)} samples: give as many of each")
    return lengths.pop()
