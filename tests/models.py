"""Small ONNX models that tests make: every value can be worked out by hand."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgeexit.offline.graph.split import split_model


def save(path, nodes, inputs, outputs, weights, opset=17):
    """Write a model; inputs and outputs map a name to its shape."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in group.items()]
        for group in (inputs, outputs)
    ]
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "test", *values, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def doubling_chain(folder, exits=3, batch="N"):
    """A bundle whose exit `e` says logits ``image * 2 ** (e + 1)``, for images (N, 3)."""
    nodes, outputs, value = [], {}, "image"
    for index in range(exits):
        nodes.append(helper.make_node("Mul", [value, "two"], [f"body{index}"]))
        value = f"body{index}"
        name = "logits" if index == exits - 1 else f"exit{index}"
        nodes.append(helper.make_node("Mul", [value, "one"], [name]))
        outputs[name] = [batch, 3]
    weights = {"two": np.float32(2), "one": np.float32(1)}
    path = save(folder / "chain.onnx", nodes, {"image": [batch, 3]}, outputs, weights)
    return split_model(path, folder / "chain", name="chain", labels=["a", "b", "c"])


def transposed_chain(folder):
    """A bundle of two exits whose boundary tensor has its batch on axis 1."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["turned"], perm=[1, 0]),
        helper.make_node("Transpose", ["turned"], ["exit0"], perm=[1, 0]),
        helper.make_node("Mul", ["turned", "two"], ["doubled"]),
        helper.make_node("Transpose", ["doubled"], ["logits"], perm=[1, 0]),
    ]
    outputs = {"exit0": ["N", 3], "logits": ["N", 3]}
    path = save(folder / "turned.onnx", nodes, {"image": ["N", 3]}, outputs, {"two": np.float32(2)})
    return split_model(path, folder / "turned", name="turned")
