"""Channels that nothing needs as they are can go, and the layers behind are fitted anew."""

import numpy as np
import onnx
import pytest
from graphs import model, node, normal, residual_net, run

from edgeexit.errors import DataError, GraphError, OptionError
from edgeexit.offline.compress.channels import find_groups
from edgeexit.offline.compress.distil import distil_logits
from edgeexit.offline.compress.layers import Layer, Weights
from edgeexit.offline.compress.prune import prune_channels
from edgeexit.offline.data import samples_of_arrays

IMAGES = normal(64, 2, 2, 2, seed=1)


def samples():
    return samples_of_arrays({"image": IMAGES})


def chain(*between, last=("value", "w1"), weights=None, channels=4, outputs=None):
    """A 1x1 convolution of 2 to 4 channels called "a", what is between, and another one to "logits"."""
    filters = np.array([[1, 0], [0, 1], [0.1, 0], [0, 0.1]], np.float32)[:channels, :, None, None]
    nodes = [node("Conv", ["image", "w0"], ["a"], name="first"), *between, node("Conv", list(last), ["logits"])]
    made = {
        "w0": filters,
        "w1": np.array([1, 2, 10, 20], np.float32)[:channels].reshape(1, -1, 1, 1),
        **(weights or {}),
    }
    return model(nodes, {"image": ["N", 2, 2, 2]}, outputs or {"logits": ["N", 1, 2, 2]}, made)


PLAIN = chain(node("Identity", ["a"], ["value"]))
"""It makes (1 + 10 x .1) x0 + (2 + 20 x .1) x1 = 2 x0 + 4 x1; channels 0 and 1 have the larger filters."""


def logits(proto, images=IMAGES):
    return run(proto, {"image": images})["logits"]


def widths(proto):
    return [tuple(t.dims) for t in proto.graph.initializer]


def test_the_weakest_channels_go():
    pruned = prune_channels(PLAIN, samples(), 0.5, refit=False)
    assert pruned.taken == {"first": (4, 2)}
    assert sorted(widths(pruned.model)) == [(1, 2, 1, 1), (2, 2, 1, 1)]
    np.testing.assert_allclose(logits(pruned.model)[:, 0], IMAGES[:, 0] + 2 * IMAGES[:, 1], rtol=0, atol=1e-5)


def test_refitting_makes_up_for_the_channels_that_went():
    pruned = prune_channels(PLAIN, samples(), 0.5)
    np.testing.assert_allclose(logits(pruned.model)[:, 0], 2 * IMAGES[:, 0] + 4 * IMAGES[:, 1], rtol=0.01, atol=0.01)
    assert pruned.left < 0.001


def test_the_work_is_that_of_the_channels_that_are_left():
    pruned = prune_channels(PLAIN, samples(), 0.5)
    # 4 places x (2 x 4 + 4 x 1) products, then x (2 x 2 + 2 x 1).
    assert (pruned.macs_before, pruned.macs_after) == (48, 24)


def test_the_model_that_was_given_is_not_changed():
    before = PLAIN.SerializeToString()
    prune_channels(PLAIN, samples(), 0.5)
    assert PLAIN.SerializeToString() == before


def test_a_convolution_of_each_channel_alone_loses_them_too():
    depthwise = node("Conv", ["a", "d", "db"], ["value"], group=4)
    proto = chain(depthwise, weights={"d": np.full((4, 1, 1, 1), 3, np.float32), "db": np.arange(4, dtype=np.float32)})
    pruned = prune_channels(proto, samples(), 0.5, refit=False)
    (node_d,) = (n for n in pruned.model.graph.node if any(a.name == "group" and a.i == 2 for a in n.attribute))
    assert len(node_d.input) == 3
    expected = 3 * IMAGES[:, 0] + 0 + 2 * (3 * IMAGES[:, 1] + 1)
    np.testing.assert_allclose(logits(pruned.model)[:, 0], expected, rtol=0, atol=1e-4)


def test_one_number_a_channel_is_cut_with_the_channels():
    proto = chain(node("Mul", ["a", "m"], ["value"]), weights={"m": np.array([5, 6, 7, 8], np.float32)[:, None, None]})
    pruned = prune_channels(proto, samples(), 0.5, refit=False)
    np.testing.assert_allclose(logits(pruned.model)[:, 0], 5 * IMAGES[:, 0] + 12 * IMAGES[:, 1], rtol=0, atol=1e-4)


def test_a_channel_becomes_several_entries_of_a_flattened_value():
    nodes = [
        node("Conv", ["image", "w0"], ["a"]),
        node("Flatten", ["a"], ["flat"]),
        node("Gemm", ["flat", "g", "b"], ["logits"], transB=1),
    ]
    filters = np.array([[1, 0], [0, 1], [0.1, 0], [0, 0.1]], np.float32)[:, :, None, None]
    matrix = normal(3, 16, seed=5)
    weights = {"w0": filters, "g": matrix, "b": np.ones(3, np.float32)}
    proto = model(nodes, {"image": ["N", 2, 2, 2]}, {"logits": ["N", 3]}, weights)
    pruned = prune_channels(proto, samples(), 0.5, refit=False)
    expected = IMAGES.reshape(64, 8) @ matrix[:, :8].T + 1
    np.testing.assert_allclose(logits(pruned.model), expected, rtol=0, atol=1e-4)


def test_neurons_of_a_gemm_go_too():
    nodes = [
        node("Flatten", ["image"], ["flat"]),
        node("Gemm", ["flat", "g0", "b0"], ["hidden"], name="hidden"),
        node("Relu", ["hidden"], ["active"]),
        node("Gemm", ["active", "g1", "b1"], ["logits"]),
    ]
    large = normal(8, 2, seed=6)
    matrix = np.concatenate([large, large / 100], axis=1)
    readers = normal(4, 3, seed=7)
    weights = {"g0": matrix, "b0": np.arange(4, dtype=np.float32), "g1": readers, "b1": np.ones(3, np.float32)}
    proto = model(nodes, {"image": ["N", 2, 2, 2]}, {"logits": ["N", 3]}, weights)
    pruned = prune_channels(proto, samples(), 0.5, refit=False)
    assert pruned.taken == {"hidden": (4, 2)}
    expected = np.maximum(IMAGES.reshape(64, 8) @ large + [0, 1], 0) @ readers[:2] + 1
    np.testing.assert_allclose(logits(pruned.model), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "between",
    [
        [node("Concat", ["a", "image"], ["value"], axis=1)],
        [node("Softmax", ["a"], ["value"], axis=1)],
        [node("Split", ["a", "halves"], ["b", "c"], axis=1), node("Concat", ["c", "b"], ["value"], axis=1)],
    ],
    ids=["concatenation", "softmax", "split"],
)
def test_channels_that_something_needs_together_stay(between):
    weights = {"halves": np.array([2, 2]), "w1": normal(1, 6 if between[0].op_type == "Concat" else 4, 1, 1)}
    assert find_groups(chain(*between, weights=weights)) == ()


def test_channels_of_an_output_stay():
    outputs = {"a": ["N", 4, 2, 2], "logits": ["N", 1, 2, 2]}
    assert find_groups(chain(node("Relu", ["a"], ["value"]), outputs=outputs)) == ()


def test_channels_of_a_residual_sum_stay_and_those_within_the_branch_may_go():
    nodes = [
        node("Conv", ["image", "in"], ["x"]),
        node("Conv", ["x", "w0"], ["c0"], name="inner"),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"]),
        node("Add", ["x", "c1"], ["sum"]),
        node("Conv", ["sum", "out"], ["logits"]),
    ]
    weights = {"in": normal(4, 2, 1, 1), "w0": normal(4, 4, 1, 1), "w1": normal(4, 4, 1, 1), "out": normal(3, 4, 1, 1)}
    proto = model(nodes, {"image": ["N", 2, 2, 2]}, {"logits": ["N", 3, 2, 2]}, weights)
    assert [proto.graph.node[g.maker].name for g in find_groups(proto)] == ["inner"]


def test_a_weight_that_two_layers_share_stays():
    between = [node("Conv", ["image", "w0"], ["twin"]), node("Add", ["a", "twin"], ["value"])]
    assert find_groups(chain(*between)) == ()


def test_a_network_that_needs_all_its_channels_is_refused():
    with pytest.raises(GraphError, match="residual sums, concatenations or outputs"):
        prune_channels(chain(node("Softmax", ["a"], ["value"], axis=1)), samples(), 0.5)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(OptionError, match="between 0 and 1"):
        prune_channels(PLAIN, samples(), share)


def test_samples_are_needed_to_refit():
    with pytest.raises(DataError, match="no samples"):
        prune_channels(PLAIN, samples().take(np.arange(0)), 0.5)


def test_distilling_fits_the_last_layer_to_the_logits_of_the_network_as_it_was():
    student = prune_channels(PLAIN, samples(), 0.5, refit=False).model
    result, left = distil_logits(student, PLAIN, samples())
    np.testing.assert_allclose(logits(result)[:, 0], 2 * IMAGES[:, 0] + 4 * IMAGES[:, 1], rtol=0.01, atol=0.01)
    assert left < 0.001


def test_an_output_that_no_layer_makes_is_not_distilled():
    pooled = model([node("GlobalMaxPool", ["image"], ["y"])], {"image": ["N", 2, 2, 2]}, {"y": ["N", 2, 1, 1]})
    with pytest.raises(GraphError, match="made by GlobalMaxPool"):
        distil_logits(pooled, pooled, samples())


def quantised_layer():
    """A convolution with int8 weights on a scale for each filter, and its bias in int32."""
    nodes = [
        node("QuantizeLinear", ["image", "sx", "zx"], ["qx"]),
        node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
        node("DequantizeLinear", ["qw", "sw", "zw"], ["w"], axis=0),
        node("DequantizeLinear", ["qb", "sb", "zb"], ["b"], axis=0),
        node("Conv", ["dx", "w", "b"], ["logits"]),
    ]
    weights = {
        "sx": np.float32(0.5), "zx": np.uint8(128),
        "qw": np.array([[2, -4], [6, 8]], np.int8).reshape(2, 2, 1, 1),
        "sw": np.array([0.5, 0.25], np.float32), "zw": np.zeros(2, np.int8),
        "qb": np.array([4, 8], np.int32), "sb": np.array([0.25, 0.125], np.float32), "zb": np.zeros(2, np.int32),
    }  # fmt: skip
    return model(nodes, {"image": ["N", 2, 2, 2]}, {"logits": ["N", 2, 2, 2]}, weights)


def test_quantised_weights_are_read_as_floats():
    proto = quantised_layer()
    layer = Weights(proto).read_layer(proto.graph.node[-1])
    assert layer.weights[:, :, 0, 0].tolist() == [[1.0, -2.0], [1.5, 2.0]]
    assert layer.bias.tolist() == [1.0, 1.0]


def test_quantised_weights_are_written_on_new_scales_and_the_bias_on_those_times_that_of_the_input():
    proto = quantised_layer()
    weights = Weights(proto)
    new = np.array([[12.7, -1.0], [0.0, 25.4]], np.float32).reshape(2, 2, 1, 1)
    weights.write_layer(proto.graph.node[-1], Layer(new, np.array([0.5, -1.0], np.float32)))
    assert weights.read("qw")[:, :, 0, 0].tolist() == [[127, -10], [0, 127]]
    np.testing.assert_allclose(weights.read("sw"), [0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(weights.read("sb"), [0.05, 0.1], rtol=1e-6)
    assert weights.read("qb").tolist() == [10, -10]
    onnx.checker.check_model(proto)


def test_a_gemm_that_is_scaled_is_left_alone():
    proto = residual_net()
    gemm = next(n for n in proto.graph.node if n.op_type == "Gemm")
    assert Weights(proto).read_layer(gemm).weights.shape == (3, 4)
    gemm.attribute.append(onnx.helper.make_attribute("alpha", 0.5))
    assert Weights(proto).read_layer(gemm) is None
