"""Heads in a network's graph say what they say outside of it, and the graph splits into a bundle."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from graphs import model, newest_opset, node, normal, run, run_bundle, saved
from nets_of_each_kind import channels_last_net, encoder, label_net, one_dimensional_net, text
from onnx import TensorProto, helper

from edgeexit.errors import GraphError
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.graph.cut_candidates import find_cuts
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.heads import attach_heads, estimators, fit_heads, output_names, record_features, trace_of
from edgeexit.offline.record import record_trace

EQUAL = {"rtol": 0, "atol": 1e-5}


def conv_net(opset=17):
    """Three convolutions over (N, 2, 7, 6); 3 classes."""
    weights = {"w0": normal(4, 2, 3, 3) / 3, "w1": normal(4, 4, 3, 3, seed=1) / 4, "w2": normal(4, 4, 3, 3, seed=3) / 4}
    weights |= {"h": normal(4, 3, seed=2)}
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c2"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "h"], ["scores"]),
    ]
    return model(nodes, {"image": ["N", 2, 7, 6]}, {"scores": ["N", 3]}, weights, opset=opset)


NETS = {
    "maps": (conv_net, {"image": normal(60, 2, 7, 6)}),
    "maps of opset 9": (lambda: conv_net(9), {"image": normal(60, 2, 7, 6)}),
    "maps of the newest opset": (lambda: conv_net(newest_opset()), {"image": normal(60, 2, 7, 6)}),
    "channels last": (channels_last_net, {"image": normal(60, 8, 8, 3)}),
    "signals": (one_dimensional_net, {"signal": normal(60, 2, 32)}),
    "texts": (encoder, text(samples=60)),
}


def prepare(proto, inputs, *, task="classes", kind="ridge"):
    """Fit heads at all places to classes, or labels, that are made up."""
    search = find_cuts(proto)
    features = record_features(proto, search.candidates, samples_of_arrays(inputs), task=task)
    classes = np.arange(len(features)) % features.logits.shape[1]
    wanted = classes if task == "classes" else classes[:, np.newaxis] >= np.arange(1, 1 + features.logits.shape[1])
    return search, features, fit_heads(features, wanted, task=task, kind=kind)


@pytest.mark.parametrize("name", NETS)
def test_onnx_says_what_the_heads_say(name):
    make, inputs = NETS[name]
    proto = make()
    search, features, heads = prepare(proto, inputs)
    assert heads
    made = attach_heads(proto, search.candidates, heads)
    onnx.checker.check_model(made)
    outputs = run(made, inputs)
    assert list(outputs) == [*output_names(len(heads)), proto.graph.output[-1].name]
    for output, head, pooled in zip(output_names(len(heads)), heads, features.pooled, strict=True):
        np.testing.assert_allclose(outputs[output], head.logits(pooled), **EQUAL)


@pytest.mark.parametrize("name", NETS)
def test_the_network_with_heads_becomes_a_bundle_that_says_the_same(name, tmp_path):
    make, inputs = NETS[name]
    proto = make()
    search, features, heads = prepare(proto, inputs)
    made = attach_heads(proto, search.candidates, heads)
    bundle = split_model(saved(tmp_path, made), tmp_path / "net", name="net", side_inputs=search.side_inputs)
    assert bundle.exit_count == len(heads) + 1
    assert [e.macs for e in bundle.exits[:-1]] == [head.macs + masked_mean(head) for head in heads]
    found = record_trace(bundle, inputs)
    np.testing.assert_allclose(found.logits, trace_of(features, heads).logits, **EQUAL)


def masked_mean(head):
    """Two products: the mask times the tokens, and times itself; of an open length, that counts as 1."""
    return 0 if head.pooling.mask is None else len(head.weights) // 2 + 1


@pytest.mark.parametrize(("kind", "name"), [("ridge", "Ridge"), ("logistic", "LogisticRegression")])
def test_onnx_says_what_scikit_learn_says_of_features_far_from_0(kind, name, monkeypatch):
    """Features around 1000 that vary by 1; what scikit-learn says differs by the temperature alone."""
    made = []

    class Kept(getattr(estimators, name)):
        def fit(self, scaled, wanted, **options):
            made.append((self, scaled))
            return super().fit(scaled, wanted, **options)

    monkeypatch.setattr(estimators, name, Kept)
    inputs = {"x": normal(200, 5) + np.float32(1000)}
    labels = ((inputs["x"] - 1000) @ normal(5, 3, seed=4)).argmax(axis=1)
    proto = wide_net()
    place = next(c for c in find_cuts(proto).candidates if c.feature == "same")
    (head,) = fit_heads(record_features(proto, [place], samples_of_arrays(inputs)), labels, kind=kind)
    fitted, scaled = made[-1]
    expected = fitted.predict(scaled) if kind == "ridge" else fitted.decision_function(scaled)
    found = run(attach_heads(proto, [place], [head]), inputs)[output_names(1)[0]]
    factor = (found * expected).sum() / (expected**2).sum()
    np.testing.assert_allclose(found / factor, expected, **EQUAL)


def wide_net():
    """A network whose first tensor "same" is its input."""
    weights = {"one": np.eye(5, dtype=np.float32), "w": normal(5, 5, seed=6) / 100, "h": normal(5, 3, seed=7)}
    nodes = [
        node("MatMul", ["x", "one"], ["same"]),
        node("MatMul", ["same", "w"], ["hidden"]),
        node("MatMul", ["hidden", "h"], ["scores"]),
    ]
    return model(nodes, {"x": ["N", 5]}, {"scores": ["N", 3]}, weights)


def test_a_head_without_its_centre_says_the_same_but_for_rounding():
    proto, inputs = conv_net(), NETS["maps"][1]
    search, features, heads = prepare(proto, inputs)
    plain = replace(heads[0], centre=None)
    np.testing.assert_allclose(plain.logits(features.pooled[0]), heads[0].logits(features.pooled[0]), atol=1e-4)
    made = attach_heads(proto, search.candidates[:1], [plain])
    np.testing.assert_allclose(run(made, inputs)[output_names(1)[0]], plain.logits(features.pooled[0]), **EQUAL)


def test_sets_of_labels_have_heads_too(tmp_path):
    proto = label_net(sigmoid=True)
    del proto.graph.output[0]
    inputs = {"x": normal(60, 4)}
    search, features, heads = prepare(proto, inputs, task="labels", kind="logistic")
    made = attach_heads(proto, search.candidates, heads)
    bundle = split_model(saved(tmp_path, made), tmp_path / "net", name="net", task="labels")
    expected = trace_of(features, heads, task="labels")
    found = record_trace(bundle, inputs)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, **EQUAL)
    np.testing.assert_array_equal(found.label, expected.label)


def test_other_outputs_of_the_network_are_left_out():
    proto = conv_net()
    proto.graph.output.insert(0, helper.make_tensor_value_info("r1", TensorProto.FLOAT, None))
    search, _, heads = prepare(proto, NETS["maps"][1])
    made = attach_heads(proto, search.candidates, heads)
    assert [output.name for output in made.graph.output] == [*output_names(len(heads)), "scores"]


def test_the_given_model_is_not_changed():
    proto = conv_net()
    before = proto.SerializeToString()
    search, _, heads = prepare(proto, NETS["maps"][1])
    attach_heads(proto, search.candidates, heads)
    assert proto.SerializeToString() == before


def test_a_skipped_head_costs_nothing_but_what_it_reads(tmp_path):
    """The pooling belongs to the head, not to the segment."""
    proto, inputs = conv_net(), NETS["maps"][1]
    search, _, heads = prepare(proto, inputs)
    made = attach_heads(proto, search.candidates[:1], heads[:1])
    bundle = split_model(saved(tmp_path, made), tmp_path / "net", name="net")
    assert bundle.segments[0].outputs == ("r0",)
    assert bundle.exits[0].inputs == ("r0",)
    assert run_bundle(bundle, inputs)["scores"].shape == (60, 3)


def test_heads_and_places_that_do_not_belong_together_are_refused():
    proto = conv_net()
    search, _, heads = prepare(proto, NETS["maps"][1])
    with pytest.raises(GraphError, match=r"1 heads were given for 2 candidates"):
        attach_heads(proto, search.candidates, heads[:1])
    with pytest.raises(GraphError, match="head 0 reads 'r0'; the model's candidate there is 'r1'"):
        attach_heads(proto, search.candidates[::-1], heads)


def test_a_model_that_has_heads_already_is_refused():
    proto = conv_net()
    search, _, heads = prepare(proto, NETS["maps"][1])
    with pytest.raises(GraphError, match=r"edgeexit/head0/\.\.\. already: take the model without heads"):
        attach_heads(attach_heads(proto, search.candidates, heads), search.candidates, heads)
