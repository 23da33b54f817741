import json

import numpy as np
import onnx
import pytest
from models import doubling_chain, save
from onnx import helper
from tiny_bundle import RULES, make_bundle, network_input

import edgeexit
from edgeexit.bundle.write import replace_files
from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.if_equality import compare_answers
from edgeexit.offline.if_export import build_if_model, export_with_ifs
from edgeexit.offline.if_path import LookAt, find_path, largest_below
from edgeexit.runtime.engine import open_session

ANSWER = ["label", "probabilities", "exit_index"]


def with_setting(bundle, rule, **parameters):
    setting = {"rule": rule, "parameters": {"0": parameters}}
    rules = {**RULES, "settings": {**RULES["settings"], "mine": setting}}
    return replace_files(bundle, {"rules.json": json.dumps(rules).encode()})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def own(tmp_path):
    return make_bundle(tmp_path)


def answers(path, inputs, names=ANSWER):
    session = open_session(path.read_bytes())
    given = [session.run(names, {"image": inputs[i : i + 1]}) for i in range(len(inputs))]
    return [(int(label[0]), int(exit_index[0]), probabilities[0]) for label, probabilities, exit_index in given]


def session_answers(bundle, inputs, rule, drop=0.0):
    with (
        edgeexit.open_device("simulated:jetson-tx2") as board,
        edgeexit.Session(bundle, board, exit_rule=rule, allowed_drop=drop) as session,
    ):
        results = [session.infer(inputs[i : i + 1]) for i in range(len(inputs))]
    return [(result.label, result.exit_index, result.probabilities) for result in results]


def same(got, want):
    assert [row[:2] for row in got] == [row[:2] for row in want]
    np.testing.assert_allclose([row[2] for row in got], [row[2] for row in want], atol=1e-6)


def test_a_sure_sample_answers_early_and_an_unsure_one_runs_to_the_end(tiny, tmp_path):
    """At threshold 0.9: a white pixel is sure from exit 1 on (.965), a grey one only at the end (.925)."""
    export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="threshold")
    got = answers(tmp_path / "if.onnx", network_input())
    assert [row[:2] for row in got] == [(0, 1), (1, 1), (2, 1), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
    assert got[0][2][0] == pytest.approx(0.965, abs=5e-4)
    assert got[6][2][0] == pytest.approx(0.925, abs=5e-4)


@pytest.mark.parametrize("name", ["threshold", "thresholds", "check-and-cap", "last"])
def test_it_answers_as_a_session_with_the_same_setting(tiny, tmp_path, name):
    export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule=name)
    same(answers(tmp_path / "if.onnx", network_input()), session_answers(tiny, network_input(), name))


@pytest.mark.parametrize("bundle_name", ["fashion-resnet", "fashion-vgg"])
def test_it_answers_as_a_session_for_real_images(tmp_path, bundle_name):
    bundle = edgeexit.load_bundle(bundle_name)
    images = np.load(bundle.path.parent / "fashion-images.npz")["images"][:60, np.newaxis].astype(np.float32) / 255
    export_with_ifs(bundle, tmp_path / "if.onnx", exit_rule="thresholds")
    same(answers(tmp_path / "if.onnx", images), session_answers(bundle, images, "thresholds"))


def test_a_comparison_counts_what_is_equal_and_what_is_not(tiny, tmp_path):
    """Thresholds of 0.7 stop a white pixel at exit 0 (.787), those of 0.9 only at exit 1; both say the same class."""
    written = export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="thresholds")
    inputs = {"image": network_input()}
    equal = compare_answers(written, tiny, inputs, exit_rule="thresholds")
    assert (equal.samples, equal.labels_differ, equal.exits_differ) == (9, 0, 0)
    assert equal.probabilities_off < 1e-6
    other = compare_answers(written, tiny, inputs, exit_rule="threshold")
    assert (other.labels_differ, other.exits_differ, other.exit_counts) == (0, 9, (0, 6, 3))


def test_the_deepest_exit_that_answers_ends_the_file(tiny, tmp_path):
    """check-and-cap ends at exit 1: the last segment (28 MACs) is not in the file."""
    written = export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="check-and-cap")
    assert written.looks == (LookAt(0, 0.9), LookAt(1, None))
    assert "body2" not in made_in(onnx.load(tmp_path / "if.onnx").graph)


def test_an_exit_without_a_threshold_is_not_looked_at(own, tmp_path):
    bundle = with_setting(own, "threshold", threshold=[None, 0.9, 0.0])
    written = export_with_ifs(bundle, tmp_path / "if.onnx", exit_rule="mine")
    assert written.looks == (LookAt(1, 0.9), LookAt(2, None))
    assert "exit0" not in made_in(onnx.load(tmp_path / "if.onnx").graph)
    same(answers(tmp_path / "if.onnx", network_input()), session_answers(bundle, network_input(), "mine"))


def test_a_fixed_exit_needs_no_if(own, tmp_path):
    bundle = with_setting(own, "fixed", exit_index=1)
    assert export_with_ifs(bundle, tmp_path / "if.onnx", exit_rule="mine").looks == (LookAt(1, None),)
    assert "If" not in operators(onnx.load(tmp_path / "if.onnx").graph)
    assert {row[1] for row in answers(tmp_path / "if.onnx", network_input())} == {1}


def test_a_threshold_of_one_still_lets_a_certain_sample_answer(own, tmp_path):
    bundle = with_setting(own, "threshold", threshold=[1.0, 1.0, 0.0])
    export_with_ifs(bundle, tmp_path / "if.onnx", exit_rule="mine")
    certain = np.zeros((1, 1, 2, 2), np.float32)
    certain[0, 0, 0, 0] = 100.0
    assert answers(tmp_path / "if.onnx", certain)[0][:2] == (0, 0)


def test_every_weight_stands_once(tiny):
    graph = build_if_model(tiny, find_path(tiny, "threshold", 0.0)).graph
    weights = [name for name in initializers(graph) if not name.startswith("edgeexit/if/")]
    assert sorted(weights) == ["double", "edgeexit/top_count", "take"]


def test_the_work_behind_an_exit_lies_in_its_else_branch(tiny):
    graph = build_if_model(tiny, find_path(tiny, "threshold", 0.0)).graph
    outer = {name for node in graph.node for name in node.output}
    assert "body0" in outer
    assert {"body1", "body2"}.isdisjoint(outer)
    assert {"body1", "body2"} <= made_in(graph)


def test_an_input_takes_one_sample_and_no_batch(tiny, tmp_path):
    export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="threshold")
    session = open_session((tmp_path / "if.onnx").read_bytes())
    assert session.get_inputs()[0].shape == [1, 1, 2, 2]
    with pytest.raises(Exception, match="Got: 9 Expected: 1"):
        session.run(ANSWER, {"image": network_input()})


def test_the_file_says_how_an_image_becomes_its_input_and_what_its_classes_are(tiny, tmp_path):
    export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="threshold")
    model = onnx.load(tmp_path / "if.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["edgeexit.labels"]) == ["first", "second", "third"]
    assert json.loads(facts["edgeexit.preprocess"])["size"] == [2, 2]
    assert json.loads(facts["edgeexit.exits"])[0] == {"exit_index": 0, "least_confidence": 0.9}
    assert "one sample at a time" in model.doc_string


def test_an_output_does_not_take_a_name_that_the_network_has(tmp_path):
    nodes = [helper.make_node("Mul", ["image", "two"], ["label"]), helper.make_node("Mul", ["label", "two"], ["out"])]
    outputs = {"label": ["N", 3], "out": ["N", 3]}
    path = save(tmp_path / "m.onnx", nodes, {"image": ["N", 3]}, outputs, {"two": np.float32(2)})
    bundle = split_model(path, tmp_path / "b", name="b")
    bundle = replace_files(bundle, {"rules.json": json.dumps(one_rule([0.9, 0.0])).encode()})
    written = export_with_ifs(bundle, tmp_path / "if.onnx")
    assert written.outputs == ("answer_label", "probabilities", "exit_index")
    got = answers(tmp_path / "if.onnx", np.float32([[0.1, 0, 0], [0, 3, 0]]), list(written.outputs))
    assert [row[:2] for row in got] == [(0, 1), (1, 0)]


def test_a_model_of_opset_9_is_written_too(tmp_path):
    nodes = [helper.make_node("Mul", ["image", "two"], ["exit0"]), helper.make_node("Mul", ["exit0", "two"], ["out"])]
    outputs = {"exit0": ["N", 3], "out": ["N", 3]}
    path = save(tmp_path / "m.onnx", nodes, {"image": ["N", 3]}, outputs, {"two": np.float32(2)}, opset=9)
    bundle = split_model(path, tmp_path / "b", name="b")
    bundle = replace_files(bundle, {"rules.json": json.dumps(one_rule([0.9, 0.0])).encode()})
    export_with_ifs(bundle, tmp_path / "if.onnx")
    got = answers(tmp_path / "if.onnx", np.float32([[0.1, 0, 0], [0, 3, 0]]))
    assert [row[:2] for row in got] == [(0, 1), (1, 0)]


def test_a_rule_that_needs_more_than_thresholds_is_refused_with_those_that_can(tiny, tmp_path):
    with pytest.raises(OptionError, match=r"'predictive-exit'.*check-and-cap, threshold, thresholds, last"):
        export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="predictive-exit")
    assert not (tmp_path / "if.onnx").exists()


def test_a_certified_setting_of_another_rule_is_refused_with_how_to_certify_one_that_can(tmp_path):
    rules = json.loads(json.dumps(RULES))
    rules["settings"]["certified"] = rules["settings"]["predictive-exit"]
    bundle = make_bundle(tmp_path, rules=rules)
    with pytest.raises(OptionError, match="for a certified one calibrate again with --certify-rule thresholds"):
        export_with_ifs(bundle, tmp_path / "if.onnx", exit_rule="certified")


def test_a_setting_that_is_not_there_is_refused(tiny, tmp_path):
    with pytest.raises(OptionError, match="no calibrated setting 'nonsense'"):
        export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="nonsense")
    with pytest.raises(OptionError, match="not calibrated for an accuracy drop of 7"):
        export_with_ifs(tiny, tmp_path / "if.onnx", exit_rule="threshold", allowed_drop=7.0)


def test_the_recommended_setting_is_taken_if_none_is_named(tiny):
    assert find_path(tiny, None, 0.0) == (LookAt(0, 0.9), LookAt(1, 0.9), LookAt(2, None))


def test_a_bundle_is_not_written_into(tiny):
    with pytest.raises(OptionError, match="in the bundle itself"):
        export_with_ifs(tiny, tiny.path / "segment0.onnx", exit_rule="threshold")
    edgeexit.load_bundle(tiny.path)


def test_a_fixed_batch_of_more_than_one_is_refused(tmp_path):
    bundle = doubling_chain(tmp_path, batch=4)
    with pytest.raises(GraphError, match="fixed batch of 4"):
        export_with_ifs(bundle, tmp_path / "if.onnx", exit_rule="last")


def test_a_full_disk_leaves_the_old_file_as_it_was(tiny, tmp_path):
    old = tmp_path / "if.onnx"
    old.write_bytes(b"old")
    with pytest.raises(OSError, match="No such file"):
        export_with_ifs(tiny, tmp_path / "nowhere" / "if.onnx", exit_rule="threshold")
    with pytest.raises(OptionError):
        export_with_ifs(tiny, old, exit_rule="predictive-exit")
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("threshold", [0.9, 1.0, 0.5, 1e-12, 0.99918, 0.1])
def test_the_limit_in_the_graph_is_exactly_the_rules_threshold(threshold):
    """A float32 confidence passes the rule, which compares in double precision, where it is above the limit."""
    near = np.float32(threshold)
    for confidence in (np.nextafter(near, np.float32(-1)), near, np.nextafter(near, np.float32(2))):
        assert (confidence > largest_below(threshold)) == (float(confidence) >= threshold)


def one_rule(thresholds):
    return {
        "format": 1,
        "recommended": "thresholds",
        "settings": {"thresholds": {"rule": "threshold", "parameters": {"0": {"threshold": thresholds}}}},
    }


def graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def made_in(graph):
    return {name for each in graphs(graph) for node in each.node for name in node.output}


def operators(graph):
    return {node.op_type for each in graphs(graph) for node in each.node}


def initializers(graph):
    return [weight.name for each in graphs(graph) for weight in each.initializer]
