"""Recording what a bundle's exits say: arrays, several inputs, samples that are read a few at a time."""

import numpy as np
import pytest
from graphs import model, node, normal, saved
from models import doubling_chain
from nets_of_each_kind import encoder, label_net, text

from edgeexit.errors import DataError
from edgeexit.offline import batching
from edgeexit.offline.batching import choose_batch, pad_batch
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.record import record_trace

IMAGES = normal(7, 3)
FACTORS = np.array([2.0, 4.0, 8.0], np.float32)[:, np.newaxis]


class OneByOne:
    """Samples that remember what was read."""

    def __init__(self, samples):
        self._samples, self.labels, self.reads = samples, samples.labels, []

    def __len__(self):
        return len(self._samples)

    def read(self, indices):
        self.reads.append(indices.tolist())
        return self._samples.read(indices)


def test_an_array_is_enough_for_a_bundle_with_one_input(tmp_path):
    trace = record_trace(doubling_chain(tmp_path), IMAGES, np.arange(7) % 3)
    np.testing.assert_allclose(trace.logits, IMAGES[:, np.newaxis] * FACTORS, rtol=1e-6)
    np.testing.assert_array_equal(trace.labels, np.arange(7) % 3)


def test_several_inputs_are_given_by_name(tmp_path):
    inputs = text(samples=4)
    path = saved(tmp_path, encoder())
    bundle = split_model(path, tmp_path / "net", name="net", cuts=[["l0_norm2"]], side_inputs=["mask"])
    trace = record_trace(bundle, inputs)
    assert trace.logits.shape == (4, 1, 3)


def test_samples_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(batching, "MOST_SAMPLES", 3)
    samples = OneByOne(samples_of_arrays({"image": IMAGES}, np.arange(7) % 3))
    trace = record_trace(doubling_chain(tmp_path), samples)
    assert samples.reads == [[0, 1, 2], [3, 4, 5], [6]]
    np.testing.assert_array_equal(trace.labels, np.arange(7) % 3)
    np.testing.assert_allclose(trace.logits, IMAGES[:, np.newaxis] * FACTORS, rtol=1e-6)


def test_given_labels_go_before_those_of_the_samples(tmp_path):
    samples = samples_of_arrays({"image": IMAGES}, np.arange(7) % 3)
    assert (record_trace(doubling_chain(tmp_path), samples, np.full(7, 2)).labels == 2).all()


def test_without_labels_the_network_itself_is_right(tmp_path):
    trace = record_trace(doubling_chain(tmp_path), samples_of_arrays({"image": IMAGES}))
    np.testing.assert_array_equal(trace.labels, IMAGES.argmax(axis=1))
    assert trace.accuracies[-1] == 1.0


def test_a_bundle_of_labels_has_a_trace_of_labels(tmp_path):
    bundle = split_model(saved(tmp_path, label_net()), tmp_path / "net", name="net", task="labels")
    trace = record_trace(bundle, {"x": normal(5, 4)}, np.ones((5, 3), bool))
    assert trace.task == "labels"
    assert trace.labels.tolist() == [7] * 5


def test_a_bundle_of_a_fixed_batch_gets_the_last_one_filled_up(tmp_path):
    trace = record_trace(doubling_chain(tmp_path, batch=4), IMAGES, np.zeros(7, np.int64))
    np.testing.assert_allclose(trace.logits, IMAGES[:, np.newaxis] * FACTORS, rtol=1e-6)


def test_one_array_for_two_inputs_is_refused(tmp_path):
    proto = model([node("Add", ["a", "b"], ["sum"])], {"a": ["N", 3], "b": ["N", 3]}, {"sum": ["N", 3]})
    bundle = split_model(saved(tmp_path, proto), tmp_path / "net", name="net")
    with pytest.raises(DataError, match="has the inputs a, b: give arrays by these names"):
        record_trace(bundle, IMAGES)
    with pytest.raises(DataError, match="has the inputs a, b, not a"):
        record_trace(bundle, {"a": IMAGES})
    with pytest.raises(DataError, match=r"hold \[3, 7\] samples: give as many of each"):
        record_trace(bundle, {"a": IMAGES, "b": IMAGES[:3]})


def test_no_samples_are_refused(tmp_path):
    bundle = doubling_chain(tmp_path)
    with pytest.raises(DataError, match=r"hold \[0\] samples"):
        record_trace(bundle, IMAGES[:0])
    with pytest.raises(DataError, match="no samples to record bundle 'chain' on"):
        record_trace(bundle, samples_of_arrays({"image": IMAGES}).take(np.arange(0)))


def test_large_images_run_a_dozen_at_a_time_and_small_ones_500():
    assert choose_batch([("N", 3, 224, 224)]) == 13
    assert choose_batch([("N", 1, 28, 28)]) == 500
    assert choose_batch([("N", 3, 4000, 4000)]) == 1


def test_a_fixed_batch_is_taken_as_it_is():
    assert choose_batch([(1, 3, 8, 8)]) == 1
    assert choose_batch([(4, 8), ("N", 8)]) == 4


def test_two_fixed_batches_are_refused():
    with pytest.raises(DataError, match="different fixed sizes, \\['2', '4'\\]"):
        choose_batch([(4, 8), (2, 8)])


def test_a_batch_is_filled_up_with_its_last_sample():
    padded = pad_batch({"x": np.array([[1], [2]])}, 4)
    assert padded["x"].tolist() == [[1], [2], [2], [2]]
