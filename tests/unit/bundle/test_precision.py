"""A segment may have variants in other precisions; one of them is in use."""

import hashlib
import json
from dataclasses import replace

import pytest
from test_manifest import document, parse

from edgeexit.bundle import load_bundle
from edgeexit.bundle.manifest import Variant, manifest_bytes, network_sha256, segment_files
from edgeexit.bundle.precision import with_precision
from edgeexit.bundle.write import write_bundle
from edgeexit.errors import BundleError, OptionError


def with_variant(precision="float32"):
    changed = document()
    changed["segments"][0] |= {
        "variants": {"int8": {"file": "segment0.int8.onnx", "macs": 7, "parameters": 4}},
        "precision": precision,
    }
    changed["files"]["segment0.int8.onnx"] = changed["files"]["segment0.onnx"]
    return changed


def test_a_manifest_without_variants_says_nothing_of_them():
    assert "variants" not in document()["segments"][0]
    assert parse(document()).segments[0].precisions == ("float32",)


def test_what_is_written_of_variants_is_read_again():
    manifest = parse(with_variant("int8"))
    assert manifest.segments[0].used == Variant("segment0.int8.onnx", 7, 4)
    assert segment_files(manifest.segments[0]) == ("segment0.onnx", "segment0.int8.onnx")
    assert json.loads(manifest_bytes(manifest)) == with_variant("int8")


def test_the_precision_in_use_is_float_unless_said_otherwise():
    changed = with_variant()
    del changed["segments"][0]["precision"]
    assert parse(changed).segments[0].used == Variant("segment0.onnx", 7, 3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("precision", "float16", "precision: expected one of float32, int8"),
        ("variants", {"int4": {"file": "a.onnx", "macs": 1, "parameters": 1}}, "variants: expected one of int8"),
        ("variants", {"float32": {"file": "a.onnx", "macs": 1, "parameters": 1}}, "variants: expected one of int8"),
        ("variants", {"int8": {"file": "../a.onnx", "macs": 1, "parameters": 1}}, "plain name of a file"),
        ("variants", {"int8": {"file": "a.onnx", "macs": 1}}, "'parameters' is missing"),
        ("variants", {"int8": {"file": "absent.onnx", "macs": 1, "parameters": 1}}, "'absent.onnx' is missing"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(key, value, message):
    changed = with_variant()
    changed["segments"][0][key] = value
    with pytest.raises(BundleError, match=message):
        parse(changed)


def test_another_precision_is_another_network_for_a_certificate():
    assert network_sha256(parse(with_variant("int8"))) != network_sha256(parse(with_variant()))


@pytest.fixture
def mixed(folder):
    """The bundle "net" of two segments, the second of which has a variant with the same file."""
    bundle = load_bundle(folder)
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    first, second = bundle.segments
    variant = Variant("segment1.int8.onnx", 5, 1)
    manifest = replace(bundle.manifest, segments=(first, replace(second, variants={"int8": variant})))
    return write_bundle(folder.parent / "mixed", manifest, {**files, variant.file: files[second.file]})


def precisions(bundle):
    return [segment.precision for segment in bundle.segments]


def test_int8_is_taken_wherever_it_is(mixed):
    assert precisions(with_precision(mixed, "int8")) == ["float32", "int8"]
    assert precisions(with_precision(mixed, ["float32", "int8"])) == ["float32", "int8"]
    assert precisions(with_precision(mixed, None)) == ["float32", "float32"]


def test_the_work_is_that_of_the_precision_in_use(mixed):
    assert mixed.workload.segment_macs == (2592, 5196)
    assert with_precision(mixed, "int8").workload.segment_macs == (2592, 5)


def test_the_digest_is_that_of_a_bundle_that_is_written_so(mixed):
    int8 = with_precision(mixed, "int8")
    files = {name: mixed.read_file(name) for name in mixed.manifest.files}
    written = write_bundle(mixed.path.parent / "int8", int8.manifest, files)
    assert int8.digest == written.digest == hashlib.sha256((written.path / "manifest.json").read_bytes()).hexdigest()
    assert int8.digest != mixed.digest
    assert with_precision(int8, "float32").digest == mixed.digest


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("int4", "precision must be float32 or int8, not 'int4'"),
        (["int8", "float32"], "segment 0 of bundle 'net' has float32, not 'int8'"),
        (["float32"], "1 were given for the 2 segments"),
    ],
)
def test_a_precision_that_is_not_there_is_refused(mixed, precision, message):
    with pytest.raises(OptionError, match=message):
        with_precision(mixed, precision)


def test_a_bundle_without_int8_cannot_be_run_in_it(folder):
    with pytest.raises(OptionError, match="no segment of bundle 'net' has 'int8'"):
        with_precision(load_bundle(folder), "int8")


def test_a_variant_must_take_and_return_what_the_segment_does(mixed):
    files = {name: mixed.read_file(name) for name in mixed.manifest.files}
    files["segment1.int8.onnx"] = files["segment0.onnx"]
    with pytest.raises(BundleError, match=r"segment1\.int8\.onnx: takes and returns"):
        write_bundle(mixed.path.parent / "wrong", mixed.manifest, files)
