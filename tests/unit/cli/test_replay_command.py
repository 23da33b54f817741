import json

import pytest

from edgeexit.cli import main
from edgeexit.offline.replaying.results import load_replays


@pytest.fixture
def replay(tiny, demo_data):
    return lambda *arguments: main(["replay", str(tiny.path), "--data", str(demo_data), *map(str, arguments)])


def test_prints_a_table_of_every_rule_governor_and_deadline(replay, capsys):
    arguments = ("--rule", "last", "--rule", "threshold@0.5", "--governor", "plan", "--governor", "stock")
    assert replay(*arguments, "--deadline", 1.25, "--deadline", "none") == 0
    text = capsys.readouterr().out
    assert "every energy is simulated" in text
    assert text.count("plan ") == 4
    assert text.count("no deadline") == 2


def test_writes_results_that_can_be_read_again(replay, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert replay("--rule", "last", "--governor", "plan:per_sample=false", "--deadline", 2, "--json", out) == 0
    (found,) = load_replays(out)
    assert [(run.rule, run.governor, run.deadline_factor) for run in found.runs] == [
        ("last", "plan:per_sample=false", 2.0)
    ]
    assert json.loads(out.read_text())["format"] == "edgeexit.replay/1"


def test_by_default_everything_is_compared(replay, tmp_path, capsys):
    assert replay("--no-optimum", "--json", tmp_path / "out.json") == 0
    (found,) = load_replays(tmp_path / "out.json")
    assert {run.rule for run in found.runs} == {"last", "thresholds", "threshold"}
    assert {run.deadline_factor for run in found.runs} == {1.0, 1.1, 1.25, 1.5, 2.0, 4.0}
    assert {"plan", "plan-population", "stock", "best-fixed", "race-to-idle"} <= {run.governor for run in found.runs}


@pytest.mark.parametrize(
    ("kind", "text"), [("poisson", "Poisson"), ("bursts", "bursts of 4"), ("periodic", "periodic")]
)
def test_arrivals_are_chosen_by_name(replay, capsys, kind, text):
    assert replay("--rule", "last", "--governor", "stock", "--deadline", 2, "--arrivals", kind, "--gap", 2) == 0
    assert text in capsys.readouterr().out


def test_arrivals_may_be_recorded(replay, tmp_path, capsys):
    (tmp_path / "day.txt").write_text("0\n1\n3\n")
    assert replay("--rule", "last", "--governor", "stock", "--deadline", 2, "--arrivals", tmp_path / "day.txt") == 0
    assert "day.txt, 3 requests in 3 s" in capsys.readouterr().out


def test_noise_brings_its_guard(replay, capsys):
    assert replay("--rule", "last", "--governor", "plan", "--deadline", 2, "--noise", 0.1, "--inferences", 90) == 0
    assert "noise truncated-normal, 10%, guard 1.3, 90 inferences" in capsys.readouterr().out


def test_the_static_share_is_varied(replay, tmp_path, capsys):
    arguments = ("--rule", "last", "--governor", "performance", "--deadline", 4, "--json", tmp_path / "out.json")
    assert replay(*arguments) == replay(*arguments[:-1], tmp_path / "varied.json", "--static-share", 0.5) == 0
    (own,), (varied,) = load_replays(tmp_path / "out.json"), load_replays(tmp_path / "varied.json")
    assert (own.static_share, varied.static_share) == (None, 0.5)
    assert varied.runs[0].energy_j.value > own.runs[0].energy_j.value


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--deadline", "soon"), 2, "above 0"),
        (("--deadline", "-1"), 2, "above 0"),
        (("--work-scale", "0"), 2, "above 0"),
        (("--governor", "nothing"), 2, "no governor is called 'nothing'"),
        (("--rule", "nothing"), 2, "no calibrated setting 'nothing'"),
        (("--arrivals", "never.txt"), 3, "never.txt"),
        (("--board", "nothing"), 5, "nothing"),
        (("--traces", "nothing.npz"), 2, "not both"),
    ],
)
def test_wrong_options_take_one_line(replay, capsys, arguments, code, message):
    assert replay(*arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
