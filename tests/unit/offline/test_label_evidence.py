"""Networks whose outputs are labels of their own: evidence in the graph, traces, and what a session answers."""

import logging

import numpy as np
import pytest
from graphs import model, node, normal, run_bundle, saved
from nets_of_each_kind import label_net
from onnx import TensorProto

from edgeexit import Session, load_bundle, open_device
from edgeexit.bundle.manifest import manifest_bytes, parse_manifest
from edgeexit.errors import BundleError, DataError, GraphError, OptionError
from edgeexit.exits.last import Last
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.traces import Trace, label_sets, load_traces, save_traces
from edgeexit.runtime.result import name_answer

ROWS = normal(50, 4, seed=5)


def labelled(folder, proto, **options):
    return split_model(saved(folder, proto), folder / "net", name="net", task="labels", **options)


def fixed_logits(folder, logits, **options):
    """A network that hands on its input as the logits of its exit."""
    proto = model(
        [node("Mul", ["x", "one"], ["y"])],
        {"x": ["N", logits.shape[1]]},
        {"y": ["N", logits.shape[1]]},
        {"one": np.float32(1)},
    )
    bundle = labelled(folder, proto, **options)
    return bundle, run_bundle(bundle, {"x": logits})


def test_the_answer_is_the_set_of_the_labels_with_more_than_a_half(tmp_path):
    """Logits 2, -1, 0.5: labels 0 and 2 hold, 1 + 4; the least certain is the last, with 1 / (1 + exp(-0.5))."""
    bundle, values = fixed_logits(tmp_path, np.float32([[2, -1, 0.5], [-3, -3, -3], [0, 5, 5]]))
    exit_ = bundle.exits[0]
    assert values[exit_.top_labels].tolist() == [[5, 5], [0, 0], [6, 6]]
    assert values[exit_.top_labels].dtype == np.int64
    assert values[exit_.probabilities][0] == pytest.approx([0.880797, 0.268941, 0.622459], abs=1e-6)
    assert values[exit_.top_values][0] == pytest.approx([0.622459, 0.377541], abs=1e-6)
    assert values[exit_.top_values][1] == pytest.approx([0.952574, 0.047426], abs=1e-6)
    assert values[exit_.top_values][2] == pytest.approx([0.5, 0.5], abs=1e-6)


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 17, 18])
def test_evidence_in_the_graph_is_that_of_a_trace(tmp_path, opset):
    bundle = labelled(tmp_path, label_net(4, opset=opset))
    values = run_bundle(bundle, {"x": ROWS})
    logits = np.stack([values[e.logits] for e in bundle.exits], axis=1)
    trace = Trace(logits, np.zeros(len(ROWS), np.int64), "labels")
    for index, exit_ in enumerate(bundle.exits):
        assert values[exit_.top_labels][:, 0].tolist() == trace.label[:, index].tolist()
        np.testing.assert_allclose(values[exit_.probabilities], trace.probabilities[:, index], atol=1e-6)
        np.testing.assert_allclose(values[exit_.top_values][:, 0], trace.confidence[:, index], atol=1e-6)
        margin = values[exit_.top_values][:, 0] - values[exit_.top_values][:, 1]
        np.testing.assert_allclose(margin, trace.margin[:, index], atol=1e-6)


def test_one_label_is_a_yes_or_no(tmp_path):
    bundle, values = fixed_logits(tmp_path, np.float32([[1], [-1]]))
    assert values[bundle.exits[0].top_labels].tolist() == [[1, 1], [0, 0]]
    assert values[bundle.exits[0].top_values][:, 0] == pytest.approx([0.731059, 0.731059], abs=1e-6)


def test_sixty_two_labels_fit_a_set_and_more_are_refused(tmp_path):
    bundle, values = fixed_logits(tmp_path, np.ones((1, 62), np.float32))
    assert values[bundle.exits[0].top_labels].tolist() == [[2**62 - 1] * 2]
    with pytest.raises(GraphError, match="the network has 63 labels; the set of those that hold can have 62"):
        split_model(saved(tmp_path, label_net(63)), tmp_path / "more", name="net", task="labels")


def test_a_sigmoid_is_not_applied_again(tmp_path):
    bundle = labelled(tmp_path, label_net(sigmoid=True))
    last = bundle.exits[-1]
    assert (last.probabilities, last.logits) == ("own", "scores")
    values = run_bundle(bundle, {"x": ROWS})
    np.testing.assert_allclose(values["own"], 1 / (1 + np.exp(-values["scores"])), atol=1e-6)


def test_logits_behind_a_sigmoid_of_another_form_are_its_log_odds(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["scores"]),
        node("Sigmoid", ["scores"], ["half"]),
        node("Cast", ["half"], ["y"], to=TensorProto.DOUBLE),
    ]
    proto = model(nodes, {"x": ["N", 4]}, {"y": ["N", 3]}, {"w": normal(4, 3) / 4})
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    bundle = labelled(tmp_path, proto)
    values = run_bundle(bundle, {"x": ROWS})
    np.testing.assert_allclose(values[bundle.exits[0].logits], ROWS @ (normal(4, 3) / 4), atol=1e-4)


def test_a_softmax_is_refused_for_labels(tmp_path):
    nodes = [node("MatMul", ["x", "w"], ["s"]), node("Softmax", ["s"], ["y"], axis=1)]
    proto = model(nodes, {"x": ["N", 4]}, {"y": ["N", 3]}, {"w": normal(4, 3)})
    with pytest.raises(GraphError, match=r"exit 'y' is a Softmax: its probabilities add up to 1"):
        labelled(tmp_path, proto)


def test_a_sigmoid_as_one_of_several_classes_is_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        split_model(saved(tmp_path, label_net(sigmoid=True)), tmp_path / "net", name="net")
    assert "exit 'own' is a Sigmoid: if each output is a label of its own, say task='labels'" in caplog.text


def test_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(OptionError, match="there is no task 'boxes'; it is one of classes, labels"):
        split_model(saved(tmp_path, label_net()), tmp_path / "net", name="net", task="boxes")


def test_a_manifest_keeps_the_task_and_says_nothing_of_the_usual_one(tmp_path):
    bundle = labelled(tmp_path, label_net())
    assert load_bundle(bundle.path).task == "labels"
    usual = split_model(saved(tmp_path, label_net()), tmp_path / "usual", name="net")
    assert usual.task == "classes"
    assert b'"task"' not in manifest_bytes(usual.manifest)
    wrong = manifest_bytes(bundle.manifest).replace(b'"labels"\n', b'"boxes"\n').replace(b': "labels",', b': "boxes",')
    with pytest.raises(BundleError, match="task: expected one of classes, labels, found 'boxes'"):
        parse_manifest(wrong, "m")


def test_a_session_names_all_labels_of_a_set(tmp_path):
    bundle = labelled(tmp_path, label_net(), labels=["cat", "dog", "red"])
    values = run_bundle(bundle, {"x": ROWS})
    with open_device("host") as device, Session(bundle, device, exit_rule=Last(2)) as session:
        results = [session.infer({"x": ROWS[i : i + 1]}) for i in range(8)]
    sets = values[bundle.exits[1].top_labels][:8, 0].tolist()
    assert len(set(sets)) > 2
    assert [r.label for r in results] == sets
    assert [r.class_name for r in results] == [name_answer(["cat", "dog", "red"], s, "labels") for s in sets]


def test_answers_are_named():
    assert name_answer(["cat", "dog", "red"], 5, "labels") == "cat + red"
    assert name_answer(["cat", "dog", "red"], 0, "labels") == "none"
    assert name_answer(["cat", "dog", "red"], 2, "classes") == "red"


def small_trace(labels):
    """Two samples, one exit, three labels; probabilities .88 .27 .62 and .95 .95 .05."""
    return Trace(np.float32([[[2, -1, 0.5]], [[3, 3, -3]]]), labels, "labels")


def test_a_trace_of_sets_is_right_where_all_labels_are():
    assert small_trace(np.int64([5, 1])).correct.tolist() == [[True], [False]]
    assert small_trace(np.int64([5, 3])).accuracies.tolist() == [1.0]


def test_a_trace_takes_labels_one_by_one_too():
    assert small_trace(np.array([[True, False, True], [True, True, False]])).labels.tolist() == [5, 3]


def test_the_entropy_of_a_set_is_the_sum_over_its_labels():
    """Logits 0, 0: two labels of ln 2 each."""
    trace = Trace(np.zeros((1, 1, 2), np.float32), np.int64([0]), "labels")
    assert trace.entropy.tolist() == [[pytest.approx(2 * 0.6931472)]]
    assert (trace.confidence.tolist(), trace.margin.tolist()) == ([[0.5]], [[0.0]])


def test_extreme_logits_make_no_warning_and_no_nan():
    trace = Trace(np.float32([[[1000, -1000]]]), np.int64([1]), "labels")
    assert trace.probabilities.tolist() == [[[1.0, 0.0]]]
    assert trace.correct.all()


def test_taking_samples_and_saving_keep_the_task(tmp_path):
    trace = small_trace(np.int64([5, 1]))
    assert trace.take(np.int64([1])).task == "labels"
    usual = Trace(trace.logits, np.int64([0, 2]))
    save_traces(tmp_path / "t.npz", {"fit": trace, "test": usual})
    loaded = load_traces(tmp_path / "t.npz")
    assert (loaded["fit"].task, loaded["test"].task) == ("labels", "classes")
    assert loaded["fit"].labels.tolist() == [5, 1]


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        (np.int64([8, 0]), "labels", "a trace's labels must be whole numbers from 0 to 7"),
        (np.int64([3, 0]), "classes", "a trace's labels must be whole numbers from 0 to 2"),
        (np.int64([0, 0]), "boxes", "a trace's task is one of classes, labels, not 'boxes'"),
        (np.int64([[0, 2, 0], [1, 1, 1]]), "labels", "a set of labels is 0 or 1 for each of at most 62 labels"),
        (np.ones((2, 2), bool), "labels", "sets of 3 labels are needed, and those given have 2"),
    ],
)
def test_labels_that_are_none_are_refused(labels, task, message):
    with pytest.raises(DataError, match=message):
        Trace(np.zeros((2, 1, 3), np.float32), labels, task)


def test_sets_are_numbers():
    assert label_sets(np.array([[1, 0, 1], [0, 0, 0]])).tolist() == [5, 0]
    assert label_sets(np.ones((1, 62), bool)).tolist() == [2**62 - 1]
