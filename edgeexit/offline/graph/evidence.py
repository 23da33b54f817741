"""The nodes that turn an exit's output into its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from edgeexit.errors import GraphError
from edgeexit.offline.graph.shapes import Value
from edgeexit.offline.graph.source import opset_version

PREFIX: Final = "edgeexit"
LEAST_PROBABILITY: Final = 1e-30
"""Smaller ones are taken as this before their logarithm; a normal float32."""

_WANTED: Final = "floats (N, classes) or (N, classes, 1, 1) are needed; say with exits=[...] which outputs are exits"
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


@dataclass(frozen=True, slots=True)
class EvidenceNames:
    """Names of an exit's values: logits and probabilities (N, C), and their two largest with their classes."""

    logits: str
    probabilities: str
    top_values: str
    top_labels: str

    @property
    def all(self) -> tuple[str, str, str, str]:
        """The four names, in the order of the fields."""
        return self.logits, self.probabilities, self.top_values, self.top_labels


def add_evidence(
    model: Any, values: Mapping[str, Value], exit_index: int, output: str, *, class_count: int
) -> EvidenceNames:
    """Append the evidence nodes of one exit to `model`, valid for its opset, and state their types.

    An output of (N, C, 1, 1) is flattened and another float type cast to float32. Where the output is a Softmax
    already, it is not applied again: the logits are what goes into it, or the logarithm of the probabilities.

    Args:
        model: onnx.ModelProto, changed in place.
        values: What is known of its values.
        exit_index: Index of the exit, for the names.
        output: Name of the exit's output.
        class_count: C.

    Raises:
        GraphError: If the output is no batch of one float for each class.
    """
    builder = _Builder(model.graph, f"{PREFIX}/exit{exit_index}", values[output].shape, class_count)
    scores = builder.as_float_matrix(output, values[output])
    softmax = _softmax_before(model, output)
    if softmax is None:
        logits = scores
        probabilities = builder.add("Softmax", [logits], "probabilities", axis=1)
    else:
        probabilities = scores
        source = softmax.input[0]
        direct = scores == softmax.output[0] and values[source].element_type == TensorProto.FLOAT
        logits = source if direct and _makes(model, source) else builder.add_logarithm(probabilities)
    top = builder.add_top(probabilities, min(2, class_count), opset_version(model))
    return EvidenceNames(logits, probabilities, *top)


def count_classes(output: str, value: Value, labels: int | None) -> int:
    """Return the number of classes of an exit, from its shape or, where that is unknown, from the number of labels.

    Raises:
        GraphError: If the output is no batch of one float for each class, or the number cannot be told.
    """
    shape = value.shape
    if value.element_type not in _FLOATS:
        kind = TensorProto.DataType.Name(value.element_type)
        raise GraphError(f"exit {output!r} returns {kind}; {_WANTED}")
    if shape is not None and (len(shape) < 2 or any(d != 1 for d in shape[2:])):
        raise GraphError(f"exit {output!r} has the shape {shape}; {_WANTED}")
    known = None if shape is None else shape[1]
    if not isinstance(known, int):
        known = labels
    if known is None:
        raise GraphError(f"the number of classes of exit {output!r} cannot be inferred; give labels=[...]")
    return known


class _Builder:
    """Appends nodes to a graph under names of one exit."""

    def __init__(self, graph: Any, prefix: str, shape: Any, class_count: int) -> None:
        self._graph = graph
        self._prefix = prefix
        self._batch = shape[0] if shape else None
        self._class_count = class_count

    def as_float_matrix(self, name: str, value: Value) -> str:
        if value.shape is None or len(value.shape) != 2:
            name = self.add("Flatten", [name], "flat", element_type=value.element_type, axis=1)
        if value.element_type != TensorProto.FLOAT:
            name = self.add("Cast", [name], "float", to=TensorProto.FLOAT)
        return name

    def add_logarithm(self, probabilities: str) -> str:
        least = self._constant("least_probability", TensorProto.FLOAT, [], [LEAST_PROBABILITY])
        return self.add("Log", [self.add("Max", [probabilities, least], "positive")], "logits")

    def add_top(self, probabilities: str, count: int, opset: int) -> tuple[str, str]:
        """Until opset 9 TopK has its count in an attribute, from opset 10 in an input."""
        values, labels = f"{self._prefix}/top_values", f"{self._prefix}/top_labels"
        if opset < 10:
            node = helper.make_node("TopK", [probabilities], [values, labels], name=values, axis=1, k=count)
        else:
            number = self._constant("top_count", TensorProto.INT64, [1], [count])
            node = helper.make_node("TopK", [probabilities, number], [values, labels], name=values, axis=1)
        self._graph.node.append(node)
        self._state(values, TensorProto.FLOAT, count)
        self._state(labels, TensorProto.INT64, count)
        return values, labels

    def add(
        self, operator: str, inputs: list[str], name: str, *, element_type: int = TensorProto.FLOAT, **attributes: Any
    ) -> str:
        output = f"{self._prefix}/{name}"
        self._graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self._state(output, element_type, self._class_count)
        return output

    def _state(self, name: str, element_type: int, columns: int) -> None:
        value = helper.make_tensor_value_info(name, element_type, [self._batch, columns])
        self._graph.value_info.append(value)

    def _constant(self, name: str, element_type: int, dims: list[int], content: list[float]) -> str:
        full = f"{PREFIX}/{name}"
        if all(w.name != full for w in self._graph.initializer):
            self._graph.initializer.append(helper.make_tensor(full, element_type, dims, content))
        return full


def _softmax_before(model: Any, output: str) -> Any | None:
    """Return the Softmax over the classes that makes `output`, with nothing but a change of form between."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in ("Cast", "Flatten", "Identity", "Reshape", "Squeeze"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Softmax" or node.domain not in ("", "ai.onnx"):
        return None
    axis = next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"), None)
    return node if _is_over_classes(axis, opset_version(model), direct=node.output[0] == output) else None


def _is_over_classes(axis: int | None, opset: int, *, direct: bool) -> bool:
    """Before opset 13 axis 1 is the default and all from there on is taken together; after it is the last alone."""
    if axis == 1 or (axis is None and opset < 13):
        return True
    return direct and axis in (-1, None)


def _makes(model: Any, name: str) -> bool:
    return any(name in node.output for node in model.graph.node)
