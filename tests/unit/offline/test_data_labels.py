"""Labels are classes or sets of labels, and must fit the model."""

import numpy as np
import pytest

from edgeexit.errors import DataError
from edgeexit.offline.data import check_labels, samples_of_arrays
from edgeexit.offline.data.label_table import read_label_table
from edgeexit.offline.data.labels import labels_of_array


def table(folder, text, names=None):
    path = folder / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_label_table(path, names)


def labelled(labels, names=None):
    labels = np.asarray(labels)
    return samples_of_arrays({"x": np.zeros((len(labels), 2), np.float32)}, labels, class_names=names)


# --- arrays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [[2, 0], [[2], [0]], np.array([2, 0], np.uint8)])
def test_whole_numbers_are_classes(array):
    assert labels_of_array(np.asarray(array), "y").values.tolist() == [2, 0]


def test_texts_are_class_names_in_the_order_of_the_alphabet():
    labels = labels_of_array(np.array(["pear", "apple", "pear"]), "y")
    assert (labels.values.tolist(), labels.class_names) == ([1, 0, 1], ("apple", "pear"))


def test_rows_of_0_and_1_are_sets_of_labels():
    labels = labels_of_array(np.array([[0, 1], [1, 1]]), "y", ("a", "b"))
    assert labels.values.dtype == np.bool_
    assert labels.values.tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([0.5, 1.0], r"y: labels must be whole numbers \(S,\).* not float64 of shape \(2,\)"),
        ([[0, 2], [1, 1]], r"labels must be .* not int64 of shape \(2, 2\)"),
        ([[[0]]], "labels must be"),
        ([0, -1], "y: sample 1 has label -1: classes count from 0"),
        ([0, 3], "y: sample 1 has label 3, and 3 class names are known"),
        ([[0, 1]], "y: 2 labels a sample, but 3 class names are known"),
        (["a", "x"], "y: 'x' is no known class; known are a, b, c"),
        (["a", ""], "y: sample 1 has no label"),
    ],
)
def test_impossible_labels_are_refused(array, message):
    with pytest.raises(DataError, match=message):
        labels_of_array(np.asarray(array), "y", ("a", "b", "c"))


# --- tables ------------------------------------------------------------------------------------------------------


def test_a_table_of_files_and_classes(tmp_path):
    found = table(tmp_path, '\ufefffile,label\n a.png , 2\n\n"b,c.png",0\n')
    assert found.files == ("a.png", "b,c.png")
    assert (found.labels.values.tolist(), found.labels.class_names) == ([2, 0], None)


def test_a_column_of_0_and_1_for_each_label(tmp_path):
    found = table(tmp_path, "file,wet,cold\na.png,1,0\nb.png,1,1\n")
    assert found.labels.class_names == ("wet", "cold")
    assert found.labels.values.tolist() == [[True, False], [True, True]]


def test_columns_are_brought_into_the_order_of_the_model(tmp_path):
    found = table(tmp_path, "file,wet,cold\na.png,1,0\nb.png,1,1\n", ("cold", "hot", "wet"))
    assert found.labels.values.tolist() == [[False, False, True], [True, False, True]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label,size\na.png,1,3\n", "unknown column 'size': beside 'label' there can be 'file' alone"),
        ("file,class\na.png,cat\n", "unknown column 'class': row 2 holds 'cat'"),
        ("file\na.png\n", "has no labels: it needs a column 'label'"),
        ("file,label\n", "holds no rows"),
        ("", "holds no rows"),
        ("file,file,label\na,b,1\n", "the columns 'file', 'file', 'label' need names of their own"),
        ("file,\na,1\n", "need names of their own"),
        ("file,label\na.png\n", "row 2 has 1 entries, the first line names 2 columns"),
        ("file,label\na.png,1,2\n", "row 2 has 3 entries"),
        ("file,label\na.png,1\na.png,2\n", "row 3: 'a.png' stands there twice"),
        ("file,label\n./a.png,1\na.png,2\n", "row 3: 'a.png' stands there twice"),
        ("file,label\n../a.png,1\n", "row 2: '../a.png' is no file within the folder"),
        ("file,label\n/etc/passwd,1\n", "row 2: '/etc/passwd' is no file within the folder"),
        ("file,label\n,1\n", "row 2: '' is no file within the folder"),
        ("file,label\na.png,\nb.png,1\n", "row 2 has no label"),
        ("label\n;\n", "no sample has a label"),
        ('file,label\n"a.png,1\n', "cannot be read as CSV"),
        (b"file,label\n\xff.png,1\n", "cannot be read as CSV"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        table(tmp_path, text)
    assert "labels.csv" in str(caught.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"no.csv cannot be read: No such file"):
        read_label_table(tmp_path / "no.csv")


# --- what heads can learn ----------------------------------------------------------------------------------------


def test_labels_that_fit_the_model_pass():
    check_labels(labelled([0, 1, 2, 1]), 3)
    check_labels(labelled([0, 2]), 3, every_class=False)
    check_labels(labelled([[0, 1], [1, 0], [1, 1]]), 2)
    check_labels(labelled([[0, 1], [1, 1]]), 2, every_class=False)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 3, 4], None, r"the arrays given\[2\] has label 3, the model has the classes 0 to 2 \(2 such labels\)"),
        ([1, 1], ("a", "b", "c"), r"all 2 samples are of one class, 1 \(b\): heads can learn from two or more"),
        ([0, 2, 2], ("a", "b", "c"), r"1 of the model's 3 classes have no sample: 1 \(b\); add some"),
        ([[0, 1], [1, 0]], None, "the samples are labelled with 2 labels, the model has 3"),
        ([[0, 1, 1], [0, 1, 1]], None, "all 2 samples have the same labels"),
        ([[0, 1, 1], [0, 1, 0]], ("a", "b", "c"), r"labels that all samples have, or none: 0 \(a\), 1 \(b\)"),
    ],
)
def test_labels_that_heads_cannot_learn_are_refused(labels, names, message):
    with pytest.raises(DataError, match=message):
        check_labels(labelled(labels, names), 3)


def test_samples_without_labels_cannot_be_checked():
    with pytest.raises(DataError, match="the samples have no labels"):
        check_labels(samples_of_arrays({"x": np.zeros((2, 2))}), 3)
