"""What a model in a bundle may not hold: other people's code and references to other files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgeexit.bundle.graph.dataflow import describe, subgraphs
from edgeexit.bundle.graph.schema import Message
from edgeexit.errors import GraphError

ALLOWED_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Domains of the operators that every build of ONNX Runtime brings along."""

REFUSED_OPERATORS: Final = frozenset({"EPContext", "PythonOp", "PythonOpGrad"})
"""Operators of com.microsoft that run a foreign binary or foreign code."""

_EXTERNAL: Final = 1
"""TensorProto.DataLocation.EXTERNAL."""


def check_operators(model: Message, name: str) -> None:
    """Refuse operators that ONNX Runtime alone does not know.

    Args:
        model: ModelProto.
        name: What to call it in the message.

    Raises:
        GraphError: If a node, also one within a subgraph or a function, is of another domain than `ALLOWED_DOMAINS`
            or one of `REFUSED_OPERATORS`.
    """
    for function in model.functions:
        if function.domain not in ALLOWED_DOMAINS:
            raise GraphError(f"{name}: holds the function {function.domain}.{function.name}; inline it before")
    for node in _all_nodes(model):
        if node.domain not in ALLOWED_DOMAINS or node.op_type in REFUSED_OPERATORS:
            raise GraphError(
                f"{name}: {describe(node)} is a custom operator of {node.domain!r}; "
                "replace it by operators of ONNX, custom ones are not run"
            )


def check_self_contained(model: Message, name: str) -> None:
    """Refuse tensors whose data lie in another file.

    Raises:
        GraphError: If there is one, also within a node's attribute or a subgraph.
    """
    for tensor in _all_tensors(model):
        if tensor.data_location == _EXTERNAL or tensor.external_data:
            raise GraphError(f"{name}: tensor {tensor.name!r} refers to an external file; store its data inline")


def _all_nodes(model: Message) -> Iterator[Message]:
    yield from _nodes_within(model.graph.node)
    for function in model.functions:
        yield from _nodes_within(function.node)


def _nodes_within(nodes: Message) -> Iterator[Message]:
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _nodes_within(graph.node)


def _all_tensors(model: Message) -> Iterator[Message]:
    yield from _graph_tensors(model.graph)
    for node in _all_nodes(model):
        for graph in subgraphs(node):
            yield from _graph_tensors(graph)
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _graph_tensors(graph: Message) -> Iterator[Message]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
