"""Append nodes to an ONNX graph, valid for any opset from 9 on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeexit.errors import GraphError
from edgeexit.offline.graph.source import opset_version

_SLICE_BY_INPUTS: Final = 10
_REDUCE_BY_INPUTS: Final = 18
_FIRST_IR_WITH_CONSTANT_WEIGHTS: Final = 4


class Nodes:
    """Appends nodes whose values all stand under one prefix.

    Args:
        model: onnx.ModelProto, changed in place.
        prefix: Of the names, followed by a slash.

    Raises:
        GraphError: If the graph has values of that prefix already.
    """

    def __init__(self, model: Any, prefix: str) -> None:
        self._graph = model.graph
        self._prefix = prefix
        self._opset = opset_version(model)
        model.ir_version = max(model.ir_version, _FIRST_IR_WITH_CONSTANT_WEIGHTS)
        if any(name.startswith(f"{prefix}/") for node in model.graph.node for name in node.output):
            raise GraphError(f"the model has values called {prefix}/... already: take the model without heads")

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append one node with one output and return the output's name."""
        output = f"{self._prefix}/{name}"
        self._graph.node.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, content: NDArray[Any]) -> str:
        """Append an initializer and return its name."""
        full = f"{self._prefix}/{name}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(content, order="C"), full))
        return full

    def integers(self, name: str, *numbers: int) -> str:
        """Append a one-dimensional int64 initializer and return its name."""
        return self.constant(name, np.array(numbers, dtype=np.int64))

    def add_slice(self, value: str, axis: int, start: int, stop: int, name: str) -> str:
        """Append a Slice of one axis."""
        if self._opset < _SLICE_BY_INPUTS:
            return self.add("Slice", [value], name, axes=[axis], starts=[start], ends=[stop])
        places = [self.integers(f"{name}/{part}", n) for part, n in (("from", start), ("to", stop), ("axis", axis))]
        return self.add("Slice", [value, *places], name)

    def add_mean(self, value: str, axis: int, name: str) -> str:
        """Append the mean over one axis, which stays with the size 1."""
        if self._opset < _REDUCE_BY_INPUTS:
            return self.add("ReduceMean", [value], name, axes=[axis], keepdims=1)
        return self.add("ReduceMean", [value, self.integers(f"{name}/axis", axis)], name, keepdims=1)
