import json
from dataclasses import replace
from math import nan

import pytest
from replay_results import bounds, replay, run, whole_study

from edgeexit.errors import DataError, MissingExtra
from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.replaying.results import save_replays
from edgeexit.offline.reporting import files
from edgeexit.offline.reporting.checks import check_replay
from edgeexit.offline.reporting.files import read_results, write_report


def test_results_are_read_back_as_they_were_written(tmp_path):
    saved = replay(*whole_study(), bounds=bounds())
    save_replays(tmp_path / "a.json", (saved,))
    assert read_results([tmp_path / "a.json"]) == {str(tmp_path / "a.json"): saved}


def test_replays_of_one_file_are_numbered(tmp_path):
    save_replays(tmp_path / "a.json", (replay(run()), replay(run())))
    assert list(read_results([tmp_path / "a.json"])) == [f"{tmp_path / 'a.json'}, {n}" for n in (1, 2)]


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"none\.json: there is no such file; run 'edgeexit replay"):
        read_results([tmp_path / "none.json"])


@pytest.mark.parametrize("text", ["", "{", "[]x", '{"format": "edgeexit.replay/9"}', "[3]", "\x00", '{"format": 1}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=r"bad\.json.*run 'edgeexit replay"):
        read_results([tmp_path / "bad.json"])


def test_a_file_cut_short_by_a_key_is_refused(tmp_path):
    document = replay(run()).as_json()
    del document["runs"][0]["misses"]
    (tmp_path / "bad.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"bad\.json.*run 'edgeexit replay"):
        read_results([tmp_path / "bad.json"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inferences": 0}, "inferences is 0"),
        ({"misses": 1001}, "1001 misses and 0 answers cut short of 1000 inferences"),
        ({"misses": "3"}, "misses, cut_short and exit_counts must be counts"),
        ({"energy_j": Estimate(0.1, 0.2, 0.3)}, "energy_j is Estimate"),
        ({"accuracy": Estimate(nan, nan, nan)}, "accuracy is Estimate"),
        ({"latency_s": {"mean": 0.1}}, "latency_s must have mean, p50, p95, p99, max"),
        ({"latency_histogram": ((0.0, 1.0), (1, 2))}, "one edge more than counts"),
        ({"latency_histogram": ((1.0, 0.0), (1,))}, "ascending edges"),
        ({"residency": {"gpu 1 MHz": -0.5}}, "numbers that are not negative"),
        ({"deadline_s": -1.0}, "deadline_s is -1.0"),
        ({"exit_counts": ()}, "exit_counts must be counts"),
    ],
)
def test_impossible_figures_are_refused(changes, message):
    with pytest.raises(DataError, match=f"x.json: run 'threshold' with 'plan': .*{message}.*'edgeexit replay' again"):
        check_replay(replay(replace(run(), **changes)), "x.json")


def test_results_without_a_run_are_refused():
    with pytest.raises(DataError, match=r"x\.json: holds no run; run 'edgeexit replay'"):
        check_replay(replay(), "x.json")


def test_bounds_must_be_energies():
    broken = tuple(replace(each, clairvoyant_j=-1.0) for each in bounds())
    with pytest.raises(DataError, match=r"bounds of 'forecast': -1\.0 is no energy"):
        check_replay(replay(run(), bounds=broken), "x.json")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'edgeexit\[report\]'"):
        write_report({"a": replay(run())}, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_report_is_refused(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match="there are no results to report"):
        write_report({}, tmp_path / "a.html")


def test_a_page_and_pictures_are_written_and_nothing_else(tmp_path):
    pytest.importorskip("matplotlib")
    written = write_report({"a": replay(*whole_study())}, tmp_path / "a.html", tmp_path / "new" / "png")
    assert written[0] == tmp_path / "a.html"
    assert sorted(path.name for path in (tmp_path / "new" / "png").iterdir()) == [
        f"tiny-on-jetson-tx2-{name}.png" for name in ("exits", "latency", "residency", "timeline", "trade-off-1.25")
    ]
    assert sorted(written[1:]) == sorted((tmp_path / "new" / "png").iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "new"]


def test_the_same_results_give_the_same_page(tmp_path):
    pytest.importorskip("matplotlib")
    pages = []
    for name in ("a.html", "b.html"):
        write_report({"a": replay(run())}, tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_an_old_page_is_kept_where_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    (tmp_path / "a.html").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_report({"a": replay(run())}, tmp_path / "a.html")
    assert caught.value.filename == str(tmp_path / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_text() == "old"


def test_replays_of_the_same_board_are_told_apart_by_their_conditions_then_by_file():
    noisy = run(noise="truncated-normal, 10%", guard=1.3)
    titled = files._titled(
        {"a.json": replay(run(), noisy), "b.json": replay(run()), "c.json": replay(run(), board="x")}
    )
    assert list(titled) == [
        "tiny on jetson-tx2, periodic requests, no latency noise (a.json)",
        "tiny on jetson-tx2, periodic requests, latency noise truncated-normal, 10%, guard 1.3",
        "tiny on jetson-tx2, periodic requests, no latency noise (b.json)",
        "tiny on x",
    ]
