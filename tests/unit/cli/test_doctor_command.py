import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeexit.cli import doctor as doctor_command
from edgeexit.cli import main
from edgeexit.device.board_text import parse_board
from edgeexit.device.doctor import examine
from edgeexit.device.permissions import fix_script
from edgeexit.testing.fake_sysfs import FakeTree

BOARDS = Path(__file__).parents[2] / "boards"


@pytest.fixture
def text_of(tmp_path):
    """Return what the doctor prints of a recorded board."""

    def examine_it(name, *, user=False, change=lambda tree: None):
        tree = FakeTree.from_recording((BOARDS / f"{name}.txt").read_text(encoding="utf-8"))
        change(tree)
        tree.as_user(user)
        return doctor_command.as_text(examine(tree, run_folder=tmp_path))

    return examine_it


def flat(text):
    return " ".join(text.split())


def test_on_this_very_machine_it_is_helpful_and_exits_0(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("Machine", "Profile", "Software", "What will work", "run networks", "Problems"):
        assert word in text


def test_json_is_one_object_for_this_very_machine(capsys):
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["software"]["python"].startswith("3.")
    assert {"board", "profile", "clocks", "energy", "rivals", "journal", "verdicts", "problems"} < set(document)


@pytest.mark.parametrize("name", sorted(path.stem for path in BOARDS.glob("*.txt")))
@pytest.mark.parametrize("user", [False, True])
def test_no_line_but_a_command_is_wider_than_96_columns(text_of, name, user):
    lines = text_of(name, user=user).splitlines()
    assert [line for line in lines if len(line) > 96 and not line.startswith("     > ")] == []
    assert "\N{NO-BREAK SPACE}" not in "".join(lines)


def test_a_raspberry_pi_4_reads_like_this(text_of):
    text = text_of("raspberry-pi-4")
    assert text.startswith("Machine     Raspberry Pi 4 Model B Rev 1.4\n            Cortex-A72, 4 cores, Linux 6.6.31")
    assert "Profile     raspberry-pi-4 (by raspberrypi,4-model-b)\n" in text
    assert "Clock cpu   13 operating points from 600 to 1800 MHz\n" in text
    assert "now 600 MHz, kernel governor ondemand; driver cpufreq-dt, policy0, cores 0-3\n" in text
    assert "            set by the kernel governor userspace\n" in text
    assert "Energy      no meter of the whole\n" in text
    assert "Throttled   now: no; since boot: not known\n" in text
    assert "  yes set the clock of cpu: 13 operating points, set by the kernel governor userspace\n" in text
    assert "Problems: none found\n" in text


@pytest.mark.parametrize(
    ("name", "policies"),
    [
        ("jetson-orin-nano-jp6", "policies 0,4, cores 0-5"),
        ("jetson-agx-orin", "policies 0,4,8, cores 0-11"),
        ("amd-desktop", "policies 0-15, cores 0-15"),
    ],
)
def test_the_policies_that_are_there_are_listed_and_no_others(text_of, name, policies):
    assert policies in flat(text_of(name))


def test_energy_of_the_processor_is_not_said_to_be_that_of_the_board(text_of):
    text = text_of("amd-desktop")
    assert "Energy      of the processor alone, not the board: package-0 (RAPL), counter,\n" in text
    assert "of the whole" not in text


def test_few_operating_points_are_listed_and_rails_have_their_power(text_of):
    text = text_of("jetson-orin-nano-jp5")
    assert "Clock gpu   5 operating points: 306, 408, 510, 612, 624.75 MHz\n" in text
    assert "Energy      of the whole: VDD_IN (INA3221), integrated, windows from 0.06 s, now 4.25 W\n" in text
    assert "            VDD_SOC (INA3221), integrated, windows from 0.06 s, now 1.36 W\n" in text
    assert "Jetson Linux (L4T) 35.4.1\n" in text


def test_a_grid_is_said_to_be_one(text_of):
    assert "16 operating points from 400 to 5389 MHz (a grid: the driver lists none)\n" in text_of("amd-desktop")


def test_problems_are_numbered_and_have_the_command_that_mends_them(text_of):
    text = text_of("raspberry-pi-4", user=True)
    assert "set by minimum = maximum; this user may not\n" in text
    assert "1. clock cpu: this user may not write /sys/devices/system/cpu/cpufreq/policy0/scaling" in flat(text)
    assert "     > edgeexit doctor --fix | sudo sh   # read it first" in text


def test_limits_are_shown_where_they_are_not_the_chip_s(text_of):
    def cap(tree):
        tree.set_text("/sys/class/devfreq/17000000.gp10b/max_freq", "522750000\n")
        tree.add_file("/var/lib/nvpmodel/status", "pmode:0003\n")
        tree.add_file("/proc/77/comm", "tuned\n")

    text = text_of("jetson-tx2", change=cap)
    assert "limits 114.75 to 522.75 MHz, the chip can 114.75 to 1300.5 MHz now" in flat(text)
    assert "Power mode  3, kept by nvpmodel\n" in text
    assert "Rivals      tuned (77)\n" in text


def test_a_machine_without_anything_says_so(text_of):
    text = text_of("server-without-cpufreq")
    assert "Clocks      none that could be set\n" in text
    assert "Temperature no sensor\n" in text
    assert "Throttled   nothing on this machine tells\n" in text
    assert "  no  set clocks: there is none to set" in text


def test_the_cards_that_nvml_shows_are_named_and_why_it_does_not_show_all(tmp_path):
    found = replace(examine(FakeTree(), run_folder=tmp_path), cards=("NVIDIA A2",), nvml_reason="gpu1 is lost")
    assert "NVML        NVIDIA A2\n            gpu1 is lost\n" in doctor_command.as_text(found)


def test_a_machine_with_one_core_at_one_clock_reads_well(tmp_path):
    tree = FakeTree()
    tree.add_cpufreq_policy(0, cpus=(0,), limit_min_khz=600_000, limit_max_khz=600_000)
    text = flat(doctor_command.as_text(examine(tree, run_folder=tmp_path)))
    assert "1 operating point: 600 MHz; limits 600 to 600 MHz, the chip can 600 to 1500 MHz" in text
    assert "policy0, core 0 set by" in text


def test_fix_prints_the_script_and_changes_nothing(capsys):
    assert main(["doctor", "--fix"]) == 0
    assert capsys.readouterr().out == fix_script()


def test_fix_stands_alone(capsys):
    assert main(["doctor", "--fix", "--json"]) == 2
    assert "--fix stands alone" in capsys.readouterr().err


def test_the_script_is_one_that_a_shell_can_read(tmp_path):
    (tmp_path / "fix.sh").write_text(fix_script(), encoding="utf-8")
    subprocess.run(["sh", "-n", str(tmp_path / "fix.sh")], check=True)


def test_record_writes_a_recording_that_can_be_played_back(tmp_path, capsys):
    assert main(["doctor", "--record", str(tmp_path / "board.txt")]) == 0
    text = (tmp_path / "board.txt").read_text(encoding="utf-8")
    assert "recorded by edgeexit doctor on 20" in text
    assert parse_board(text).entries
    assert "read it before you send it" in capsys.readouterr().err


def test_a_recording_that_cannot_be_written_is_one_line(tmp_path, capsys):
    assert main(["doctor", "--record", str(tmp_path / "absent" / "board.txt")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_broken_profile_in_the_environment_does_not_stop_it(tmp_path):
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "edgeexit", "doctor"],
        env={**os.environ, "EDGEEXIT_PROFILES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "broken.json" in done.stdout
    assert "warning" in done.stderr
