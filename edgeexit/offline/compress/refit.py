"""Fit a layer's weights anew by least squares, so that it makes of what it now reads what it made before.

The idea of refitting by reconstruction: He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks"
(arXiv 1707.06168), section 3.1.2. The ridge pulls towards the weights that there are, not towards zero.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import EngineError, GraphError
from edgeexit.offline.batching import choose_batch, fixed_batch, pad_batch
from edgeexit.offline.compress.layers import Layer, Weights, attribute
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.runtime.engine import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edgeexit.offline.data import Samples
    from edgeexit.protocols import IntArray

    FloatArray = NDArray[np.float32]
    FloatArray64 = NDArray[np.float64]

WIDEST: Final = 2400
"""Inputs of a layer (channels times kernel) up to which it is fitted: the normal equations are solved in seconds."""
RIDGE: Final = 1e-3
"""Share of the mean square of an input; more where there are few equations."""
EQUATIONS: Final = 10
"""For each weight of a filter, if there are as many."""
_MOST_PLACES: Final = 64
"""Of a feature map that are taken from one sample: neighbours say nearly the same."""
_MOST_AT_ONCE: Final = 32


class Tap:
    """Runs a model up to some of its values.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed.
        names: The values to return.

    Raises:
        GraphError: If the model has no such value.
        EngineError: If ONNX Runtime refuses the model.
    """

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        flow = Dataflow(model.graph)
        for name in names:
            if name not in flow.maker and name not in flow.inputs:
                raise GraphError(f"the model has no value {name!r} to compare with")
        self._given = {name for name in names if name in flow.inputs}
        self._names = [name for name in names if name not in self._given]
        self.shapes = {v.name: _dims(v) for v in model.graph.input if v.name in flow.inputs}
        self._session = None if not self._names else _open(_shortened(model, flow, self._names))
        self.order = tuple(names)

    def run(self, tensors: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the values, in the order of their names."""
        if self._session is None:
            return [tensors[name] for name in self.order]
        feeds = {i.name: tensors[i.name] for i in self._session.get_inputs()}
        made = dict(zip(self._names, self._session.run(self._names, feeds), strict=True))
        return [tensors[name] if name in self._given else made[name] for name in self.order]


def refit_layer(student: Any, teacher: Any, node: Any, samples: Samples, *, seed: int = 0) -> float | None:
    """Fit the weights of a layer of `student` anew, so that it makes what the layer of that name makes in `teacher`.

    Args:
        student: onnx.ModelProto; the layer's weights are changed in place.
        teacher: onnx.ModelProto with a value of the name of the layer's output.
        node: The NodeProto of `student`: a Conv, Gemm or MatMul whose weights are its own.
        samples: To fit on.
        seed: Of the places that are taken.

    Returns:
        What is left of the mean squared error, as a share of what it was; None if the layer is too wide or of a kind
        that is not fitted (groups, automatic padding), and stays as it is.

    Raises:
        GraphError: If `teacher` has no such value.
        EngineError: If ONNX Runtime refuses a model.
    """
    weights = Weights(student)
    layer = weights.read_layer(node)
    if layer is None or not _can_fit(node, layer):
        return None
    sums = _Sums(layer)
    taps = Tap(student, [node.input[0]]), Tap(teacher, [node.output[0]])
    generator = np.random.default_rng(seed)
    places = min(_MOST_PLACES, -(-EQUATIONS * layer.weights[0].size // len(samples)))
    for tensors, count in _batches(samples, taps[0]):
        (read,), (made,) = (tap.run(tensors) for tap in taps)
        sums.add(*_equations(node, layer, read[:count], made[:count], places, generator))
    fitted, left = sums.solve()
    weights.write_layer(node, fitted)
    return left


class _Sums:
    """Normal equations for the change of a layer's weights."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        filters = layer.weights.reshape(len(layer.weights), -1).astype(np.float64)
        bias = [] if layer.bias is None else [layer.bias[:, np.newaxis].astype(np.float64)]
        self._old = np.concatenate([filters, *bias], axis=1).T
        width = len(self._old)
        self._squares: FloatArray64 = np.zeros((width, width))
        self._products: FloatArray64 = np.zeros_like(self._old)
        self._error = 0.0
        self._count = 0

    def add(self, inputs: FloatArray, outputs: FloatArray) -> None:
        """Add equations: inputs (R, C) and what shall come of them, (R, M)."""
        ones = [] if self._layer.bias is None else [np.ones((len(inputs), 1), dtype=np.float32)]
        rows = np.concatenate([inputs, *ones], axis=1)
        missing = outputs - rows @ self._old.astype(np.float32)
        self._squares += rows.T @ rows
        self._products += rows.T @ missing
        self._error += float((missing**2).sum())
        self._count += len(rows)

    def solve(self) -> tuple[Layer, float]:
        """Return the new weights, and what is left of the squared error as a share of what it was."""
        width = len(self._old)
        ridge = max(RIDGE, 0.01 * width / max(1, self._count)) * float(np.trace(self._squares)) / width
        change = np.linalg.solve(self._squares + max(ridge, 1e-12) * np.eye(width), self._products)
        gained = 2.0 * float((change * self._products).sum()) - float((change * (self._squares @ change)).sum())
        new = (self._old + change).T.astype(np.float32)
        shape = self._layer.weights.shape
        left = 1.0 - gained / self._error if self._error > 0.0 else 1.0
        if self._layer.bias is None:
            return Layer(new.reshape(shape), None), left
        return Layer(new[:, :-1].reshape(shape), new[:, -1].copy()), left


def _can_fit(node: Any, layer: Layer) -> bool:
    plain = attribute(node, "group", 1) == 1 and attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
    return bool(plain) and layer.weights[0].size <= WIDEST


def _equations(
    node: Any, layer: Layer, read: FloatArray, made: FloatArray, count: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return what the layer reads, (R, C), and what it shall make of it, (R, M), at some places."""
    if node.op_type != "Conv":
        return read.reshape(-1, read.shape[-1]), made.reshape(-1, made.shape[-1])
    kernel, sizes = layer.weights.shape[2:], made.shape[2:]
    strides, dilations, pads = (
        attribute(node, name, [default] * len(kernel) * times)
        for name, default, times in (("strides", 1, 1), ("dilations", 1, 1), ("pads", 0, 2))
    )
    padded = np.pad(read, [(0, 0), (0, 0), *((pads[i], pads[i + len(kernel)]) for i in range(len(kernel)))])
    sample = np.repeat(np.arange(len(read)), min(count, math.prod(sizes)))
    places = [generator.integers(size, size=len(sample)) for size in sizes]
    parts = []
    for offset in product(*map(range, kernel)):
        moved = [p * s + o * d for p, s, o, d in zip(places, strides, offset, dilations, strict=True)]
        parts.append(_channels_at(padded, sample, moved))
    return np.stack(parts, axis=2).reshape(len(sample), -1), _channels_at(made, sample, places)


def _channels_at(maps: FloatArray, sample: IntArray, places: Sequence[IntArray]) -> FloatArray:
    """Return (R, C) what feature maps (N, C, ...) hold at R places."""
    index: tuple[Any, ...] = (sample, slice(None), *places)
    found: FloatArray = maps[index]
    return found


def _batches(samples: Samples, tap: Tap) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    shapes = list(tap.shapes.values())
    fixed = next((size for size in map(fixed_batch, shapes) if size is not None), None)
    for tensors in samples.batches(min(_MOST_AT_ONCE, choose_batch(shapes))):
        count = len(next(iter(tensors.values())))
        yield (tensors if fixed is None else pad_batch(tensors, fixed)), count


def _shortened(model: Any, flow: Dataflow, names: Sequence[str]) -> Any:
    """Return the part of a model that makes some of its values."""
    short = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    nodes = flow.with_free_makers(flow.ancestors(names))
    used = {v for index in nodes for v in flow.uses[index]}
    short.graph.name = "part"
    short.graph.node.extend(flow.nodes[index] for index in nodes)
    short.graph.initializer.extend(w for w in model.graph.initializer if w.name in used)
    short.graph.input.extend(v for v in model.graph.input if v.name in used and v.name in flow.inputs)
    types = infer_values(short)
    for name in names:
        kind = types[name].element_type if name in types else TensorProto.FLOAT
        short.graph.output.append(helper.make_tensor_value_info(name, kind or TensorProto.FLOAT, None))
    return short


def _open(model: Any) -> Any:
    try:
        return open_session(model.SerializeToString())
    except Exception as error:
        raise EngineError(f"ONNX Runtime refuses a part of the model: {error}") from error


def _dims(value: Any) -> tuple[int | str | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims)
