"""Heads with layers of their own, from the command line; PyTorch, which trains them, is stood in for."""

import sys
from types import ModuleType

import digits_network
import numpy as np
import pytest
from models import save
from onnx import helper
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import edgeexit
from edgeexit.cli import main
from edgeexit.offline.fit import fit_predictor
from edgeexit.offline.heads.conv_head import ConvHead, SeparableWeights, grid_of
from edgeexit.offline.preparing.prepare import work_path
from edgeexit.runtime.engine import open_session

TRAINER = "edgeexit.offline.heads.conv_training"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "convolutions.onnx")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    return digits_network.write_arrays(tmp_path_factory.mktemp("data") / "digits.npz")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "bundle"


@pytest.fixture
def trained(monkeypatch):
    """The places at which heads were trained, and the stand-in, which makes heads of random weights."""
    places = []

    def train_conv_head(maps, targets, own_logits, plan, recipe, *, task):
        assert len(maps) == len(targets) == len(own_logits)
        assert (recipe.distillation, task) == (0.6, "classes")
        places.append(plan.pooling.tensor)
        return random_head(plan, loss=train_conv_head.loss)

    train_conv_head.loss = 0.0
    stand_in = ModuleType(TRAINER)
    stand_in.train_conv_head = train_conv_head
    monkeypatch.setitem(sys.modules, TRAINER, stand_in)
    return places, train_conv_head


def random_head(plan, loss):
    random, layers = np.random.default_rng(0), []
    channels, height, width = plan.pooling.shape
    for outputs, stride in plan.layers:
        shapes = (channels, 1, 3, 3), (channels,), (outputs, channels, 1, 1), (outputs,)
        layers.append(SeparableWeights(*(random.normal(size=s).astype(np.float32) / 4 for s in shapes), stride))
        channels, height, width = outputs, -(-height // stride), -(-width // stride)
    weights = random.normal(size=(channels * np.prod(grid_of(height, width)), plan.class_count)).astype(np.float32)
    return ConvHead(plan.pooling, tuple(layers), weights, np.zeros(plan.class_count, np.float32), loss)


def write_model(path):
    """Write three random convolutions over digits, with a classifier that is fitted behind them."""
    random, weights, nodes, value, channels = np.random.default_rng(0), {}, [], "image", 1
    for index, outputs in enumerate((32, 64, 64)):
        weights[f"w{index}"] = (random.normal(size=(outputs, channels, 3, 3)) / np.sqrt(9 * channels)).astype(
            np.float32
        )
        nodes.append(helper.make_node("Conv", [value, f"w{index}"], [f"conv{index}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]))
        value, channels = f"relu{index}", outputs
    nodes.append(helper.make_node("AveragePool", [value], ["means"], kernel_shape=[4, 4], strides=[4, 4]))
    nodes.append(helper.make_node("Flatten", ["means"], ["features"]))
    nodes.append(helper.make_node("Gemm", ["features", "weights", "bias"], ["scores"]))
    weights |= {"weights": np.zeros((256, 10), np.float32), "bias": np.zeros(10, np.float32)}
    weights["weights"], weights["bias"] = fit_classifier(nodes, weights, path)
    return save(path, nodes, {"image": ["N", 1, 8, 8]}, {"scores": ["N", 10]}, weights)


def fit_classifier(nodes, weights, path):
    count = digits_network.TRAINED_ON
    images, labels = (part[:count] for part in digits_network.digits())
    save(path, nodes[:-1], {"image": ["N", 1, 8, 8]}, {"features": ["N", 256]}, weights)
    inputs = images[:, np.newaxis].astype(np.float32) / 255
    (features,) = open_session(path.read_bytes()).run(None, {"image": inputs})
    spread = features.std()
    with threadpool_limits(1):
        fitted = LogisticRegression(C=0.1, max_iter=1000).fit(features / spread, labels)
    return (fitted.coef_.T / spread).astype(np.float32), fitted.intercept_.astype(np.float32)


def prepare(model, data, out, *more):
    return main(["prepare", str(model), "--data", str(data), "-o", str(out), "--head", "conv", *map(str, more)])


@pytest.fixture
def quickly(monkeypatch):
    """Leaves out most rules, which take most of the time."""

    def few_rules(traces, _workload, *, drops):
        figures = {"samples": 1, "accuracy": 1.0, "macs_share": 0.5, "looks": 1.0}
        fixed = {
            "rule": "fixed",
            "parameters": {f"{drop:g}": {"exit_index": 1} for drop in drops},
            "chosen_on": {f"{drop:g}": figures for drop in drops},
        }
        return fit_predictor(traces["fit"]), {"format": 1, "recommended": "fixed", "settings": {"fixed": fixed}}

    monkeypatch.setattr("edgeexit.offline.preparing.calibrating.fit_and_calibrate", few_rules)


@pytest.fixture
def judged_by_loss(monkeypatch):
    """Heads of random weights would never be taken."""
    monkeypatch.setattr("edgeexit.offline.preparing.conv_heads._cost", lambda head, *_: (1.0, head.loss))


@pytest.mark.usefixtures("quickly", "judged_by_loss")
def test_trained_heads_get_into_the_bundle(model, arrays, out, trained, capsys):
    assert prepare(model, arrays, out, "--place", "all", "--max-accuracy-drop", 5) == 0
    assert trained[0] == ["relu0", "relu1"]
    bundle = edgeexit.load_bundle(out)
    assert [segment.outputs[0] for segment in bundle.segments[:-1]] == ["relu0", "relu1"]
    assert [exit_.macs for exit_ in bundle.exits[:2]] == [198_656, 202_752]
    capsys.readouterr()
    np.save(out.parent / "one.npy", np.zeros((1, 1, 8, 8), np.float32))
    assert main(["run", str(out), str(out.parent / "one.npy"), "--device", "host"]) == 0


@pytest.mark.usefixtures("quickly")
def test_a_trained_head_with_which_the_expected_work_is_more_is_left_out(model, arrays, out, trained, capsys):
    assert prepare(model, arrays, out, "--place", "all", "--max-accuracy-drop", 5) == 0
    note = "a linear head does better than one with layers of its own, work counted, at relu0, relu1"
    assert note in capsys.readouterr().err
    assert max(exit_.macs for exit_ in edgeexit.load_bundle(out).exits) < 10_000


@pytest.mark.usefixtures("quickly")
def test_an_interrupted_run_trains_no_head_twice(model, arrays, out, trained, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.preparing.calibrating.fit_and_calibrate", interrupt)
        assert prepare(model, arrays, out, "--place", "all") == 130
    trained[0].clear()
    assert prepare(model, arrays, out, "--place", "all") == 0
    assert trained[0] == []


@pytest.mark.usefixtures("quickly")
def test_places_without_maps_have_linear_heads_and_it_is_said(arrays, out, tmp_path, trained, capsys):
    vectors = digits_network.write_model(tmp_path / "digits.onnx")
    assert prepare(vectors, arrays, out, "--cut", "relu1") == 0
    assert "no head with layers of its own, but a linear one, at relu1: what can be read" in capsys.readouterr().err
    assert trained[0] == []


def test_without_pytorch_it_is_named_before_anything_is_done(model, arrays, out, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, TRAINER, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert prepare(model, arrays, out) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("edgeexit: error: prepare needs torch for heads with layers of their own")
    assert error.endswith("pip install 'edgeexit[train]'")
    assert not work_path(out).exists()
