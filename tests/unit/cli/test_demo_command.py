import importlib.util
import json

import pytest

from edgeexit.cli import demo as module
from edgeexit.cli import main
from edgeexit.offline.demo import run_demo


@pytest.fixture
def demo(tiny, demo_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["demo", "--bundle", str(tiny.path), "--data", str(demo_data), *map(str, arguments)])


@pytest.fixture
def without_matplotlib(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "matplotlib" else find(name))


def test_shows_the_table_and_draws_the_picture(demo, tmp_path, capsys):
    assert demo() == 0
    captured = capsys.readouterr()
    assert "full network" in captured.out
    assert "oracle exit (bound)" in captured.out
    assert captured.err == "Picture: edgeexit-demo.png\n"
    assert (tmp_path / "edgeexit-demo.png").is_file()


def test_json_parses_and_its_figures_agree(demo, tmp_path, capsys):
    assert demo("--json") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.err == ""
    assert not (tmp_path / "edgeexit-demo.png").exists(), "a script that wants JSON is not given a picture"
    assert report["bundle"] == "tiny"
    assert report["curves"] == []
    assert report["images"] == 9
    first = report["policies"][0]
    for row in report["policies"]:
        assert sum(row["exit_counts"]) == 9
        assert row["mean_exit"] == pytest.approx(sum(e * n for e, n in enumerate(row["exit_counts"])) / 9)
        assert row["relative_energy"] == pytest.approx(row["simulated_energy_j"] / first["simulated_energy_j"])
        assert 0.0 < row["macs_share"] <= 84 / 60
        assert 0.0 <= row["accuracy"] <= 1.0
        assert 1.0 <= row["exits_looked_at"] <= 3.0
    energies = [key for row in report["policies"] for key in row if "energy" in key and key != "relative_energy"]
    assert set(energies) == {"simulated_energy_j"}


def test_json_and_a_picture_can_be_had_together(demo, tmp_path, capsys):
    assert demo("--json", "--png", tmp_path / "own.png") == 0
    report = json.loads(capsys.readouterr().out)
    assert (tmp_path / "own.png").is_file()
    assert [curve["setting"] for curve in report["curves"]] == ["check-and-cap", "thresholds"]
    for curve in report["curves"]:
        (row,) = [row for row in report["policies"] if (row["setting"], row["governor"]) == (curve["setting"], "plan")]
        assert [point["allowed_drop"] for point in curve["points"]] == [0.0, 0.5]
        assert curve["points"][0]["simulated_energy_j"] == row["simulated_energy_j"]


@pytest.fixture
def curves_asked_for(monkeypatch):
    """Whether `run_demo` was asked for curves, one entry a call."""
    asked = []

    def run(*arguments, curves, **options):
        asked.append(curves)
        return run_demo(*arguments, curves=curves, **options)

    monkeypatch.setattr("edgeexit.offline.demo.run_demo", run)
    return asked


@pytest.mark.parametrize(
    ("arguments", "asked"), [([], True), (["--no-png"], False), (["--json"], False), (["--json", "--png", "a"], True)]
)
def test_other_drops_are_run_only_for_a_picture(demo, curves_asked_for, arguments, asked):
    assert demo(*arguments) == 0
    assert curves_asked_for == [asked]


@pytest.mark.usefixtures("without_matplotlib")
def test_without_matplotlib_no_other_drops_are_run(demo, curves_asked_for):
    assert demo() == 0
    assert curves_asked_for == [False]


def test_no_picture_if_none_is_wanted(demo, tmp_path, capsys):
    assert demo("--no-png") == 0
    assert capsys.readouterr().err == ""
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.usefixtures("without_matplotlib")
def test_without_matplotlib_one_line_says_what_to_install(demo, capsys):
    assert demo() == 0
    captured = capsys.readouterr()
    assert "full network" in captured.out
    assert captured.err == "edgeexit: note: no picture: it needs Matplotlib: pip install 'edgeexit[report]'\n"


@pytest.mark.usefixtures("without_matplotlib")
def test_a_picture_that_was_asked_for_and_cannot_be_had_is_an_error(demo, capsys):
    assert demo("--png", "own.png") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pip install 'edgeexit[report]'" in captured.err


def test_a_picture_that_cannot_be_written_is_an_error_after_the_table(demo, tmp_path, capsys):
    assert demo("--png", tmp_path / "nosuch" / "own.png") == 1
    captured = capsys.readouterr()
    assert "full network" in captured.out
    assert captured.err == f"edgeexit: error: {tmp_path}/nosuch/own.png: No such file or directory\n"


def test_fewer_images_another_deadline_and_scale(demo, capsys):
    assert demo("--json", "--images", 4, "--deadline", 2, "--work-scale", 1e6, "--allowed-drop", 0.5) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["deadline_factor"], report["work_scale"]) == (4, 2.0, 1e6)
    assert report["allowed_drop"] == 0.5
    assert len(report["policies"]) == 11


@pytest.mark.parametrize(("arguments", "last"), [(["--no-png"], "oracle"), ([], "thresholds, plan, drop 0.5")])
def test_a_progress_bar_with_the_time_left_is_drawn_on_a_terminal(demo, monkeypatch, arguments, last, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert demo(*arguments) == 0
    captured = capsys.readouterr()
    full = [line for line in captured.err.split("\r") if "100%" in line]
    assert full
    assert all(last in line for line in full), "it is full when the last pass ends, and not before"
    assert "100%" not in captured.out


def test_a_board_that_nobody_measured_is_called_modelled(demo, capsys):
    assert demo("--board", "raspberry-pi-5", "--no-png") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "from a table of modelled operating points (assumptions: operating_points," in text
    assert "what the board was modelled with (MobileNetV2" in text


def test_a_board_without_a_model_cannot_be_simulated(demo, capsys):
    assert demo("--board", "raspberry-pi-3") == 5
    assert "profile 'raspberry-pi-3' says how to drive this board, not what it costs" in capsys.readouterr().err
