"""What a user can ask of `edgeexit run` beyond a deadline: on a Jetson TX2's lowest clock exit 0 draws 4.33 nJ."""

import json

import pytest

from edgeexit.cli import main
from edgeexit.protocols import Conditions

LOWEST_HZ, HIGHEST_HZ = 114_750_000, 1_300_500_000
CRAWLING = ("--power-cap-w", "0.1")


def run(bundle, batch, capsys, *arguments, rule="threshold"):
    """Return the exit code and what is told of each sample."""
    board = ("--device", "simulated:jetson-tx2", "--exit-rule", rule)
    code = main(["run", str(bundle.path), str(batch), "--json", *board, *arguments])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_energy_budget_is_held_by_answering_earlier(tiny, batch, capsys):
    _, free = run(tiny, batch, capsys, *CRAWLING)
    assert [one["exit_index"] for one in free] == [1] * 6 + [2] * 3
    _, held = run(tiny, batch, capsys, *CRAWLING, "--energy-budget-mj", "8e-6")
    assert {(one["exit_index"], one["reason"]) for one in held} == {(0, "deepest exit allowed")}
    assert all(one["energy_j"] == pytest.approx(4.33e-9, rel=1e-3) for one in held)


def test_no_exit_that_costs_more_accuracy_than_allowed_answers_for_a_budget(tiny, batch, capsys):
    # The tiny bundle has no setting "fixed" that tells what its exits cost: only the last is known to cost nothing.
    _, held = run(tiny, batch, capsys, *CRAWLING, "--energy-budget-mj", "8e-6", "--max-drop", "0")
    assert [one["exit_index"] for one in held] == [1] * 6 + [2] * 3


def test_an_answer_that_was_cut_short_says_so(tiny, batch, capsys):
    board = ("--device", "simulated:jetson-tx2", "--exit-rule", "threshold")
    assert main(["run", str(tiny.path), str(batch), *board, *CRAWLING, "--energy-budget-mj", "8e-6"]) == 0
    assert all(line.endswith("; stopped at the deepest exit allowed") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(("cap_w", "clock_hz"), [("0.1", LOWEST_HZ), ("100", HIGHEST_HZ)])
def test_a_power_cap_bounds_the_clocks_of_any_governor(tiny, batch, capsys, cap_w, clock_hz):
    _, found = run(tiny, batch, capsys, "--governor", "performance", "--power-cap-w", cap_w)
    assert {one["clocks_hz"]["gpu"] for one in found} == {clock_hz}


@pytest.mark.parametrize(("temperature_c", "clock_hz"), [(None, HIGHEST_HZ), (60.0, HIGHEST_HZ), (71.0, LOWEST_HZ)])
def test_a_temperature_ceiling_bounds_them_too(tiny, batch, capsys, monkeypatch, temperature_c, clock_hz):
    conditions = Conditions(temperature_c=temperature_c)
    monkeypatch.setattr("edgeexit.device.simulated.SimulatedDevice.conditions", lambda board: conditions)
    _, found = run(tiny, batch, capsys, "--governor", "performance", "--temperature-ceiling-c", "70")
    assert {one["clocks_hz"]["gpu"] for one in found} == {clock_hz}


def test_at_a_frame_rate_each_answer_is_due_within_a_period(tiny, batch, capsys):
    _, found = run(tiny, batch, capsys, "--frame-rate", "30")
    assert {one["deadline_met"] for one in found} == {True}
    _, found = run(tiny, batch, capsys, *CRAWLING, "--frame-rate", "3e9")
    assert {one["deadline_met"] for one in found} == {False}


def test_at_a_frame_rate_the_next_sample_waits_for_its_turn(tiny, batch, capsys, monkeypatch):
    slept = []

    def sleep_s(clock, duration_s):
        slept.append(duration_s)
        clock.advance_s(duration_s)

    monkeypatch.setattr("edgeexit.device.simulated.SimulatedClock.sleep_s", sleep_s)
    run(tiny, batch, capsys, "--frame-rate", "30", "--governor", "performance")
    assert slept[0] == pytest.approx(1 / 30 - 0.003, rel=1e-6)  # the switch to the highest clock takes 3 ms
    assert slept[1:] == [pytest.approx(1 / 30, rel=1e-6)] * 8


def test_all_of_them_go_together(tiny, batch, capsys):
    caps = ("--power-cap-w", "8", "--temperature-ceiling-c", "70")
    demands = ("--frame-rate", "30", "--energy-budget-mj", "50", "--deadline-ms", "100")
    code, found = run(tiny, batch, capsys, *caps, *demands)
    assert code == 0
    assert len(found) == 9


@pytest.mark.parametrize(
    "wrong",
    [("--frame-rate", "0"), ("--energy-budget-mj", "-1"), ("--power-cap-w", "0"), ("--temperature-ceiling-c", "nan")],
)
def test_an_impossible_demand_is_wrong_usage(tiny, batch, capsys, wrong):
    assert run(tiny, batch, capsys, *wrong)[0] == 2


def test_a_small_network_may_stand_for_a_large_one_on_a_simulated_board(tiny, batch, capsys):
    _, small = run(tiny, batch, capsys, *CRAWLING)
    _, large = run(tiny, batch, capsys, *CRAWLING, "--work-scale", "1000")
    assert [one["energy_j"] for one in large] == pytest.approx([1000 * one["energy_j"] for one in small])


def test_work_is_not_scaled_on_a_real_machine(tiny, batch, capsys):
    assert main(["run", str(tiny.path), str(batch), "--device", "host", "--work-scale", "2"]) == 2
    assert "work_scale" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--deadline-ms", "--frame-rate", "--energy-budget-mj", "--power-cap-w", "--max-drop"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_finite_number_is_refused_by_the_name_of_its_flag(tiny, batch, capsys, flag, value):
    assert main(["run", str(tiny.path), str(batch), flag, value]) == 2
    assert flag in capsys.readouterr().err
