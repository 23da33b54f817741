"""The network that the serving benchmarks load: made here from nothing, 3 ms or more on a small x86 core.

Twelve convolutions of 38 M multiply-adds over an image (N, 3, 64, 64) float32, 49,152 bytes, that tells ten textures
apart: gratings of ten directions in noise of different strength. The convolutions are random; the last layer is fitted
by least squares. `edgeexit prepare`'s own function makes a bundle with calibrated early exits of it. Needs the extra
`prepare`.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeexit.offline.preparing.options import PrepareOptions
from edgeexit.offline.preparing.prepare import prepare_bundle

Floats = NDArray[np.float32]

FOLDER: Final = Path(tempfile.gettempdir()) / "edgeexit-bench-serve"
"""Where the benchmarks keep what they make, unless they are told otherwise."""
INPUT: Final = "image"
OUTPUT: Final = "logits"
CLASSES: Final = 10
SIDE: Final = 64
_STAGES: Final = ((64, 6), (128, 6))
"""Channels and convolutions at half and at a quarter of the image's side."""
_CUTS: Final = ("s1c0_out", "s1c2_out", "s1c4_out")
"""Where the early exits are: none before half of the work is done, so that every answer takes 3 ms."""
_SAMPLES: Final = 2400
_FITTED_ON: Final = 800


class ServingNet(NamedTuple):
    """The network, whole and as a bundle, and images to ask it about."""

    model: Path
    """ONNX file of the whole network."""
    bundle: Path
    """Folder of the bundle made of it."""
    images: Floats
    """(16, 3, 64, 64) float32, none of which it was made with."""


def make_serving_net(folder: Path) -> ServingNet:
    """Return the network in `folder`; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    model, bundle, samples = folder / "textures.onnx", folder / "textures", folder / "textures.npz"
    if not bundle.is_dir():
        images, labels = draw_textures(_SAMPLES, seed=1)
        np.savez(samples, image=images, labels=labels)
        model.write_bytes(fitted_network(images[:_FITTED_ON], labels[:_FITTED_ON]).SerializeToString())
        done = prepare_bundle(
            model, samples, bundle, PrepareOptions(cuts=_CUTS, place="all"), progress=True, tell=print
        )
        if not bundle.is_dir():
            raise SystemExit(f"no bundle could be made of {model}: {done}")
        samples.unlink()
    return ServingNet(model, bundle, draw_textures(16, seed=2)[0])


def draw_textures(count: int, *, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return images (N, 3, 64, 64) float32 and their labels (N,) int64."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    angles = math.pi * labels / CLASSES
    y, x = np.mgrid[0:SIDE, 0:SIDE] * (2 * math.pi / 8)
    along = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    waves = np.sin(along + random.uniform(0, 2 * math.pi, count)[:, None, None])
    noise = random.standard_normal((count, 3, SIDE, SIDE)) * random.uniform(0.3, 4.0, count)[:, None, None, None]
    return (waves[:, None] + noise).astype(np.float32), labels


def fitted_network(images: Floats, labels: NDArray[np.int64]) -> Any:
    """Return the network as onnx.ModelProto, its last layer fitted to the samples."""
    nodes, weights, features = _convolutions()
    pooled = [
        helper.make_node("GlobalAveragePool", [features], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    width = _STAGES[-1][0]
    body = _model([*nodes, *pooled], weights, "flat", width)
    session = ort.InferenceSession(body.SerializeToString(), providers=["CPUExecutionProvider"])
    flat = np.concatenate([session.run(["flat"], {INPUT: images[i : i + 16]})[0] for i in range(0, len(images), 16)])
    matrix, offset = _least_squares(flat, labels)
    last = helper.make_node("Gemm", ["flat", "matrix", "offset"], [OUTPUT])
    return _model([*nodes, *pooled, last], weights | {"matrix": matrix, "offset": offset}, OUTPUT, CLASSES)


def _convolutions() -> tuple[list[Any], dict[str, Floats], str]:
    """Return the nodes, their weights and the value that they end in; every second convolution closes a block."""
    random = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: dict[str, Floats] = {}
    value, channels = INPUT, 3
    for stage, (width, count) in enumerate(_STAGES):
        for index in range(count):
            name = f"s{stage}c{index}"
            weights[name] = _filters(random, width, channels)
            stride = 2 if index == 0 else 1
            nodes.append(helper.make_node("Conv", [value, name], [f"{name}_conv"], pads=[1] * 4, strides=[stride] * 2))
            nodes.append(helper.make_node("Relu", [f"{name}_conv"], [f"{name}_out"]))
            value, channels = f"{name}_out", width
    return nodes, weights, value


def _filters(random: np.random.Generator, width: int, channels: int) -> Floats:
    scale = math.sqrt(2.0 / (9 * channels))  # He et al., arXiv 1502.01852
    return (scale * random.standard_normal((width, channels, 3, 3))).astype(np.float32)


def _least_squares(flat: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the matrix (F, C) and the offset (C,) of a ridge regression on one-hot labels, 8 for the right one."""
    centre, spread = flat.mean(axis=0), flat.std(axis=0) + 1e-6
    scaled = ((flat - centre) / spread).astype(np.float64)
    targets = 8.0 * np.eye(CLASSES)[labels]
    solved = np.linalg.solve(scaled.T @ scaled + np.eye(flat.shape[1]), scaled.T @ (targets - targets.mean(axis=0)))
    matrix = solved / spread[:, None]
    return matrix.astype(np.float32), (targets.mean(axis=0) - centre @ matrix).astype(np.float32)


def _model(nodes: list[Any], weights: dict[str, Floats], output: str, width: int) -> Any:
    kind = onnx.TensorProto.FLOAT
    given = helper.make_tensor_value_info(INPUT, kind, ["N", 3, SIDE, SIDE])
    made = helper.make_tensor_value_info(output, kind, ["N", width])
    arrays = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "textures", [given], [made], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def whole_network(model: Path) -> ort.InferenceSession:
    """Return one plain single-threaded ONNX Runtime session of the whole network, as the peers run it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
