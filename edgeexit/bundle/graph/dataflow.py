"""Who makes and who uses each value of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgeexit.bundle.graph.schema import Message
from edgeexit.errors import GraphError

RANDOM_OPERATORS: Final = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that give another value each time they run: their results are no constants, whatever they read."""

SHAPE_OPERATORS: Final = frozenset({"Shape", "Size"})
"""Operators that read the shape of a value and not what is in it."""


class Dataflow:
    """The values of a graph and what each depends on.

    A value that depends on no input at all is a constant; one that depends on side inputs and on the shapes of inputs
    alone is *free* like a constant: every piece may compute it anew. All other values are *data*.

    Args:
        graph: GraphProto whose nodes are in topological order, as ONNX demands.
        side_inputs: Graph inputs that every piece may read, for instance a mask.

    Attributes:
        nodes: The nodes, in order; indices into it stand for them everywhere else.
        inputs: Names of the graph's inputs, without those that are initializers.
        weights: Name of each initializer -> its TensorProto or SparseTensorProto.
        uses: For each node the values it reads, those that its subgraphs capture included.
        maker: Value -> index of the node that makes it.
        free: Indices of the nodes whose values are free.

    Raises:
        GraphError: If the graph is not sorted, a value is made twice or by nobody, or a side input is unknown.
    """

    def __init__(self, graph: Message, side_inputs: Iterable[str] = ()) -> None:
        self.graph = graph
        self.nodes = list(graph.node)
        self.weights = {w.name: w for w in graph.initializer} | {w.values.name: w for w in graph.sparse_initializer}
        self.inputs = tuple(v.name for v in graph.input if v.name not in self.weights)
        self.side_inputs = frozenset(side_inputs)
        self.data_inputs = frozenset(self.inputs) - self.side_inputs
        self.uses = tuple(values_used(node) for node in self.nodes)
        _check_side_inputs(self.side_inputs, self.inputs)
        self.maker = self._find_makers()
        self.free = self._find_free()

    def is_data(self, value: str) -> bool:
        """Tell if `value` depends on an input that is no side input."""
        index = self.maker.get(value)
        return value in self.data_inputs if index is None else index not in self.free

    def ancestors(self, values: Iterable[str]) -> set[int]:
        """Return the data nodes that `values` depend on, their makers included."""
        found: set[int] = set()
        pending = [self.maker[v] for v in values if v in self.maker and self.is_data(v)]
        while pending:
            index = pending.pop()
            if index not in found:
                found.add(index)
                pending.extend(self.maker[v] for v in self.uses[index] if v in self.maker and self.is_data(v))
        return found

    def with_free_makers(self, nodes: Iterable[int]) -> list[int]:
        """Return `nodes` with the free nodes they need, in order."""
        found: set[int] = set()
        pending = list(nodes)
        while pending:
            index = pending.pop()
            if index not in found:
                found.add(index)
                pending.extend(i for v in self.uses[index] if (i := self.maker.get(v)) in self.free and i is not None)
        return sorted(found)

    def _find_makers(self) -> dict[str, int]:
        maker: dict[str, int] = {}
        known = set(self.inputs) | set(self.weights)
        for index, node in enumerate(self.nodes):
            for value in self.uses[index]:
                if value not in known:
                    raise GraphError(f"{describe(node)} reads {value!r}, which no node before it makes")
            for value in filter(None, node.output):
                if value in known:
                    raise GraphError(f"{describe(node)} makes {value!r}, which exists already")
                maker[value] = index
                known.add(value)
        return maker

    def _find_free(self) -> frozenset[int]:
        free: set[int] = set()
        for index, node in enumerate(self.nodes):
            sources = (self.maker.get(v) for v in self.uses[index] if v not in self.data_inputs)
            reads_data = not self.data_inputs.isdisjoint(self.uses[index]) and node.op_type not in SHAPE_OPERATORS
            if node.op_type in RANDOM_OPERATORS or reads_data:
                continue
            if all(source is None or source in free for source in sources):
                free.add(index)
        return frozenset(free)


def describe(node: Message) -> str:
    """Name a node in an error message."""
    return f"node {node.name or next(iter(node.output), '')!r} ({node.op_type})"


def subgraphs(node: Message) -> Iterator[Message]:
    """Yield the GraphProtos in the attributes of `node`: the branches of If, the bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def values_used(node: Message) -> tuple[str, ...]:
    """Return the values that `node` reads, first those of its inputs, then those that its subgraphs capture."""
    names = dict.fromkeys(filter(None, node.input))
    for graph in subgraphs(node):
        names.update(dict.fromkeys(_captured(graph)))
    return tuple(names)


def _captured(graph: Message) -> Iterator[str]:
    own = {v.name for v in graph.input} | {w.name for w in graph.initializer}
    own |= {w.values.name for w in graph.sparse_initializer}
    for node in graph.node:
        yield from (v for v in values_used(node) if v not in own)
        own.update(node.output)
    yield from (v.name for v in graph.output if v.name not in own)


def _check_side_inputs(side_inputs: frozenset[str], inputs: tuple[str, ...]) -> None:
    unknown = sorted(side_inputs - set(inputs))
    if unknown:
        raise GraphError(f"the model has no input {unknown[0]!r} to be a side input; it has {', '.join(inputs)}")
