"""A network without exits, run to its end on the same images, to compare one with exits with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import onnx

from edgeexit.offline.fashion_mnist import LabelledImages, as_input
from edgeexit.offline.graph.macs import count_work
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.runtime.engine import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from edgeexit.offline.traces import BoolArray

_BATCH: Final = 500


class NetAlone(NamedTuple):
    """A network without exits."""

    correct: BoolArray
    """(S,) whether it is right about each image."""
    macs: int
    """Of one image."""


def run_alone(model: Path, images: LabelledImages) -> NetAlone:
    """Run an ONNX file whose one output is the logits (N, 10) on all images.

    Args:
        model: The file.
        images: S of them.
    """
    graph = onnx.load(model)
    session = open_session(model.read_bytes())
    name = session.get_inputs()[0].name
    answers = [
        session.run(None, {name: as_input(images.images[start : start + _BATCH])})[-1].argmax(axis=1)
        for start in range(0, len(images), _BATCH)
    ]
    macs = count_work(graph.graph, infer_values(graph, batch=1)).macs
    return NetAlone(np.concatenate(answers) == images.labels, macs)
