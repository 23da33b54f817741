"""Samples and models that cannot be prepared: one line that says why, and nothing half-written."""

import digits_network
import numpy as np
import pytest
from models import save
from onnx import helper

from edgeexit.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return digits_network.write_model(tmp_path_factory.mktemp("model") / "digits.onnx")


def prepare(model, data, out, *more):
    return main(["prepare", str(model), "--data", str(data), "-o", str(out), *map(str, more)])


def save_data(folder, **changes):
    """A file of samples with something wrong; `changes` take the arrays there are."""
    arrays = dict(np.load(digits_network.write_arrays(folder / "good.npz")))
    (folder / "good.npz").unlink()
    np.savez(folder / "bad.npz", **{name: change(arrays[name]) for name, change in {**SAME, **changes}.items()})
    return folder / "bad.npz"


SAME = {"image": lambda image: image, "labels": lambda labels: labels}


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"image": lambda image: image[..., :7]}, "(1200, 1, 8, 7)"),
        ({"labels": lambda labels: labels + 1}, "has label 10, the model has the classes 0 to 9"),
        ({"labels": lambda labels: labels * 0}, "all 1200 samples are of one class"),
        ({name: lambda array: array[:300] for name in SAME}, "300 samples are too few"),
        ({"image": lambda image: np.where(image > 0.93, np.nan, image)}, "not finite"),
    ],
    ids=["wrong shape", "label out of range", "one class", "too few", "not a number"],
)
def test_bad_data_is_one_line_and_leaves_nothing(model, tmp_path, changes, answer, capsys):
    data, out = save_data(tmp_path, **changes), tmp_path / "new" / "bundle"
    assert prepare(model, data, out) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert answer in error
    assert not out.exists()


@pytest.mark.parametrize(
    "changes",
    [{"labels": lambda labels: (labels + 1) % 10}, {"image": lambda image: 1e-3 * image}],
    ids=["labels in another order", "another scaling"],
)
def test_labels_or_scaling_that_are_not_the_model_s_stop_before_anything_is_learnt(
    model, tmp_path, changes, monkeypatch, capsys
):
    monkeypatch.delattr("edgeexit.offline.preparing.building.fit_heads")
    data, out = save_data(tmp_path, **changes), tmp_path / "bundle"
    assert prepare(model, data, out) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("edgeexit: error: the full network is right for ")
    assert "the labels or the preprocessing are not those of the model" in error
    assert "--against full" in error
    assert not out.exists()


def test_a_picture_that_is_none_is_named(model, tmp_path, capsys):
    copy = digits_network.write_images(tmp_path / "pictures", 700)
    bad = sorted((copy / "digit5").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:50])
    assert prepare(model, copy, tmp_path / "bundle") == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"edgeexit: error: {bad} cannot be read as an image (")
    assert error.endswith("): mend or remove it")
    assert not (tmp_path / "bundle").exists()


def test_a_model_that_cannot_be_cut_is_told_why(tmp_path, capsys):
    arrays = digits_network.write_arrays(tmp_path / "digits.npz")
    weights = {"w": np.zeros((64, 10), np.float32)}
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["scores"])]
    model = save(tmp_path / "flat.onnx", nodes, {"image": ["N", 1, 8, 8]}, {"scores": ["N", 10]}, weights)
    assert prepare(model, arrays, tmp_path / "bundle") == 3
    assert "the model cannot be cut: " in capsys.readouterr().err
