"""preprocess.json is read strictly; without it the input's shape says how images become the input."""

import json

import pytest

from edgeexit.bundle import Preprocess, Tensor
from edgeexit.errors import DataError
from edgeexit.offline.data import load_preprocess
from edgeexit.offline.data.preprocess import check_preprocess, default_preprocess

DOCUMENT = {"mode": "BGR", "size": [4, 6], "layout": "NHWC", "scale": 0.5, "mean": [1, 2, 3], "std": [1, 2, 4]}


def load(folder, text):
    (folder / "preprocess.json").write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return load_preprocess(folder / "preprocess.json")


def test_the_keys_of_the_manifest(tmp_path):
    plain = Preprocess("BGR", (4, 6), "NHWC", 0.5, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0))
    assert load(tmp_path, DOCUMENT) == plain
    assert (plain.resize, plain.shorter_side) == ("bilinear", None)


def test_how_images_are_scaled_may_be_said(tmp_path):
    record = load(tmp_path, {**DOCUMENT, "resize": "bicubic", "shorter_side": 8})
    assert (record.resize, record.shorter_side) == ("bicubic", 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 3}, "unknown key 'crop'; allowed are mode, size, layout, scale, mean, std, resize, shorter_side"),
        ({"resize": "magic"}, "resize: expected one of bicubic, bilinear, box, hamming, lanczos, nearest"),
        ({"shorter_side": 5}, "shorter_side: expected 6 pixels or more"),
        ({"std": [1, 0, 1]}, "mode BGR needs 3 numbers in mean and in std, and no 0 in std"),
        ({"size": [0, 4]}, r"size: expected \[height, width\] in pixels, found \[0, 4\]; correct it"),
    ],
)
def test_impossible_values_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=f"preprocess.json.*{message}"):
        load(tmp_path, {**DOCUMENT, **change})


def test_a_missing_key_a_damaged_file_and_none(tmp_path):
    with pytest.raises(DataError, match="the key 'mean' is missing; correct the file"):
        load(tmp_path, {key: value for key, value in DOCUMENT.items() if key != "mean"})
    with pytest.raises(DataError, match="no valid JSON"):
        load(tmp_path, "{")
    with pytest.raises(DataError, match=r"no.json cannot be read: No such file"):
        load_preprocess(tmp_path / "no.json")


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        (("N", 3, 5, 7), "float32", Preprocess("RGB", (5, 7), "NCHW", 1 / 255, (0.0,) * 3, (1.0,) * 3)),
        ((1, 5, 7, 1), "float16", Preprocess("L", (5, 7), "NHWC", 1 / 255, (0.0,), (1.0,))),
        (("N", 1, 28, 1), "float32", Preprocess("L", (28, 1), "NCHW", 1 / 255, (0.0,), (1.0,))),
        (("N", 5, 7, 3), "uint8", Preprocess("RGB", (5, 7), "NHWC", 1.0, (0.0,) * 3, (1.0,) * 3)),
    ],
)
def test_a_default_is_derived_from_the_shape(shape, dtype, expected):
    assert default_preprocess(Tensor("x", dtype, shape)) == expected


@pytest.mark.parametrize("shape", [None, ("N", 3), ("N", 3, "H", 224), ("N", 4, 8, 8), ("N", 3, 8, 8, 8)])
def test_other_shapes_need_a_file(shape):
    with pytest.raises(DataError, match=r"input 'x' of shape .* say them in a preprocess.json"):
        default_preprocess(Tensor("x", "float32", shape))


@pytest.mark.parametrize("shape", [("N", 4, 6, 3), ("N", "?", "W", 3), None])
def test_the_same_and_open_sizes_fit(tmp_path, shape):
    check_preprocess(load(tmp_path, DOCUMENT), Tensor("x", "float32", shape))


@pytest.mark.parametrize("shape", [("N", 3, 4, 6), ("N", 4, 6, 1), ("N", 72), ("N", 4, 6)])
def test_other_shapes_do_not_fit(tmp_path, shape):
    with pytest.raises(DataError, match=r"makes images of shape \(N, 4, 6, 3\), input 'x' takes"):
        check_preprocess(load(tmp_path, DOCUMENT), Tensor("x", "float32", shape))
