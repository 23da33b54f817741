"""What a bundle's manifest.json says: its records, read strictly and written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edgeexit.bundle.certificates import Certificate, certificate_json, read_certificate
from edgeexit.bundle.preprocess import Preprocess, preprocess_json, read_preprocess
from edgeexit.bundle.strict_json import JsonNode, parse_json
from edgeexit.errors import BundleError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DTYPE_NAMES: Final = frozenset(
    {"float16", "float32", "float64", "bfloat16", "bool"}
    | {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
)

CLASSES: Final = "classes"
LABELS: Final = "labels"
TASKS: Final = frozenset({CLASSES, LABELS})
"""What an answer is: one class of several, or the set of the labels that hold, as a number with bit i for label i."""
MOST_LABELS: Final = 62
"""Labels of which a set is a number that int64 holds."""

FLOAT32: Final = "float32"
INT8: Final = "int8"
VARIANTS: Final = frozenset({INT8})
"""Precisions that a segment may have besides its own, which is called "float32" whatever the network was made in."""

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
Dimension = int | str
"""A size, or the name of one that is known at run time alone, such as "N"."""
ANY_SIZE: Final = "?"
"""The name of a size that has none: two of them need not be equal."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named value; `shape` is None where even its rank is unknown."""

    name: str
    dtype: str
    shape: tuple[Dimension, ...] | None


@dataclass(frozen=True, slots=True)
class Variant:
    """A segment in one precision: an ONNX file, and its multiply-accumulates and weights for one sample."""

    file: str
    macs: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the backbone: an ONNX file, the names of the values it takes and makes, and its work for one sample.

    `variants` are the same part in other precisions, with the same inputs and outputs; `precision` is the one in use,
    "float32" where that is `file` itself.
    """

    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    parameters: int
    variants: Mapping[str, Variant] = field(default_factory=dict, hash=False)
    precision: str = FLOAT32

    @property
    def used(self) -> Variant:
        """The file in use, and its work."""
        own = Variant(self.file, self.macs, self.parameters)
        return own if self.precision == FLOAT32 else self.variants[self.precision]

    @property
    def precisions(self) -> tuple[str, ...]:
        """What there is to choose from, "float32" first."""
        return (FLOAT32, *sorted(self.variants))


@dataclass(frozen=True, slots=True)
class Exit:
    """A head behind a segment and the names of its evidence.

    Attributes:
        index: Of the exit, from 0.
        segment: Index of the segment after which it can be looked at.
        file: ONNX file of its head.
        inputs: Names of the values that the head takes.
        logits: (N, C) float32. This one and the next may be made by a segment already; then the head's file does
            not return them, see `Bundle.head_outputs`.
        probabilities: (N, C) float32.
        top_values: (N, min(2, C)) float32, the largest probabilities in falling order.
        top_labels: (N, min(2, C)) int64, their classes.
        macs: Multiply-accumulates of the head for one sample.
        parameters: Number of its weights.
    """

    index: int
    segment: int
    file: str
    inputs: tuple[str, ...]
    logits: str
    probabilities: str
    top_values: str
    top_labels: str
    macs: int
    parameters: int

    @property
    def outputs(self) -> tuple[str, str, str, str]:
        """Names of logits, probabilities, top values and top labels."""
        return self.logits, self.probabilities, self.top_values, self.top_labels


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file must be to be the one that was written."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that manifest.json says; `edgeexit.bundle.Bundle` documents the fields."""

    name: str
    created_by: str
    inputs: tuple[Tensor, ...]
    preprocess: Preprocess | None
    labels: tuple[str, ...] | None
    segments: tuple[Segment, ...]
    exits: tuple[Exit, ...]
    tensors: Mapping[str, Tensor]
    output: str
    files: Mapping[str, FileRecord]
    certificates: tuple[Certificate, ...] = ()
    task: str = CLASSES
    own_macs: int | None = None
    """As in `Workload`, with the segments in their own precision."""
    compression: tuple[str, ...] = ()
    """Names of the steps that changed the network before it got its exits, in their order."""

    def head_outputs(self, exit_index: int) -> tuple[str, ...]:
        """Return which of an exit's values its head makes; the others are outputs of segments up to its own."""
        record = self.exits[exit_index]
        made = {v for segment in self.segments[: record.segment + 1] for v in segment.outputs}
        return tuple(v for v in record.outputs if v not in made)


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest.

    Args:
        data: The bytes of manifest.json.
        where: Its path, for error messages.

    Raises:
        BundleError: If a key is unknown or missing, a value has the wrong type, the format number is not known here,
            a file name leads out of the bundle, or the pieces do not fit together.
    """
    value = parse_json(data, where)
    if isinstance(value, dict) and value.get("format", FORMAT) != FORMAT:
        raise BundleError(
            f"{where}: format {value['format']!r} is unknown here, this edgeexit reads format {FORMAT}; "
            "split the model again, or install the edgeexit that wrote the bundle"
        )
    manifest = _manifest(JsonNode(value, where))
    _check_names(manifest, where)
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return manifest.json for `manifest`: UTF-8, indented, the same bytes for the same manifest."""
    document = {
        "format": FORMAT,
        "name": manifest.name,
        "created_by": manifest.created_by,
        "inputs": [{"name": t.name, **_tensor_json(t)} for t in manifest.inputs],
        "preprocess": None if manifest.preprocess is None else preprocess_json(manifest.preprocess),
        "labels": None if manifest.labels is None else list(manifest.labels),
        "segments": [_segment_json(s) for s in manifest.segments],
        "exits": [_exit_json(e) for e in manifest.exits],
        "tensors": {name: _tensor_json(t) for name, t in sorted(manifest.tensors.items())},
        "output": manifest.output,
        "files": {name: {"sha256": f.sha256, "bytes": f.size} for name, f in sorted(manifest.files.items())},
    }
    if manifest.task != CLASSES:
        document["task"] = manifest.task
    if manifest.own_macs is not None:
        document["own_macs"] = manifest.own_macs
    if manifest.compression:
        document["compression"] = list(manifest.compression)
    if manifest.certificates:
        document["certificates"] = [certificate_json(c) for c in manifest.certificates]
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def segment_files(segment: Segment) -> tuple[str, ...]:
    """Return the names of a segment's ONNX files: its own, then those of its variants."""
    return segment.file, *(segment.variants[name].file for name in segment.precisions[1:])


def network_sha256(manifest: Manifest) -> str:
    """Return what stands for the network in a certificate: its pieces, their files and how images are prepared.

    Settings and the predictor do not count, nor do the names of the classes.
    """
    document = json.loads(manifest_bytes(manifest))
    content: dict[str, Any] = {key: document[key] for key in ("preprocess", "segments", "exits")}
    content["files"] = {name: record for name, record in document["files"].items() if name.endswith(".onnx")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _plain(record: Any) -> dict[str, Any]:
    values = ((name, getattr(record, name)) for name in record.__slots__)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values}


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": None if tensor.shape is None else list(tensor.shape)}


def _segment_json(record: Segment) -> dict[str, Any]:
    document = {key: value for key, value in _plain(record).items() if key not in ("variants", "precision")}
    if record.variants:
        variants = {name: _plain(variant) for name, variant in sorted(record.variants.items())}
        document |= {"variants": variants, "precision": record.precision}
    return document


def _exit_json(record: Exit) -> dict[str, Any]:
    names = ("logits", "probabilities", "top_values", "top_labels")
    document = {key: value for key, value in _plain(record).items() if key not in (*names, "index")}
    document["outputs"] = {name: getattr(record, name) for name in names}
    return document


def _manifest(node: JsonNode) -> Manifest:
    keys = ("format", "name", "created_by", "inputs", "preprocess", "labels")
    more = ("segments", "exits", "tensors", "output", "files")
    nodes = node.record(*keys, *more, optional=("certificates", "task", "own_macs", "compression"))
    number, name, by, inputs, preprocess, labels, segments, exits, tensors, output, files, *rest = nodes
    certificates, task, own_macs, compression = rest
    if isinstance(number.value, bool) or not isinstance(number.value, int):
        raise number.refuse(f"expected {FORMAT}")
    for file in files.value if isinstance(files.value, dict) else ():
        _file_name(JsonNode(file, files.where))
    return Manifest(
        name=name.matching(_FILE_NAME, "a plain name of letters, digits, dots, dashes and underscores"),
        created_by=by.text(),
        inputs=inputs.items(_named_tensor, at_least=1),
        preprocess=preprocess.optional(read_preprocess),
        labels=labels.optional(lambda n: n.items(JsonNode.text, at_least=1)),
        segments=segments.items(_segment, at_least=1),
        exits=tuple(_exit(n, i) for i, n in enumerate(exits.items(lambda n: n, at_least=1))),
        tensors={name: Tensor(name, dtype, shape) for name, (dtype, shape) in tensors.table(_tensor).items()},
        output=output.text(),
        files=files.table(_file_record),
        certificates=certificates.optional(lambda n: n.items(read_certificate, at_least=1)) or (),
        task=task.optional(lambda n: n.one_of(TASKS)) or CLASSES,
        own_macs=own_macs.optional(JsonNode.count),
        compression=compression.optional(lambda n: n.items(JsonNode.text, at_least=1)) or (),
    )


def _named_tensor(node: JsonNode) -> Tensor:
    name, dtype, shape = node.record("name", "dtype", "shape")
    return Tensor(name.text(), dtype.one_of(DTYPE_NAMES), _shape(shape))


def _tensor(node: JsonNode) -> tuple[str, tuple[Dimension, ...] | None]:
    dtype, shape = node.record("dtype", "shape")
    return dtype.one_of(DTYPE_NAMES), _shape(shape)


def _shape(node: JsonNode) -> tuple[Dimension, ...] | None:
    return node.optional(lambda n: n.items(lambda d: d.text() if isinstance(d.value, str) else d.count()))


def _segment(node: JsonNode) -> Segment:
    keys = ("file", "inputs", "outputs", "macs", "parameters")
    file, inputs, outputs, macs, parameters, others, used = node.record(*keys, optional=("variants", "precision"))
    variants = others.optional(lambda n: n.table(_variant)) or {}
    for name in variants:
        JsonNode(name, others.where).one_of(VARIANTS)
    return Segment(
        _file_name(file),
        inputs.items(JsonNode.text, at_least=1),
        outputs.items(JsonNode.text, at_least=1),
        macs.count(),
        parameters.count(),
        variants,
        used.optional(lambda n: n.one_of((FLOAT32, *variants))) or FLOAT32,
    )


def _variant(node: JsonNode) -> Variant:
    file, macs, parameters = node.record("file", "macs", "parameters")
    return Variant(_file_name(file), macs.count(), parameters.count())


def _exit(node: JsonNode, index: int) -> Exit:
    segment, file, inputs, outputs, macs, parameters = node.record(
        "segment", "file", "inputs", "outputs", "macs", "parameters"
    )
    logits, probabilities, top_values, top_labels = outputs.record(
        "logits", "probabilities", "top_values", "top_labels"
    )
    return Exit(
        index=index,
        segment=segment.count(),
        file=_file_name(file),
        inputs=inputs.items(JsonNode.text, at_least=1),
        logits=logits.text(),
        probabilities=probabilities.text(),
        top_values=top_values.text(),
        top_labels=top_labels.text(),
        macs=macs.count(),
        parameters=parameters.count(),
    )


def _file_name(node: JsonNode) -> str:
    return node.matching(_FILE_NAME, "the plain name of a file in the bundle, no absolute, parent or nested path")


def _file_record(node: JsonNode) -> FileRecord:
    sha256, size = node.record("sha256", "bytes")
    return FileRecord(sha256.matching(_SHA256, "64 hexadecimal digits"), size.count())


def _check_names(manifest: Manifest, where: str) -> None:
    """Check that every piece finds its inputs, and that the exits stand where they may."""
    known = {t.name for t in manifest.inputs}
    behind = [e.segment for e in manifest.exits]
    if behind != sorted(set(behind)) or behind[-1] != len(manifest.segments) - 1:
        raise BundleError(f"{where}: exits: must be in order of their segments, the last behind the last segment")
    for index, segment in enumerate(manifest.segments):
        _check_inputs(segment.inputs, known, f"{where}: segments[{index}]")
        known.update(segment.outputs)
        for head in (e for e in manifest.exits if e.segment == index):
            _check_inputs(head.inputs, known, f"{where}: exits[{head.index}]")
    made = {name for segment in manifest.segments for name in segment.outputs}
    if made != manifest.tensors.keys():
        name = min(made ^ manifest.tensors.keys())
        raise BundleError(f"{where}: tensors: must name all outputs of the segments and no others, see {name!r}")
    if manifest.output not in manifest.segments[-1].outputs:
        raise BundleError(f"{where}: output: {manifest.output!r} is no output of the last segment")
    segments = (file for s in manifest.segments for file in segment_files(s))
    for file in (*segments, *(e.file for e in manifest.exits)):
        if file not in manifest.files:
            raise BundleError(f"{where}: files: {file!r} is missing; write the bundle again")


def _check_inputs(names: tuple[str, ...], known: set[str], where: str) -> None:
    for name in names:
        if name not in known:
            raise BundleError(f"{where}: inputs: {name!r} is made by no segment before it and is no input")
