"""Cut an ONNX model into a bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import helper

import edgeexit
from edgeexit.bundle.graph.cut import Piece, Pieces, Stage, cut
from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.bundle.graph.element_types import DTYPES
from edgeexit.bundle.graph.schema import parse_model
from edgeexit.bundle.load import Bundle
from edgeexit.bundle.manifest import CLASSES, Exit, Manifest, Segment, Tensor
from edgeexit.bundle.preprocess import Preprocess
from edgeexit.bundle.write import check_target, write_bundle
from edgeexit.errors import GraphError
from edgeexit.offline.graph.cuts import check_cuts, order_exits
from edgeexit.offline.graph.evidence import EvidenceNames, add_evidence, check_task, count_classes
from edgeexit.offline.graph.macs import Work, count_work, node_macs
from edgeexit.offline.graph.shapes import Value, infer_values
from edgeexit.offline.graph.source import read_model, with_weights


def split_model(
    model_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str,
    cuts: Sequence[Sequence[str]] | None = None,
    labels: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    exits: Sequence[str] | None = None,
    side_inputs: Sequence[str] = (),
    task: str = CLASSES,
    replace: bool = False,
) -> Bundle:
    """Cut the model at `model_path` into a bundle at `out`.

    A model with several outputs is cut where its exits branch off; its last output is the network's own. A model with
    one output is cut at `cuts`, or not at all: then it becomes one segment with one exit.

    Args:
        model_path: ONNX file of opset 9 or newer; it is not changed. Weights may lie in files beside it.
        out: Folder to make.
        name: Name of the network.
        cuts: Names of the tensors at each cut, from the input to the output. A cut names all that crosses it.
        labels: Names of the classes, or of the labels.
        preprocess: How an image becomes the input.
        exits: Which outputs are exits, the network's own last; None takes all outputs in the graph's order.
        side_inputs: Graph inputs that every segment may read, for instance a mask. What depends on them alone is
            computed in each piece that needs it.
        task: "classes" if one of the classes is the answer, "labels" if any of at most 62 labels may hold: then an
            answer is a set, see `add_evidence`.
        replace: Take the place of a bundle that is at `out`.

    Raises:
        OpenCutError: If a tensor crosses a cut that does not name it.
        GraphError: If the model cannot be used, or not be cut as asked.
        BundleError: If something is at `out` already.
        OptionError: If there is no such task.
        OSError: If a file cannot be read or written.
    """
    path = Path(model_path)
    check_target(Path(out), replace=replace)
    plan = _plan(read_model(path), cuts, labels, exits, side_inputs, task)
    pieces = cut(parse_model(plan.model.SerializeToString()), plan.stages, side_inputs)
    segments = [f"segment{i}.onnx" for i in range(len(pieces.segments))]
    heads = [f"head{e}.onnx" for e in range(len(plan.exits))]
    files, work = {}, {}
    shapes = _Shapes(plan, side_inputs)
    for file, piece in zip((*segments, *heads), _all_pieces(pieces), strict=True):
        whole = with_weights(piece.model.SerializeToString(), path.parent, file)
        files[file] = whole.SerializeToString()
        work[file] = shapes.count(whole.graph)
    macs, beside = sum(work[f].macs for f in (*segments, heads[-1])), shapes.only_for_exits(pieces.segments)
    manifest = Manifest(
        name=name,
        created_by=f"edgeexit {edgeexit.__version__}",
        inputs=tuple(_tensor(i, plan.values) for i in plan.inputs),
        preprocess=preprocess,
        labels=None if labels is None else tuple(labels),
        segments=tuple(_segment(f, p, work[f]) for f, p in zip(segments, pieces.segments, strict=True)),
        exits=_exits(plan, pieces, heads, work),
        tensors={v: _tensor(v, plan.values) for p in pieces.segments for v in p.outputs},
        output=plan.outputs[-1],
        files={},
        task=task,
        own_macs=macs - beside if beside else None,
    )
    return write_bundle(out, manifest, files, replace=replace)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A model with the evidence of its exits, and how it shall be cut."""

    model: Any
    """onnx.ModelProto."""
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """Of the exits."""
    exits: tuple[EvidenceNames, ...]
    stages: tuple[Stage, ...]


def _plan(
    model: Any,
    cuts: Sequence[Sequence[str]] | None,
    labels: Sequence[str] | None,
    exits: Sequence[str] | None,
    side_inputs: Sequence[str],
    task: str,
) -> _Plan:
    flow = Dataflow(model.graph, side_inputs)
    outputs = order_exits(flow, _exit_outputs(model, flow, exits))
    if cuts and len(outputs) > 1:
        raise GraphError(f"the model has {len(outputs)} exits and is cut at them; to cut it elsewhere name one exit")
    cuts = [[v for v in names if v not in flow.side_inputs] for names in cuts or ()]
    check_cuts(flow, outputs[-1], cuts)
    values = infer_values(model)
    classes = _classes(outputs, values, labels)
    check_task(task, classes)
    names = [add_evidence(model, values, i, v, class_count=classes, task=task) for i, v in enumerate(outputs)]
    values[outputs[-1]] = _with_classes(values[outputs[-1]], classes)
    _state_types(model, values)
    made = Dataflow(model.graph, side_inputs)
    own = tuple(v for v in dict.fromkeys((outputs[-1], names[-1].logits)) if v in flow.maker)
    stages = [Stage(body=tuple(c)) for c in cuts] + [Stage(exit=n.all) for n in names[:-1]]
    return _Plan(model, values, made.inputs, outputs, tuple(names), (*stages, Stage(body=own, exit=names[-1].all)))


def _exit_outputs(model: Any, flow: Dataflow, exits: Sequence[str] | None) -> tuple[str, ...]:
    outputs = tuple(v.name for v in model.graph.output)
    for name in exits if exits is not None else outputs:
        if name not in outputs:
            raise GraphError(f"the model has no output {name!r}; it has {', '.join(outputs)}")
        if name not in flow.maker or not flow.is_data(name):
            raise GraphError(f"output {name!r} is not computed from an input")
    if exits is not None and not exits:
        raise GraphError(f"exits names none; name the network's own output, one of {', '.join(outputs)}")
    return outputs if exits is None else tuple(exits)


def _classes(outputs: Sequence[str], values: Mapping[str, Value], labels: Sequence[str] | None) -> int:
    counts = {v: count_classes(v, values[v], None if labels is None else len(labels)) for v in outputs}
    if len(set(counts.values())) > 1:
        raise GraphError(f"the exits have different numbers of classes: {counts}")
    classes = counts[outputs[-1]]
    if labels is not None and len(labels) != classes:
        raise GraphError(f"{len(labels)} labels were given for {classes} classes")
    return classes


def _with_classes(value: Value, classes: int) -> Value:
    shape = value.shape if value.shape is not None else (None, None)
    return Value(value.element_type, (shape[0], classes, *shape[2:]))


def _state_types(model: Any, values: Mapping[str, Value]) -> None:
    stated = {v.name for v in model.graph.value_info} | {v.name for v in model.graph.input}
    for node in model.graph.node:
        for name in node.output:
            known = values.get(name)
            if name not in stated and known is not None and known.element_type:
                value = helper.make_tensor_value_info(name, known.element_type, known.shape)
                model.graph.value_info.append(value)


class _Shapes:
    """Counts pieces with the shapes that the whole graph has at batch 1."""

    def __init__(self, plan: _Plan, side_inputs: Sequence[str]) -> None:
        self._values = infer_values(plan.model, batch=1)
        self._flow = Dataflow(plan.model.graph, side_inputs)
        self._output = plan.outputs[-1]
        shape = self._values[plan.inputs[0]].shape
        batch = shape[0] if shape else 1
        self._batch = batch if isinstance(batch, int) and batch > 0 else 1

    def only_for_exits(self, segments: Sequence[Piece]) -> int:
        """Return the work in segments that the network's own output does not need."""
        needed = self._flow.ancestors((self._output,))
        made = [v for piece in segments for node in piece.model.graph.node for v in node.output]
        makers = {self._flow.maker[v] for v in made if v in self._flow.maker and self._flow.is_data(v)}
        return sum(node_macs(self._flow.nodes[i], self._values) for i in makers - needed) // self._batch

    def count(self, graph: Any) -> Work:
        """A model with a fixed batch is counted at that, and the work divided by it."""
        work = count_work(graph, self._values)
        return Work(work.macs // self._batch, work.parameters)


def _all_pieces(pieces: Pieces) -> list[Piece]:
    return [*pieces.segments, *(head for head in pieces.heads if head is not None)]


def _segment(file: str, piece: Piece, work: Work) -> Segment:
    return Segment(file, piece.inputs, piece.outputs, work.macs, work.parameters)


def _exits(plan: _Plan, pieces: Pieces, files: Sequence[str], work: Mapping[str, Work]) -> tuple[Exit, ...]:
    heads = [(segment, head) for segment, head in enumerate(pieces.heads) if head is not None]
    return tuple(
        Exit(index, segment, file, head.inputs, *names.all, work[file].macs, work[file].parameters)
        for index, ((segment, head), file, names) in enumerate(zip(heads, files, plan.exits, strict=True))
    )


def _tensor(name: str, values: Mapping[str, Value]) -> Tensor:
    value = values[name]
    if value.element_type not in DTYPES:
        raise GraphError(f"{name!r} is no tensor of numbers, or its element type cannot be told")
    shape = None if value.shape is None else tuple("?" if d is None else d for d in value.shape)
    return Tensor(name, DTYPES[value.element_type], shape)
