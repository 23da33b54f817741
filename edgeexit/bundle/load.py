"""Find, read and check a bundle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeexit import reference
from edgeexit.bundle.files import LARGEST_PROTOBUF, read_listed_file, read_plain_file
from edgeexit.bundle.manifest import (
    FLOAT32,
    INT8,
    MANIFEST,
    Exit,
    Manifest,
    Segment,
    Tensor,
    parse_manifest,
    segment_files,
)
from edgeexit.bundle.preprocess import Preprocess
from edgeexit.bundle.strict_json import parse_json
from edgeexit.errors import BundleError, BundleNotFound, GraphError
from edgeexit.protocols import Workload

RULES: Final = "rules.json"
PREDICTOR: Final = "predictor.json"
_LARGEST_MANIFEST: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A network in segments, with its exits: a folder that was checked when it was loaded.

    Attributes:
        path: Of the folder.
        manifest: What manifest.json says; the properties below are shortcuts into it.
        digest: sha256 of manifest.json. It stands for the whole bundle, since the manifest holds the sha256 of every
            file.
    """

    path: Path
    manifest: Manifest
    digest: str

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.manifest.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The network's inputs, side inputs included."""
        return self.manifest.inputs

    @property
    def preprocess(self) -> Preprocess | None:
        """How an image becomes the input, or None if that is not known."""
        return self.manifest.preprocess

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, or None if they are not known."""
        return self.manifest.labels

    @property
    def task(self) -> str:
        """What an answer is: "classes", one of several, or "labels", a number with bit i set if label i holds."""
        return self.manifest.task

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order in which they run."""
        return self.manifest.segments

    @property
    def compression(self) -> tuple[str, ...]:
        """What makes its full network another than the model that was given: names of steps, and "int8"."""
        int8 = any(segment.precision != FLOAT32 for segment in self.segments)
        return (*self.manifest.compression, INT8) if int8 else self.manifest.compression

    @property
    def full_name(self) -> str:
        """What reports call its full network, which may not be the model that was given."""
        return full_name(compressed=bool(self.compression))

    @property
    def exits(self) -> tuple[Exit, ...]:
        """The exits, in the order of their segments; the last is the network's own output."""
        return self.manifest.exits

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The values that segments return, by name."""
        return self.manifest.tensors

    @property
    def output(self) -> str:
        """Name of the network's own output, which the last segment returns."""
        return self.manifest.output

    @property
    def exit_count(self) -> int:
        """Number of exits, the network's own output included."""
        return len(self.exits)

    @property
    def class_count(self) -> int:
        """Number of classes."""
        shape = self.tensors[self.output].shape
        if shape is None or len(shape) < 2 or not isinstance(shape[1], int):
            raise BundleError(f"{self.path / MANIFEST}: the shape of {self.output!r} does not tell the classes")
        return shape[1]

    @property
    def workload(self) -> Workload:
        """Multiply-accumulates of the pieces for one sample, in the precisions in use."""
        own = self.manifest.own_macs
        other = sum(s.macs - s.used.macs for s in self.segments)
        return Workload(
            segment_macs=tuple(s.used.macs for s in self.segments),
            head_macs=tuple(e.macs for e in self.exits),
            exit_segments=tuple(e.segment for e in self.exits),
            own_macs=own if own is None else own - other,
        )

    def head_outputs(self, exit_index: int) -> tuple[str, ...]:
        """Return which of an exit's values its head makes; the others are outputs of segments up to its own."""
        return self.manifest.head_outputs(exit_index)

    def read_file(self, name: str) -> bytes:
        """Read a file of the bundle and check its size and sha256 anew.

        Raises:
            BundleError: If the manifest does not list it, or it is not what was loaded.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise BundleError(f"{self.path / name}: is not listed in {MANIFEST}")
        return read_listed_file(self.path, name, record, max_bytes=record.size)

    def read_rules(self) -> Mapping[str, Any]:
        """Read the parameters of exit rules that were chosen for this bundle; empty if it has none.

        Raises:
            BundleError: If the file was changed or is no JSON object.
        """
        return self._read_object(RULES) or {}

    def read_predictor(self) -> Mapping[str, Any] | None:
        """Read the coefficients of the learned forecast, or None if the bundle has none.

        Raises:
            BundleError: If the file was changed or is no JSON object.
        """
        return self._read_object(PREDICTOR)

    def _read_object(self, name: str) -> dict[str, Any] | None:
        if name not in self.manifest.files:
            return None
        value = parse_json(self.read_file(name), str(self.path / name))
        if not isinstance(value, dict):
            raise BundleError(f"{self.path / name}: expected a JSON object; write the bundle again")
        return value


def full_name(*, compressed: bool) -> str:
    """Return what reports call the full network, which may not be the model as the user gave it."""
    return "full network (compressed)" if compressed else "full network"


def load_bundle(name_or_path: str | os.PathLike[str], *, max_file_bytes: int = LARGEST_PROTOBUF) -> Bundle:
    """Load a bundle and check all of it: sizes, hashes, operators, and that the pieces are what the manifest says.

    Args:
        name_or_path: The name of a bundle that ships, see `list_bundles`, or the path of a folder. A text without a
            slash is a name; "./x" and `pathlib.Path("x")` are paths.
        max_file_bytes: Size of a file from which on nothing of it is read.

    Raises:
        BundleNotFound: If there is no such bundle, or a file of it is missing.
        BundleError: If a file is damaged or unsafe; the message names it.
    """
    path = _find(name_or_path)
    data = read_plain_file(path, MANIFEST, max_bytes=min(max_file_bytes, _LARGEST_MANIFEST))
    manifest = parse_manifest(data, str(path / MANIFEST))
    pieces = {file: (s.inputs, s.outputs) for s in manifest.segments for file in segment_files(s)}
    pieces.update((e.file, (e.inputs, manifest.head_outputs(e.index))) for e in manifest.exits)
    for name, record in manifest.files.items():
        content = read_listed_file(path, name, record, max_bytes=max_file_bytes)
        if name in pieces:
            _check_piece(content, str(path / name), *pieces[name])
    bundle = Bundle(path, manifest, hashlib.sha256(data).hexdigest())
    _check_classes(bundle)
    return bundle


def list_bundles() -> tuple[str, ...]:
    """List the names of the bundles that ship with edgeexit, sorted."""
    folder = _shipped()
    return tuple(sorted(p.name for p in folder.iterdir() if (p / MANIFEST).is_file())) if folder.is_dir() else ()


def _shipped() -> Path:
    return Path(reference.__file__).parent


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and os.sep not in text and text not in (os.curdir, os.pardir):
        if text in list_bundles():
            return _shipped() / text
        hint = f"; for the folder here say ./{text}" if Path(text).is_dir() else ""
        known = ", ".join(list_bundles()) or "none"
        raise BundleNotFound(f"no bundle called {text!r} ships with edgeexit (there are: {known}){hint}")
    path = Path(text)
    if not path.is_dir():
        raise BundleNotFound(f"{path}: is no folder; a bundle is a folder with a {MANIFEST}")
    return path


def _check_piece(data: bytes, where: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    from edgeexit.bundle.graph import safety, schema  # noqa: PLC0415 - protobuf is wanted here only

    try:
        model = schema.parse_model(data, name=where)
        safety.check_operators(model, where)
        safety.check_self_contained(model, where)
    except GraphError as error:
        raise BundleError(str(error)) from error
    found = tuple(v.name for v in model.graph.input), tuple(v.name for v in model.graph.output)
    if found != (inputs, outputs):
        raise BundleError(f"{where}: takes and returns {found}, the manifest says {(inputs, outputs)}; split again")


def _check_classes(bundle: Bundle) -> None:
    classes = bundle.class_count
    if bundle.labels is not None and len(bundle.labels) != classes:
        raise BundleError(f"{bundle.path / MANIFEST}: labels: {len(bundle.labels)} names for {classes} classes")
