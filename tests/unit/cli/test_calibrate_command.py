"""`edgeexit calibrate` on a tiny bundle: settings, certificates and budgets, and what goes wrong."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgeexit.bundle import load_bundle
from edgeexit.bundle.write import write_bundle
from edgeexit.cli import main

TABLE_KEYS = {"path", "digest", "risk", "samples", "recommended", "full_accuracy", "unseen", "certificates", "budget"}


def random_pixels(samples=500):
    return np.random.default_rng(0).integers(0, 256, (samples, 2, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images whose brightest of three pixels is the class, 500 of them."""
    path, pixels = tmp_path_factory.mktemp("data") / "images.npz", random_pixels()
    np.savez(path, images=pixels, labels=pixels.reshape(500, 4)[:, :3].argmax(axis=1))
    return path


@pytest.fixture(scope="module")
def calibrated(tiny, data, tmp_path_factory):
    """The tiny bundle, calibrated with a certificate and a budget, and what was printed."""
    out = tmp_path_factory.mktemp("calibrated") / "own"
    from click.testing import CliRunner

    from edgeexit.cli.calibrate import command

    arguments = [
        str(tiny.path),
        "--data",
        str(data),
        "-o",
        str(out),
        "--max-accuracy-drop",
        "2",
        "--budget-macs",
        "0.7",
    ]
    result = CliRunner().invoke(command, [*arguments, "--json"], standalone_mode=False)
    assert result.exception is None, result.exception
    return out, json.loads(result.stdout)


@pytest.fixture
def quick(calibrated, monkeypatch):
    """Choose the settings that were chosen already, which takes long."""
    import edgeexit.offline.guarantee.recalibrate as module

    bundle = load_bundle(calibrated[0])
    rules = json.loads(json.dumps(bundle.read_rules()))
    for name in ("certified", "budget"):
        del rules["settings"][name]
    monkeypatch.setattr(module, "fit_and_calibrate", lambda traces, workload: (bundle.read_predictor(), rules))


def test_the_bundle_is_written_with_a_certificate(calibrated):
    out, said = calibrated
    bundle = load_bundle(out)
    (certificate,) = bundle.manifest.certificates
    assert set(said) == TABLE_KEYS
    assert said["digest"] == bundle.digest
    assert said["samples"] == {"fit": 125, "select": 175, "certify": 200}
    assert (certificate.setting, certificate.bound_points, certificate.confidence) == ("certified", 2.0, 0.95)
    assert certificate.samples == 200
    assert certificate.p_value <= 0.05
    assert bundle.read_rules()["settings"]["certified"]["parameters"]["2"]


def test_the_budget_is_a_setting(calibrated):
    out, said = calibrated
    setting = load_bundle(out).read_rules()["settings"]["budget"]
    assert setting["rule"] == "threshold"
    assert list(setting["parameters"]) == ["0"]  # all exits of this bundle say the same
    assert said["budget"]["unseen_cost"] < 0.8


def test_what_shadow_runs_may_expect_is_kept_with_the_certified_setting_and_the_budget(calibrated):
    settings = load_bundle(calibrated[0]).read_rules()["settings"]
    for name in ("certified", "budget"):
        (seen,) = settings[name]["chosen_on"].values()
        assert 0 < seen["agreed"] <= seen["exited"] <= seen["samples"] == 175


@pytest.mark.usefixtures("quick")
def test_labels_that_are_plainly_not_the_networks_are_told(tiny, tmp_path, capsys):
    pixels = random_pixels()
    others = (pixels.reshape(500, 4)[:, :3].argmax(axis=1) + 1) % 3
    np.savez(tmp_path / "other.npz", images=pixels, labels=others)
    arguments = ["calibrate", str(tiny.path), "--data", str(tmp_path / "other.npz"), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "note: the full network is right for only 0.0% of the samples, about as often as chance" in line
    assert "or give --against full" in line


@pytest.mark.usefixtures("quick")
def test_labels_that_fit_are_not_doubted(tiny, data, tmp_path, capsys):
    assert main(["calibrate", str(tiny.path), "--data", str(data), "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""


def test_a_package_that_is_missing_is_named_with_what_to_install(tiny, data, tmp_path):
    arguments = ["calibrate", str(tiny.path), "--data", str(data), "-o", str(tmp_path / "out")]
    without = f"import sys; sys.modules['sklearn'] = None; from edgeexit.cli import main; sys.exit(main({arguments!r}))"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "edgeexit: error: calibrate needs sklearn: pip install 'edgeexit[prepare]'\n"


def test_a_session_answers_with_the_certified_setting(calibrated, tmp_path, capsys):
    out, _ = calibrated
    np.save(tmp_path / "one.npy", np.array([[[[1.0, 0.0], [0.0, 0.0]]]], dtype=np.float32))
    code = main(["run", str(out), str(tmp_path / "one.npy"), "--exit-rule", "certified", "--allowed-drop", "2"])
    assert code == 0
    assert "first" in capsys.readouterr().out


def test_info_shows_the_certificate(calibrated, capsys):
    out, _ = calibrated
    assert main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "certificate: accuracy lost with setting certified" in text
    assert "below 2 points, confidence 0.95" in text
    assert "NOT VALID" not in text


def test_info_tells_if_a_certified_setting_was_changed(calibrated, tmp_path, capsys):
    from edgeexit.bundle.write import replace_files

    shutil.copytree(calibrated[0], tmp_path / "changed")
    bundle = load_bundle(tmp_path / "changed")
    rules = json.loads(json.dumps(bundle.read_rules()))
    rules["settings"]["certified"] = {"rule": "fixed", "parameters": {"2": {"exit_index": 0}}}
    replace_files(bundle, {"rules.json": json.dumps(rules).encode()})
    assert main(["info", str(tmp_path / "changed")]) == 0
    assert "NOT VALID HERE" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_calibrating_again_replaces_the_bundle_and_its_certificates(calibrated, data, tmp_path, capsys):
    shutil.copytree(calibrated[0], tmp_path / "again")
    assert main(["calibrate", str(tmp_path / "again"), "--data", str(data)]) == 0
    assert "right is what the labels say" in capsys.readouterr().out
    bundle = load_bundle(tmp_path / "again")
    assert bundle.manifest.certificates == ()
    assert "certified" not in bundle.read_rules()["settings"]


@pytest.mark.usefixtures("quick")
def test_without_labels_agreement_with_the_full_network_is_certified(tiny, tmp_path, capsys):
    np.savez(tmp_path / "bare.npz", images=random_pixels())
    arguments = ["calibrate", str(tiny.path), "--data", str(tmp_path / "bare.npz"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--max-accuracy-drop", "2"]) == 0
    assert "right is what the full network says" in capsys.readouterr().out
    (certificate,) = load_bundle(tmp_path / "out").manifest.certificates
    assert (certificate.setting, certificate.risk, certificate.gained) == ("certified-agreement", "full", 0)


@pytest.mark.usefixtures("quick")
def test_a_compressed_network_is_called_so(tiny, tmp_path, capsys):
    files = {name: tiny.read_file(name) for name in tiny.manifest.files}
    pruned = write_bundle(tmp_path / "pruned", replace(tiny.manifest, compression=("prune",)), files)
    np.savez(tmp_path / "bare.npz", images=random_pixels())
    assert main(["calibrate", str(pruned.path), "--data", str(tmp_path / "bare.npz"), "--max-accuracy-drop", "2"]) == 0
    said = capsys.readouterr().out
    assert "right is what the full network (compressed) says" in said
    assert "certified: answers other than those of the full network (compressed) below 2 points" in said
    assert load_bundle(pruned.path).compression == ("prune",)


@pytest.mark.usefixtures("quick")
def test_the_setting_that_is_named_is_certified_and_can_be_exported(tiny, data, tmp_path):
    asked = ["--max-accuracy-drop", "2", "--certify-rule", "thresholds"]
    out = str(tmp_path / "out")
    assert main(["calibrate", str(tiny.path), "--data", str(data), "-o", out, *asked]) == 0
    (certificate,) = load_bundle(out).manifest.certificates
    assert certificate.rule == "threshold"
    setting = ["--exit-rule", "certified", "--allowed-drop", "2"]
    assert main(["export", out, "-o", str(tmp_path / "model.onnx"), *setting]) == 0


def failing(capsys, tiny, data, tmp_path, *arguments, code):
    """Return the one line of an error, after which nothing is written."""
    out = tmp_path / "out"
    assert main(["calibrate", str(tiny.path), "--data", str(data), "-o", str(out), *arguments]) == code
    assert not out.exists()
    assert list(tmp_path.glob(".out*")) == []
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_too_few_samples_for_the_confidence_say_how_many_are_needed(tiny, data, tmp_path, capsys):
    line = failing(capsys, tiny, data, tmp_path, "--max-accuracy-drop", "0.5", code=3)
    assert "Too few samples: 500 given, of which 200 are kept to certify with; " in line
    assert "at least 1510 needed, of which 604 to certify with, for drop 0.5 points at confidence 0.95" in line
    assert "give 1510 or more" in line


def test_too_few_samples_for_the_parts_are_refused(tiny, data, tmp_path, capsys):
    line = failing(capsys, tiny, data, tmp_path, "--limit", "300", code=3)
    assert "300 samples are too few" in line


def test_labels_that_are_no_classes_are_refused(tiny, tmp_path, capsys):
    np.savez(tmp_path / "wrong.npz", images=random_pixels(), labels=np.arange(500) % 4)
    assert "labels" in failing(capsys, tiny, tmp_path / "wrong.npz", tmp_path, code=3)


def test_time_and_energy_need_costs(tiny, data, tmp_path, capsys):
    for asked in (("--cost", "time"), ("--budget-latency", "5ms"), ("--budget-energy", "2mJ")):
        assert "need a cost table" in failing(capsys, tiny, data, tmp_path, *asked, code=2)


def test_a_budget_of_two_kinds_is_refused(tiny, data, tmp_path, capsys):
    line = failing(capsys, tiny, data, tmp_path, "--budget-macs", "0.5", "--budget-latency", "5ms", code=2)
    assert "one budget" in line


def test_an_amount_without_its_unit_is_refused(tiny, data, tmp_path, capsys):
    for amount in ("5", "5m", "ms", "-5ms", "0s", "nans", "1e400s", "5 Hz"):
        line = failing(capsys, tiny, data, tmp_path, "--budget-latency", amount, code=2)
        assert "with its unit, as 5ms" in line


def test_a_bundle_that_ships_is_left_as_it_is(data, capsys):
    assert main(["calibrate", "fashion-resnet", "--data", str(data)]) == 2
    assert "name a folder for the new one with -o" in capsys.readouterr().err


def test_a_place_that_is_taken_is_refused_before_the_network_runs(tiny, data, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    arguments = ["calibrate", str(tiny.path), "--data", str(data), "-o", str(tmp_path / "there")]
    assert main(arguments) == 4
    assert "exists already" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_a_disk_that_is_full_leaves_the_bundle_as_it_was(calibrated, data, tmp_path, capsys, monkeypatch):
    import edgeexit.bundle.write

    shutil.copytree(calibrated[0], tmp_path / "full")
    before = load_bundle(tmp_path / "full").digest

    def fail(path, _data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(edgeexit.bundle.write, "_write_through", fail)
    assert main(["calibrate", str(tmp_path / "full"), "--data", str(data)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert load_bundle(tmp_path / "full").digest == before
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.usefixtures("quick")
def test_energy_budgets_and_time_come_from_a_board(tiny, data, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--board", "jetson-tx2", "--cost", "time", "--budget-energy", "1J"]
    assert main(["calibrate", str(tiny.path), "--data", str(data), "-o", str(out), *arguments]) == 0
    assert "budget of 1000 mJ" in capsys.readouterr().out
    chosen_on = load_bundle(out).read_rules()["settings"]["threshold"]["chosen_on"]["0"]
    assert {"macs_share", "time_share"} <= set(chosen_on)
