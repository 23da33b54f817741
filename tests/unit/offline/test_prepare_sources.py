import numpy as np
import pytest
from models import save
from onnx import helper

from edgeexit.errors import DataError, GraphError
from edgeexit.offline.preparing.options import PrepareOptions
from edgeexit.offline.preparing.sources import read_material, read_network


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def write_model(folder, outputs=("scores",), name="scores"):
    nodes = [node("MatMul", ["x", "w"], [name]), *(node("Neg", [name], [v]) for v in outputs if v != name)]
    shapes = {value: ["N", 3] for value in outputs}
    return save(folder / "model.onnx", nodes, {"x": ["N", 4]}, shapes, {"w": np.ones((4, 3), np.float32)})


def write_samples(folder, labels=None, count=800):
    arrays = {"x": np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)}
    np.savez(folder / "data.npz", **arrays, **({} if labels is None else {"labels": labels}))
    return folder / "data.npz"


def material(folder, labels=None, **options):
    network = read_network(write_model(folder))
    return read_material(write_samples(folder, labels), network, PrepareOptions(**options))


def classes(count=800):
    return np.arange(count) % 3


def test_a_network_tells_its_inputs_and_classes(tmp_path):
    network = read_network(write_model(tmp_path))
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in network.inputs] == [("x", "float32", ("N", 4))]
    assert network.class_count == 3


def test_of_several_outputs_the_user_names_the_one_with_the_classes(tmp_path):
    path = write_model(tmp_path, outputs=("scores", "others"))
    with pytest.raises(GraphError, match=r"the model has 2 outputs \(scores, others\); name the one with the classes"):
        read_network(path)
    with pytest.raises(GraphError, match="the model has no output 'labels'; it has scores, others"):
        read_network(path, "labels")
    assert [value.name for value in read_network(path, "others").model.graph.output] == ["others"]


def test_a_model_with_names_of_edgeexit_is_refused_before_any_work(tmp_path):
    path = write_model(tmp_path, outputs=("edgeexit/head0/scores",), name="edgeexit/head0/scores")
    with pytest.raises(GraphError, match="take the model without exits"):
        read_network(path)


def test_the_parts_are_disjoint_and_hold_all_samples(tmp_path):
    parts = material(tmp_path, classes()).parts
    assert {part: len(samples) for part, samples in parts.items()} == {
        "heads": 280, "fit": 120, "select": 160, "certify": 240,
    }  # fmt: skip
    positions = np.concatenate([samples.positions for samples in parts.values()])
    assert sorted(positions.tolist()) == list(range(800))


def test_labels_say_what_is_right_where_there_are_some(tmp_path):
    found = material(tmp_path, classes())
    assert found.by_labels
    assert found.task == "classes"
    np.testing.assert_array_equal(found.right_answers("fit"), found.parts["fit"].labels)


def test_without_labels_the_full_network_says_what_is_right(tmp_path):
    found = material(tmp_path)
    assert found.against == "full"
    assert found.right_answers("fit") is None


def test_labels_can_be_left_aside(tmp_path):
    found = material(tmp_path, classes() + 7, against="full")
    assert found.right_answers("fit") is None
    assert found.judged("heads").labels is None


def test_several_labels_become_sets(tmp_path):
    labels = np.stack([classes() == 0, classes() != 1, classes() == 2], axis=1)
    found = material(tmp_path, labels)
    assert found.task == "labels"
    assert found.right_answers("fit")[:3].tolist() == [
        int(row @ [1, 2, 4]) for row in found.parts["fit"].labels[:3].astype(int)
    ]


def test_the_samples_that_compression_sees_are_mixed(tmp_path):
    found = material(tmp_path, np.sort(classes()))
    assert len(set(found.judged("heads").labels[:20])) == 3
    assert sorted(found.judged("heads").positions) == sorted(found.parts["heads"].positions)


def test_labels_of_another_model_are_refused_with_a_way_out(tmp_path):
    with pytest.raises(DataError, match=r"the model has the classes 0 to 2 .*; or count agreement with the full"):
        material(tmp_path, classes() + 1)


def test_accuracy_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="the samples have no labels"):
        material(tmp_path, against="labels")


def test_too_few_samples_are_counted(tmp_path):
    network = read_network(write_model(tmp_path))
    with pytest.raises(DataError, match="300 samples are too few: heads, fit, select, certify need 100 or more each"):
        read_material(write_samples(tmp_path, count=300), network, PrepareOptions())
