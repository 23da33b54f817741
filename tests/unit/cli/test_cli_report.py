import pytest
from replay_results import bounds, replay, whole_study

from edgeexit.cli import main
from edgeexit.offline.replaying.results import save_replays


@pytest.fixture
def results(tmp_path):
    """A file that a replay could have written."""
    save_replays(tmp_path / "results.json", (replay(*whole_study(), bounds=bounds()),))
    return tmp_path / "results.json"


def test_a_page_is_written_and_named(results, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(results), "-o", str(tmp_path / "out.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.html'}\n"
    assert "Is early exit worth it here?" in (tmp_path / "out.html").read_text()


def test_pictures_are_written_where_asked(results, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(results), "-o", str(tmp_path / "out.html"), "--png", str(tmp_path / "png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[1:]) == sorted(map(str, (tmp_path / "png").iterdir()))


def test_a_missing_file_takes_one_line_and_code_3(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(tmp_path / "none.json")]) == 3
    assert capsys.readouterr().err == (
        f"edgeexit: error: {tmp_path / 'none.json'}: there is no such file; run 'edgeexit replay BUNDLE --board NAME "
        "--json FILE' to make it\n"
    )


def test_without_results_the_usage_is_wrong(capsys):
    assert main(["report"]) == 2
    assert "RESULTS.json" in capsys.readouterr().err


def test_a_board_takes_one_bundle(capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", "one", "two", "--board", "jetson-tx2"]) == 2
    assert "--board replays one bundle, not 2" in capsys.readouterr().err


def test_what_to_replay_is_asked_with_a_board_only(results, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(results), "--rule", "last"]) == 2
    assert "are for a BUNDLE with --board" in capsys.readouterr().err


def test_a_bundle_is_replayed_first_where_a_board_is_named(tiny, demo_data, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["--board", "jetson-tx2", "--data", demo_data, "--deadline", "1.25", "--deadline", "2"]
    arguments += ["--rule", "last", "--rule", "threshold", "--governor", "stock", "--governor", "performance"]
    assert main(["report", str(tiny.path), *map(str, arguments), "-o", str(tmp_path / "out.html")]) == 0
    page = (tmp_path / "out.html").read_text()
    assert "tiny on jetson-tx2" in page
    assert "Deadline 1.25\u00a0x: 4 runs" in page
    assert "run with --rule threshold --governor stock --governor performance --governor best-fixed" in page
