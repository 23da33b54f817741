"""Record what every exit of a bundle says about every sample of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.errors import DataError
from edgeexit.offline.fashion_mnist import FashionMnist, LabelledImages, as_input
from edgeexit.offline.traces import Trace
from edgeexit.runtime.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle

BATCH = 500


def record_trace(bundle: Bundle, inputs: NDArray[Any], labels: NDArray[Any]) -> Trace:
    """Run the whole network and every head on all samples.

    Args:
        bundle: A bundle with one input.
        inputs: (S, ...) as the bundle takes them.
        labels: (S,) the true classes.

    Raises:
        DataError: If the bundle has several inputs.
        EngineError: If ONNX Runtime fails.
    """
    if len(bundle.inputs) != 1:
        raise DataError(f"bundle {bundle.name!r} has {len(bundle.inputs)} inputs; recording takes one array of samples")
    engine = Engine(bundle, fuse_heads=True)
    name = bundle.inputs[0].name
    logits = []
    for start in range(0, len(inputs), BATCH):
        tensors = {name: inputs[start : start + BATCH]}
        for piece in engine.segments:
            piece.run(tensors)
        logits.append(np.stack([tensors[exit_.logits] for exit_ in bundle.exits], axis=1))
    return Trace(np.concatenate(logits), labels)


def record_fashion_mnist(bundle: Bundle, data: FashionMnist) -> dict[str, Trace]:
    """Record the parts of Fashion-MNIST that no reference network was trained on: "fit", "select" and "test"."""
    parts: dict[str, LabelledImages] = {"fit": data.fit, "select": data.select, "test": data.test}
    return {split: record_trace(bundle, as_input(part.images), part.labels) for split, part in parts.items()}
