"""From a user's model and samples to a bundle, by the command line."""

import errno
import os
import re
import shutil

import digits_network
import numpy as np
import onnx
import pytest
from onnx import helper

import edgeexit
from edgeexit.cli import main
from edgeexit.offline.data import load_samples
from edgeexit.offline.fit import fit_predictor
from edgeexit.offline.known_samples import new_samples
from edgeexit.offline.preparing.preparation import Worth
from edgeexit.offline.preparing.prepare import work_path
from edgeexit.offline.preparing.shrinking import Shrunk
from edgeexit.offline.preparing.sources import describe_network


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return digits_network.write_model(tmp_path_factory.mktemp("model") / "digits.onnx")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    return digits_network.write_arrays(tmp_path_factory.mktemp("data") / "digits.npz")


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    return digits_network.write_arrays(tmp_path_factory.mktemp("data") / "digits.npz", labels=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return digits_network.write_images(tmp_path_factory.mktemp("data") / "digits", 700)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "bundle"


@pytest.fixture
def quickly(monkeypatch):
    """Leaves out most rules, which take most of the time."""
    monkeypatch.setattr("edgeexit.offline.preparing.calibrating.fit_and_calibrate", few_rules)


def few_rules(traces, _workload, *, drops):
    figures = {"samples": 1, "accuracy": 1.0, "macs_share": 0.5, "looks": 1.0}
    settings = {
        name: {
            "rule": name,
            "parameters": {f"{drop:g}": parameters for drop in drops},
            "chosen_on": {f"{drop:g}": figures for drop in drops},
        }
        for name, parameters in (("threshold", {"threshold": 0.9}), ("fixed", {"exit_index": 1}))
    }
    return fit_predictor(traces["fit"]), {"format": 1, "recommended": "threshold", "settings": settings}


def prepare(model, data, out, *more):
    return main(["prepare", str(model), "--data", str(data), "-o", str(out), *map(str, more)])


def behind(out):
    """The tensors behind which the early exits of a bundle stand."""
    bundle = edgeexit.load_bundle(out)
    return [segment.outputs[0] for segment in bundle.segments[:-1]]


def test_a_model_and_a_folder_of_pictures_become_a_bundle_that_answers(model, pictures, out, capsys):
    assert prepare(model, pictures, out) == 0
    report = capsys.readouterr().out
    assert report.startswith(f"bundle   {out}\nmodel    digits.onnx: 0.01 M MACs, 10 classes\nsamples  700: heads 245")
    assert "Early exit is " in report.splitlines()[-2]
    bundle = edgeexit.load_bundle(out)
    assert bundle.labels == tuple(f"digit{number}" for number in range(10))
    assert bundle.preprocess.size == (8, 8)
    assert bundle.read_predictor() is not None
    picture = next((pictures / "digit3").iterdir())
    assert main(["run", str(out), str(picture), "--device", "host"]) == 0
    assert f"{picture}[0]: digit" in capsys.readouterr().out
    assert sorted(path.name for path in out.parent.iterdir()) == ["bundle"]


@pytest.mark.usefixtures("quickly")
def test_what_the_report_advises_can_be_run(model, arrays, out, monkeypatch, capsys):
    worth = Worth(yes=True, because="so small a network takes no longer")
    monkeypatch.setattr("edgeexit.offline.preparing.finishing.judge_worth", lambda *_, **__: worth)
    assert prepare(model, arrays, out, "--max-accuracy-drop", 0.7) == 0
    advice = capsys.readouterr().out.splitlines()[-1]
    assert advice.startswith(f"Use it with: edgeexit run {out} --exit-rule ")
    np.save(out.parent / "one.npy", np.zeros((1, 1, 8, 8), np.float32))
    words = advice.partition("edgeexit ")[2].replace("FILE...", str(out.parent / "one.npy")).split()
    assert main([*words, "--device", "host"]) == 0


@pytest.mark.usefixtures("quickly")
def test_without_labels_the_model_s_own_answers_are_right(model, unlabelled, out, capsys):
    assert prepare(model, unlabelled, out, "--place", "all") == 0
    report = capsys.readouterr().out
    assert "right    means as the full network says" in report
    assert "   4       100.0%   0.00%   100.00%  scores" in report
    assert edgeexit.load_bundle(out).labels is None


@pytest.mark.usefixtures("quickly")
def test_labels_that_are_not_the_model_s_can_be_left_aside(model, arrays, out, capsys):
    assert prepare(model, arrays, out, "--against", "full", "--place", "all") == 0
    assert "right    means as the full network says" in capsys.readouterr().out


def test_a_dry_run_shows_the_places_and_makes_nothing(model, arrays, out, capsys):
    assert prepare(model, arrays, out, "--dry-run") == 0
    report = capsys.readouterr().out
    assert "4 places to cut at, 4 tried\n" in report
    assert [line.split()[-2] for line in report.splitlines()[-4:]] == ["relu0", "relu1", "relu2", "relu3"]
    assert list(out.parent.iterdir()) == []


@pytest.mark.usefixtures("quickly")
def test_the_user_names_the_cuts(model, arrays, out):
    assert prepare(model, arrays, out, "--cut", "relu2", "--cut", "relu0") == 0
    assert behind(out) == ["relu0", "relu2"]


def test_a_cut_that_is_none_is_refused_with_the_nearest_names(model, arrays, out, capsys):
    assert prepare(model, arrays, out, "--cut", "relu9") == 2
    assert "cannot be cut at 'relu9'; of 4 places the nearest names are relu3, relu2, relu1" in capsys.readouterr().err
    assert list(out.parent.iterdir()) == []


@pytest.mark.usefixtures("quickly")
def test_the_bundle_knows_the_half_of_the_samples_that_its_exits_were_made_from(model, arrays, out):
    assert prepare(model, arrays, out, "--cut", "relu1") == 0
    bundle = edgeexit.load_bundle(out)
    assert len(new_samples(bundle, load_samples(arrays, bundle.inputs))) == 600


@pytest.mark.usefixtures("quickly")
def test_the_user_names_the_number_of_exits(model, arrays, out):
    assert prepare(model, arrays, out, "--exits", 1) == 0
    assert len(behind(out)) == 1


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(
    "more", [("--place", "paper", "--exits", "2"), ("--cost", "time"), ("--head", "ridge")], ids=" ".join
)
def test_other_ways_to_place_to_count_and_to_fit(model, arrays, out, more):
    assert prepare(model, arrays, out, *more) == 0
    assert edgeexit.load_bundle(out).exit_count > 1


@pytest.mark.usefixtures("quickly")
def test_compression_that_gains_nothing_is_undone_and_told(model, arrays, out, capsys):
    assert prepare(model, arrays, out, "--prune", 0.3, "--cut", "relu1") == 0
    assert "Compression:\n  prune: undone, it costs more than 0.5 points" in capsys.readouterr().out


@pytest.mark.usefixtures("quickly")
def test_segments_are_tried_in_int8(model, arrays, out, capsys):
    assert prepare(model, arrays, out, "--quantise", "--cut", "relu1") == 0
    report = capsys.readouterr().out
    assert "Compression:\n  quantise: " in report
    assert report.count("  segment ") >= 2


@pytest.mark.usefixtures("quickly")
def test_a_compressed_network_is_compared_with_the_model_as_it_was_given(model, arrays, out, monkeypatch, capsys):
    monkeypatch.setattr("edgeexit.offline.preparing.prepare.compress_network", compress_badly)
    assert prepare(model, arrays, out, "--cut", "relu1") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("Accuracy on the same samples: the model as you gave it ")]
    given, full, _setting = map(float, re.findall(r"([0-9.]+)%", line))
    assert "the full network (compressed) " in line
    assert full < given
    assert edgeexit.load_bundle(out).compression == ("prune",)


def compress_badly(network, _bench):
    """Return the network with a last layer that says 0 too often, as if a compression step had made it."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    (bias,) = [weight for weight in model.graph.initializer if weight.name == "b4"]
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 10
    bias.CopyFrom(onnx.numpy_helper.from_array(values, "b4"))
    return Shrunk(network=describe_network(model), steps=("prune",), lines=("prune: kept",), quantise_segments=False)


@pytest.mark.usefixtures("quickly")
def test_at_an_exit_the_bundle_says_what_scikit_learn_says(model, arrays, out):
    assert prepare(model, arrays, out, "--cut", "relu1", "--keep-work") == 0
    (head,) = (np.load(path) for path in work_path(out).glob("head-*"))
    given = np.load(arrays)["image"][:50]
    relu1 = _run(onnx.load(model), given, "relu1")
    logits = _run(onnx.load(work_path(out) / "with-heads.onnx"), given, "edgeexit/head0/scores")
    np.testing.assert_allclose(logits, relu1 @ head["weights"] + head["bias"], atol=1e-5)


def _run(proto, given, name):
    if name not in [value.name for value in proto.graph.output]:
        proto.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    from edgeexit.runtime.engine import open_session

    return open_session(proto.SerializeToString()).run([name], {"image": given})[0]


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.usefixtures("quickly")
def test_an_interrupted_run_goes_on_without_a_second_pass_and_ends_the_same(model, arrays, out, monkeypatch, capsys):
    assert prepare(model, arrays, out) == 0
    expected = edgeexit.load_bundle(out).manifest
    shutil.rmtree(out)
    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.preparing.calibrating.fit_and_calibrate", interrupt)
        assert prepare(model, arrays, out) == 130
    *_, note, end = capsys.readouterr().err.splitlines()
    assert note == f"edgeexit: note: what is finished is in {work_path(out)}; the same command goes on from there"
    assert end == "edgeexit: interrupted"
    assert not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.heads.recording._open", interrupt)
        patch.setattr("edgeexit.offline.preparing.building.fit_heads", interrupt)
        assert prepare(model, arrays, out) == 0
    assert edgeexit.load_bundle(out).manifest == expected
    assert not work_path(out).exists()


@pytest.mark.usefixtures("quickly")
def test_with_other_options_only_what_depends_on_them_is_made_again(model, arrays, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.preparing.calibrating.fit_and_calibrate", interrupt)
        assert prepare(model, arrays, out) == 130
    monkeypatch.setattr("edgeexit.offline.heads.recording._open", interrupt)
    assert prepare(model, arrays, out, "--head", "logistic") == 0


def test_other_samples_are_looked_at_anew(model, arrays, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.preparing.calibrating.fit_and_calibrate", interrupt)
        assert prepare(model, arrays, out) == 130
    monkeypatch.setattr("edgeexit.offline.heads.recording._open", interrupt)
    assert prepare(model, arrays, out, "--limit", 700) == 130


@pytest.mark.usefixtures("quickly")
def test_a_full_disk_leaves_no_half_bundle_and_the_next_run_goes_on(model, arrays, out, monkeypatch, capsys):
    sync = os.fsync
    left = [40]

    def fill(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fill)
        assert prepare(model, arrays, out) == 1
    note, error = capsys.readouterr().err.splitlines()[-2:]
    assert note == (
        f"edgeexit: note: free space and give the same command again: what is finished is kept in {work_path(out)}"
    )
    assert "No space left on device" in error
    assert not out.exists()
    assert prepare(model, arrays, out) == 0


@pytest.mark.usefixtures("quickly")
def test_what_is_there_is_not_overwritten_unasked(model, arrays, out, capsys):
    assert prepare(model, arrays, out, "--cut", "relu1") == 0
    assert prepare(model, arrays, out, "--cut", "relu2") == 4
    assert "have it replaced (--replace; in Python replace=True)" in capsys.readouterr().err
    assert behind(out) == ["relu1"]
    assert prepare(model, arrays, out, "--cut", "relu2", "--replace") == 0
    assert behind(out) == ["relu2"]


@pytest.mark.usefixtures("quickly")
def test_exits_that_do_not_pay_make_no_bundle_and_the_report_says_so(model, unlabelled, out, monkeypatch, capsys):
    from edgeexit.offline.preparing.choosing import Choice

    refused = Choice(kept=(), refused={0: "costs more than it saves"})
    monkeypatch.setattr("edgeexit.offline.preparing.prepare.choose_exits", lambda *_: refused)
    assert prepare(model, unlabelled, out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "relu0 (vector): no exit, costs more than it saves" in lines[6]
    assert lines[-2:] == [
        "Early exit is not worth it for this model because no exit before its end saves more than it costs.",
        "No bundle was made.",
    ]
    assert list(out.parent.iterdir()) == []
