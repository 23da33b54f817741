"""Distil without a training framework: fit a network's last layer to another network's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import onnx

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import DataError, GraphError
from edgeexit.offline.compress.layers import LINEAR
from edgeexit.offline.compress.refit import refit_layer

if TYPE_CHECKING:
    from edgeexit.offline.data import Samples

_BEHIND: Final = frozenset({"Add", "Cast", "Flatten", "Identity", "Reshape", "Sigmoid", "Softmax", "Squeeze"})
"""What may stand between the last layer and an output."""


def distil_logits(student: Any, teacher: Any, samples: Samples, *, seed: int = 0) -> tuple[Any, float]:
    """Fit the last layer of a network by least squares, so that its logits are those of the network it was made of.

    Matching logits is distillation at a high temperature (Hinton, Vinyals and Dean, arXiv 1503.02531, section 2.1).
    All layers before the last one stay: that is what can be done without a training framework.

    Args:
        student: onnx.ModelProto with one output, pruned or quantised; it is not changed.
        teacher: onnx.ModelProto of the network as it was; names are the same.
        samples: To fit on; labels are not looked at.
        seed: Of all chance.

    Returns:
        The model, and what is left of the mean squared error of the logits as a share of what it was.

    Raises:
        GraphError: If the output is not made by a layer of its own.
        DataError: If there are no samples.
        EngineError: If ONNX Runtime refuses a model.
    """
    if not len(samples):
        raise DataError("there are no samples to distil on")
    result = onnx.ModelProto()
    result.CopyFrom(student)
    node = _last_layer(result)
    left = refit_layer(result, teacher, node, samples, seed=seed)
    if left is None:
        raise GraphError(
            f"the last layer, {node.name or node.output[0]!r}, is too wide or of a kind that is not fitted"
        )
    return result, left


def _last_layer(model: Any) -> Any:
    flow = Dataflow(model.graph)
    name = model.graph.output[-1].name
    while name in flow.maker:
        node = flow.nodes[flow.maker[name]]
        if node.op_type in LINEAR:
            return node
        if node.op_type not in _BEHIND:
            raise GraphError(f"the output is made by {node.op_type}, not by a layer whose weights could be fitted")
        name = next((v for v in node.input if flow.is_data(v)), "")
    raise GraphError("the output is not made by a layer whose weights could be fitted")
