"""The nodes that turn an exit's output into its evidence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from edgeexit.bundle.manifest import CLASSES, LABELS, MOST_LABELS, TASKS
from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.graph.shapes import Value
from edgeexit.offline.graph.source import opset_version

_log = logging.getLogger(__name__)

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
    model: Any,
    values: Mapping[str, Value],
    exit_index: int,
    output: str,
    *,
    class_count: int,
    task: str = CLASSES,
) -> EvidenceNames:
    """Append the evidence nodes of one exit to `model`, valid for its opset, and state their types.

    An output of (N, C, 1, 1) is flattened and another float type cast to float32. Where the output is a Softmax
    already, it is not applied again: the logits are what goes into it, or the logarithm of the probabilities.

    With the task "labels" each label has a probability of its own, the sigmoid of its logit (likewise not applied
    again), and the answer is the set of the labels with more than a half, as the sum of 2**i over them. Its confidence
    c is that of the least certain label, max(p, 1 - p); the two top values are c and 1 - c, both with the same set, so
    that the margin is 2 c - 1.

    Args:
        model: onnx.ModelProto, changed in place.
        values: What is known of its values.
        exit_index: Index of the exit, for the names.
        output: Name of the exit's output.
        class_count: C.
        task: "classes" or "labels".

    Raises:
        GraphError: If the output is no batch of one float for each class, or a Softmax where the task is "labels".
    """
    builder = _Builder(model.graph, f"{PREFIX}/exit{exit_index}", values[output].shape, class_count)
    scores = builder.as_float_matrix(output, values[output])
    if task == LABELS:
        return _add_label_evidence(model, values, builder, output, scores)
    softmax = _softmax_before(model, output)
    if softmax is None:
        _warn_of_sigmoid(model, output)
        logits = scores
        probabilities = builder.add("Softmax", [logits], "probabilities", axis=1)
    else:
        probabilities = scores
        logits = _source_of(model, values, softmax, scores) or builder.add_logarithm(probabilities)
    top = builder.add_top(probabilities, min(2, class_count), opset_version(model))
    return EvidenceNames(logits, probabilities, *top)


def check_task(task: str, class_count: int) -> None:
    """Check that a network of `class_count` outputs can have that task.

    Raises:
        OptionError: If there is no such task.
        GraphError: If there are more labels than a set can hold.
    """
    if task not in TASKS:
        raise OptionError(f"there is no task {task!r}; it is one of {', '.join(sorted(TASKS))}")
    if task == LABELS and class_count > MOST_LABELS:
        raise GraphError(f"the network has {class_count} labels; the set of those that hold can have {MOST_LABELS}")


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

    def add_logarithm(self, probabilities: str, name: str = "logits") -> str:
        least = self.constant("least_probability", TensorProto.FLOAT, [], [LEAST_PROBABILITY])
        suffix = "" if name == "logits" else f"_{name}"
        return self.add("Log", [self.add("Max", [probabilities, least], f"positive{suffix}")], name)

    def add_top(self, probabilities: str, count: int, opset: int) -> tuple[str, str]:
        """Until opset 9 TopK has its count in an attribute, from opset 10 in an input."""
        values, labels = f"{self._prefix}/top_values", f"{self._prefix}/top_labels"
        if opset < 10:
            node = helper.make_node("TopK", [probabilities], [values, labels], name=values, axis=1, k=count)
        else:
            number = self.constant("top_count", TensorProto.INT64, [1], [count])
            node = helper.make_node("TopK", [probabilities, number], [values, labels], name=values, axis=1)
        self._graph.node.append(node)
        self._state(values, TensorProto.FLOAT, count)
        self._state(labels, TensorProto.INT64, count)
        return values, labels

    def add_label_top(self, probabilities: str, others: str, opset: int) -> tuple[str, str]:
        """Add the confidence of the least certain label, and the set of the labels with more than a half, twice."""
        surer = self.add("Max", [probabilities, others], "surer")
        least = self._add_row_minimum(surer, "least_sure", opset)
        one = self.constant("one", TensorProto.FLOAT, [], [1.0])
        rest = self.add("Sub", [one, least], "least_sure_rest", columns=1)
        half = self.constant("half", TensorProto.FLOAT, [], [0.5])
        holds = self.add("Greater", [probabilities, half], "holds", element_type=TensorProto.BOOL)
        number = self.add("Cast", [holds], "holds_number", element_type=TensorProto.INT64, to=TensorProto.INT64)
        powers = [2**i for i in range(self._class_count)]
        bits = self.constant("bits", TensorProto.INT64, [self._class_count, 1], powers)
        # A product, because ONNX Runtime's ReduceSum takes int64 through double and is wrong beyond 2**53.
        chosen = self.add("MatMul", [number, bits], "set", element_type=TensorProto.INT64, columns=1)
        values = self.add("Concat", [least, rest], "top_values", columns=2, axis=1)
        twice = [chosen, chosen]
        return values, self.add("Concat", twice, "top_labels", element_type=TensorProto.INT64, columns=2, axis=1)

    def add(
        self,
        operator: str,
        inputs: list[str],
        name: str,
        *,
        element_type: int = TensorProto.FLOAT,
        columns: int | None = None,
        **attributes: Any,
    ) -> str:
        output = f"{self._prefix}/{name}"
        self._graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self._state(output, element_type, self._class_count if columns is None else columns)
        return output

    def _add_row_minimum(self, value: str, name: str, opset: int) -> str:
        """Until opset 17 ReduceMin has its axes in an attribute, from opset 18 in an input."""
        if opset < 18:
            return self.add("ReduceMin", [value], name, columns=1, axes=[1], keepdims=1)
        axes = self.constant("axis", TensorProto.INT64, [1], [1])
        return self.add("ReduceMin", [value, axes], name, columns=1, keepdims=1)

    def _state(self, name: str, element_type: int, columns: int) -> None:
        value = helper.make_tensor_value_info(name, element_type, [self._batch, columns])
        self._graph.value_info.append(value)

    def constant(self, name: str, element_type: int, dims: list[int], content: list[float]) -> str:
        full = f"{PREFIX}/{name}"
        if all(w.name != full for w in self._graph.initializer):
            self._graph.initializer.append(helper.make_tensor(full, element_type, dims, content))
        return full


def _add_label_evidence(
    model: Any, values: Mapping[str, Value], builder: _Builder, output: str, scores: str
) -> EvidenceNames:
    if _softmax_before(model, output) is not None:
        raise GraphError(
            f"exit {output!r} is a Softmax: its probabilities add up to 1, so one class holds; the task is 'classes'"
        )
    sigmoid = _operator_before(model, output)
    found = sigmoid is not None and sigmoid.op_type == "Sigmoid"
    probabilities = scores if found else builder.add("Sigmoid", [scores], "probabilities")
    logits = _source_of(model, values, sigmoid, scores) if found else scores
    one = builder.constant("one", TensorProto.FLOAT, [], [1.0])
    others = builder.add("Sub", [one, probabilities], "others")
    if logits is None:
        odds = [builder.add_logarithm(probabilities, "log"), builder.add_logarithm(others, "log_others")]
        logits = builder.add("Sub", odds, "logits")
    return EvidenceNames(logits, probabilities, *builder.add_label_top(probabilities, others, opset_version(model)))


def _warn_of_sigmoid(model: Any, output: str) -> None:
    node = _operator_before(model, output)
    if node is not None and node.op_type == "Sigmoid":
        _log.warning("exit %r is a Sigmoid: if each output is a label of its own, say task='labels'", output)


def _source_of(model: Any, values: Mapping[str, Value], activation: Any, scores: str) -> str | None:
    """Return what goes into the activation that makes `scores`; None unless it is float32, of the same form, made."""
    source = str(activation.input[0])
    direct = scores == activation.output[0] and values[source].element_type == TensorProto.FLOAT
    return source if direct and _makes(model, source) else None


def _operator_before(model: Any, output: str) -> Any | None:
    """Return the node that makes `output`, with nothing but a change of form between."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in ("Cast", "Flatten", "Identity", "Reshape", "Squeeze"):
        node = makers.get(node.input[0])
    return node


def _softmax_before(model: Any, output: str) -> Any | None:
    """Return the Softmax over the classes that makes `output`, with nothing but a change of form between."""
    node = _operator_before(model, output)
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
