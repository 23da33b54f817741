"""One pass that records pooled features and the network's own logits, and goes on where it was interrupted."""

import errno

import numpy as np
import pytest
from graphs import model, node, normal, run
from nets_of_each_kind import encoder, label_net, one_dimensional_net, text

from edgeexit.errors import DataError, EngineError, GraphError, OptionError
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.graph.cut_candidates import find_cuts
from edgeexit.offline.heads import record_features, store
from edgeexit.offline.heads.store import RowsInFolder

TOLERANCE = {"rtol": 0, "atol": 1e-5}


def two_layers(batch="N"):
    """A network on vectors: "hidden" (N, 4) is a place for an exit."""
    weights = {"w0": normal(3, 4), "w1": normal(4, 2, seed=1)}
    nodes = [
        node("MatMul", ["x", "w0"], ["before"]),
        node("Relu", ["before"], ["hidden"]),
        node("MatMul", ["hidden", "w1"], ["scores"]),
    ]
    return model(nodes, {"x": [batch, 3]}, {"scores": [batch, 2]}, weights)


def vectors(count=10):
    return samples_of_arrays({"x": normal(count, 3, seed=5)})


def hidden(samples):
    return np.maximum(samples.read(np.arange(len(samples)))["x"] @ normal(3, 4), 0)


class Counting:
    """Samples that count how often they are read, and fail at one index."""

    def __init__(self, samples, fail_at=None):
        self._samples, self._fail_at, self.reads = samples, fail_at, []
        self.sha256 = samples.sha256

    def __len__(self):
        return len(self._samples)

    def read(self, indices):
        if self._fail_at in indices:
            raise KeyboardInterrupt
        self.reads.append(indices.tolist())
        return self._samples.read(indices)


def test_features_and_logits_of_all_samples_are_recorded():
    proto, samples = two_layers(), vectors()
    features = record_features(proto, find_cuts(proto).candidates, samples, batch=4)
    assert len(features) == 10
    assert [pooling.tensor for pooling in features.poolings] == ["hidden"]
    np.testing.assert_allclose(features.pooled[0], hidden(samples), **TOLERANCE)
    np.testing.assert_allclose(features.logits, hidden(samples) @ normal(4, 2, seed=1), **TOLERANCE)


def test_a_signal_is_pooled_to_four_windows():
    proto = one_dimensional_net()
    candidates = find_cuts(proto).candidates
    features = record_features(proto, candidates, samples_of_arrays({"signal": normal(3, 2, 32)}))
    assert {pooling.kind for pooling in features.poolings} == {"sequence_ncl"}
    assert {part.shape for part in features.pooled} == {(3, 16)}


def test_a_text_with_two_inputs_is_recorded_with_its_mask():
    proto, inputs = encoder(), text(samples=6)
    features = record_features(proto, find_cuts(proto).candidates, samples_of_arrays(inputs), batch=4)
    first = features.poolings[0]
    assert (first.tensor, first.kind, first.mask) == ("x", "tokens_nlc", "mask")
    words = normal(20, 8)[inputs["ids"]]
    expected = np.concatenate([words[:, :3].mean(axis=1), words[:, 0]], axis=1)
    np.testing.assert_allclose(features.pooled[0], expected, **TOLERANCE)
    np.testing.assert_allclose(features.logits, run(proto, inputs)["logits"], **TOLERANCE)


def test_the_logits_of_a_network_that_returns_probabilities_are_those_before_its_softmax():
    proto = two_layers()
    proto.graph.node.append(node("Softmax", ["scores"], ["probabilities"], axis=1))
    proto.graph.output[0].name = "probabilities"
    features = record_features(proto, (), vectors())
    np.testing.assert_allclose(features.logits, hidden(vectors()) @ normal(4, 2, seed=1), **TOLERANCE)


def test_the_logits_of_labels_are_those_before_the_sigmoid():
    proto = label_net(sigmoid=True)
    samples = samples_of_arrays({"x": normal(5, 4)})
    features = record_features(proto, (), samples, task="labels")
    own = run(proto, {"x": normal(5, 4)})["own"]
    np.testing.assert_allclose(1 / (1 + np.exp(-features.logits)), own, **TOLERANCE)


def test_a_model_of_a_fixed_batch_gets_that_and_the_last_is_filled_up():
    proto, samples = two_layers(batch=4), Counting(vectors())
    features = record_features(proto, find_cuts(proto).candidates, samples)
    assert samples.reads == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    np.testing.assert_allclose(features.pooled[0], hidden(vectors()), **TOLERANCE)


def test_the_model_is_not_changed():
    proto = two_layers()
    before = proto.SerializeToString()
    record_features(proto, find_cuts(proto).candidates, vectors())
    assert proto.SerializeToString() == before


def test_an_interrupted_pass_goes_on_where_it_stopped(tmp_path):
    proto = two_layers()
    candidates = find_cuts(proto).candidates
    with pytest.raises(KeyboardInterrupt):
        record_features(proto, candidates, Counting(vectors(), fail_at=6), batch=3, store=tmp_path)
    again = Counting(vectors())
    features = record_features(proto, candidates, again, batch=3, store=tmp_path)
    assert again.reads == [[6, 7, 8], [9]]
    np.testing.assert_allclose(features.pooled[0], hidden(vectors()), **TOLERANCE)


def test_a_finished_pass_is_only_read(tmp_path):
    proto = two_layers()
    candidates = find_cuts(proto).candidates
    first = record_features(proto, candidates, vectors(), batch=3, store=tmp_path)
    again = Counting(vectors())
    second = record_features(proto, candidates, again, batch=3, store=tmp_path)
    assert again.reads == []
    np.testing.assert_array_equal(first.pooled[0], second.pooled[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npy", "pass.json"]


@pytest.mark.parametrize("change", ["samples", "model", "grid"])
def test_another_pass_does_not_take_what_is_in_the_folder(tmp_path, change):
    proto, samples, grid = one_dimensional_net(), samples_of_arrays({"signal": normal(4, 2, 32)}), 2
    candidates = find_cuts(proto).candidates
    record_features(proto, candidates, samples, store=tmp_path)
    if change == "samples":
        samples = samples_of_arrays({"signal": normal(4, 2, 32, seed=1)})
    elif change == "model":
        proto.graph.initializer[0].raw_data = (normal(4, 2, 3) * 2).tobytes()
    else:
        grid = 1
    expected = record_features(proto, candidates, samples, grid=grid)
    found = record_features(proto, candidates, samples, grid=grid, store=tmp_path)
    for mine, theirs in zip(found.pooled, expected.pooled, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_full_disk_leaves_the_batches_that_are_finished(tmp_path, monkeypatch):
    rows = RowsInFolder(tmp_path, [2, 2], "key")
    rows.put(0, np.zeros((2, 3), np.float32))

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_beside", full)
    with pytest.raises(OSError, match="No space left"):
        rows.put(1, np.zeros((2, 3), np.float32))
    monkeypatch.undo()
    again = RowsInFolder(tmp_path, [2, 2], "key")
    assert [again.has(0), again.has(1)] == [True, False]


def test_a_disk_that_is_full_at_the_end_leaves_all_batches(tmp_path, monkeypatch):
    rows = RowsInFolder(tmp_path, [1, 1], "key")
    for batch in range(2):
        rows.put(batch, np.full((1, 3), batch, np.float32))

    def full(file, header):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space left"):
        rows.join()
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch000000.npy", "batch000001.npy", "pass.json"]
    np.testing.assert_array_equal(rows.join(), [[0, 0, 0], [1, 1, 1]])


def test_a_part_of_the_samples_can_be_taken():
    proto, samples = two_layers(), vectors()
    features = record_features(proto, find_cuts(proto).candidates, samples).take(np.array([7, 2]))
    np.testing.assert_allclose(features.pooled[0], hidden(samples)[[7, 2]], **TOLERANCE)
    assert len(features) == 2


def test_a_sample_that_overflows_is_named():
    array = normal(5, 3)
    array[3] = 3e38
    samples = samples_of_arrays({"x": array})
    proto = two_layers()
    with pytest.raises(DataError, match=r"sample 3 makes tensor 'hidden' infinite or no number"):
        record_features(proto, find_cuts(proto).candidates, samples, batch=2)


def test_a_tensor_that_is_not_there_is_named():
    proto = two_layers()
    (candidate,) = find_cuts(proto).candidates
    other = type(candidate)(("gone",), 0, 0, "gone", "vector", (4,))
    with pytest.raises(GraphError, match="the model has no tensor 'gone' for a head to read"):
        record_features(proto, (other,), vectors())


def test_inputs_that_the_model_refuses_are_an_engine_error():
    proto = two_layers()
    with pytest.raises(EngineError, match="failed while features were recorded"):
        record_features(proto, (), samples_of_arrays({"x": normal(2, 5)}))


def test_no_samples_and_no_batch_are_refused():
    proto = two_layers()
    with pytest.raises(DataError, match="no samples to record features of"):
        record_features(proto, (), vectors().take(np.arange(0)))
    with pytest.raises(OptionError, match="batch must be 1 sample or more, not 0"):
        record_features(proto, (), vectors(), batch=0)
