"""Where a graph can be cut, and in which order its exits stand."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import GraphError, OpenCutError
from edgeexit.offline.graph.macs import node_macs
from edgeexit.offline.graph.shapes import Value, infer_values

_log = logging.getLogger(__name__)

LAYERS: Final = frozenset(
    {"AveragePool", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul", "MaxPool"}
    | {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}
)
"""Operators that begin something new, so that an optimiser does not fuse them with what makes their input."""


def find_single_tensor_cuts(model: Any, side_inputs: Iterable[str] = ()) -> tuple[str, ...]:
    """List the tensors that alone are all that crosses from what is before them to what is behind.

    Args:
        model: onnx.ModelProto with one output, or whose last output is the network's own.
        side_inputs: Graph inputs that may cross anywhere.

    Returns:
        Their names in topological order, graph inputs and the output aside.
    """
    flow = Dataflow(model.graph, side_inputs)
    output = model.graph.output[-1].name
    nodes = sorted(flow.ancestors((output,)))
    readers_left: dict[str, int] = {}
    for value in (v for i in nodes for v in flow.uses[i] if flow.is_data(v)):
        readers_left[value] = readers_left.get(value, 0) + 1
    crossing = {v for v in flow.data_inputs if v in readers_left}
    found = []
    for index in nodes:
        crossing.update(v for v in flow.nodes[index].output if v in readers_left)
        for value in filter(flow.is_data, flow.uses[index]):
            readers_left[value] -= 1
            if not readers_left[value]:
                crossing.remove(value)
        if len(crossing) == 1:
            found.append(next(iter(crossing)))
    return tuple(v for v in dict.fromkeys(found) if v in flow.maker and v != output)


def choose_cuts(model: Any, segments: int, side_inputs: Iterable[str] = ()) -> tuple[tuple[str], ...]:
    """Choose cuts for `split_model` that share the multiply-accumulates as equally as single tensors allow.

    Chosen are tensors that a layer reads (`LAYERS`), because an optimiser fuses what comes between two layers: a cut
    in the middle would cost time and change the last bits.

    Args:
        model: onnx.ModelProto with one output, weights in it.
        segments: How many segments there shall be.
        side_inputs: Graph inputs that may cross anywhere.

    Raises:
        GraphError: If there are fewer such tensors than cuts.
    """
    flow = Dataflow(model.graph, side_inputs)
    readers = {v: node.op_type for node in flow.nodes for v in node.input if node.op_type in LAYERS}
    values = infer_values(model, batch=1)
    work = {v: _macs_before(flow, v, values) for v in find_single_tensor_cuts(model, side_inputs) if v in readers}
    whole = _macs_before(flow, model.graph.output[-1].name, values)
    if len(work) < segments - 1:
        raise GraphError(f"the model has {len(work)} tensors to cut at, {segments} segments need {segments - 1}")
    chosen: list[str] = []
    for part in range(1, segments):
        free = list(work)[: len(work) - (segments - 1 - part)]
        free = free[free.index(chosen[-1]) + 1 :] if chosen else free
        chosen.append(min(free, key=lambda v: abs(work[v] - whole * part / segments)))
    return tuple((v,) for v in chosen)


def _macs_before(flow: Dataflow, value: str, values: Mapping[str, Value]) -> int:
    return sum(node_macs(flow.nodes[i], values) for i in flow.ancestors((value,)))


def check_cuts(flow: Dataflow, output: str, cuts: Sequence[Sequence[str]]) -> None:
    """Check that each cut names all that crosses it.

    Args:
        flow: Of the whole graph.
        output: The network's own output.
        cuts: The names of each cut's tensors, from the input to the output.

    Raises:
        OpenCutError: If a tensor crosses a cut that does not name it.
        GraphError: If a name is unknown, the output does not depend on it, or a cut does not lie behind the one
            before it.
    """
    needed = flow.ancestors((output,))
    done: set[int] = set()
    for index, names in enumerate(cuts):
        for name in names:
            _check_cut_tensor(flow, name, needed, output)
        before = flow.ancestors(names)
        if names and before <= done:
            raise GraphError(f"cut {index} ({', '.join(names)}) adds nothing: cuts go from the input to the output")
        done |= before
        readers = needed - done
        crossing = {
            v: None
            for i in sorted(readers)
            for v in flow.uses[i]
            if flow.is_data(v) and flow.maker.get(v) not in readers
        }
        missing = tuple(v for v in crossing if v not in names)
        if missing:
            raise OpenCutError(
                f"cut {index} ({', '.join(names)}) is open: {', '.join(missing)} cross it too; name them in the cut "
                "as well, or make a graph input that all segments may read a side input",
                missing,
            )


def order_exits(flow: Dataflow, outputs: Sequence[str]) -> tuple[str, ...]:
    """Return exits in the order of their depth: by the share of the backbone that each needs.

    Exits that need the same share, as those of a side branch do, stand in the order of what each has in common with
    all other exits: that will belong to segments, the rest to its head.

    Args:
        flow: Of the whole graph.
        outputs: The graph's outputs; the last is the network's own, and what it depends on is the backbone.

    Raises:
        GraphError: If an exit shares nothing with the backbone, needs all of it, or is as deep as another.
    """
    *early, output = outputs
    backbone = flow.ancestors((output,))
    needs = {name: flow.ancestors((name,)) for name in outputs}
    others = {name: set[int]().union(*(needs[v] for v in outputs if v != name)) for name in early}
    depth = {name: (len(needs[name] & backbone), len(needs[name] & others[name])) for name in early}
    ordered = sorted(early, key=depth.__getitem__)
    if ordered != early:
        _log.info("exits are taken in the order of their depth: %s", ", ".join(ordered))
    for name in ordered:
        if not depth[name][0]:
            raise GraphError(f"exit {name!r} shares no computation with the network's own output {output!r}")
        if depth[name][0] == len(backbone):
            raise GraphError(f"exit {name!r} is not before the network's own output {output!r}; that must be the last")
    for first, second in pairwise(ordered):
        if depth[first] == depth[second]:
            raise GraphError(f"exits {first!r} and {second!r} are equally deep; keep one of them (exits=...)")
    return (*ordered, output)


def _check_cut_tensor(flow: Dataflow, name: str, needed: set[int], output: str) -> None:
    if name in flow.data_inputs:
        return
    if name not in flow.maker:
        raise GraphError(f"the model has no tensor {name!r} to cut at")
    if not flow.is_data(name):
        raise GraphError(f"{name!r} is a constant or depends on side inputs alone: there is nothing to cut")
    if flow.maker[name] not in needed:
        raise GraphError(f"the output {output!r} does not depend on {name!r}: there is nothing to cut")
