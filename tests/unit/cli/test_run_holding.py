"""An average budget and a battery's life: a sample of fashion-resnet draws some 0.5 mJ on a simulated Jetson TX2."""

from pathlib import Path

import numpy as np
import pytest

import edgeexit
from edgeexit.cli import main
from edgeexit.device.battery import Battery


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npy"
    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as file:
        np.save(path, file["images"][:120, None].astype(np.float32) / 255.0)
    return path


def run(images, capsys, *arguments, device="simulated:jetson-tx2", bundle="fashion-resnet"):
    """Return the exit code, the last line of the output, and what was said of errors."""
    code = main(["run", str(bundle), str(images), "--device", device, *arguments])
    captured = capsys.readouterr()
    return code, (captured.out.splitlines() or [""])[-1], captured.err


def test_an_average_budget_is_held_and_said_at_the_end(images, capsys):
    code, last, _ = run(images, capsys, "--average-budget-mj", "1000")
    assert code == 0
    assert last.startswith("average budget 1e+03 mJ: 0.")
    assert last.endswith(" mJ a sample of late (simulated); settings that may cost 0 points of accuracy")


def test_a_budget_out_of_reach_is_said_to_be(images, capsys):
    _, last, _ = run(images, capsys, "--average-budget-mj", "0.001", "--max-drop", "0.5")
    assert "(simulated), out of reach of the settings allowed; settings that may cost 0.4" in last


def test_a_battery_of_so_many_watt_hours_loses_what_the_meter_counts(images, capsys):
    # At two samples a second a TX2 idles, at 1.9 W: the last reading, after 56 s, finds 0.030 Wh gone.
    arguments = ("--battery-hours", "0.02", "--battery-wh", "0.1", "--frame-rate", "2")
    _, last, _ = run(images, capsys, *arguments)
    assert last.startswith("battery: 0.0697 Wh")
    assert " for 0.00347 h, 20.1 W; drawn 1.9" in last
    assert last.endswith(" h (simulated); settings that may cost 0 points of accuracy")


def test_a_run_too_short_for_a_battery_says_so(images, capsys):
    _, last, _ = run(images, capsys, "--battery-hours", "1", "--battery-wh", "2")
    assert last.startswith("battery: 2 Wh for 1 h, 2 W (simulated); too short a run to tell what is drawn; ")


def test_a_battery_past_its_time_says_so(images, capsys):
    _, last, _ = run(images, capsys, "--battery-hours", "1e-6", "--battery-wh", "2")
    assert last.startswith("battery: its time is over; ")


def test_the_machines_own_battery_is_read_by_default(images, capsys, monkeypatch):
    monkeypatch.setattr("edgeexit.device.battery.read_battery", lambda tree: Battery("Full", 7200.0, None, 80.0))
    monkeypatch.setattr("edgeexit.runtime.battery.read_battery", lambda tree: Battery("Full", 7200.0, None, 80.0))
    code, _, error = run(images, capsys, "--battery-hours", "1", device="host")
    assert code == 2  # this machine has a battery, but nobody knows what an inference draws
    assert "joules cannot be held here" in error


def test_nothing_is_added_to_json_or_without_a_budget(images, capsys):
    assert run(images, capsys, "--json", "--average-budget-mj", "1")[1].startswith("{")
    assert run(images, capsys)[1].startswith(f"{images}[119]")


def test_a_latency_guard_makes_an_answer_come_earlier(images, capsys):
    # At the highest clock the whole network takes 0.0386 ms: exit 4 is reached after 0.0229 ms, and exit 5 another
    # 0.0157 ms later, for which the guard wants twice that.
    def exits(*arguments):
        fixed = ("--exit-rule", "last", "--governor", "performance", "--deadline-ms", "0.04")
        main(["run", "fashion-resnet", str(images), "--device", "simulated:jetson-tx2", *fixed, *arguments])
        return {int(line.split("exit ")[1][0]) for line in capsys.readouterr().out.splitlines()[1:]}

    assert exits() == {5}
    assert exits("--latency-guard", "2") == {4}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--average-budget-mj", "0"), "--average-budget-mj"),
        (("--average-budget-mj", "nan"), "'--average-budget-mj': must be a finite number, not nan"),
        (("--battery-hours", "-1"), "--battery-hours"),
        (("--battery-hours", "inf", "--battery-wh", "1"), "'--battery-hours': must be a finite number, not inf"),
        (("--battery-wh", "3"), "--battery-hours how long it shall last"),
        (("--battery-hours", "1"), "has no battery that tells what is left in it: say so with --battery-wh"),
        (("--battery-hours", "1", "--average-budget-mj", "1"), "give one of"),
        (("--average-budget-mj", "1", "--allowed-drop", "1"), "bound it with --max-drop"),
        (("--latency-guard", "0.9"), "--latency-guard"),
        (("--latency-guard", "nan"), "'--latency-guard': must be a finite number, not nan"),
    ],
)
def test_what_cannot_be_held_is_wrong_usage(images, capsys, wrong, message):
    code, _, error = run(images, capsys, *wrong)
    assert code == 2
    assert message in error


def test_a_made_up_battery_needs_a_meter(images, capsys, monkeypatch):
    monkeypatch.setattr("edgeexit.device.host.HostDevice.meter", None)
    code, _, error = run(images, capsys, "--battery-hours", "1", "--battery-wh", "3", device="host")
    assert code == 2
    assert "--battery-wh needs a meter" in error
