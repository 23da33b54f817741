"""Graph inputs that every segment may read, for instance an attention mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.offline.graph.crossings import Crossings
from edgeexit.offline.graph.cuts import find_single_tensor_cuts
from edgeexit.offline.graph.macs import node_macs
from edgeexit.offline.graph.shapes import Value

_MOST_REPEATED: Final = 0.001
"""Share of the MACs that may depend on side inputs alone: every segment computes it anew."""
_LOOKUPS: Final = frozenset({"Gather", "GatherElements", "GatherND", "OneHot"})
_SAME_TOKENS: Final = frozenset({"Cast", "Clip", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def choose_side_inputs(model: Any, values: Mapping[str, Value]) -> tuple[str, ...]:
    """Choose graph inputs that, read by every segment, give more single tensors to cut at.

    One after the other is taken, the most useful first, as long as next to nothing is computed from them alone: each
    segment would do that anew.

    Args:
        model: onnx.ModelProto with one output, or whose last output is the network's own.
        values: Types and shapes of its values at batch 1.

    Returns:
        Their names in the order of the graph; none for a network with one input.
    """
    inputs = Dataflow(model.graph).inputs
    chosen: set[str] = set()
    best = len(_places(model, chosen))
    while len(chosen) < len(inputs) - 1:
        more = {v: len(_places(model, chosen | {v})) for v in inputs if v not in chosen}
        allowed = [v for v in more if more[v] > best and _is_cheap(model, chosen | {v}, values)]
        if not allowed:
            break
        chosen.add(max(allowed, key=more.__getitem__))
        best = max(more[v] for v in allowed)
    return tuple(v for v in inputs if v in chosen)


def find_mask(flow: Dataflow, values: Mapping[str, Value], length: int | None) -> str | None:
    """Return the side input that tells real tokens from padding: (N, L), read by no lookup.

    Args:
        flow: Of the whole graph.
        values: Types and shapes of its values.
        length: L of the tokens; None where it is open.

    Returns:
        None if there is no such input; if there are several, one that has "mask" in its name goes first.
    """
    found = [v for v in flow.inputs if v in flow.side_inputs and _may_mask(flow, values.get(v), v, length)]
    return min(found, key=lambda v: "mask" not in v.lower(), default=None)


def _may_mask(flow: Dataflow, value: Value | None, name: str, length: int | None) -> bool:
    if value is None or value.shape is None or len(value.shape) != 2:
        return False
    known = value.shape[1] if isinstance(value.shape[1], int) else None
    return (length is None or known is None or known == length) and not _is_looked_up(flow, name)


def _is_looked_up(flow: Dataflow, name: str) -> bool:
    """Tell if a value, or what is the same in another form, is an index into a table."""
    for node in (n for n in flow.nodes if name in n.input):
        if node.op_type in _LOOKUPS and name != node.input[0]:
            return True
        if node.op_type in _SAME_TOKENS and node.input[0] == name and _is_looked_up(flow, node.output[0]):
            return True
    return False


def _places(model: Any, side_inputs: set[str]) -> tuple[str, ...]:
    """List the single tensors to cut at that an exit may lie at."""
    flow = Dataflow(model.graph, side_inputs)
    output = model.graph.output[-1].name
    if not flow.is_data(output):
        return ()
    crossings = Crossings(flow, output)
    found = find_single_tensor_cuts(model, side_inputs)
    return tuple(v for v in found if crossings.is_read_by_layer(v) or crossings.is_join(v))


def _is_cheap(model: Any, side_inputs: set[str], values: Mapping[str, Value]) -> bool:
    with_inputs = Dataflow(model.graph)
    whole = sum(node_macs(node, values) for i, node in enumerate(with_inputs.nodes) if i not in with_inputs.free)
    repeated = Dataflow(model.graph, side_inputs).free - with_inputs.free
    return sum(node_macs(with_inputs.nodes[i], values) for i in repeated) <= _MOST_REPEATED * whole
