"""Static int8 quantisation of models and of a bundle's segments, by ONNX Runtime's quantiser.

Weights become int8, one scale a channel, and activations uint8, with QuantizeLinear and DequantizeLinear around each
layer (QDQ): ONNX Runtime makes integer operators of them on the machine where they run. Ranges are the least and the
largest value over the calibration samples; percentiles gave no better accuracy on the reference networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

from edgeexit.bundle.graph.dataflow import subgraphs
from edgeexit.bundle.manifest import INT8
from edgeexit.errors import GraphError
from edgeexit.offline.graph.source import opset_version
from edgeexit.runtime.engine import simplify_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

OLDEST_OPSET: Final = 10
OLDEST_OPSET_BY_CHANNEL: Final = 13
"""DequantizeLinear has an axis from here on (ONNX operator changelog)."""
LAYERS: Final = frozenset({"Conv", "Gemm", "MatMul"})
"""What there is to gain from."""
BETWEEN: Final = frozenset(
    {"Add", "AveragePool", "Clip", "Concat", "Flatten", "Gather", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul"}
    | {"Pad", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Where"}
)
"""Operators that ONNX Runtime's CPU provider has for 8 bits too, so that values need not become floats between layers.

All others stay in float; so do Softmax and Sigmoid, which it has, because 8 bits are too few for what they say.
"""
_PRODUCTS: Final = ("Gemm", "MatMul")
_OF_A_BORDER: Final = ("_scale", "_zero_point", "_QuantizeLinear_Output")
"""What ONNX Runtime's quantiser appends to a value's name."""
_MARK: Final = ("onnx.quant.pre_process", "onnxruntime.quant")
"""What ONNX Runtime's quantiser looks for in a model that was simplified already."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How a value is quantised: real = scale * (number - zero_point), as numpy scalars of the types in the model."""

    scale: np.float32
    zero_point: np.uint8


def quantise_model(
    model: bytes,
    feeds: Callable[[], Iterable[Tensors]],
    *,
    name: str = INT8,
    scales: Mapping[str, Scale] | None = None,
    float_outputs: bool = False,
    narrow_weights: bool = False,
) -> bytes:
    """Quantise a model: int8 inside, its inputs and outputs as they were.

    Args:
        model: A serialised ModelProto in float, with its weights in it.
        feeds: Gives the calibration batches: the model's inputs by name.
        name: What all is called after that is new in it: no two pieces of a network may have the same. Only how inputs
            and outputs are quantised is called after them, so that pieces that are joined share it.
        scales: Of inputs that are known to be quantised so already; then quantising them again loses nothing.
        float_outputs: Leave the results of Gemm and MatMul in float: for the layers that make logits, where 256 steps
            are too few.
        narrow_weights: 7 bits for weights: for x86 processors without VNNI, whose sums of products overflow
            otherwise.

    Raises:
        GraphError: If the model cannot be quantised; the message says why.
    """
    source = onnx.load_from_string(simplify_model(model))
    version = opset_version(source)
    if version < OLDEST_OPSET:
        raise GraphError(
            f"it is of opset {version}, {OLDEST_OPSET} or newer is needed to quantise it: convert the model with "
            "onnx.version_converter before it is split"
        )
    operators = {node.op_type for node in source.graph.node}
    if "QuantizeLinear" in operators:
        raise GraphError("it is quantised already")
    if operators.isdisjoint(LAYERS):
        raise GraphError(f"it holds no layer to quantise ({', '.join(sorted(LAYERS))})")
    source.metadata_props.add(key=_MARK[0], value=_MARK[1])
    options: dict[str, Any] = {"TensorQuantOverrides": _overrides(scales or {}, source)}
    if float_outputs:
        options["OpTypesToExcludeOutputQuantization"] = list(_PRODUCTS)
    by_channel = version >= OLDEST_OPSET_BY_CHANNEL
    quantised = _quantise(source, feeds, options, by_channel=by_channel, narrow_weights=narrow_weights)
    _restore_header(quantised, source)
    _name_apart(quantised.graph, onnx.load_from_string(model).graph, name)
    return bytes(quantised.SerializeToString())


def scales_of(model: bytes) -> dict[str, Scale]:
    """Return how those inputs and outputs of a quantised model are quantised that are so at all."""
    graph = onnx.load_from_string(model).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
    nodes |= {n.input[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
    found = {}
    for name in (v.name for v in (*graph.input, *graph.output)):
        node = nodes.get(name)
        if node is not None and len(node.input) == 3 and weights.keys() >= set(node.input[1:]):
            scale, zero_point = (numpy_helper.to_array(weights[v]) for v in node.input[1:])
            if scale.shape == () and zero_point.dtype == np.uint8:
                found[name] = Scale(np.float32(scale), np.uint8(zero_point))
    return found


def _overrides(scales: Mapping[str, Scale], model: Any) -> dict[str, list[dict[str, Any]]]:
    there = {value.name for value in model.graph.input}
    return {
        name: [{"scale": np.array(s.scale), "zero_point": np.array(s.zero_point)}]
        for name, s in scales.items()
        if name in there
    }


def _quantise(
    source: Any,
    feeds: Callable[[], Iterable[Tensors]],
    options: Mapping[str, Any],
    *,
    by_channel: bool,
    narrow_weights: bool,
) -> Any:
    from onnxruntime import quantization  # noqa: PLC0415 - slow to import, and wanted here only

    with TemporaryDirectory(prefix="edgeexit-") as folder:
        path = Path(folder) / "int8.onnx"
        try:
            quantization.quantize_static(
                source,
                path,
                _reader(iter(feeds())),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=sorted(LAYERS | BETWEEN),
                per_channel=by_channel,
                reduce_range=narrow_weights,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options=dict(options),
            )
            return onnx.load(path)
        except Exception as error:  # the quantiser raises whatever its Python code meets
            raise GraphError(f"ONNX Runtime cannot quantise it: {error or type(error).__name__}") from error


def _reader(feeds: Iterator[Tensors]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
        def get_next(self) -> Tensors | None:
            return next(feeds, None)

    return Reader()


def _restore_header(quantised: Any, source: Any) -> None:
    """Say of the quantised model what the source says of itself: pieces of one network must agree."""
    del quantised.metadata_props[:]
    quantised.producer_name, quantised.producer_version = source.producer_name, source.producer_version
    del quantised.graph.value_info[:]
    if opset_version(quantised) != opset_version(source):
        raise GraphError(
            f"quantising changes its opset from {opset_version(source)} to {opset_version(quantised)}; "
            "export the model with that one"
        )


def _name_apart(graph: Any, known: Any, name: str) -> None:
    """Rename all nodes, values and weights but those of `known`, a graph, and of how its borders are quantised."""
    borders = [v.name for v in (*known.input, *known.output)]
    kept = {v for node in known.node for v in node.output} | set(borders)
    kept |= {f"{border}{end}" for border in borders for end in _OF_A_BORDER}
    own = {v for node in graph.node for v in node.output} | {w.name for w in graph.initializer}
    new = {v: f"{name}/{v}" for v in own if v and v not in kept}
    for weight in graph.initializer:
        weight.name = new.get(weight.name, weight.name)
    _rename_uses(graph, new)
    names = {node.name for node in known.node}
    for index, node in enumerate(graph.node):
        if node.name not in names or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = f"{name}/{index}"


def _rename_uses(graph: Any, new: Mapping[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(v, v) for v in names]
        for inner in subgraphs(node):
            _rename_uses(inner, new)
            for value in inner.output:
                value.name = new.get(value.name, value.name)
