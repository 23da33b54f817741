"""What a preparation starts from: the model with its weights in it, and the samples in disjoint parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.bundle.graph.element_types import DTYPES
from edgeexit.bundle.manifest import Tensor
from edgeexit.errors import DataError, GraphError
from edgeexit.offline.data import Samples, check_disjoint, check_labels, load_preprocess, load_samples, split_samples
from edgeexit.offline.graph.evidence import PREFIX, count_classes
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.offline.graph.source import read_model, with_weights
from edgeexit.offline.guarantee.certified_rules import check_certify_rule
from edgeexit.offline.preparing.options import FEWEST_SAMPLES, SHARES, PrepareOptions

MULTI_LABEL = "labels"
ONE_LABEL = "classes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A model as it is to be prepared.

    Attributes:
        model: onnx.ModelProto with one output, weights in it.
        digest: Hash of all of it.
        inputs: What it takes.
        class_count: Number of its classes.
    """

    model: Any
    digest: str
    inputs: tuple[Tensor, ...]
    class_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The samples of a preparation.

    Attributes:
        samples: All of them.
        parts: Disjoint parts by the names in `SHARES`.
        task: "classes", or "labels" where a sample can have several.
        against: "labels" or "full", as in `PrepareOptions`.
        class_names: Of the model's classes, if known.
    """

    samples: Samples
    parts: Mapping[str, Samples]
    task: str
    against: str
    class_names: tuple[str, ...] | None

    def right_answers(self, part: str) -> NDArray[np.int64] | None:
        """Return (S,) the classes, or masks of labels, of a part; None where the full network's answers are right."""
        labels = self.parts[part].labels
        if not self.by_labels or labels is None:
            return None
        if self.task == ONE_LABEL:
            return np.asarray(labels, dtype=np.int64)
        return np.asarray(labels.astype(np.int64) @ (1 << np.arange(labels.shape[1], dtype=np.int64)))

    def judged(self, part: str) -> Samples:
        """Return a part, its labels only where they say what is right, in an order that mixes the classes."""
        samples = self.parts[part]
        mixed = samples.take(np.random.default_rng(0).permutation(len(samples)))
        return mixed if self.by_labels else replace(mixed, labels=None)

    @property
    def by_labels(self) -> bool:
        """Whether right means as labelled, and not as the full network says."""
        return self.against == "labels"


def read_network(path: Path, output: str | None = None) -> Network:
    """Read a model, its weights from files beside it too.

    Args:
        path: ONNX file.
        output: The output that holds the classes; None: the only one.

    Raises:
        FileNotFoundError: If there is no such file.
        GraphError: If it cannot be used, has several outputs and none is named, or has exits of edgeexit.
    """
    model = with_weights(read_model(path).SerializeToString(), path.parent, path.name)
    _check_names(model)
    _keep_one_output(model, output)
    return describe_network(model)


def _check_names(model: Any) -> None:
    taken = (name for node in model.graph.node for name in (node.name, *node.output) if name.startswith(f"{PREFIX}/"))
    for name in taken:
        raise GraphError(f"the model has a value {name!r}, a name that edgeexit gives: take the model without exits")


def describe_network(model: Any) -> Network:
    """Return what is to be known of a model with one output and its weights in it.

    Raises:
        GraphError: If an input holds no numbers, or the output is no batch of one float for each class.
    """
    values = infer_values(model)
    inputs = Dataflow(model.graph).inputs
    for name in inputs:
        if values[name].element_type not in DTYPES:
            raise GraphError(f"input {name!r} is no tensor of numbers")
    own = model.graph.output[0].name
    return Network(
        model=model,
        digest=hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
        inputs=tuple(Tensor(name, DTYPES[values[name].element_type], _shape(values[name].shape)) for name in inputs),
        class_count=count_classes(own, values[own], None),
    )


def _keep_one_output(model: Any, wanted: str | None) -> None:
    there = [value.name for value in model.graph.output]
    if wanted is None and len(there) > 1:
        raise GraphError(f"the model has {len(there)} outputs ({', '.join(there)}); name the one with the classes")
    if wanted is not None and wanted not in there:
        raise GraphError(f"the model has no output {wanted!r}; it has {', '.join(there)}")
    kept = [value for value in model.graph.output if wanted in (None, value.name)]
    model.graph.ClearField("output")
    model.graph.output.extend(kept)


def _shape(shape: tuple[int | str | None, ...] | None) -> tuple[int | str, ...] | None:
    return None if shape is None else tuple("?" if size is None else size for size in shape)


def read_material(path: Path, network: Network, options: PrepareOptions) -> Material:
    """Read the samples and divide them into parts.

    Raises:
        DataError: If they are damaged, too few, not those of the model, or their labels are not its classes.
        OptionError: If the setting to certify is none for such a network.
    """
    preprocess = None if options.preprocess is None else load_preprocess(options.preprocess)
    samples = load_samples(
        path, network.inputs, labels=options.labels, preprocess=preprocess, limit=options.limit, seed=options.seed
    )
    against = options.against or ("full" if samples.labels is None else "labels")
    task = MULTI_LABEL if options.multi_label else ONE_LABEL
    if against == "labels":
        task = _check_labels(samples, network)
    check_certify_rule(options.certify_rule, task)
    parts = split_samples(samples, SHARES, seed=options.seed, at_least=FEWEST_SAMPLES)
    check_disjoint(parts)
    named = samples.class_names is not None and len(samples.class_names) == network.class_count
    return Material(
        samples=samples,
        parts=parts,
        task=task,
        against=against,
        class_names=samples.class_names if named and against == "labels" else None,
    )


def _check_labels(samples: Samples, network: Network) -> str:
    """Check that the labels are classes of the model, and return the task."""
    try:
        check_labels(samples, network.class_count)
    except DataError as error:
        raise DataError(f"{error}; or count agreement with the full network instead (against full)") from error
    assert samples.labels is not None, "just checked"
    return MULTI_LABEL if samples.labels.ndim == 2 else ONE_LABEL
