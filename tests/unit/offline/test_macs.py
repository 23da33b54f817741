"""The work of a piece is counted from its shapes."""

import logging

import numpy as np
import pytest
from graphs import model, node
from onnx import TensorProto, helper

from edgeexit.offline.graph.macs import Work, count_work
from edgeexit.offline.graph.shapes import infer_values


def work(nodes, inputs, outputs, weights=None, **options):
    proto = model(nodes, inputs, outputs, weights, **options)
    return count_work(proto.graph, infer_values(proto, batch=1))


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("made", "x", "y", "weights", "want"),
    [
        # 4 x 4 places, 8 filters of 3 x 3 x 3, and 8 biases.
        (node("Conv", ["x", "w", "b"], ["y"]), [1, 3, 6, 6], None, {"w": (8, 3, 3, 3), "b": (8,)}, (3456, 224)),
        # Two groups: each filter sees 2 of the 4 channels.
        (node("Conv", ["x", "w"], ["y"], group=2), [1, 4, 6, 6], None, {"w": (8, 2, 3, 3)}, (2304, 144)),
        # Each of the 3 x 3 x 2 inputs meets 4 filters of 2 x 2.
        (node("ConvTranspose", ["x", "w"], ["y"]), [1, 2, 3, 3], None, {"w": (2, 4, 2, 2)}, (288, 32)),
        (node("Gemm", ["x", "w", "b"], ["y"]), [1, 5], None, {"w": (5, 7), "b": (7,)}, (35, 42)),
        (node("Gemm", ["x", "w"], ["y"], transB=1), [1, 5], None, {"w": (7, 5)}, (35, 35)),
        # x is (5, 2) and turned: 2 x 7 results of 5 each.
        (node("Gemm", ["x", "w"], ["y"], transA=1), [5, 2], None, {"w": (5, 7)}, (70, 35)),
        (node("MatMul", ["x", "w"], ["y"]), [1, 4, 5], None, {"w": (5, 7)}, (140, 35)),
        (node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik"), [1, 4, 5], None, {"w": (5, 7)}, (140, 35)),
        # 6 steps x 4 gates x 3 hidden x (2 inputs + 3 hidden).
        (
            node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3),
            [6, 1, 2],
            None,
            {"w": (1, 12, 2), "r": (1, 12, 3)},
            (360, 60),
        ),
        (
            node("GRU", ["x", "w", "r"], ["y"], hidden_size=3),
            [6, 1, 2],
            None,
            {"w": (1, 9, 2), "r": (1, 9, 3)},
            (270, 45),
        ),
        (node("Add", ["x", "w"], ["y"]), [1, 5], None, {"w": (5,)}, (0, 5)),
    ],
    ids=lambda value: getattr(value, "op_type", None),
)
def test_one_layer_counts(made, x, y, weights, want):
    arrays = {name: zeros(*shape) for name, shape in weights.items()}
    assert work([made], {"x": x}, {"y": y}, arrays) == Work(*want)


def test_the_batch_counts_once():
    assert work([node("Gemm", ["x", "w"], ["y"])], {"x": ["N", 5]}, {"y": ["N", 7]}, {"w": zeros(5, 7)}).macs == 35


def test_a_quantised_convolution_counts_like_a_float_one():
    inputs = ["x", "s", "z", "w", "s", "zw", "s", "z"]
    proto = model(
        [node("QLinearConv", inputs, ["y"])],
        {"x": [1, 3, 6, 6]},
        {"y": None},
        {"s": np.float32(1), "z": np.uint8(0), "zw": np.int8(0), "w": zeros(8, 3, 3, 3, dtype=np.int8)},
        dtype=TensorProto.UINT8,
    )
    assert count_work(proto.graph, infer_values(proto)) == Work(3456, 216)


def test_a_quantised_matrix_product_counts_like_a_float_one():
    inputs = ["x", "s", "z", "w", "s", "zw", "s", "z"]
    proto = model(
        [node("QLinearMatMul", inputs, ["y"])],
        {"x": [1, 5]},
        {"y": None},
        {"s": np.float32(1), "z": np.uint8(0), "zw": np.int8(0), "w": zeros(5, 7, dtype=np.int8)},
        dtype=TensorProto.UINT8,
    )
    assert count_work(proto.graph, infer_values(proto)) == Work(35, 35)


def test_what_is_made_of_weights_alone_is_a_weight():
    nodes = [node("Transpose", ["w"], ["t"]), node("MatMul", ["t", "w"], ["k"]), node("MatMul", ["x", "k"], ["y"])]
    assert work(nodes, {"x": [1, 7]}, {"y": [1, 7]}, {"w": zeros(5, 7)}) == Work(49, 49)


def test_shapes_and_single_numbers_are_no_parameters():
    nodes = [node("Mul", ["x", "two"], ["m"]), node("Reshape", ["m", "shape"], ["y"])]
    weights = {"two": np.float32(2), "shape": np.int64([1, 5])}
    assert work(nodes, {"x": [1, 5]}, {"y": [1, 5]}, weights) == Work(0, 0)


def test_a_weight_that_two_layers_share_counts_once():
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("MatMul", ["m", "w"], ["y"])]
    assert work(nodes, {"x": [1, 5]}, {"y": [1, 5]}, {"w": zeros(5, 5)}) == Work(50, 25)


def test_shapes_are_known_behind_operators_of_onnx_runtime():
    add = node("QLinearAdd", ["x", "s", "z", "x", "s", "z", "s", "z"], ["a"], domain="com.microsoft")
    proto = model(
        [add, node("QLinearMatMul", ["a", "s", "z", "w", "s", "z", "s", "z"], ["y"])],
        {"x": ["N", 5]},
        {"y": None},
        {"s": np.float32(1), "z": np.uint8(0), "w": zeros(5, 7, dtype=np.uint8)},
        dtype=TensorProto.UINT8,
    )
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    values = infer_values(proto, batch=1)
    assert (values["a"].shape, values["a"].element_type) == ((1, 5), TensorProto.UINT8)
    assert count_work(proto.graph, values).macs == 35


def test_large_weights_do_not_matter_for_the_shapes():
    proto = model([node("Gemm", ["x", "w"], ["y"])], {"x": ["N", 50]}, {"y": None}, {"w": zeros(50, 70)})
    assert infer_values(proto)["y"].shape == ("N", 70)
    assert infer_values(proto, batch=1)["y"].sizes == (1, 70)


def test_a_layer_of_unknown_shape_counts_nothing_and_says_so(caplog):
    nodes = [node("Mystery", ["x"], ["m"], domain="com.microsoft"), node("MatMul", ["m", "w"], ["y"], name="late")]
    with caplog.at_level(logging.WARNING):
        assert work(nodes, {"x": [1, 5]}, {"y": None}, {"w": zeros(5, 7)}).macs == 0
    assert "'late' (MatMul): counts 0 MACs" in caplog.text


def test_layers_within_a_branch_are_not_counted_and_that_is_said(caplog):
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    branch = helper.make_graph([node("MatMul", ["x", "w"], ["out"])], "b", [], [output])
    made = node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    with caplog.at_level(logging.WARNING):
        got = work([node("Cast", ["x"], ["c"], to=9), made], {"x": [1, 5]}, {"y": None}, {"w": zeros(5, 7)})
    assert got == Work(0, 35)
    assert "'choice' (If): the layers within its subgraphs are not counted" in caplog.text
