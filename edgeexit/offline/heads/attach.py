"""Write heads into a network's graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgeexit.errors import GraphError
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.offline.heads.conv_head import ConvHead, append_conv_head
from edgeexit.offline.heads.maps import append_map
from edgeexit.offline.heads.nodes import Nodes
from edgeexit.offline.heads.pooling import append_pooling

if TYPE_CHECKING:
    from edgeexit.offline.graph.cut_candidates import CutCandidate
    from edgeexit.offline.heads.conv_head import Head

PREFIX = "edgeexit/head"


def attach_heads(model: Any, candidates: Sequence[CutCandidate], heads: Sequence[Head]) -> Any:
    """Return a copy of `model` with one more output for each head, ready for `split_model`.

    Args:
        model: onnx.ModelProto; it is not changed. Its last output is the network's own, others are left out.
        candidates: Where the heads are, from the input to the output.
        heads: One for each candidate.

    Returns:
        onnx.ModelProto whose outputs are those of the heads, (N, C) float32, named by `output_names`, and last the
        network's own.

    Raises:
        GraphError: If the numbers differ, a head is for another tensor than its candidate, or the model has heads of
            these names already.
    """
    if len(candidates) != len(heads):
        raise GraphError(f"{len(heads)} heads were given for {len(candidates)} candidates")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    own = graph.output[-1]
    values = infer_values(result)
    names = output_names(len(heads))
    del graph.output[:]
    for index, (candidate, head) in enumerate(zip(candidates, heads, strict=True)):
        tensor = head.pooling.tensor
        if tensor != candidate.feature or tensor not in values:
            raise GraphError(f"head {index} reads {tensor!r}; the model's candidate there is {candidate.feature!r}")
        _attach(result, index, head, values[tensor].element_type)
        shape = values[tensor].shape
        batch = shape[0] if shape else "N"
        graph.output.append(helper.make_tensor_value_info(names[index], TensorProto.FLOAT, [batch, len(head.bias)]))
    graph.output.append(onnx.ValueInfoProto.FromString(own.SerializeToString()))
    return result


def output_names(count: int) -> tuple[str, ...]:
    """Return the names of the outputs of `count` heads."""
    return tuple(f"{PREFIX}{index}/scores" for index in range(count))


def _attach(model: Any, index: int, head: Head, element_type: int) -> None:
    nodes = Nodes(model, f"{PREFIX}{index}")
    if isinstance(head, ConvHead):
        append_conv_head(nodes, head, append_map(nodes, head.pooling, element_type=element_type))
        return
    features = append_pooling(nodes, head.pooling, element_type=element_type)
    weights = nodes.constant("weights", head.weights.astype(np.float32, copy=False))
    if head.centre is not None:
        features = nodes.add("Sub", [features, nodes.constant("centre", head.centre)], "centred")
    nodes.add("Gemm", [features, weights, nodes.constant("bias", head.offset)], "scores")
