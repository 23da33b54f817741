"""From places in a network to a bundle: features, heads, the model with its exits, and the pieces it is cut into."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from edgeexit.beside import write_beside
from edgeexit.errors import GraphError
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.heads import Features, Head, LinearHead, attach_heads, fit_heads, record_features, trace_of
from edgeexit.offline.preparing.judging import spread
from edgeexit.offline.preparing.options import CONV
from edgeexit.offline.preparing.sources import MULTI_LABEL
from edgeexit.offline.record import record_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.offline.graph.cut_candidates import CutCandidate
    from edgeexit.offline.heads.conv_plan import ConvPlan
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.sources import Material, Network
    from edgeexit.offline.traces import Trace

CHECKED_SAMPLES = 32
"""Samples on which the finished bundle is compared with what its heads were said to say."""
DEFAULT_LINEAR = "logistic"
"""The linear head beside one with layers of its own."""
TOLERANCE = 1e-3
"""Of a logit, in parts of the largest: graph optimisation changes the last bits."""


def record_parts(
    network: Network, places: Sequence[CutCandidate], plans: Sequence[ConvPlan | None], bench: Bench
) -> dict[str, Features]:
    """Run the network once over all samples, part by part; with maps at the places that have plans."""
    maps = [None if plan is None else plan.pooling for plan in plans]
    made_from = network.digest, [str(place) for place in places], *map(str, maps)
    return {
        part: record_features(
            network.model,
            places,
            samples,
            task=bench.material.task,
            maps=maps,
            progress=bench.progress,
            store=bench.work.folder(f"features-{part}", bench.key(*made_from)),
        )
        for part, samples in bench.material.parts.items()
    }


def fit_all_heads(network: Network, features: Features, bench: Bench) -> tuple[LinearHead, ...]:
    """Fit a linear head at every place, one after the other; each that is finished is kept."""
    targets = head_targets(features, bench.material)
    count = len(features.poolings)
    bar = tqdm(range(count), desc="heads", unit="head", disable=not bench.progress)
    return tuple(_fit_head(network, features.keep([index]), targets, bench) for index in bar)


def _fit_head(network: Network, features: Features, targets: NDArray[Any], bench: Bench) -> LinearHead:
    (pooling,) = features.poolings
    options, kind = bench.options, DEFAULT_LINEAR if bench.options.head == CONV else bench.options.head

    def fit() -> Mapping[str, NDArray[Any]]:
        (head,) = fit_heads(features, targets, kind=kind, task=bench.material.task, seed=options.seed)
        return {
            "weights": head.weights,
            "bias": head.bias,
            "penalty": np.array(head.penalty),
            "loss": np.array(head.loss),
        } | ({} if head.centre is None else {"centre": head.centre})

    key = bench.key(network.digest, str(pooling), kind, bench.material.against)
    found = bench.work.keep_arrays("head", key, fit)
    penalty, loss = float(found["penalty"]), float(found["loss"])
    return LinearHead(found["weights"], found["bias"], pooling, penalty, loss, found.get("centre"))


def head_targets(features: Features, material: Material) -> NDArray[Any]:
    """Return the labels of the part "heads", or the network's own probabilities (S, C)."""
    labels = material.parts["heads"].labels
    if material.by_labels and labels is not None:
        return labels
    logits = features.logits.astype(np.float64)
    if material.task == MULTI_LABEL:
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def trace_part(part: str, features: Mapping[str, Features], heads: Sequence[Head], material: Material) -> Trace:
    """Return what all heads and the network's own output say about a part."""
    return trace_of(features[part], heads, material.right_answers(part), task=material.task)


def build_bundle(
    network: Network,
    places: Sequence[CutCandidate],
    heads: Sequence[Head],
    side_inputs: Sequence[str],
    name: str,
    bench: Bench,
) -> Bundle:
    """Cut the network with its heads into a bundle in the work folder."""
    material, folder = bench.material, bench.work.path
    model = folder / "with-heads.onnx"
    write_beside(model, attach_heads(network.model, places, heads).SerializeToString())
    return split_model(
        model,
        folder / "bundle",
        name=name,
        labels=material.class_names,
        preprocess=material.samples.preprocess,
        side_inputs=side_inputs,
        task=material.task,
        replace=True,
    )


def check_bundle(bundle: Bundle, trace: Trace, material: Material) -> None:
    """Compare the bundle with the trace of the part "certify": they must say the same.

    Raises:
        GraphError: If they do not.
    """
    few = spread(len(trace), CHECKED_SAMPLES)
    said = record_trace(bundle, material.parts["certify"].take(few), trace.labels[few]).logits
    expected = trace.logits[few]
    if np.abs(said - expected).max() > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise GraphError("the bundle's exits do not say what their heads say: this should not happen, report the model")


def plain_name(folder: Path) -> str:
    """Return a name for a bundle in `folder`: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).lstrip(".-") or "network"
