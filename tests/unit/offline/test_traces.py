import numpy as np
import pytest
from synthetic_traces import make_trace

from edgeexit.errors import DataError
from edgeexit.offline.traces import Trace, load_traces, save_traces


def labels_of(*rows):
    """A trace of three classes whose exits say these labels; the truth is class 0."""
    return Trace(np.eye(3, dtype=np.float32)[np.array(rows)] * 5, np.zeros(len(rows), dtype=np.int64))


def test_columns_of_two_samples_by_hand():
    logits = np.log(np.array([[[0.7, 0.2, 0.1]], [[0.25, 0.25, 0.5]]], dtype=np.float32))
    trace = Trace(logits, np.array([0, 1]))
    assert trace.label.tolist() == [[0], [2]]
    assert trace.confidence == pytest.approx(np.array([[0.7], [0.5]]), abs=1e-6)
    assert trace.margin == pytest.approx(np.array([[0.5], [0.25]]), abs=1e-6)
    assert trace.entropy == pytest.approx(np.array([[0.801819], [1.039721]]), abs=1e-5)
    assert trace.correct.tolist() == [[True], [False]]


def test_the_first_agreeing_exit_need_not_be_the_settled_one():
    trace = labels_of([1, 0, 1, 1], [0, 0, 0, 0], [2, 1, 2, 0])
    assert trace.first_agreeing_exit.tolist() == [0, 0, 3]
    assert trace.settled_exit.tolist() == [2, 0, 3]


def test_a_look_is_what_the_engine_would_have_made():
    trace = make_trace(samples=5)
    look = trace.make_look()(3, 2)
    assert (look.exit_index, look.label) == (2, int(trace.logits[3, 2].argmax()))
    assert look.confidence == float(look.probabilities.max())
    assert look.logits.tolist() == trace.logits[3, 2].tolist()


def test_large_logits_do_not_overflow():
    trace = Trace(np.array([[[1e4, 0.0]]], dtype=np.float32), np.array([0]))
    assert trace.probabilities.tolist() == [[[1.0, 0.0]]]
    assert trace.entropy.tolist() == [[0.0]]


def test_one_class_is_certain():
    trace = Trace(np.zeros((2, 1, 1), dtype=np.float32), np.array([0, 0]))
    assert trace.confidence.tolist() == [[1.0], [1.0]]
    assert trace.margin.tolist() == [[1.0], [1.0]]


def test_written_traces_are_read_back(tmp_path):
    traces = {"select": make_trace(samples=7), "test": make_trace(samples=9, seed=1)}
    save_traces(tmp_path / "logits.npz", traces)
    found = load_traces(tmp_path / "logits.npz")
    assert sorted(found) == ["select", "test"]
    assert (found["test"].logits == traces["test"].logits).all()
    assert (found["test"].labels == traces["test"].labels).all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3), np.float32), np.zeros(2, int), r"logits \(S, E, C\)"),
        (np.zeros((2, 3, 4), np.float32), np.zeros(3, int), r"labels \(S,\)"),
        (np.zeros((0, 3, 4), np.float32), np.zeros(0, int), r"not \(0, 3, 4\)"),
        (np.full((2, 3, 4), np.nan, np.float32), np.zeros(2, int), "finite"),
        (np.zeros((2, 3, 4), np.float32), np.array([0, 4]), "from 0 to 3"),
        (np.zeros((2, 3, 4), np.float32), np.array([0.0, 1.0]), "whole numbers"),
    ],
)
def test_impossible_traces_are_refused(logits, labels, message):
    with pytest.raises(DataError, match=message):
        Trace(logits, labels)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.npz cannot be read"):
        load_traces(tmp_path / "nothing.npz")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=r"damaged\.npz cannot be read"):
        load_traces(tmp_path / "damaged.npz")


def test_pickled_arrays_are_refused(tmp_path):
    objects = np.array([{}], dtype=object)
    np.savez(tmp_path / "pickled.npz", test_logits=objects, test_labels=objects)
    with pytest.raises(DataError, match=r"pickled\.npz cannot be read"):
        load_traces(tmp_path / "pickled.npz")


def test_a_file_with_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(DataError, match=r"must hold <split>_logits and <split>_labels"):
        load_traces(tmp_path / "other.npz")
