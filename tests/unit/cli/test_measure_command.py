import json
import os

import pytest

from edgeexit.cli import main
from edgeexit.cli.ending import EndedBySignal
from edgeexit.testing.fake_sysfs import FakeTree

TX2 = "simulated:jetson-tx2"


def measure(bundle, folder, *arguments, device=TX2):
    return main(["measure", str(bundle.path), "-o", str(folder), "--device", device, *map(str, arguments)])


@pytest.fixture
def costs(tiny, tmp_path, capsys):
    """A cost table of the tiny bundle on the simulated board."""
    assert measure(tiny, tmp_path / "measured", "--points", 3) == 0
    capsys.readouterr()
    return tmp_path / "measured" / "tiny.costs.json"


def test_a_simulated_board_gives_a_table_with_the_word_and_the_cheapest_point(tiny, tmp_path, capsys):
    assert measure(tiny, tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "tiny on simulated board simulated:jetson-tx2: the whole network, one sample, at each operating point"
    )
    title = next(line for line in lines if line.startswith("operating point"))
    assert title.split("  ")[1:] == [
        *("latency ms (simulated)", "spread", "power W (simulated)", "idle W (simulated)", "energy mJ (simulated)")
    ]
    rows = [line for line in lines if line.startswith("gpu ")]
    assert len(rows) == 13
    assert [row.split("<-")[1] for row in rows if "<-" in row] == [" cheapest", " quickest"]
    assert rows[6].startswith("gpu 726.75 MHz ")
    assert "cheapest" in rows[6]
    assert any(line.startswith("Cheapest: gpu 726.75 MHz, 25% less energy for an inference (sim") for line in lines)
    assert any(line.startswith("A switch (simulated): 3 ms to set and read back") for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simulated-jetson-tx2.json", "tiny.costs.json"]


def test_json_gives_one_object_with_si_units(tiny, tmp_path, capsys):
    assert measure(tiny, tmp_path, "--json", "--points", 2) == 0
    found = json.loads(capsys.readouterr().out)
    assert [point["clocks_hz"] for point in found["points"]] == [{"gpu": 114_750_000}, {"gpu": 1_300_500_000}]
    assert found["points"][1]["load_power_w"] == pytest.approx(15.91)
    assert (found["simulated"], found["energy_source"]) == (True, "simulated")
    assert found["cheapest_clocks_hz"] == {"gpu": 1_300_500_000}
    assert found["cost_table"] == str(tmp_path / "tiny.costs.json")


def test_this_very_machine_can_be_measured(tiny, tmp_path, capsys):
    assert measure(tiny, tmp_path, "--seconds-per-point", 0.05, "--points", 1, "--json", device="host") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["simulated"] is False
    assert found["points"][0]["latency_s"] > 0.0
    assert found["points"][0]["energy_j"] is None or found["meter"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "0"], '--points\': must be "all" or a whole number above 0'),
        (["--points", "some"], '--points\': must be "all" or a whole number above 0'),
        (["--seconds-per-point", "0"], "0.0 is not in the range"),
        (["--threads", "0"], "0 is not in the range"),
    ],
)
def test_a_wrong_option_is_wrong_usage(tiny, tmp_path, arguments, message, capsys):
    assert measure(tiny, tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err


def test_an_unfinished_measurement_of_other_settings_is_wrong_usage_and_fresh_begins_anew(
    tiny, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.measure.SwitchMeter.measure", interrupt)
        assert measure(tiny, tmp_path, "--points", 2) == 130
    assert capsys.readouterr().err.splitlines() == [
        "edgeexit: note: the clocks are given back; finished and kept: 2 of 2 operating points; the same command goes "
        "on from there",
        "edgeexit: interrupted",
    ]
    assert measure(tiny, tmp_path, "--points", 3) == 2
    assert "--fresh" in capsys.readouterr().err
    assert measure(tiny, tmp_path, "--points", 3, "--fresh") == 0


def test_an_interrupted_measurement_goes_on(tiny, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("edgeexit.offline.measure.SwitchMeter.measure", terminate)
        assert measure(tiny, tmp_path, "--points", 2) == 143
    capsys.readouterr()
    monkeypatch.setattr("edgeexit.offline.measure.PointMeter.measure", interrupt)
    assert measure(tiny, tmp_path, "--points", 2) == 0
    assert capsys.readouterr().err == (
        f"edgeexit: note: taken over from {tmp_path}/simulated-jetson-tx2.tiny.partial.json, finished before: 2 of 2 "
        "operating points\n"
    )


def test_a_measurement_interrupted_before_anything_was_finished_says_so(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edgeexit.offline.measure.PointMeter.measure", interrupt)
    assert measure(tiny, tmp_path, "--points", 2) == 130
    assert "the clocks are given back; no operating point was finished, so none is kept" in capsys.readouterr().err


def test_a_measurement_interrupted_where_no_clock_can_be_set_says_nothing_of_clocks(
    tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("edgeexit.device.host.Tree", FakeTree)  # a machine without clocks
    monkeypatch.setattr("edgeexit.offline.measure.PointMeter.measure", interrupt)
    assert measure(tiny, tmp_path, device="host") == 130
    assert capsys.readouterr().err.splitlines() == [
        "edgeexit: note: no operating point was finished, so none is kept",
        "edgeexit: interrupted",
    ]


def test_a_fresh_measurement_that_is_interrupted_goes_on_without_fresh(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edgeexit.offline.measure.SwitchMeter.measure", interrupt)
    assert measure(tiny, tmp_path, "--points", 2, "--fresh") == 130
    assert "the same command without --fresh goes on from there" in capsys.readouterr().err


def test_on_a_terminal_a_note_has_a_line_of_its_own(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("edgeexit.offline.measure.SwitchMeter.measure", interrupt)
    assert measure(tiny, tmp_path, "--points", 2) == 130
    lines = capsys.readouterr().err.split("\n")
    assert lines[-4].startswith("\r")
    assert lines[-3].startswith("edgeexit: note: the clocks are given back; ")
    assert lines[-2:] == ["edgeexit: interrupted", ""]


def test_a_folder_that_cannot_be_made_is_refused_before_the_board_is_opened(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("edgeexit.open_device", None)
    (tmp_path / "file").touch()
    assert measure(tiny, tmp_path / "file" / "out") == 2
    assert f"the folder {tmp_path}/file/out of -o cannot be made: Not a directory" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_wrong_usage(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    assert measure(tiny, tmp_path) == 2
    assert f"Directory '{tmp_path}' is not writable" in capsys.readouterr().err


def test_a_full_disk_is_told_with_the_file_that_it_has_no_room_for(tiny, tmp_path, monkeypatch, capsys):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    assert measure(tiny, tmp_path, "--points", 2) == 1
    path = tmp_path / "simulated-jetson-tx2.tiny.partial.json"
    assert capsys.readouterr().err == f"edgeexit: error: {path}: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def interrupt(*_):
    raise KeyboardInterrupt


def terminate(*_):
    raise EndedBySignal(15)


def test_run_takes_the_costs_that_were_measured(tiny, batch, costs, capsys):
    document = json.loads(costs.read_text())
    for point in document["points"][:-1]:  # so that nothing but the highest clock is in time
        point["costs"]["segment_latency_s"] = [10.0] * 3
    costs.write_text(json.dumps(document))
    arguments = ["run", str(tiny.path), str(batch), "--json", "--device", TX2, "--deadline-ms", "100"]
    assert main([*arguments, "--costs", str(costs)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["clocks_hz"]["gpu"] for record in found} == {1_300_500_000}
    assert main(arguments) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["clocks_hz"]["gpu"] for record in found} != {1_300_500_000}


def test_costs_of_a_simulated_board_are_refused_on_a_real_one(tiny, batch, costs, capsys):
    assert main(["run", str(tiny.path), str(batch), "--device", "host", "--costs", str(costs)]) == 2
    assert "was measured on the simulated board 'simulated:jetson-tx2'" in capsys.readouterr().err


def test_costs_measured_otherwise_are_used_with_a_warning(tiny, batch, costs, capsys):
    document = json.loads(costs.read_text())
    document["provenance"]["board"] = "simulated:other"
    document["provenance"]["threads"] = 2  # two threads here would give all later tests a thread pool to share
    costs.write_text(json.dumps(document))
    assert main(["run", str(tiny.path), str(batch), "--device", TX2, "--costs", str(costs)]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert "measured with board simulated:other, this is simulated:jetson-tx2" in warnings[0]
    assert "measured with threads 2, this is 1" in warnings[1]


def test_a_board_that_is_known_by_its_measured_profile_is_the_same_board(tiny, batch, costs, capsys):
    document = json.loads(costs.read_text())
    document["provenance"]["board"] += "-measured"
    costs.write_text(json.dumps(document))
    assert main(["run", str(tiny.path), str(batch), "--device", TX2, "--costs", str(costs)]) == 0
    assert capsys.readouterr().err == ""


def test_a_damaged_or_missing_cost_table_is_bad_data(tiny, batch, costs, capsys):
    costs.write_text("{")
    for path in (costs, costs.parent / "none.json"):
        assert main(["run", str(tiny.path), str(batch), "--device", TX2, "--costs", str(path)]) == 3
        assert path.name in capsys.readouterr().err


def test_the_measured_board_can_be_simulated(tiny, batch, costs, capsys):
    profile = costs.parent / "simulated-jetson-tx2.json"
    assert main(["run", str(tiny.path), str(batch), "--device", f"simulated:{profile}"]) == 0
    assert all(line.endswith("(simulated)") for line in capsys.readouterr().out.splitlines())
