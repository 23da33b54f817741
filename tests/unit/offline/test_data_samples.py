"""Samples are read lazily, and their hash stands for what is read."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from edgeexit.bundle import Preprocess, Tensor
from edgeexit.errors import DataError
from edgeexit.offline.data import load_samples, samples_of_arrays

IMAGE = (Tensor("image", "float32", ("N", 1, 2, 2)),)
PREPROCESS = Preprocess("L", (2, 2), "NCHW", 0.5, (0.0,), (1.0,))


def values(count=5):
    return np.arange(count * 4, dtype=np.float32).reshape(count, 1, 2, 2)


def test_batches_come_in_order_and_the_last_may_be_smaller():
    batches = [batch["x"] for batch in samples_of_arrays({"x": values()}).batches(2)]
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert np.concatenate(batches).tolist() == values().tolist()


def test_taking_twice_is_taking_the_taken():
    samples = samples_of_arrays({"x": values()}, np.arange(5)).take(np.array([4, 2, 0])).take(np.array([1, 0]))
    assert samples.labels.tolist() == [2, 4]
    assert samples.read(np.array([0]))["x"].tolist() == values()[2:3].tolist()
    assert samples.name(1) == "the arrays given[4]"


def test_labels_of_another_number_are_refused():
    with pytest.raises(DataError, match="5 samples have 4 labels"):
        samples_of_arrays({"x": values()}, np.arange(4))


def save(folder, pixels, name="x.npz", **more):
    folder.mkdir(exist_ok=True)
    np.savez(folder / name, image=pixels, **more)
    return load_samples(folder / name, IMAGE)


def test_the_hash_does_not_depend_on_the_place(tmp_path):
    first = save(tmp_path / "a", values(), labels=np.arange(5))
    moved = save(tmp_path / "b", values(), "other.npz", y=np.arange(5, dtype=np.uint8))
    assert first.sha256 == moved.sha256
    assert first.sha256 == samples_of_arrays({"image": values()}, np.arange(5)).sha256


def test_the_hash_of_images_does_not_depend_on_their_names(tmp_path):
    for folder, name in (("a", "x"), ("b", "y")):
        (tmp_path / folder / "cat").mkdir(parents=True)
        Image.new("L", (2, 2), 7).save(tmp_path / folder / "cat" / f"{name}.png")
    assert load_samples(tmp_path / "a", IMAGE).sha256 == load_samples(tmp_path / "b", IMAGE).sha256


def test_the_hash_depends_on_all_that_is_read(tmp_path):
    changed = values()
    changed[3, 0, 1, 1] += 1
    pixels = np.zeros((5, 2, 2), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    hashes = [
        save(tmp_path, values()).sha256,
        save(tmp_path, changed).sha256,
        save(tmp_path, values()[::-1]).sha256,
        save(tmp_path, values(), labels=np.arange(5)).sha256,
        save(tmp_path, values(), labels=np.arange(5)[::-1]).sha256,
        save(tmp_path, values(), labels=np.eye(5, dtype=bool)).sha256,
        save(tmp_path, values(), labels=np.arange(5), class_names=list("abcde")).sha256,
        save(tmp_path, values()).take(np.arange(4)).sha256,
        load_samples(tmp_path / "pixels.npy", IMAGE).sha256,
        load_samples(tmp_path / "pixels.npy", IMAGE, preprocess=PREPROCESS).sha256,
    ]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("save_array", [np.savez, np.savez_compressed])
def test_a_large_archive_is_never_in_memory(tmp_path, save_array):
    pixels = np.zeros((500, 3, 64, 64), np.float32)
    pixels[:, 0, 0, 0] = np.arange(500)
    save_array(tmp_path / "x.npz", image=pixels)
    total = pixels.nbytes
    del pixels
    tracemalloc.start()
    try:
        samples = load_samples(tmp_path / "x.npz", (Tensor("image", "float32", ("N", 3, 64, 64)),))
        assert samples.sha256
        assert sum(float(batch["image"].sum()) for batch in samples.batches(16)) == 124_750.0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < total / 2  # of 24.6 MB; chunks of 4.2 MB are hashed
