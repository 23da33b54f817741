"""From a trained reference network to the bundle that ships: split, record, fit the predictor, choose the settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.bundle.preprocess import Preprocess
from edgeexit.bundle.write import replace_files
from edgeexit.offline.calibrate import fit_and_calibrate
from edgeexit.offline.fashion_mnist import CLASS_NAMES, IMAGE_SIDE, FashionMnist
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.record import record_fashion_mnist

if TYPE_CHECKING:
    from pathlib import Path

    from edgeexit.bundle import Bundle
    from edgeexit.offline.traces import Trace

PREPROCESS = Preprocess(mode="L", size=(IMAGE_SIDE, IMAGE_SIDE), layout="NCHW", scale=1 / 255, mean=(0.0,), std=(1.0,))
DEMO_IMAGES = 300


def make_reference_bundle(model: Path, folder: Path, data: FashionMnist) -> tuple[Bundle, dict[str, Trace]]:
    """Make the bundle of a trained network at `folder`, which takes the place of one that is there.

    The predictor is fitted on the split "fit", every rule's settings are chosen on "select".

    Args:
        model: The multi-exit ONNX file; its stem is the bundle's name.
        folder: The bundle's folder.
        data: Fashion-MNIST.

    Returns:
        The bundle, and what its exits say about the splits "fit", "select" and "test".
    """
    bundle = split_model(
        model, folder, name=model.stem, labels=CLASS_NAMES, preprocess=PREPROCESS, replace=folder.exists()
    )
    traces = record_fashion_mnist(bundle, data)
    predictor, rules = fit_and_calibrate(traces, bundle.workload)
    return replace_files(bundle, {"predictor.json": _json(predictor), "rules.json": _json(rules)}), traces


def describe(bundle: Bundle, traces: dict[str, Trace]) -> str:
    """Return a table of the exits: accuracy on "select" and "test", and the work up to them with their own head."""
    work = bundle.workload
    whole = work.whole_macs
    lines = [f"{bundle.name}: {whole:,} MACs without early heads", "exit  select    test  MACs so far    head"]
    select, test = traces["select"].accuracies, traces["test"].accuracies
    for index, head in enumerate(work.head_macs):
        so_far = sum(work.segment_macs[: work.exit_segments[index] + 1]) / whole
        lines.append(f"{index:4}  {select[index]:6.2%}  {test[index]:6.2%}  {so_far:11.3f}  {head / whole:6.4f}")
    return "\n".join(lines)


def write_demo_images(path: Path, data: FashionMnist, count: int = DEMO_IMAGES) -> None:
    """Write the first `count` test images and their labels: what the demo runs on."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, images=data.test.images[:count], labels=data.test.labels[:count].astype(np.int64))
    unfinished.replace(path)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
