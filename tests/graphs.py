"""ONNX graphs that tests of splitting make, and running them whole or in pieces."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node


def model(nodes, inputs, outputs, weights=None, *, opset=17, dtype=TensorProto.FLOAT, values=()):
    """Make a model; inputs and outputs map a name to its shape, weights a name to its array."""
    made, returned = (
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in group.items()]
        for group in (inputs, outputs)
    )
    arrays = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", made, returned, arrays, value_info=list(values))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(folder, proto, name="model.onnx"):
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def session(data, optimise=True):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(proto, feeds):
    """Run a whole model (a message or bytes); returns output name -> array."""
    runner = session(proto if isinstance(proto, bytes) else proto.SerializeToString())
    names = [output.name for output in runner.get_outputs()]
    return dict(zip(names, runner.run(names, feeds), strict=True))


def run_pieces(models, feeds):
    """Run models one after the other, each on what those before it made; returns value name -> array."""
    values = dict(feeds)
    for data in models:
        runner = session(data)
        names = [output.name for output in runner.get_outputs()]
        taken = {value.name: values[value.name] for value in runner.get_inputs()}
        values.update(zip(names, runner.run(names, taken), strict=True))
    return values


def run_bundle(bundle, feeds):
    """Run all segments and heads of a bundle; returns value name -> array."""
    files = []
    for index, segment in enumerate(bundle.segments):
        files.append(segment.file)
        files.extend(exit_.file for exit_ in bundle.exits if exit_.segment == index)
    return run_pieces([bundle.read_file(file) for file in files], feeds)


def softmax(logits):
    power = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


def newest_opset():
    """The newest opset that this ONNX can write and this ONNX Runtime can run."""
    for opset in range(onnx.defs.onnx_opset_version(), 16, -1):
        proto = model([node("Relu", ["x"], ["y"])], {"x": [1, 2]}, {"y": [1, 2]}, opset=opset)
        try:
            run(proto, {"x": np.zeros((1, 2), np.float32)})
        except Exception:
            continue
        return opset
    raise AssertionError("ONNX Runtime runs none of the opsets from 17 on")


def residual_net(opset=17, dtype=np.float32, batch="N"):
    """Two exits: the segment's Relu feeds a head, a convolution and, around that, a sum."""
    shape = {"logits": [batch, 3], "early": [batch, 3]}
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], name="conv0", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"], name="relu0"),
        node("GlobalAveragePool", ["r0"], ["p0"], name="pool0"),
        node("Flatten", ["p0"], ["f0"], name="flat0"),
        node("Gemm", ["f0", "h0"], ["early"], name="gemm0"),
        node("Conv", ["r0", "w1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Add", ["c1", "r0"], ["s1"], name="sum1"),
        node("Relu", ["s1"], ["r1"], name="relu1"),
        node("GlobalAveragePool", ["r1"], ["p1"], name="pool1"),
        node("Flatten", ["p1"], ["f1"], name="flat1"),
        node("Gemm", ["f1", "h1"], ["logits"], name="gemm1"),
    ]
    weights = {
        "w0": normal(4, 2, 3, 3, dtype=dtype),
        "w1": normal(4, 4, 3, 3, seed=1, dtype=dtype) / 4,
        "h0": normal(4, 3, seed=2, dtype=dtype),
        "h1": normal(4, 3, seed=3, dtype=dtype),
    }
    outputs = {name: shape[name] for name in ("early", "logits")}
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model(nodes, {"image": [batch, 2, 6, 6]}, outputs, weights, opset=opset, dtype=element)
