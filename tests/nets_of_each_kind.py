"""Small networks of each kind that `find_cuts` has to understand: 1-D, NHWC, text with a mask, several labels."""

import numpy as np
from graphs import model, node, normal
from onnx import TensorProto, helper


def one_dimensional_net():
    """Three convolutions over (N, 2, 32), padded so that the length stays; 3 classes."""
    weights = {"w0": normal(4, 2, 3), "w1": normal(4, 4, 3, seed=1) / 2, "w2": normal(4, 4, 3, seed=2) / 2}
    nodes, value = [], "signal"
    for layer in range(3):
        nodes += [
            node("Conv", [value, f"w{layer}"], [f"c{layer}"], pads=[1, 1]),
            node("Relu", [f"c{layer}"], [f"r{layer}"]),
        ]
        value = f"r{layer}"
    nodes += [
        node("GlobalAveragePool", [value], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("Gemm", ["flat", "h"], ["logits"]),
    ]
    weights["h"] = normal(4, 3, seed=3)
    return model(nodes, {"signal": ["N", 2, 32]}, {"logits": ["N", 3]}, weights)


def channels_last_net():
    """As TensorFlow is exported plainly: each convolution between two Transposes, a residual sum in NHWC."""
    weights = {"w0": normal(4, 3, 3, 3), "w1": normal(4, 4, 3, 3, seed=1) / 3, "h": normal(4, 5, seed=2)}
    nodes = [
        *_convolution("image", "w0", "a"),
        node("Relu", ["a"], ["ra"]),
        *_convolution("ra", "w1", "b"),
        node("Add", ["b", "ra"], ["sum"]),
        node("Relu", ["sum"], ["rb"]),
        *_convolution("rb", "w2", "c"),
        node("ReduceMean", ["c"], ["mean"], axes=[1, 2], keepdims=0),
        node("MatMul", ["mean", "h"], ["logits"]),
    ]
    weights["w2"] = normal(4, 4, 3, 3, seed=3) / 3
    return model(nodes, {"image": ["N", 8, 8, 3]}, {"logits": ["N", 5]}, weights)


def _convolution(value, weight, made):
    return [
        node("Transpose", [value], [f"{made}_first"], perm=[0, 3, 1, 2]),
        node("Conv", [f"{made}_first", weight], [f"{made}_conv"], pads=[1, 1, 1, 1]),
        node("Transpose", [f"{made}_conv"], [made], perm=[0, 2, 3, 1]),
    ]


def encoder(layers=2, *, norm_first=False, shape_of_ids=False):
    """A text encoder: 20 words, width 8, two heads, a mask of the padding, the masked mean of the tokens, 3 classes.

    With `shape_of_ids` the number of sequences is taken from the ids once and read by every layer, as some exporters
    do.
    """
    weights = {
        "words": normal(20, 8),
        "one": np.float32(1),
        "much": np.float32(-10000),
        "axes": np.int64([1, 2]),
        "last": np.int64([2]),
        "rest": np.int64([-1, 2, 4]),
        "flat": np.int64([-1, 8]),
        "zero": np.int64([0]),
        "split": np.int64([0, -1, 2, 4]),
        "merge": np.int64([0, -1, 8]),
        "sum_axis": np.int64([1]),
        "h": normal(8, 3, seed=1),
    }
    nodes = [
        node("Gather", ["words", "ids"], ["x"]),
        node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        node("Sub", ["one", "m"], ["padding"]),
        node("Mul", ["padding", "much"], ["bias2"]),
        node("Unsqueeze", ["bias2", "axes"], ["bias"]),
    ]
    split, merge = "split", "merge"
    if shape_of_ids:
        nodes += [
            node("Shape", ["ids"], ["shape"]),
            node("Gather", ["shape", "zero"], ["count"]),
            node("Concat", ["count", "rest"], ["split_to"], axis=0),
            node("Concat", ["count", "flat"], ["merge_to"], axis=0),
        ]
        split, merge = "split_to", "merge_to"
    value = "x"
    for layer in range(layers):
        more, value = _encoder_layer(f"l{layer}", value, weights, split, merge, norm_first)
        nodes += more
    nodes += [
        node("Unsqueeze", ["m", "last"], ["m3"]),
        node("Mul", [value, "m3"], ["kept"]),
        node("ReduceSum", ["kept", "sum_axis"], ["total"], keepdims=0),
        node("ReduceSum", ["m", "sum_axis"], ["tokens"], keepdims=1),
        node("Div", ["total", "tokens"], ["mean"]),
        node("MatMul", ["mean", "h"], ["logits"]),
    ]
    proto = model(nodes, {}, {"logits": ["N", 3]}, weights)
    for name in ("ids", "mask"):
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "L"]))
    return proto


def _encoder_layer(name, value, weights, split, merge, norm_first):
    for index, part in enumerate("qkvo"):
        weights[f"{name}_w{part}"] = normal(8, 8, seed=10 + index) / 3
    weights |= {f"{name}_wi": normal(8, 16, seed=20) / 3, f"{name}_wf": normal(16, 8, seed=21) / 4}
    weights |= {"scale": np.ones(8, np.float32), "shift": np.zeros(8, np.float32), "root": np.float32(2)}

    def of(part):
        return f"{name}_{part}"

    def norm(source, made):
        return node("LayerNormalization", [source, "scale", "shift"], [made])

    first = of("n1") if norm_first else value
    nodes = [norm(value, first)] if norm_first else []
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", [first, of(f"w{part}")], [of(part)]),
            node("Reshape", [of(part), split], [of(f"{part}4")]),
            node("Transpose", [of(f"{part}4")], [of(f"{part}t")], perm=order),
        ]
    nodes += [
        node("MatMul", [of("qt"), of("kt")], [of("qk")]),
        node("Div", [of("qk"), "root"], [of("scaled")]),
        node("Add", [of("scaled"), "bias"], [of("biased")]),
        node("Softmax", [of("biased")], [of("attention")], axis=-1),
        node("MatMul", [of("attention"), of("vt")], [of("mixed")]),
        node("Transpose", [of("mixed")], [of("mixed_t")], perm=[0, 2, 1, 3]),
        node("Reshape", [of("mixed_t"), merge], [of("joined")]),
        node("MatMul", [of("joined"), of("wo")], [of("o")]),
        node("Add", [value, of("o")], [of("sum1")]),
        norm(of("sum1"), of("norm1")),
        node("MatMul", [of("norm1"), of("wi")], [of("inner")]),
        node("Relu", [of("inner")], [of("relu")]),
        node("MatMul", [of("relu"), of("wf")], [of("outer")]),
        node("Add", [of("sum1" if norm_first else "norm1"), of("outer")], [of("sum2")]),
    ]
    if norm_first:
        return nodes, of("sum2")
    return [*nodes, norm(of("sum2"), of("norm2"))], of("norm2")


def text(samples=2, length=5, padding=2, seed=0):
    """Word numbers and a mask whose last tokens are padding."""
    ids = np.random.default_rng(seed).integers(0, 20, (samples, length))
    mask = np.ones((samples, length), np.int64)
    mask[:, length - padding :] = 0
    return {"ids": ids, "mask": mask}


def label_net(outputs=3, *, sigmoid=False, opset=17, batch="N"):
    """One layer, an early exit and an own output; each output is a label of its own."""
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("MatMul", ["r", "early_w"], ["early"]),
        node("MatMul", ["r", "w"], ["hidden"]),
        node("Relu", ["hidden"], ["r2"]),
        node("MatMul", ["r2", "own_w"], ["scores" if sigmoid else "own"]),
    ]
    nodes += [node("Sigmoid", ["scores"], ["own"])] if sigmoid else []
    weights = {"early_w": normal(4, outputs), "w": normal(4, 4, seed=1), "own_w": normal(4, outputs, seed=2)}
    made = {"early": [batch, outputs], "own": [batch, outputs]}
    return model(nodes, {"x": [batch, 4]}, made, weights, opset=opset)
