"""Structured pruning: whole channels of convolutions and neurons of Gemms go, and the layers behind are fitted anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from tqdm import tqdm

from edgeexit.errors import DataError, GraphError, OptionError
from edgeexit.offline.compress.channels import Group, find_groups
from edgeexit.offline.compress.judge import count_macs
from edgeexit.offline.compress.layers import Layer, Weights
from edgeexit.offline.compress.refit import refit_layer
from edgeexit.runtime.engine import simplify_model

if TYPE_CHECKING:
    from edgeexit.offline.data import Samples
    from edgeexit.protocols import IntArray

MULTIPLE: Final = 8
"""Channels are kept in such numbers where there are more: processors work on so many at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A model without some of its channels.

    Attributes:
        model: onnx.ModelProto.
        taken: Name of each layer that lost channels -> (channels before, after).
        macs_before: Multiply-accumulates for one sample.
        macs_after: The same without the channels.
        left: Mean share of the squared error that refitting left, over the layers that were fitted.
    """

    model: Any
    taken: dict[str, tuple[int, int]]
    macs_before: int
    macs_after: int
    left: float


def prune_channels(
    model: Any, samples: Samples, share: float, *, refit: bool = True, seed: int = 0, progress: bool = False
) -> Pruned:
    """Take a share of the channels out of every Conv and Gemm where the graph allows it.

    Those with the smallest sum of absolute weights go (Li et al., "Pruning Filters for Efficient ConvNets",
    arXiv 1608.08710, section 3.1). The layers that read them are fitted anew by least squares on what the whole network
    makes there, from the input to the output, so that no training framework is needed.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed.
        samples: To fit on; a few hundred do.
        share: Of the channels of each layer that shall go, above 0 and below 1.
        refit: False only cuts the weights.
        seed: Of the places of feature maps that are taken.
        progress: True for a progress bar on stderr.

    Raises:
        GraphError: If no layer can lose channels.
        DataError: If there are no samples to fit on.
        OptionError: If `share` is no such share.
        EngineError: If ONNX Runtime refuses the model.
    """
    if not 0.0 < share < 1.0:
        raise OptionError(f"the share of channels to prune must lie between 0 and 1, not {share!r}")
    if refit and not len(samples):
        raise DataError("there are no samples to fit the pruned layers on")
    teacher = onnx.load_from_string(simplify_model(model.SerializeToString()))
    student = onnx.ModelProto()
    student.CopyFrom(teacher)
    _forget_shapes(student)
    taken, left = dict[str, tuple[int, int]](), list[float]()
    for group in tqdm(find_groups(teacher), desc="prune", unit="layer", disable=not progress):
        kept = _strongest(student, group, share)
        if len(kept) == group.channels:
            continue
        _take_out(student, group, kept)
        node = student.graph.node[group.maker]
        taken[node.name or node.output[0]] = group.channels, len(kept)
        fitted = [
            refit_layer(student, teacher, student.graph.node[reader.node], samples, seed=seed)
            for reader in (group.readers if refit else ())
        ]
        left.extend(share for share in fitted if share is not None)
    if not taken:
        raise GraphError(
            "no layer can lose channels: residual sums, concatenations or outputs need all of them, "
            f"or none has more than {MULTIPLE}"
        )
    return Pruned(
        model=student,
        taken=taken,
        macs_before=count_macs(teacher),
        macs_after=count_macs(student),
        left=float(np.mean(left)) if left else 1.0,
    )


def _strongest(model: Any, group: Group, share: float) -> IntArray:
    """Return the channels to keep, in order."""
    layer = Weights(model).read_layer(model.graph.node[group.maker])
    assert layer is not None, "a group has weights of its own"
    wanted = max(1, round(group.channels * (1.0 - share)))
    count = min(group.channels, -(-wanted // MULTIPLE) * MULTIPLE) if group.channels > MULTIPLE else wanted
    strength = np.abs(layer.weights).reshape(group.channels, -1).sum(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:count])


def _take_out(model: Any, group: Group, kept: IntArray) -> None:
    """Leave only the channels `kept` (K,) of a layer, in all that follows from it."""
    weights, nodes = Weights(model), model.graph.node
    for index in (group.maker, *group.depthwise):
        _cut_layer(weights, nodes[index], kept, axis=0)
    for index in group.depthwise:
        next(a for a in nodes[index].attribute if a.name == "group").i = len(kept)
    for name, axis in group.constants:
        constant = weights.read(name)
        assert constant is not None, "a group names constants"
        weights.write(name, np.take(constant, kept, axis=axis))
    for reader in group.readers:
        block = np.arange(reader.block)
        columns = (kept[:, np.newaxis] * reader.block + block).reshape(-1)
        _cut_layer(weights, nodes[reader.node], columns, axis=1)


def _cut_layer(weights: Weights, node: Any, kept: IntArray, *, axis: int) -> None:
    layer = weights.read_layer(node)
    assert layer is not None, "a group's layers have weights of their own"
    bias = layer.bias if layer.bias is None or axis == 1 else layer.bias[kept]
    weights.write_layer(node, Layer(np.take(layer.weights, kept, axis=axis), bias))


def _forget_shapes(model: Any) -> None:
    """What the model states of its inner values is no longer true of fewer channels."""
    del model.graph.value_info[:]
