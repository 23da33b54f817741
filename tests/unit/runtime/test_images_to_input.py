"""Images become input by one function, on the device and before; expected values are worked by hand."""

import sys

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import images, make_bundle

from edgeexit.bundle import Preprocess, Tensor
from edgeexit.errors import InputError, MissingExtra
from edgeexit.runtime.inputs import InputCheck
from edgeexit.runtime.samples import images_to_input, load_samples, pixels_to_input, read_image

GREY = Preprocess("L", (2, 2), "NCHW", 1.0, (0.0,), (1.0,))
PIXEL = np.array([[[[1, 2, 3]]]], np.uint8)


def colour(mode="RGB", layout="NHWC", mean=(0.0,) * 3, std=(1.0,) * 3, dtype="float32"):
    return images_to_input(PIXEL, Preprocess(mode, (1, 1), layout, 2.0, mean, std), dtype)


def test_scale_mean_and_std_are_applied_channel_by_channel():
    assert colour(mean=(1.0, 1.0, 2.0), std=(1.0, 2.0, 4.0)).tolist() == [[[[1.0, 1.5, 1.0]]]]


def test_blue_comes_first_where_the_network_was_trained_so():
    assert colour("BGR").tolist() == [[[[6.0, 4.0, 2.0]]]]
    assert colour("BGR", "NCHW", mean=(6.0, 0.0, 0.0)).tolist() == [[[[0.0]], [[4.0]], [[2.0]]]]


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64", "int32"])
def test_the_input_has_the_type_of_the_network(dtype):
    assert colour(dtype=dtype).dtype == np.dtype(dtype)
    assert colour(dtype=dtype).tolist() == [[[[2, 4, 6]]]]


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 1), (1, 1, 2, 2)])
def test_channels_may_stand_first_last_or_nowhere(shape):
    pixels = np.array([1, 2, 3, 4], np.uint8).reshape(shape)
    assert images_to_input(pixels, GREY).tolist() == [[[[1.0, 2.0], [3.0, 4.0]]]]


def test_grey_becomes_colour_and_colour_grey():
    made = images_to_input(
        np.full((1, 1, 1), 9, np.uint8), Preprocess("RGB", (1, 1), "NHWC", 1.0, (0.0,) * 3, (1.0,) * 3)
    )
    assert made.tolist() == [[[[9.0, 9.0, 9.0]]]]
    grey = Preprocess("L", (1, 1), "NHWC", 1.0, (0.0,), (1.0,))
    assert images_to_input(np.full((1, 1, 1, 3), 9, np.uint8), grey).tolist() == [[[[9.0]]]]


def test_grey_scaled_and_then_made_colour_is_colour_scaled():
    noise = np.random.default_rng(1).integers(0, 256, (1, 9, 7), dtype=np.uint8)
    preprocess = Preprocess("RGB", (16, 5), "NHWC", 1.0, (0.0,) * 3, (1.0,) * 3, "bicubic")
    three = np.repeat(noise[..., np.newaxis], 3, axis=3)
    assert images_to_input(noise, preprocess).tolist() == images_to_input(three, preprocess).tolist()


def scaled(pixels, size, **more):
    return images_to_input(
        np.asarray(pixels, np.uint8)[np.newaxis], Preprocess("L", size, "NCHW", 1.0, (0.0,), (1.0,), **more)
    )


def test_the_way_to_scale_is_the_one_asked_for():
    corner = [[0, 100], [0, 0]]
    assert scaled(corner, (1, 1), resize="box").tolist() == [[[[25.0]]]]
    assert scaled(corner, (4, 4), resize="nearest")[0, 0].tolist() == [[0, 0, 100, 100]] * 2 + [[0] * 4] * 2


def test_with_a_shorter_side_proportions_are_kept_and_the_middle_is_cut_out():
    stripes = [[10, 20, 30, 40, 50, 60]] * 2  # 2 high, 6 wide
    assert scaled(stripes, (2, 2), shorter_side=2)[0, 0].tolist() == [[30.0, 40.0]] * 2
    assert scaled(np.transpose(stripes), (2, 2), shorter_side=2)[0, 0].tolist() == [[30.0] * 2, [40.0] * 2]
    assert scaled(stripes, (1, 4), shorter_side=4, resize="nearest")[0, 0].tolist() == [[30.0, 30.0, 40.0, 40.0]]


def test_a_file_and_its_pixels_give_the_same(tmp_path):
    noise = np.random.default_rng(2).integers(0, 256, (11, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    preprocess = Preprocess("BGR", (4, 4), "NCHW", 1 / 255, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "lanczos", 5)
    from_file = images_to_input(read_image(tmp_path / "x.png", preprocess)[np.newaxis], preprocess)
    assert from_file.tolist() == images_to_input(noise[np.newaxis], preprocess).tolist()


@pytest.mark.parametrize("pixels", [np.zeros((2, 2)), np.zeros((1, 2, 5, 5), np.uint8), np.zeros((1, 0, 2), np.uint8)])
def test_what_is_no_image_is_refused(pixels):
    with pytest.raises(InputError, match=r"images must be uint8 of shape \(N, H, W\)"):
        images_to_input(pixels, GREY)


def test_images_of_the_right_size_need_no_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert images_to_input(np.zeros((1, 2, 2), np.uint8), GREY).shape == (1, 1, 2, 2)
    with pytest.raises(MissingExtra, match=r"images of 3 x 3 pixels must be scaled or converted, which needs Pillow"):
        images_to_input(np.zeros((1, 3, 3), np.uint8), GREY)


# --- edgeexit run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"), rules=None)


def values(samples):
    return np.concatenate([sample.inputs["image"] for sample in samples]).tolist()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_pixels_in_files_of_arrays_are_prepared_as_the_manifest_says(tiny, tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    np.save(path, images()[0]) if suffix == "npy" else np.savez(path, images()[0])
    assert values(load_samples(tiny, path)) == pixels_to_input(tiny, images()[0]).tolist()


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1), (1, 2, 2, 1)])
def test_an_array_of_pixels_without_a_batch_axis_is_one_image(tiny, tmp_path, shape):
    np.save(tmp_path / "x.npy", images()[0][0].reshape(shape))
    assert values(load_samples(tiny, tmp_path / "x.npy")) == [[[[1.0, 0.0], [0.0, 0.0]]]]


def test_bytes_that_are_no_images_are_refused_with_the_file(tiny, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 5, 5, 5), np.uint8))
    with pytest.raises(InputError, match=r"x.npy: images must be uint8 of shape"):
        load_samples(tiny, tmp_path / "x.npy")


def test_sizes_without_a_name_need_not_be_equal():
    class Open:
        name = "open"
        inputs = (Tensor("x", "float32", ("?", 3, "?", "?")),)

    assert InputCheck(Open).check(np.zeros((1, 3, 4, 5), np.float32), samples=1)["x"].shape == (1, 3, 4, 5)
