"""Export a bundle and one exit rule as a single ONNX file, for runtimes without edgeexit.

The graph holds the segments and heads up to the first exit that the rule looks at, then an `If`: its then-branch is
that exit's answer, its else-branch the work up to the next exit, with an `If` of its own, and so on to the exit that
answers in any case. What lies behind an exit that answers is not computed. Each weight stands once, in the outermost
branch that reads it; heads that the rule never looks at are left out.

An `If` takes one decision for a whole run, so such a file takes one sample at a time: its inputs have a batch of 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from edgeexit.beside import write_beside
from edgeexit.bundle import Bundle
from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.bundle.preprocess import preprocess_json
from edgeexit.bundle.whole import join_pieces, kept_stages
from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.if_path import LookAt, find_path, largest_below
from edgeexit.runtime.engine import open_session
from edgeexit.runtime.inputs import made_up_inputs

LARGEST_PROTOBUF: Final = 2**31 - 1
TOLERANCE: Final = 1e-4
"""Largest difference of a probability between the file and the bundle's own graph on a made-up input. Rounding may
differ, for ONNX Runtime optimises each branch by itself."""
ANSWER: Final = ("label", "probabilities", "exit_index")
ONE_SAMPLE: Final = "one sample at a time: an If decides for a whole run, so the batch is 1"
_PREFIX: Final = "edgeexit/if"
_ZERO: Final = f"{_PREFIX}/zero"

Names = tuple[str, str, str]
"""Of label, probabilities and exit index."""


@dataclass(frozen=True, slots=True)
class IfExport:
    """What was written.

    Attributes:
        path: The file.
        size: Of it, in bytes.
        inputs: Names of the inputs, each with a batch of 1.
        outputs: Names of label (1,) int64, probabilities (1, C) float32 and exit_index (1,) int64. They are called
            so, with "answer_" before a name that the network has for a value of its own.
        looks: The exits that are looked at, and what each needs to answer.
    """

    path: Path
    size: int
    inputs: tuple[str, ...]
    outputs: Names
    looks: tuple[LookAt, ...]


def export_with_ifs(
    bundle: Bundle, out: Path, *, exit_rule: str | None = "thresholds", allowed_drop: float | None = None
) -> IfExport:
    """Write `bundle` with one of its calibrated settings as one ONNX file.

    Args:
        bundle: The bundle.
        out: File to write; what was there is replaced once the new one has been checked.
        exit_rule: Name of a setting whose rule is "threshold", "check-and-cap", "fixed" or "last"; None takes the
            one that the bundle recommends.
        allowed_drop: Accuracy that the setting may cost, in points; None takes 0, or the least that it is calibrated
            for.

    Ensures:
        ONNX's checker and ONNX Runtime take the file, and on a made-up input it says what the bundle's graph says.

    Raises:
        OptionError: If there is no such setting, its rule cannot be written with `If`, or `out` lies in the bundle.
        GraphError: If the network takes no batch of 1, or is larger than one ONNX file can be.
        OSError: If the file cannot be written; what was there is as it was.
    """
    if out.resolve().parent == bundle.path.resolve():
        raise OptionError(f"{out} would lie in the bundle itself, whose files are all listed in it: write it elsewhere")
    looks = find_path(bundle, exit_rule, allowed_drop)
    model = build_if_model(bundle, looks)
    _describe(model, bundle, looks)
    if model.ByteSize() > LARGEST_PROTOBUF:
        raise GraphError(f"{bundle.name!r} takes {model.ByteSize()} bytes, and one ONNX file holds 2 GiB at most")
    data = model.SerializeToString()
    label, probabilities, exit_index = (value.name for value in model.graph.output)
    outputs = (label, probabilities, exit_index)
    _check(bundle, data, outputs)
    write_beside(out, data)
    return IfExport(out, len(data), tuple(value.name for value in model.graph.input), outputs, looks)


def build_if_model(bundle: Bundle, looks: Sequence[LookAt]) -> ModelProto:
    """Return the graph of `bundle` with an `If` behind each exit that is looked at but the last.

    Args:
        bundle: The bundle.
        looks: From `edgeexit.offline.if_path.find_path`.

    Raises:
        GraphError: If the network takes no batch of 1.
    """
    whole = ModelProto.FromString(join_pieces(bundle, kept_stages(bundle)).SerializeToString())
    return _Builder(whole, bundle).build(looks)


class _Builder:
    """Moves the nodes and weights of a whole graph into nested branches."""

    def __init__(self, whole: ModelProto, bundle: Bundle) -> None:
        self._whole = whole
        self._flow = Dataflow(whole.graph)
        self._bundle = bundle
        self._placed: set[int] = set()
        self._placed_weights: set[str] = set()

    def build(self, looks: Sequence[LookAt]) -> ModelProto:
        model = _header(self._whole)
        model.graph.name = self._bundle.name
        model.graph.input.extend(_with_batch_of_one(value) for value in self._whole.graph.input)
        model.graph.initializer.append(helper.make_tensor(_ZERO, TensorProto.INT64, (), [0]))
        label, probabilities, exit_index = (self._free_name(name) for name in ANSWER)
        self._fill(model.graph, looks, (label, probabilities, exit_index))
        return model

    def _free_name(self, name: str) -> str:
        flow = self._flow
        while name in flow.maker or name in flow.weights or name in flow.inputs:
            name = f"answer_{name}"
        return name

    def _fill(self, graph: GraphProto, looks: Sequence[LookAt], names: Names) -> None:
        """Put into `graph` the work up to the first of `looks`, and the choice between its answer and the rest."""
        look = looks[0]
        self._place_work(graph, look.exit_index)
        graph.output.extend(self._answer_values(names))
        if look.least_confidence is None:
            self._place_answer(graph, look.exit_index, names)
            return
        prefix = f"{_PREFIX}/{look.exit_index}"
        confident = self._place_comparison(graph, look.exit_index, look.least_confidence, prefix)
        node = graph.node.add(op_type="If", name=prefix, input=[confident], output=names)
        then, then_names = _add_branch(node.attribute.add(), "then_branch", prefix)
        then.output.extend(self._answer_values(then_names))
        self._place_answer(then, look.exit_index, then_names)
        otherwise, else_names = _add_branch(node.attribute.add(), "else_branch", prefix)
        self._fill(otherwise, looks[1:], else_names)

    def _place_work(self, graph: GraphProto, exit_index: int) -> None:
        """Put the nodes that an exit's evidence needs, and no outer branch has, into `graph` with their weights."""
        flow = self._flow
        needed = flow.with_free_makers(flow.ancestors(self._bundle.exits[exit_index].outputs))
        new = [index for index in needed if index not in self._placed]
        self._placed.update(new)
        graph.node.extend(flow.nodes[index] for index in new)
        used = {value for index in new for value in flow.uses[index]} & flow.weights.keys() - self._placed_weights
        self._placed_weights |= used
        graph.initializer.extend(w for w in self._whole.graph.initializer if w.name in used)
        graph.sparse_initializer.extend(w for w in self._whole.graph.sparse_initializer if w.values.name in used)

    def _place_comparison(self, graph: GraphProto, exit_index: int, least: float, prefix: str) -> str:
        """Compare the largest probability of the one sample there is with what it must at least be."""
        row, value, limit, confident = (f"{prefix}/{what}" for what in ("row", "confidence", "limit", "confident"))
        graph.initializer.append(helper.make_tensor(limit, TensorProto.FLOAT, (), [float(largest_below(least))]))
        graph.node.append(helper.make_node("Gather", [self._bundle.exits[exit_index].top_values, _ZERO], [row], axis=1))
        graph.node.append(helper.make_node("Gather", [row, _ZERO], [value], axis=0))
        graph.node.append(helper.make_node("Greater", [value, limit], [confident]))
        return confident

    def _place_answer(self, graph: GraphProto, exit_index: int, names: Names) -> None:
        record = self._bundle.exits[exit_index]
        label, probabilities, index = names
        graph.node.append(helper.make_node("Gather", [record.top_labels, _ZERO], [label], axis=1))
        graph.node.append(helper.make_node("Identity", [record.probabilities], [probabilities]))
        number = helper.make_tensor(f"{index}/value", TensorProto.INT64, (1,), [exit_index])
        graph.node.append(helper.make_node("Constant", [], [index], value=number))

    def _answer_values(self, names: Names) -> Iterable[ValueInfoProto]:
        label, probabilities, exit_index = names
        yield helper.make_tensor_value_info(label, TensorProto.INT64, (1,))
        yield helper.make_tensor_value_info(probabilities, TensorProto.FLOAT, (1, self._bundle.class_count))
        yield helper.make_tensor_value_info(exit_index, TensorProto.INT64, (1,))


def _add_branch(attribute: AttributeProto, name: str, prefix: str) -> tuple[GraphProto, Names]:
    """Make `attribute` a branch of an If; return its graph, which is filled in place, and the names of its outputs."""
    attribute.name = name
    attribute.type = AttributeProto.GRAPH
    attribute.g.name = f"{prefix}/{name}"
    label, probabilities, exit_index = (f"{prefix}/{name}/{output}" for output in ANSWER)
    return attribute.g, (label, probabilities, exit_index)


def _header(whole: ModelProto) -> ModelProto:
    """Return a model without a graph that says of itself what `whole` says."""
    return ModelProto(
        ir_version=whole.ir_version,
        producer_name=whole.producer_name,
        producer_version=whole.producer_version,
        domain=whole.domain,
        opset_import=whole.opset_import,
        metadata_props=whole.metadata_props,
        functions=whole.functions,
    )


def _with_batch_of_one(value: ValueInfoProto) -> ValueInfoProto:
    one = ValueInfoProto()
    one.CopyFrom(value)
    if not one.type.tensor_type.HasField("shape") or not one.type.tensor_type.shape.dim:
        return one
    batch = one.type.tensor_type.shape.dim[0]
    if batch.HasField("dim_value") and batch.dim_value != 1:
        raise GraphError(f"input {value.name!r} has a fixed batch of {batch.dim_value}; an If takes {ONE_SAMPLE}")
    batch.dim_value = 1
    return one


def _describe(model: ModelProto, bundle: Bundle, looks: Sequence[LookAt]) -> None:
    """Say in the model what it is, and what one needs to know to use it without edgeexit."""
    model.doc_string = f"{bundle.name} with early exits as nested If nodes; takes {ONE_SAMPLE}."
    facts = {
        "edgeexit.bundle": bundle.digest,
        "edgeexit.exits": json.dumps([look._asdict() for look in looks]),
        "edgeexit.labels": json.dumps(bundle.labels),
        "edgeexit.preprocess": json.dumps(None if bundle.preprocess is None else preprocess_json(bundle.preprocess)),
        "edgeexit.task": bundle.task,
    }
    known = {entry.key for entry in model.metadata_props}
    for key, value in facts.items():
        if key not in known:
            model.metadata_props.add(key=key, value=value)


def _check(bundle: Bundle, data: bytes, outputs: Names) -> None:
    """Run the file and the bundle's whole graph on a made-up input, if the input's size is known."""
    try:
        onnx.checker.check_model(data)
        session = open_session(data)
    except Exception as error:
        raise GraphError(f"{bundle.name!r} cannot be written with If: {error}") from error
    if any(isinstance(size, str) for tensor in bundle.inputs for size in (tensor.shape or ("?",))[1:]):
        return
    inputs = made_up_inputs(bundle)
    label, probabilities, exit_index = session.run(list(outputs), inputs)
    answering = bundle.exits[int(exit_index[0])]
    whole = open_session(join_pieces(bundle, kept_stages(bundle)).SerializeToString())
    expected, labels = whole.run([answering.probabilities, answering.top_labels], inputs)
    off = float(np.abs(probabilities - expected).max())
    if not off <= TOLERANCE or label[0] != labels[0, 0]:
        raise GraphError(
            f"the file's answer for a made-up input is class {label[0]} at exit {exit_index[0]}, off by {off:.2g}, and "
            f"the bundle's is class {labels[0, 0]}: this network cannot be written with If"
        )
