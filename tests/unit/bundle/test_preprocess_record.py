"""The record of how images become input: in manifests of every age."""

import pytest

from edgeexit.bundle.preprocess import Preprocess, preprocess_json, read_preprocess
from edgeexit.bundle.strict_json import JsonNode
from edgeexit.errors import BundleError

OLD = {"mode": "L", "size": [2, 3], "layout": "NCHW", "scale": 0.5, "mean": [0.0], "std": [1.0]}


def read(document):
    return read_preprocess(JsonNode(document, "manifest.json"))


def test_a_record_without_the_newer_keys_is_read_and_written_as_it_was():
    assert read(OLD) == Preprocess("L", (2, 3), "NCHW", 0.5, (0.0,), (1.0,), "bilinear", None)
    assert preprocess_json(read(OLD)) == OLD
    assert list(preprocess_json(read(OLD))) == list(OLD)


@pytest.mark.parametrize("more", [{"resize": "bicubic"}, {"shorter_side": 3}, {"resize": "box", "shorter_side": 9}])
def test_the_newer_keys_are_kept(more):
    assert preprocess_json(read({**OLD, **more})) == {**OLD, **more}


@pytest.mark.parametrize("key", list(OLD))
def test_every_other_key_is_needed(key):
    with pytest.raises(BundleError, match=f"the key '{key}' is missing"):
        read({name: value for name, value in OLD.items() if name != key})


@pytest.mark.parametrize("value", [2, -3, 3.5, True, "3"])
def test_the_shorter_side_must_hold_the_size(value):
    with pytest.raises(BundleError, match=r"manifest.json: shorter_side: "):
        read({**OLD, "shorter_side": value})
