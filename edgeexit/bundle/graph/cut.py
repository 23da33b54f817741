"""Cut a graph into segments and heads, and join pieces to one graph again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.bundle.graph.element_types import infer_element_types
from edgeexit.bundle.graph.schema import Message, message_class
from edgeexit.errors import GraphError

FIRST_IR_WITH_CONSTANT_WEIGHTS = 4
"""Before it an initializer had to be a graph input too."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one segment, and the exit behind it if there is one, have to bring forth.

    Attributes:
        body: Values that must be there once the segment has run: the tensors of a cut, or the network's own output.
            Of the nodes that make them, those that nothing later needs are dropped, but for the last stage.
        exit: Values of the exit behind the segment; none where there is no exit. Nodes that no later stage needs
            are the head, all others belong to the segment.
    """

    body: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a graph as a model of its own.

    Attributes:
        model: ModelProto, see `edgeexit.bundle.graph.schema`.
        inputs: Names of the values it takes, graph inputs first, then in the order in which they are made.
        outputs: Names of the values it makes that others need.
    """

    model: Message
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A whole graph in pieces: a segment for each stage, and a head or None."""

    segments: tuple[Piece, ...]
    heads: tuple[Piece | None, ...]


def cut(model: Message, stages: Sequence[Stage], side_inputs: Iterable[str] = ()) -> Pieces:
    """Cut `model` into one segment for each stage, and one head for each stage that has an exit.

    Value names stay as they are. A segment's outputs are those of its values that later pieces read, and what the
    last stage's body or an exit names. An exit's value that its segment makes (because later stages need it too) is
    an output of the segment, not of the head. Initializers, constants and values that depend on side inputs alone are
    copied into every piece that reads them.

    Args:
        model: ModelProto; it is not changed.
        stages: In the order in which they run.
        side_inputs: Graph inputs that every piece may read.

    Raises:
        GraphError: If a stage names a value that does not exist or depends on no input, if a stage adds nothing, or
            if the element type of a value between two pieces cannot be told.
    """
    flow = Dataflow(model.graph, side_inputs)
    _check_stages(flow, stages)
    segments, heads = _assign(flow, stages)
    outputs = _segment_outputs(flow, stages, segments, heads)
    builder = _Builder(model, flow)
    return Pieces(
        tuple(builder.build(nodes, names) for nodes, names in zip(segments, outputs, strict=True)),
        tuple(
            builder.build(nodes, [v for v in stage.exit if flow.maker[v] in nodes]) if stage.exit else None
            for nodes, stage in zip(heads, stages, strict=True)
        ),
    )


def join(models: Sequence[Message], outputs: Sequence[str]) -> Message:
    """Return the ModelProto that holds the nodes and initializers of all `models`, each once.

    Args:
        models: Pieces of one graph, in the order in which they run.
        outputs: Names of the values that shall be the graph's outputs.

    Raises:
        GraphError: If the pieces import different operator sets, or nothing makes an output.
    """
    whole = _header(models[0])
    graph, made = whole.graph, set[str]()
    weights, values = set[str](), dict[str, Message]()
    for model in models:
        _check_opsets(whole, model)
        for node in model.graph.node:
            if not made.intersection(filter(None, node.output)):
                graph.node.append(node)
                made.update(filter(None, node.output))
        _append_new(graph.initializer, model.graph.initializer, weights)
        _append_new(graph.sparse_initializer, model.graph.sparse_initializer, weights)
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
            values.setdefault(value.name, value)
    _add_interface(graph, models, made | weights, values, outputs)
    return whole


def _check_stages(flow: Dataflow, stages: Sequence[Stage]) -> None:
    for index, stage in enumerate(stages):
        if not (stage.body or stage.exit):
            raise GraphError(f"stage {index} names no value that it shall bring forth")
        for value in (*stage.body, *stage.exit):
            if value not in flow.maker and value not in flow.inputs and value not in flow.weights:
                raise GraphError(f"the graph holds no value {value!r}, which stage {index} shall bring forth")
            if not flow.is_data(value) or (value in stage.exit and value not in flow.maker):
                raise GraphError(f"{value!r}, which stage {index} shall bring forth, is not computed from an input")


def _assign(flow: Dataflow, stages: Sequence[Stage]) -> tuple[list[set[int]], list[set[int]]]:
    """Return the data nodes of each segment and of each head."""
    everything = [flow.ancestors((*s.body, *s.exit)) for s in stages]
    segments: list[set[int]] = []
    done: set[int] = set()
    for index, stage in enumerate(stages):
        last = index == len(stages) - 1
        later = flow.ancestors(stage.body) if last else set[int]().union(*everything[index + 1 :])
        new = (everything[index] & later) - done
        if not new:
            raise GraphError(
                f"stage {index} ({', '.join((*stage.body, *stage.exit))}) adds nothing to the stages before it"
            )
        segments.append(new)
        done |= new
    return segments, [flow.ancestors(s.exit) - done for s in stages]


def _segment_outputs(
    flow: Dataflow, stages: Sequence[Stage], segments: Sequence[set[int]], heads: Sequence[set[int]]
) -> list[list[str]]:
    """Return the values of each segment that other pieces read or that are asked for, in the order they are made."""
    needed = set(stages[-1].body)
    for stage, segment, head in zip(stages, segments, heads, strict=True):
        needed.update(stage.exit)
        for nodes in (segment, head):
            needed.update(v for i in nodes for v in flow.uses[i] if flow.maker.get(v, -1) not in nodes)
    return [[v for i in sorted(nodes) for v in flow.nodes[i].output if v in needed] for nodes in segments]


class _Builder:
    """Makes models out of sets of nodes of one graph."""

    def __init__(self, model: Message, flow: Dataflow) -> None:
        self._model = model
        self._flow = flow
        graph = model.graph
        self._stated = {v.name: v for v in (*graph.value_info, *graph.output, *graph.input)}
        self._inferred: Mapping[str, int] | None = None
        self._order = {name: position for position, name in enumerate((*flow.inputs, *flow.maker))}

    def build(self, nodes: Iterable[int], outputs: Iterable[str]) -> Piece:
        indices = self._flow.with_free_makers(nodes)
        made = {v for i in indices for v in self._flow.nodes[i].output}
        used = {v for i in indices for v in self._flow.uses[i]}
        inputs = sorted((v for v in used - made if v not in self._flow.weights), key=self._order.__getitem__)
        names = tuple(outputs)
        model = _header(self._model)
        graph = model.graph
        graph.node.extend(self._flow.nodes[i] for i in indices)
        graph.initializer.extend(w for w in self._model.graph.initializer if w.name in used)
        graph.sparse_initializer.extend(w for w in self._model.graph.sparse_initializer if w.values.name in used)
        graph.input.extend(self._value(v) for v in inputs)
        graph.output.extend(self._value(v) for v in names)
        graph.quantization_annotation.extend(
            a for a in self._model.graph.quantization_annotation if a.tensor_name in used | made
        )
        return Piece(model, tuple(inputs), names)

    def _value(self, name: str) -> Message:
        stated = self._stated.get(name)
        if stated is not None and stated.type.tensor_type.elem_type:
            return stated
        is_tensor = stated is None or not stated.HasField("type") or stated.type.HasField("tensor_type")
        if self._inferred is None:
            self._inferred = infer_element_types(self._model.graph)
        value = message_class("ValueInfoProto")(name=name)
        value.type.tensor_type.elem_type = self._inferred.get(name, 0) if is_tensor else 0
        if not value.type.tensor_type.elem_type:
            raise GraphError(f"the element type of {name!r} cannot be told, or it is no tensor: cut elsewhere")
        return value


def _header(model: Message) -> Message:
    """Return a model without nodes that says of itself what `model` says."""
    header = message_class("ModelProto")(
        ir_version=max(model.ir_version, FIRST_IR_WITH_CONSTANT_WEIGHTS),
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        opset_import=model.opset_import,
        metadata_props=model.metadata_props,
        functions=model.functions,
    )
    header.graph.name = model.graph.name or "graph"
    return header


def _check_opsets(whole: Message, model: Message) -> None:
    known = {o.domain: o.version for o in whole.opset_import}
    for opset in model.opset_import:
        if known.setdefault(opset.domain, opset.version) != opset.version:
            raise GraphError(
                f"pieces of different models: operator set {opset.domain or 'ai.onnx'!r} is {known[opset.domain]} in "
                f"one and {opset.version} in another"
            )
        if opset.domain not in {o.domain for o in whole.opset_import}:
            whole.opset_import.append(opset)


def _append_new(target: Message, tensors: Iterable[Message], known: set[str]) -> None:
    for tensor in tensors:
        name = tensor.name if hasattr(tensor, "data_type") else tensor.values.name
        if name not in known:
            known.add(name)
            target.append(tensor)


def _add_interface(
    graph: Message, models: Sequence[Message], made: set[str], values: Mapping[str, Message], outputs: Sequence[str]
) -> None:
    inputs = dict.fromkeys(v.name for model in models for v in model.graph.input if v.name not in made)
    graph.input.extend(values[name] for name in inputs)
    for name in outputs:
        if name not in made:
            raise GraphError(f"no piece makes {name!r}, which shall be an output")
    inner = _inner_values(graph, [name for name in outputs if name not in values])
    graph.output.extend(values[name] if name in values else inner[name] for name in outputs)
    known = {*inputs, *outputs, *(w.name for w in graph.initializer)}
    graph.value_info.extend(v for name, v in values.items() if name not in known)


def _inner_values(graph: Message, names: Sequence[str]) -> dict[str, Message]:
    """Describe values that no piece has in its interface: their element types follow, their shapes are not known."""
    types = infer_element_types(graph) if names else {}
    described: dict[str, Message] = {}
    for name in names:
        if not types.get(name):
            raise GraphError(f"the element type of {name!r}, which shall be an output, cannot be told")
        described[name] = message_class("ValueInfoProto")(name=name)
        described[name].type.tensor_type.elem_type = types[name]
    return described
