"""Samples from files; what is wrong with a file is said with its name."""

import io
import sys
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import Image
from tiny_bundle import make_bundle, network_input

from edgeexit.bundle import Preprocess
from edgeexit.errors import DataError, InputError, MissingExtra
from edgeexit.runtime.samples import load_image, load_samples, pixels_to_input


class FakeBundle:
    """As much of a bundle as reading samples needs."""

    name = "fake"

    def __init__(self, preprocess, *tensors):
        self.preprocess = preprocess
        self.inputs = tensors


class FakeTensor:
    dtype = "float32"

    def __init__(self, name, *shape):
        self.name = name
        self.shape = shape


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"), rules=None)


COLOUR = FakeBundle(
    Preprocess("RGB", (2, 3), "NCHW", 0.5, (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)), FakeTensor("image", "N", 3, 2, 3)
)


def values(samples):
    return [sample.inputs["image"].tolist() for sample in samples]


def test_a_batch_is_taken_apart_in_order(tiny, tmp_path):
    np.save(tmp_path / "batch.npy", network_input())
    samples = list(load_samples(tiny, tmp_path / "batch.npy"))
    assert [sample.name for sample in samples] == [f"{tmp_path / 'batch.npy'}[{index}]" for index in range(9)]
    assert values(samples) == network_input()[:, np.newaxis].tolist()


def test_an_array_without_a_batch_axis_is_one_sample(tiny, tmp_path):
    np.save(tmp_path / "one.npy", network_input()[4])
    assert values(load_samples(tiny, str(tmp_path / "one.npy"))) == [network_input()[4:5].tolist()]


def test_of_several_arrays_the_one_named_like_the_input_is_taken(tiny, tmp_path):
    np.savez(tmp_path / "two.npz", labels=np.arange(3), image=network_input()[:3])
    assert len(list(load_samples(tiny, tmp_path / "two.npz"))) == 3


def test_several_inputs_are_read_by_name(tmp_path):
    bundle = FakeBundle(None, FakeTensor("ids", "N", 4), FakeTensor("mask", "N", 4))
    np.savez(tmp_path / "text.npz", ids=np.zeros((2, 4)), mask=np.ones((2, 4)))
    samples = list(load_samples(bundle, tmp_path / "text.npz"))
    assert [sample.inputs["mask"].tolist() for sample in samples] == [[[1.0] * 4]] * 2


def test_inputs_with_different_numbers_of_samples_are_refused(tmp_path):
    bundle = FakeBundle(None, FakeTensor("ids", "N", 4), FakeTensor("mask", "N", 4))
    np.savez(tmp_path / "text.npz", ids=np.zeros((2, 4)), mask=np.ones((3, 4)))
    with pytest.raises(InputError, match=r"text.npz: the inputs have different numbers of samples: 2, 3"):
        load_samples(bundle, tmp_path / "text.npz")


def test_a_single_array_is_not_enough_for_two_inputs(tmp_path):
    np.save(tmp_path / "ids.npy", np.zeros((2, 4)))
    bundle = FakeBundle(None, FakeTensor("ids", "N", 4), FakeTensor("mask", "N", 4))
    with pytest.raises(InputError, match=r"ids.npy: the bundle takes 'ids', 'mask'"):
        load_samples(bundle, tmp_path / "ids.npy")


def test_arrays_of_other_names_are_refused(tiny, tmp_path):
    np.savez(tmp_path / "other.npz", a=network_input(), b=network_input())
    with pytest.raises(InputError, match=r"other.npz: the bundle takes 'image', the file holds 'a', 'b'"):
        load_samples(tiny, tmp_path / "other.npz")


def test_a_wrong_number_of_axes_is_refused(tiny, tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(InputError, match=r"flat.npy: input 'image' must have the shape \(N, 1, 2, 2\), not \(2, 2\)"):
        load_samples(tiny, tmp_path / "flat.npy")


def test_a_single_number_is_refused(tiny, tmp_path):
    np.save(tmp_path / "number.npy", np.float32(3))
    with pytest.raises(InputError, match=r"number.npy: .* not \(\)"):
        load_samples(tiny, tmp_path / "number.npy")


def test_pickled_objects_are_never_loaded(tiny, tmp_path):
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "object.npz", image=np.array([{}], dtype=object))
    for name in ("object.npy", "object.npz"):
        with pytest.raises(DataError, match=name):
            load_samples(tiny, tmp_path / name)


def header(shape):
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_a_header_that_promises_too_much_is_refused(tiny, tmp_path):
    (tmp_path / "bomb.npy").write_bytes(header((10**12, 1, 2, 2)))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("image.npy", header((10**12, 1, 2, 2)))
    for name in ("bomb.npy", "bomb.npz"):
        with pytest.raises(DataError, match=name):
            load_samples(tiny, tmp_path / name)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kept", [0, 1, 5, 40, 130, -1])
def test_a_truncated_array_file_is_refused(tiny, tmp_path, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    if suffix == ".npy":
        np.save(path, network_input())
    else:
        np.savez(path, image=network_input())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="cut"):
        load_samples(tiny, path)


def test_a_changed_byte_in_an_archive_is_noticed(tiny, tmp_path):
    path = tmp_path / "changed.npz"
    np.savez(path, image=network_input())
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="changed"):
        load_samples(tiny, path)


def test_an_image_is_scaled_and_normalised_as_the_manifest_says(tmp_path):
    Image.new("RGB", (30, 20), (20, 60, 100)).save(tmp_path / "plain.png")
    image = load_image(COLOUR, tmp_path / "plain.png")
    assert image.dtype == np.float32
    assert image.tolist() == [[[[0.0] * 3] * 2, [[5.0] * 3] * 2, [[5.0] * 3] * 2]]


def test_channels_last_is_kept_where_the_manifest_says_so():
    bundle = FakeBundle(
        Preprocess("RGB", (1, 1), "NHWC", 1.0, (0.0,) * 3, (1.0,) * 3), FakeTensor("image", "N", 1, 1, 3)
    )
    assert pixels_to_input(bundle, np.array([[[[1, 2, 3]]]], np.uint8)).tolist() == [[[[1.0, 2.0, 3.0]]]]


def test_height_comes_before_width(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[1, 2] = (100, 100, 100)
    Image.fromarray(pixels).save(tmp_path / "corner.png")
    assert load_image(COLOUR, tmp_path / "corner.png")[0, 0].tolist() == [[-10.0] * 3, [-10.0, -10.0, 40.0]]


def test_a_photograph_is_turned_upright(tmp_path):
    picture = Image.fromarray(np.array([[255, 0], [0, 0]], np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # as it stands, the top of the scene is on the right
    picture.save(tmp_path / "turned.png", exif=exif)
    bundle = FakeBundle(Preprocess("L", (2, 2), "NCHW", 1.0, (0.0,), (1.0,)), FakeTensor("image", "N", 1, 2, 2))
    assert load_image(bundle, tmp_path / "turned.png")[0, 0].tolist() == [[0.0, 255.0], [0.0, 0.0]]


def test_an_image_with_more_than_8_bits_is_refused_not_clipped(tiny, tmp_path):
    Image.fromarray(np.full((2, 2), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep.png has more than 8 bits a channel"):
        load_samples(tiny, tmp_path / "deep.png")


@pytest.mark.parametrize("kept", [0, 4, 30, 500])
def test_a_truncated_image_is_refused(tiny, tmp_path, kept):
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut.png cannot be read as an image"):
        load_samples(tiny, path)


def test_an_image_for_a_bundle_without_preprocessing_is_refused(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "grey.png")
    bundle = FakeBundle(None, FakeTensor("image", "N", 1, 2, 2))
    with pytest.raises(InputError, match=r"grey.png: bundle 'fake' does not say how an image becomes its input"):
        load_samples(bundle, tmp_path / "grey.png")


def test_without_pillow_an_image_says_what_to_install(tiny, tmp_path, monkeypatch):
    Image.new("L", (2, 2)).save(tmp_path / "grey.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgeexit\[images\]'"):
        load_samples(tiny, tmp_path / "grey.png")


@pytest.mark.parametrize("pixels", [np.zeros((1, 3, 3), np.uint8), np.zeros((1, 2, 2), np.int64)])
def test_pixels_of_another_size_or_type_are_refused(tiny, pixels):
    with pytest.raises(InputError, match="takes images of 2 x 2 pixels with 1 channels as uint8"):
        pixels_to_input(tiny, pixels)
