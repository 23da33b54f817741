"""The manifest is read strictly and written the same way."""

import json

import pytest

from edgeexit.bundle.manifest import (
    Exit,
    FileRecord,
    Manifest,
    Preprocess,
    Segment,
    Tensor,
    manifest_bytes,
    parse_manifest,
)
from edgeexit.errors import BundleError

HASH = "0123456789abcdef" * 4
EVIDENCE = ("logits", "edgeexit/exit0/probabilities", "edgeexit/exit0/top_values", "edgeexit/exit0/top_labels")
MANIFEST = Manifest(
    name="net",
    created_by="edgeexit 0.1.0",
    inputs=(Tensor("image", "float32", ("N", 1, 28, 28)),),
    preprocess=Preprocess("L", (28, 28), "NCHW", 0.5, (0.0,), (1.0,)),
    labels=("ä", "b"),
    segments=(Segment("segment0.onnx", ("image",), ("logits",), 7, 3),),
    exits=(Exit(0, 0, "head0.onnx", ("logits",), *EVIDENCE, 0, 0),),
    tensors={"logits": Tensor("logits", "float16", ("N", 2))},
    output="logits",
    files={"segment0.onnx": FileRecord(HASH, 10), "head0.onnx": FileRecord(HASH, 20)},
)


def document():
    return json.loads(manifest_bytes(MANIFEST))


def parse(changed):
    return parse_manifest(json.dumps(changed).encode(), "net/manifest.json")


def places(value, path=()):
    """Yield the path of every value within a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def replaced(path, new):
    changed = document()
    if not path:
        return new
    at(changed, path[:-1])[path[-1]] = new
    return changed


OBJECTS = [p for p in places(document()) if isinstance(at(document(), p), dict)]
NAMED_FREELY = (("tensors",), ("files",))
KEYS = [(p, key) for p in OBJECTS for key in at(document(), p)]


def test_what_is_written_is_read_again():
    assert parse_manifest(manifest_bytes(MANIFEST), "manifest.json") == MANIFEST


def test_a_manifest_may_leave_out_what_is_not_known():
    bare = document() | {"preprocess": None, "labels": None}
    bare["inputs"][0]["shape"] = None
    read = parse(bare)
    assert (read.preprocess, read.labels, read.inputs[0].shape) == (None, None, None)


def test_work_that_only_exits_need_is_left_out_of_the_network_s_own():
    read = parse(document() | {"own_macs": 5})
    assert read.own_macs == 5
    assert json.loads(manifest_bytes(read))["own_macs"] == 5


def test_what_was_done_to_the_network_before_its_exits_is_kept():
    read = parse(document() | {"compression": ["distil", "prune"]})
    assert read.compression == ("distil", "prune")
    assert json.loads(manifest_bytes(read))["compression"] == ["distil", "prune"]


def test_it_is_readable_text():
    text = manifest_bytes(MANIFEST).decode()
    assert text.startswith('{\n "format": 1,\n "name": "net"')
    assert "ä" in text


@pytest.mark.parametrize(("path", "key"), KEYS, ids=str)
def test_a_missing_key_is_named(path, key):
    changed = document()
    del at(changed, path)[key]
    with pytest.raises(BundleError, match=r"net/manifest\.json: ") as caught:
        parse(changed)
    assert key in str(caught.value)


@pytest.mark.parametrize("path", [p for p in OBJECTS if p not in NAMED_FREELY], ids=str)
def test_an_unknown_key_is_named(path):
    changed = document()
    at(changed, path)["surprise"] = 1
    with pytest.raises(BundleError, match="unknown key 'surprise'; allowed are"):
        parse(changed)


WRONG = (True, -1, 1.5, "", "x", [], {}, [[]], {"a": 1}, None)
FREE = (("name",), ("created_by",), ("inputs", 0, "name"), ("labels", 0), ("labels", 1), ("preprocess",), ("labels",))
"""Where some of `WRONG` are right; so they are in shapes, for numbers and as names of an exit's outputs."""


def may_be(path, value):
    if path in FREE or "shape" in path:
        return True
    old = at(document(), path)
    return (isinstance(old, float) and value in (-1, 1.5)) or (path[2:3] == ("outputs",) and value == "x")


@pytest.mark.parametrize("path", list(places(document())), ids=str)
def test_a_value_of_the_wrong_type_is_refused(path):
    for wrong in WRONG:
        if may_be(path, wrong):
            continue
        with pytest.raises(BundleError, match=r"net/manifest\.json: "):
            parse(replaced(path, wrong))


@pytest.mark.parametrize("number", [0, 2, "1", None, 1.5, True, 1.0])
def test_another_format_number_is_refused(number):
    with pytest.raises(BundleError, match="format"):
        parse(document() | {"format": number})


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../segment0.onnx", "a/b.onnx", "..", ".", "", ".hidden", "a\\b", "a\0b", "a\n", "C:x"]
)
@pytest.mark.parametrize("where", ["segments", "exits", "files"])
def test_a_file_name_that_leads_elsewhere_is_refused(name, where):
    changed = document()
    if where == "files":
        changed["files"][name] = changed["files"]["head0.onnx"]
    else:
        changed[where][0]["file"] = name
    with pytest.raises(BundleError, match=rf"{where}.*no absolute, parent or nested path"):
        parse(changed)


@pytest.mark.parametrize(
    "text",
    [
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b'{"format": Infinity}',
        b'{"format": 1e999}',
        b'{"format": 99999999999999999999}',
        b'{"format": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"format": 1',
        b"\xff\xfe\x00",
        b"",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_no_sound_json_is_refused(text):
    with pytest.raises(BundleError, match=r"net/manifest\.json: no valid JSON"):
        parse_manifest(text, "net/manifest.json")


def two_segments():
    changed = document()
    changed["segments"].append(
        {"file": "segment1.onnx", "inputs": ["logits"], "outputs": ["last"], "macs": 0, "parameters": 0}
    )
    changed["exits"].append({**document()["exits"][0], "segment": 1, "file": "head1.onnx", "inputs": ["last"]})
    changed["tensors"]["last"] = {"dtype": "float32", "shape": ["N", 2]}
    changed["files"] |= dict.fromkeys(("segment1.onnx", "head1.onnx"), document()["files"]["head0.onnx"])
    return changed | {"output": "last"}


def test_a_segment_need_not_have_an_exit():
    changed = two_segments()
    del changed["exits"][0]
    assert [e.segment for e in parse(changed).exits] == [1]


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (("exits", 0, "segment"), 1, "exits: must be in order"),
        (("exits", 1, "segment"), 0, "exits: must be in order"),
        (("exits", 1, "segment"), 2, "exits: must be in order"),
        (("segments", 0, "inputs"), ["last"], r"segments\[0\]: inputs: 'last' is made by no segment before"),
        (("exits", 0, "inputs"), ["last"], r"exits\[0\]: inputs: 'last' is made by no segment before"),
        (("tensors", "more"), {"dtype": "float32", "shape": None}, "tensors: must name all outputs .* see 'more'"),
        (("output",), "logits", "output: 'logits' is no output of the last segment"),
        (("segments", 1, "file"), "else.onnx", "files: 'else.onnx' is missing"),
        (("preprocess", "mean"), [0.0, 0.0], "mode L needs 1 numbers in mean and in std"),
        (("preprocess", "std"), [0.0], "no 0 in std"),
        (("preprocess", "mode"), "CMYK", "expected one of BGR, L, RGB"),
        (("preprocess", "size"), [28, 0], r"expected \[height, width\]"),
        (("files", "head0.onnx", "sha256"), HASH.upper(), "64 hexadecimal digits"),
        (("inputs", 0, "dtype"), "complex64", "expected one of bfloat16"),
    ],
)
def test_pieces_that_do_not_fit_together_are_refused(path, new, message):
    changed = two_segments()
    at(changed, path[:-1])[path[-1]] = new
    with pytest.raises(BundleError, match=message):
        parse(changed)
