"""Random weights keep a network's activations at a moderate scale."""

import numpy as np
from graphs import model, node, normal, run
from onnx import TensorProto, helper, numpy_helper

from edgeexit.offline.graph.random_weights import randomise_weights


def constant_weight(name, dims):
    """A weight as onnx's light models have them: a shape and ConstantOfShape."""
    one = helper.make_tensor("", TensorProto.FLOAT, [1], [1.0])
    return node("ConstantOfShape", [f"{name}_shape"], [name], value=one), {f"{name}_shape": np.int64(dims)}


def deep_net(blocks=20):
    """Residual blocks one after the other, all weights 1."""
    nodes, weights, value = [], {}, "x"
    for block in range(blocks):
        for name, dims in ((f"w{block}", (8, 8, 3, 3)), (f"s{block}", (8,))):
            made, shape = constant_weight(name, dims)
            nodes.append(made)
            weights |= shape
        nodes += [
            node("Conv", [value, f"w{block}"], [f"c{block}"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", [f"c{block}", *[f"s{block}"] * 4], [f"n{block}"]),
            node("Add", [f"n{block}", value], [f"a{block}"]),
            node("Relu", [f"a{block}"], [f"r{block}"]),
        ]
        value = f"r{block}"
    nodes += [node("GlobalAveragePool", [value], ["p"]), node("Flatten", ["p"], ["f"]), node("Gemm", ["f", "g"], ["y"])]
    weights["g"] = np.ones((8, 50), np.float32)
    return model(nodes, {"x": [1, 8, 12, 12]}, {"y": [1, 50]}, weights, opset=14)


def test_the_outputs_of_a_deep_network_are_neither_alike_nor_huge():
    y = run(randomise_weights(deep_net()), {"x": normal(1, 8, 12, 12)})["y"]
    assert 0.3 < y.std() < 5.0


def test_another_input_gives_another_output():
    proto = randomise_weights(deep_net())
    first, second = (run(proto, {"x": normal(1, 8, 12, 12, seed=seed)})["y"] for seed in (1, 2))
    assert (first - second).std() > 0.01


def test_the_same_seed_gives_the_same_weights():
    first, second, third = (randomise_weights(deep_net(2), seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first != third


def test_the_model_that_was_given_stays_as_it_is():
    proto = deep_net(2)
    before = proto.SerializeToString()
    randomise_weights(proto)
    assert proto.SerializeToString() == before


def test_weights_become_initializers_that_are_no_inputs():
    proto = deep_net(2)
    proto.graph.input.append(helper.make_tensor_value_info("g", TensorProto.FLOAT, [8, 50]))
    result = randomise_weights(proto)
    assert "ConstantOfShape" not in {n.op_type for n in result.graph.node}
    assert [v.name for v in result.graph.input] == ["x"]
    assert {w.name for w in result.graph.initializer} == {"w0", "w1", "s0", "s1", "g"}


def test_filters_have_the_variance_of_he():
    result = randomise_weights(
        model(
            [node("Conv", ["x", "w"], ["y"])],
            {"x": [1, 64, 9, 9]},
            {"y": None},
            {"w": np.ones((64, 64, 3, 3), np.float32)},
        )
    )
    weight = numpy_helper.to_array(result.graph.initializer[0])
    # 2 / (64 x 3 x 3), for inputs of mean square 1.
    np.testing.assert_allclose(weight.var(), 0.003472, rtol=0.03)


def test_numbers_that_are_no_weights_stay():
    weights = {"shape": np.int64([1, 5]), "k": np.float32(3)}
    nodes = [node("Reshape", ["x", "shape"], ["r"]), node("Pow", ["r", "k"], ["y"])]
    result = randomise_weights(model(nodes, {"x": [5]}, {"y": [1, 5]}, weights))
    assert {w.name: numpy_helper.to_array(w).tolist() for w in result.graph.initializer} == {"shape": [1, 5], "k": 3.0}
