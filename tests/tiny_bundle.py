"""A calibrated bundle of three exits for images of 2 x 2 pixels, and images for it: worked out by hand.

Pixels are scaled to 0..1; exit `e` says logits ``2 ** (e + 1) * (first, second, third pixel)``. So a white first pixel
alone has the probabilities .787, .965 and .999 of class "first" at the exits 0, 1 and 2, a grey one of 0.4 stays below
.9 until the last exit (.527, .712, .925).
"""

import json

import numpy as np
from models import save
from onnx import helper

from edgeexit.bundle import Preprocess
from edgeexit.bundle.write import replace_files
from edgeexit.offline.graph.split import split_model

PRIOR = [0.1, 0.6, 0.3]
RULES = {
    "format": 1,
    "recommended": "threshold",
    "settings": {
        name: {"rule": rule, "parameters": {"0": parameters, "0.5": parameters}}
        for name, rule, parameters in (
            ("threshold", "threshold", {"threshold": 0.9, "prior": PRIOR}),
            ("thresholds", "threshold", {"threshold": [0.7, 0.7, 0.0], "prior": PRIOR}),
            ("check-and-cap", "check-and-cap", {"threshold": 0.9, "cap": 1, "prior": [0.4, 0.6, 0.0]}),
            ("predictive-exit", "predictive-exit", {"beta": 1.0, "activations": [1.5, 3.0, 6.0]}),
        )
    },
}
WHITE, GREY = 255, 102


def make_bundle(folder, *, rules=RULES, preprocess=True):
    """Each body is 4 x 4 = 16 multiply-accumulates, each head 4 x 3 = 12; the last head belongs to its segment."""
    nodes, outputs, value = [helper.make_node("Flatten", ["image"], ["flat"])], {}, "flat"
    for index in range(3):
        nodes.append(helper.make_node("MatMul", [value, "double"], [f"body{index}"]))
        value = f"body{index}"
        name = "logits" if index == 2 else f"exit{index}"
        nodes.append(helper.make_node("MatMul", [value, "take"], [name]))
        outputs[name] = ["N", 3]
    weights = {"double": 2.0 * np.eye(4, dtype=np.float32), "take": np.eye(4, 3, dtype=np.float32)}
    path = save(folder / "tiny.onnx", nodes, {"image": ["N", 1, 2, 2]}, outputs, weights)
    bundle = split_model(
        path,
        folder / "tiny",
        name="tiny",
        labels=["first", "second", "third"],
        preprocess=Preprocess("L", (2, 2), "NCHW", 1 / 255, (0.0,), (1.0,)) if preprocess else None,
    )
    return bundle if rules is None else replace_files(bundle, {"rules.json": json.dumps(rules).encode()})


def images():
    """Nine images with a white first, second or third pixel, the last three grey; their labels, one of them wrong."""
    pixels = np.zeros((9, 2, 2), dtype=np.uint8)
    for index in range(9):
        pixels[index].flat[index % 3] = WHITE if index < 6 else GREY
    labels = np.arange(9) % 3
    labels[0] = 1
    return pixels, labels


def network_input():
    """The images as the network takes them."""
    return images()[0][:, np.newaxis].astype(np.float32) / np.float32(255)
