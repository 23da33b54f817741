"""A small classifier of scikit-learn's digits that is trained without a training framework, and the digits as files."""

import warnings

import numpy as np
from models import save
from onnx import helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from edgeexit.runtime.engine import open_session

WIDTHS = (8, 48, 64, 64)
"""Neurons of the hidden layers: little work before the first exit, much behind it."""
TRAINED_ON = 597
"""Of 1,797 digits; the other 1,200 are samples to prepare with."""


def digits():
    """Return (1797, 8, 8) uint8 images, grey up to 240, and their labels, in an order that mixes the writers."""
    data, order = load_digits(), np.random.default_rng(0).permutation(1797)
    return (data.images[order] * 15).astype(np.uint8), data.target[order].astype(np.int64)


def write_model(path):
    """Write the network: input "image" (N, 1, 8, 8) of 0 to 1, output "scores" (N, 10)."""
    images, labels = digits()
    inputs = images[:TRAINED_ON].reshape(TRAINED_ON, -1).astype(np.float32) / 255
    trained = MLPClassifier(WIDTHS, alpha=0.01, max_iter=40, random_state=0, learning_rate_init=4e-3)
    with warnings.catch_warnings(), threadpool_limits(1):  # threads in a busy machine make it ten times as slow
        warnings.simplefilter("ignore")  # it may stop before it has converged
        trained.fit(inputs, labels[:TRAINED_ON])
    nodes, weights, value = [helper.make_node("Flatten", ["image"], ["flat"])], {}, "flat"
    for index, (coefficients, bias) in enumerate(zip(trained.coefs_, trained.intercepts_, strict=True)):
        weights |= {f"w{index}": coefficients.astype(np.float32), f"b{index}": bias.astype(np.float32)}
        last = index == len(WIDTHS)
        name = "scores" if last else f"layer{index}"
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [name]))
        if not last:
            nodes.append(helper.make_node("Relu", [name], [f"relu{index}"]))
            value = f"relu{index}"
    return save(path, nodes, {"image": ["N", 1, 8, 8]}, {"scores": ["N", 10]}, weights)


def surest(model):
    """Return the digit of which the network is surest, as its input (1, 1, 8, 8), and what it says."""
    inputs = digits()[0][TRAINED_ON:, np.newaxis].astype(np.float32) / np.float32(255)
    (scores,) = open_session(model.read_bytes()).run(None, {"image": inputs})
    margins = np.diff(np.sort(scores, axis=1)[:, -2:], axis=1)[:, 0]
    index = int(margins.argmax())
    return inputs[index : index + 1], int(scores[index].argmax())


def write_images(folder, count=None):
    """Write digits that the network was not trained on as PNG files, a folder for each class."""
    images, labels = (part[TRAINED_ON:][:count] for part in digits())
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / f"digit{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:04d}.png")
    return folder


def write_arrays(path, count=None, *, labels=True):
    """Write the same digits as one .npz file."""
    images, right = (part[TRAINED_ON:][:count] for part in digits())
    arrays = {"image": images[:, np.newaxis].astype(np.float32) / np.float32(255)}
    np.savez(path, **arrays, **({"labels": right} if labels else {}))
    return path
