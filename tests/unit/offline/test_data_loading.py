"""A user's files become samples as the model takes them; what is wrong with them is said with the file's name."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from edgeexit.bundle import Preprocess, Tensor
from edgeexit.errors import DataError, MissingExtra, OptionError
from edgeexit.offline.data import load_samples

IMAGE = (Tensor("image", "float32", ("N", 1, 2, 2)),)
TEXT = (Tensor("ids", "int64", ("N", "L")), Tensor("mask", "int64", ("N", "L")))
EVERY = slice(None)


def ready(count=6):
    """Images of 2 x 2: sample i has the values i, i, i, i + 0.5."""
    values = np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)
    values[:, 0, 1, 1] += 0.5
    return values


def all_of(samples, name="image"):
    return samples.read(np.arange(len(samples)))[name]


def save_png(path, value, size=(2, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


# --- arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_with_an_array_named_like_the_input_and_labels(tmp_path, save):
    save(tmp_path / "a.npz", image=ready(), labels=np.array([0, 1, 2, 0, 1, 2]), other=np.zeros(1))
    samples = load_samples(tmp_path / "a.npz", IMAGE)
    assert all_of(samples).tolist() == ready().tolist()
    assert samples.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert samples.preprocess is None


def test_the_only_array_beside_the_labels_is_the_input(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=ready(), y=np.zeros(6, np.uint8))
    samples = load_samples(tmp_path / "a.npz", IMAGE)
    assert all_of(samples).tolist() == ready().tolist()
    assert samples.labels.dtype == np.int64


def test_several_inputs_and_class_names(tmp_path):
    ids, mask = np.arange(6, dtype=np.int32).reshape(2, 3), np.ones((2, 3), np.int64)
    np.savez(tmp_path / "a.npz", ids=ids, mask=mask, y=[1, 0], class_names=["no", "yes"])
    samples = load_samples(tmp_path / "a.npz", TEXT)
    assert samples.read(np.array([1]))["ids"].tolist() == [[3, 4, 5]]
    assert samples.read(np.array([1]))["ids"].dtype == np.int64
    assert samples.class_names == ("no", "yes")


def test_a_single_array_file_with_labels_beside_it(tmp_path):
    np.save(tmp_path / "x.npy", ready(3))
    (tmp_path / "y.csv").write_text("label\nb\na\nb\n", encoding="utf-8")
    samples = load_samples(str(tmp_path / "x.npy"), IMAGE, labels=tmp_path / "y.csv")
    assert (samples.labels.tolist(), samples.class_names) == ([1, 0, 1], ("a", "b"))


def test_an_array_in_fortran_order_is_read_as_it_is(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(ready()))
    assert all_of(load_samples(tmp_path / "x.npy", IMAGE)).tolist() == ready().tolist()


def test_a_folder_with_one_array_for_each_input(tmp_path):
    np.save(tmp_path / "ids.npy", np.array([[1, 2], [3, 4]]))
    np.save(tmp_path / "mask.npy", np.array([[1, 1], [1, 0]]))
    np.save(tmp_path / "labels.npy", np.array([1, 0]))
    samples = load_samples(tmp_path, TEXT)
    assert samples.read(np.array([0]))["mask"].tolist() == [[1, 1]]
    assert samples.labels.tolist() == [1, 0]


def test_a_folder_with_one_array_of_any_name_for_one_input(tmp_path):
    np.save(tmp_path / "pictures.npy", ready(1))
    np.save(tmp_path / "labels.npy", np.array([[1, 0, 1]]))
    samples = load_samples(tmp_path, IMAGE)
    assert all_of(samples).tolist() == ready(1).tolist()
    assert samples.labels.tolist() == [[True, False, True]]


@pytest.mark.parametrize("batch_axis", [EVERY, None])
def test_a_folder_with_one_array_file_a_sample_in_the_order_of_their_numbers(tmp_path, batch_axis):
    for index in range(11):
        np.save(tmp_path / f"s{index}.npy", ready(11)[index][batch_axis])
    np.save(tmp_path / "labels.npy", np.arange(11) % 2)
    samples = load_samples(tmp_path, IMAGE)
    assert all_of(samples)[:, 0, 0, 0].tolist() == list(range(11))
    assert samples.labels.tolist() == [0, 1] * 5 + [0]


def test_array_files_in_a_folder_for_each_class(tmp_path):
    for index, group in enumerate(("left", "right", "left")):
        (tmp_path / group).mkdir(exist_ok=True)
        np.save(tmp_path / group / f"{index}.npy", ready()[index])
    samples = load_samples(tmp_path, IMAGE)
    assert all_of(samples)[:, 0, 0, 0].tolist() == [0.0, 2.0, 1.0]
    assert (samples.labels.tolist(), samples.class_names) == ([0, 0, 1], ("left", "right"))


def test_double_precision_is_rounded_to_what_the_model_takes(tmp_path):
    np.save(tmp_path / "x.npy", ready().astype(np.float64))
    assert all_of(load_samples(tmp_path / "x.npy", IMAGE)).dtype == np.float32


# --- images ------------------------------------------------------------------------------------------------------


def test_images_in_a_folder_for_each_class(tmp_path):
    save_png(tmp_path / "b" / "one.png", 51)
    save_png(tmp_path / "a" / "two.PNG", 255)
    (tmp_path / "a" / ".hidden").write_bytes(b"")
    (tmp_path / "readme.md").write_text("not a sample", encoding="utf-8")
    samples = load_samples(tmp_path, IMAGE)
    assert all_of(samples)[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.2])
    assert (samples.labels.tolist(), samples.class_names) == ([0, 1], ("a", "b"))
    assert samples.preprocess == Preprocess("L", (2, 2), "NCHW", 1 / 255, (0.0,), (1.0,))


def test_folders_named_by_numbers_are_the_classes_themselves(tmp_path):
    for number in (10, 2):
        save_png(tmp_path / str(number) / "x.png", number)
    samples = load_samples(tmp_path, IMAGE)
    assert (samples.labels.tolist(), samples.class_names) == ([2, 10], None)


def test_a_class_list_says_which_class_is_which(tmp_path):
    for name in ("cat", "dog"):
        save_png(tmp_path / name / "x.png", 1)
    (tmp_path / "classes.txt").write_text("dog\nfish\ncat\n", encoding="utf-8")
    samples = load_samples(tmp_path, IMAGE)
    assert (samples.labels.tolist(), samples.class_names) == ([2, 0], ("dog", "fish", "cat"))


def test_images_with_a_table_of_labels_in_its_order(tmp_path):
    save_png(tmp_path / "a.png", 0)
    save_png(tmp_path / "more" / "b.png", 255)
    (tmp_path / "labels.csv").write_text("file,label\nmore/b.png,7\na.png,3\n", encoding="utf-8")
    samples = load_samples(tmp_path, IMAGE)
    assert all_of(samples)[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.0])
    assert samples.labels.tolist() == [7, 3]


def test_images_with_several_labels_each(tmp_path):
    save_png(tmp_path / "a.png", 0)
    save_png(tmp_path / "b.png", 255)
    (tmp_path / "labels.csv").write_text("file,label\na.png,wet;cold\nb.png,\n", encoding="utf-8")
    samples = load_samples(tmp_path, IMAGE)
    assert samples.class_names == ("cold", "wet")
    assert samples.labels.tolist() == [[True, True], [False, False]]


def test_images_without_labels(tmp_path):
    save_png(tmp_path / "a.png", 0)
    samples = load_samples(tmp_path, IMAGE)
    assert (len(samples), samples.labels, samples.class_names) == (1, None, None)


def test_pixels_in_an_archive_are_prepared_like_image_files(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels)
    (tmp_path / "files").mkdir()
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "files" / f"{index}.png")
    preprocess = Preprocess("RGB", (2, 3), "NHWC", 0.5, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), "bicubic")
    inputs = (Tensor("image", "float32", ("N", 2, 3, 3)),)
    ours = load_samples(tmp_path / "a.npz", inputs, preprocess=preprocess)
    theirs = load_samples(tmp_path / "files", inputs, preprocess=preprocess)
    assert all_of(ours).tolist() == all_of(theirs).tolist()
    assert ours.preprocess == theirs.preprocess == preprocess


def test_grey_pixels_make_a_colour_input_of_another_size(tmp_path):
    np.save(tmp_path / "x.npy", np.full((2, 28, 28), 51, np.uint8))
    samples = load_samples(tmp_path / "x.npy", (Tensor("x", "float32", ("N", 3, 4, 4)),))
    assert all_of(samples, "x").tolist() == np.full((2, 3, 4, 4), np.float32(51) * np.float32(1 / 255)).tolist()


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 1), (1, 2, 2), (1, 2, 2, 1)])
def test_pixel_files_of_any_layout(tmp_path, shape):
    for index in range(2):
        np.save(tmp_path / f"{index}.npy", np.full(shape, 255 * index, np.uint8))
    assert all_of(load_samples(tmp_path, IMAGE))[:, 0, 1, 1].tolist() == pytest.approx([0.0, 1.0])


def test_a_model_that_takes_bytes_gets_them_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[[[1, 2], [3, 4]]]], np.uint8))
    samples = load_samples(tmp_path / "x.npy", (Tensor("x", "uint8", ("N", 1, 2, 2)),))
    assert all_of(samples, "x").tolist() == [[[[1, 2], [3, 4]]]]
    assert samples.preprocess is None


def test_a_model_that_takes_bytes_may_have_images_scaled(tmp_path):
    np.save(tmp_path / "x.npy", np.full((1, 8, 8), 9, np.uint8))
    preprocess = Preprocess("L", (2, 2), "NCHW", 1.0, (0.0,), (1.0,))
    samples = load_samples(tmp_path / "x.npy", (Tensor("x", "uint8", ("N", 1, 2, 2)),), preprocess=preprocess)
    assert all_of(samples, "x").dtype == np.uint8
    assert all_of(samples, "x").tolist() == [[[[9, 9], [9, 9]]]]


def test_ready_input_stays_as_it_is_beside_a_preprocessing_for_the_bundle(tmp_path):
    np.save(tmp_path / "x.npy", ready())
    preprocess = Preprocess("L", (2, 2), "NCHW", 0.5, (1.0,), (2.0,))
    samples = load_samples(tmp_path / "x.npy", IMAGE, preprocess=preprocess)
    assert all_of(samples).tolist() == ready().tolist()
    assert samples.preprocess == preprocess


def test_a_limit_takes_a_share_of_every_class(tmp_path):
    np.savez(tmp_path / "a.npz", image=ready(60), y=np.arange(60) % 3)
    samples = load_samples(tmp_path / "a.npz", IMAGE, limit=12, seed=1)
    again = load_samples(tmp_path / "a.npz", IMAGE, limit=12, seed=1)
    assert np.bincount(samples.labels).tolist() == [4, 4, 4]
    assert samples.sha256 == again.sha256
    assert samples.sha256 != load_samples(tmp_path / "a.npz", IMAGE, limit=12, seed=2).sha256


# --- what is refused ---------------------------------------------------------------------------------------------


def refused(path, message, inputs=IMAGE, **options):
    with pytest.raises(DataError, match=message) as caught:
        load_samples(path, inputs, **options)
    assert "\n" not in str(caught.value)


def test_what_does_not_exist_or_is_no_data(tmp_path):
    refused(tmp_path / "no", "no does not exist: give a .npz or .npy file, or a folder")
    (tmp_path / "x.txt").write_text("", encoding="utf-8")
    refused(tmp_path / "x.txt", "x.txt is neither: give a .npz")


def test_an_empty_folder(tmp_path):
    refused(tmp_path, r"holds no samples: looked for images .* found nothing")
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    refused(tmp_path, r"found \.txt")


@pytest.mark.parametrize("shape", [(6, 2, 2), (6, 1, 2, 3), (6, 4), (6, 1, 0, 2)])
def test_a_wrong_shape(tmp_path, shape):
    np.savez(tmp_path / "a.npz", image=np.zeros(shape, np.float32))
    refused(tmp_path / "a.npz", r"a.npz: input 'image' must have the shape \(S, 1, 2, 2\), not \(6, ")


def test_sizes_of_one_name_must_be_equal(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.zeros((2, 3), int), mask=np.zeros((2, 4), int))
    refused(tmp_path / "a.npz", r"input 'mask' must have the shape \(S, L\), not \(2, 4\)", TEXT)


def test_sizes_without_a_name_need_not_be_equal(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 4, 5), np.float32))
    assert len(load_samples(tmp_path / "x.npy", (Tensor("x", "float32", ("?", 3, "?", "?")),))) == 2


def test_different_numbers_of_samples(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.zeros((2, 3), int), mask=np.zeros((4, 3), int))
    refused(tmp_path / "a.npz", "different numbers of samples: {'ids': 2, 'mask': 4}", TEXT)


def test_more_or_fewer_labels_than_samples(tmp_path):
    np.savez(tmp_path / "a.npz", image=ready(), y=np.zeros(5, int))
    refused(tmp_path / "a.npz", "6 samples, but 5 labels")


def test_no_sample_at_all(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((0, 1, 2, 2), np.float32))
    refused(tmp_path / "x.npy", "x.npy holds no sample")


def test_numbers_of_another_kind(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 1, 2, 2), np.int32))
    refused(tmp_path / "x.npy", "input 'image' must be float32, not int32: convert it as the model was trained")


def test_bytes_for_a_model_that_takes_no_images(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 9), np.uint8))
    refused(tmp_path / "x.npy", "input 'x' must be float32, not uint8", (Tensor("x", "float32", ("N", 9)),))


def test_whole_numbers_that_the_model_cannot_hold(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[2**31 - 1], [2**31]]))
    samples = load_samples(tmp_path / "x.npy", (Tensor("x", "int32", ("N", 1)),))
    assert samples.read(np.array([0]))["x"].tolist() == [[2**31 - 1]]
    with pytest.raises(DataError, match="input 'x' holds numbers that int32 cannot hold, as int64"):
        samples.read(np.array([1]))


def test_arrays_of_other_names(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.zeros((2, 3), int), masks=np.zeros((2, 3), int))
    refused(tmp_path / "a.npz", "the model takes 'ids', 'mask', found 'ids', 'masks'", TEXT)
    np.save(tmp_path / "x.npy", np.zeros((2, 3), int))
    refused(tmp_path / "x.npy", "the model takes 'ids', 'mask', found one array", TEXT)


def test_two_arrays_of_labels(tmp_path):
    np.savez(tmp_path / "a.npz", image=ready(), y=np.zeros(6, int), labels=np.ones(6, int))
    refused(tmp_path / "a.npz", "holds both 'labels' and 'y'")


@pytest.mark.parametrize("early", [True, False])
def test_values_that_are_not_finite(tmp_path, early):
    values = ready()
    values[4, 0, 1, 0] = np.nan
    np.savez(tmp_path / "a.npz", image=values)
    samples = load_samples(tmp_path / "a.npz", IMAGE)
    assert len(samples.read(np.array([0, 1, 5]))["image"]) == 3
    with pytest.raises(DataError, match=r"a.npz\[4\] holds values that are not finite"):
        samples.sha256 if early else samples.read(np.array([3, 4]))


def test_values_whose_squares_are_too_large_are_finite_all_the_same(tmp_path):
    np.save(tmp_path / "x.npy", np.full((1, 1, 2, 2), 1e30, np.float32))
    assert all_of(load_samples(tmp_path / "x.npy", IMAGE)).max() == np.float32(1e30)


def test_array_files_of_mixed_sizes(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros((1, 2, 2), np.float32))
    np.save(tmp_path / "1.npy", np.zeros((1, 2, 3), np.float32))
    refused(tmp_path, r"1.npy has shape \(1, 2, 3\) and type float32, 0.npy has \(1, 2, 2\) and float32")


def test_a_file_that_is_no_image(tmp_path):
    (tmp_path / "x.png").write_text("hello", encoding="utf-8")
    refused(tmp_path, "x.png cannot be read as an image")


def test_an_image_whose_pixels_are_damaged_is_named_when_it_is_read(tmp_path):
    save_png(tmp_path / "good.png", 1)
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])
    samples = load_samples(tmp_path, IMAGE)
    assert samples.name(0).endswith("cut.png")
    assert samples.read(np.array([1]))["image"].shape == (1, 1, 2, 2)
    with pytest.raises(DataError, match=r"cut.png cannot be read as an image"):
        next(samples.batches(2))


def test_a_file_that_went_away(tmp_path):
    save_png(tmp_path / "x.png", 1)
    samples = load_samples(tmp_path, IMAGE)
    (tmp_path / "x.png").unlink()
    with pytest.raises(DataError, match=r"x.png cannot be read"):
        samples.sha256  # noqa: B018
    with pytest.raises(DataError, match=r"x.png cannot be read"):
        all_of(samples)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_leaves_the_folder(tmp_path, what):
    save_png(tmp_path / "outside" / "x.png", 1)
    (tmp_path / "data" / "a").mkdir(parents=True)
    outside = tmp_path / "outside"
    link = tmp_path / "data" / "a" / "x.png" if what == "file" else tmp_path / "data" / "b"
    link.symlink_to(outside / "x.png" if what == "file" else outside)
    refused(tmp_path / "data", "is a link that leaves the folder: put the file itself there")


def test_a_link_within_the_folder_is_followed(tmp_path):
    save_png(tmp_path / "a" / "x.png", 255)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y.png").symlink_to("../a/x.png")
    assert load_samples(tmp_path, IMAGE).labels.tolist() == [0, 1]


def test_a_pipe_among_the_samples(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    refused(tmp_path, "x.png is no plain file")


def test_folders_in_folders(tmp_path):
    save_png(tmp_path / "train" / "cat" / "x.png", 1)
    refused(tmp_path, "train has folders in it: samples lie in .* or one level below")


def test_images_beside_folders_of_classes(tmp_path):
    save_png(tmp_path / "cat" / "x.png", 1)
    save_png(tmp_path / "loose.png", 1)
    refused(tmp_path, "has sub-folders, and loose.png beside them")


def test_a_class_without_images(tmp_path):
    save_png(tmp_path / "cat" / "x.png", 1)
    (tmp_path / "dog").mkdir()
    refused(tmp_path, "dog holds no sample: each sub-folder is a class")


def test_images_beside_arrays(tmp_path):
    save_png(tmp_path / "x.png", 1)
    np.save(tmp_path / "x.npy", ready())
    refused(tmp_path, "holds images and .npy files")


def test_rows_without_images_and_images_without_rows(tmp_path):
    save_png(tmp_path / "a.png", 1)
    (tmp_path / "labels.csv").write_text("file,label\na.png,1\nb.png,0\n", encoding="utf-8")
    refused(tmp_path, r"labels.csv: 'b.png' is no sample in .* \(1 such rows\)")
    save_png(tmp_path / "b.png", 1)
    save_png(tmp_path / "c.png", 1)
    refused(tmp_path, r"labels.csv has no row for 'c.png' \(1 such files\)")


def test_labels_in_two_files(tmp_path):
    save_png(tmp_path / "a.png", 1)
    (tmp_path / "labels.csv").write_text("label\n1\n", encoding="utf-8")
    np.save(tmp_path / "labels.npy", np.array([1]))
    refused(tmp_path, "has both labels.csv and labels.npy")


def test_labels_of_images_from_a_file_elsewhere_come_before_those_beside_them(tmp_path):
    for name in ("a", "b"):
        save_png(tmp_path / "data" / f"{name}.png", 1)
    np.save(tmp_path / "data" / "labels.npy", np.array([0, 0]))
    np.save(tmp_path / "y.npy", np.array([4, 5]))
    assert load_samples(tmp_path / "data", IMAGE, labels=tmp_path / "y.npy").labels.tolist() == [4, 5]
    (tmp_path / "y.csv").write_text("label\n6\n7\n", encoding="utf-8")
    assert load_samples(tmp_path / "data", IMAGE, labels=tmp_path / "y.csv").labels.tolist() == [6, 7]


def test_a_file_of_labels_among_the_samples_is_no_sample(tmp_path):
    np.save(tmp_path / "x.npy", ready(1))
    np.save(tmp_path / "y.npy", np.array([3]))
    assert load_samples(tmp_path, IMAGE, labels=tmp_path / "y.npy").labels.tolist() == [3]
    (tmp_path / "x.npy").unlink()
    refused(tmp_path, "holds no samples beside the labels", labels=tmp_path / "y.npy")


def test_class_names_must_be_texts(tmp_path):
    np.savez(tmp_path / "a.npz", image=ready(), y=np.zeros(6, int), class_names=np.arange(3))
    refused(tmp_path / "a.npz", "class_names must be texts, one a class")


def test_an_input_without_a_file(tmp_path):
    np.save(tmp_path / "ids.npy", np.zeros((2, 3), int))
    refused(tmp_path, "the model takes 'ids', 'mask', found 'ids'", TEXT)


def test_labels_from_a_file_of_an_unknown_kind(tmp_path):
    np.save(tmp_path / "x.npy", ready())
    refused(tmp_path / "x.npy", "y.json is no file of labels", labels=tmp_path / "y.json")


def test_rows_of_arrays_have_no_files(tmp_path):
    np.save(tmp_path / "x.npy", ready(1))
    (tmp_path / "y.csv").write_text("file,label\na.png,1\n", encoding="utf-8")
    refused(tmp_path / "x.npy", "leave the column 'file' out", labels=tmp_path / "y.csv")


@pytest.mark.parametrize(("text", "message"), [("", "it is empty"), ("a\nb\na\n", "'a' stands there twice")])
def test_a_damaged_class_list(tmp_path, text, message):
    save_png(tmp_path / "a" / "x.png", 1)
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    refused(tmp_path, f"classes.txt must name each class once, .*: {message}")


def test_a_class_list_that_is_no_text(tmp_path):
    save_png(tmp_path / "a" / "x.png", 1)
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe")
    refused(tmp_path, r"classes.txt cannot be read as text \(UTF-8\)")


def test_a_folder_that_the_class_list_does_not_name(tmp_path):
    save_png(tmp_path / "bird" / "x.png", 1)
    (tmp_path / "classes.txt").write_text("cat\ndog\n", encoding="utf-8")
    refused(tmp_path, "'bird' is no known class; known are cat, dog")


def test_images_for_a_model_with_several_inputs(tmp_path):
    save_png(tmp_path / "x.png", 1)
    refused(tmp_path, "is for models with one input, and this one takes ids, mask", TEXT)
    preprocess = Preprocess("L", (2, 2), "NCHW", 1.0, (0.0,), (1.0,))
    refused(tmp_path, "a preprocessing is for models with one input", TEXT, preprocess=preprocess)


def test_images_for_a_model_that_takes_none(tmp_path):
    save_png(tmp_path / "x.png", 1)
    refused(tmp_path, "does not tell the size, the channels and the layout", (Tensor("x", "float32", ("N", 9)),))
    refused(tmp_path, "does not tell the size", (Tensor("x", "float32", ("N", 3, "H", "W")),))


def test_preprocessing_that_makes_something_else_than_the_model_takes(tmp_path):
    save_png(tmp_path / "x.png", 1)
    preprocess = Preprocess("RGB", (2, 2), "NCHW", 1.0, (0.0,) * 3, (1.0,) * 3)
    refused(
        tmp_path, r"makes images of shape \(N, 3, 2, 2\), input 'image' takes \(N, 1, 2, 2\)", preprocess=preprocess
    )


def test_pixels_that_are_no_images(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 2, 5, 5), np.uint8))
    refused(tmp_path / "x.npy", r"images must have the shape \(S, H, W\).* not \(4, 2, 5, 5\)")


def test_a_limit_below_one(tmp_path):
    np.save(tmp_path / "x.npy", ready())
    with pytest.raises(OptionError, match="limit must be 1 sample or more, not 0"):
        load_samples(tmp_path / "x.npy", IMAGE, limit=0)


def test_without_pillow_images_say_what_to_install(tmp_path, monkeypatch):
    save_png(tmp_path / "x.png", 1)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgeexit\[images\]'"):
        load_samples(tmp_path, IMAGE)
