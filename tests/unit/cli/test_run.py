import json

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import RULES, images, make_bundle, network_input

from edgeexit import load_governor
from edgeexit.cli import main
from edgeexit.protocols import EnergySource


def run(bundle, *arguments, device="host"):
    return main(["run", str(bundle.path), *map(str, arguments), "--device", device])


def records(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_says_file_class_exit_and_that_energy_is_not_metered(tiny, batch, capsys):
    assert run(tiny, batch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[1].startswith(f"{batch}[1]: second 96.5%; exit 1 of 0-2; looked at 0, 1; ")
    assert lines[8].startswith(f"{batch}[8]: third 92.5%; exit 2 of 0-2; looked at 0, 1, 2; ")
    assert all(line.endswith(" ms; energy not metered") for line in lines)


def test_a_certified_setting_takes_its_own_drop(batch, tmp_path):
    rules = json.loads(json.dumps(RULES))
    rules["settings"]["certified"] = {"rule": "fixed", "parameters": {"2": {"exit_index": 1}}}
    bundle = make_bundle(tmp_path, rules=rules)
    assert run(bundle, batch, "--exit-rule", "certified") == 0
    assert main(["export", str(bundle.path), "-o", str(tmp_path / "model.onnx"), "--exit-rule", "certified"]) == 0


def test_a_setting_that_cannot_keep_its_drop_is_warned_of(batch, tmp_path, capsys):
    rules = json.loads(json.dumps(RULES))
    rules["settings"]["threshold"]["chosen_on"] = {"0": {"missed": True}, "0.5": {}}
    bundle = make_bundle(tmp_path, rules=rules)
    assert run(bundle, batch, "--allowed-drop", "0.5") == 0
    assert capsys.readouterr().err == ""
    assert run(bundle, batch) == 0
    assert capsys.readouterr().err == (
        "edgeexit: warning: setting 'threshold' loses more than 0 points however it is set: the nearest drop that it "
        "keeps is 0.5; or take another setting\n"
    )


def test_on_a_simulated_board_energy_is_called_simulated(tiny, batch, capsys):
    assert run(tiny, batch, device="simulated:jetson-tx2") == 0
    assert all(line.endswith(" mJ (simulated)") for line in capsys.readouterr().out.splitlines())


def test_json_gives_one_object_a_sample(tiny, batch, capsys):
    assert run(tiny, batch, "--json", "--deadline-ms", "1000", device="simulated:jetson-tx2") == 0
    found = records(capsys)
    assert len(found) == 9
    assert found[8].pop("probability") == pytest.approx(0.92462, abs=1e-5)
    assert found[8].pop("latency_s") > 0.0
    assert found[8].pop("energy_j") > 0.0
    assert list(found[8].pop("clocks_hz")) == ["gpu"]
    assert found[8] == {
        "file": str(batch),
        "index": 8,
        "label": 2,
        "class_name": "third",
        "exit_index": 2,
        "exit_count": 3,
        "exits_looked_at": [0, 1, 2],
        "energy_source": "simulated",
        "energy_uncertainty_j": None,
        "reason": "last exit",
        "deadline_met": True,
        "energy_budget_met": None,
    }


def test_json_without_a_meter_has_null_and_never_0(tiny, batch, capsys):
    assert run(tiny, batch, "--json") == 0
    assert {(record["energy_j"], record["energy_source"]) for record in records(capsys)} == {(None, None)}


@pytest.mark.parametrize(
    ("setting", "exits"),
    [("last", [2] * 9), ("thresholds", [0] * 6 + [1] * 3), ("check-and-cap", [1] * 9)],
)
def test_the_exit_setting_can_be_chosen(tiny, batch, setting, exits, capsys):
    assert run(tiny, batch, "--json", "--exit-rule", setting) == 0
    assert [record["exit_index"] for record in records(capsys)] == exits


def test_a_governor_can_be_chosen(tiny, batch, capsys):
    assert run(tiny, batch, "--json", "--governor", "performance", device="simulated:jetson-tx2") == 0
    assert {record["clocks_hz"]["gpu"] for record in records(capsys)} == {1_300_500_000}


def test_a_governor_can_be_given_options(tiny, batch, capsys):
    arguments = "--governor", "fixed", "--governor-option", "frequency_hz=726750000"
    assert run(tiny, batch, "--json", *arguments, device="simulated:jetson-tx2") == 0
    assert {record["clocks_hz"]["gpu"] for record in records(capsys)} == {726_750_000}


def test_governor_options_are_whole_numbers_numbers_or_text(tiny, batch, monkeypatch, capsys):
    given = {}

    def load(name, **options):
        given.update(options)
        return load_governor("performance")

    monkeypatch.setattr("edgeexit.load_governor", load)
    pairs = ["a=-3", "b=2.5", "c=1e3", "d=low=1", "e="]
    assert run(tiny, batch, *(word for pair in pairs for word in ("--governor-option", pair))) == 0
    assert given == {"a": -3, "b": 2.5, "c": 1000.0, "d": "low=1", "e": ""}
    assert [type(value) for value in given.values()] == [int, float, float, str, str]


def test_all_kinds_of_files_give_the_same_answer(tiny, tmp_path, capsys):
    one, pixels = network_input()[8], images()[0][8]
    np.save(tmp_path / "one.npy", one)
    np.savez(tmp_path / "named.npz", image=one[np.newaxis], more=one)
    np.savez_compressed(tmp_path / "only.npz", a=one)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(pixels).convert("RGBA").save(tmp_path / "colour.png")
    files = sorted(path for path in tmp_path.iterdir() if path.suffix in (".npy", ".npz", ".png"))
    assert run(tiny, *files, "--json") == 0
    found = records(capsys)
    assert [record["file"] for record in found] == list(map(str, files))
    assert {(record["label"], record["exit_index"], round(record["probability"], 4)) for record in found} == {
        (2, 2, 0.9246)
    }


def test_a_bad_file_is_reported_and_the_others_are_answered(tiny, batch, tmp_path, capsys):
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert run(tiny, tmp_path / "bad.npy", batch, tmp_path / "nosuch.png") == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 9
    assert [line.startswith("edgeexit: error: ") for line in captured.err.splitlines()] == [True, True]
    assert "bad.npy is no NumPy file" in captured.err
    assert "nosuch.png does not exist" in captured.err


def test_a_deadline_that_cannot_be_kept_is_said(tiny, batch, capsys):
    assert run(tiny, batch, "--exit-rule", "last", "--deadline-ms", "0.0000001", device="simulated:jetson-tx2") == 0
    assert all("deadline missed" in line for line in capsys.readouterr().out.splitlines())


class Meter:
    """A meter that tells windows of `min_window_s` and more, and counts 2 J at every look."""

    name = "VDD_IN"
    source = EnergySource.INTEGRATED

    def __init__(self, min_window_s):
        self.min_window_s = min_window_s
        self.energy_j = 0.0

    def read_energy_j(self):
        self.energy_j += 2.0
        return self.energy_j

    def uncertainty_j(self, energy_j, duration_s):
        return 0.5

    def read_power_w(self):
        return None


@pytest.mark.parametrize(
    ("min_window_s", "last"),
    [
        (0.0, "all 9 samples, with reading the files: 38 +- 0.5 J (integrated, VDD_IN)"),
        (1e9, "all 9 samples: too short for the meter VDD_IN"),
    ],
)
def test_the_energy_of_all_samples_is_told_because_one_may_be_too_short(
    tiny, batch, capsys, monkeypatch, min_window_s, last
):
    monkeypatch.setattr("edgeexit.device.host.HostDevice.meter", Meter(min_window_s))
    assert run(tiny, batch) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last
