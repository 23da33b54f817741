"""The command as a user meets it: a process of its own, with its streams, signals and exit code."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tiny_bundle import make_bundle, network_input

COMMAND = [sys.executable, "-m", "edgeexit"]
ENOUGH = 100_000
"""Samples whose answers fill any pipe, so that the program is still at work when the test acts."""


def edgeexit(*arguments, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "large.npy"
    np.save(path, np.resize(network_input(), (ENOUGH, 1, 2, 2)))
    return path


@pytest.fixture
def at_work(tiny, large_file):
    """A process that has answered for its first sample."""
    arguments = [*COMMAND, "run", str(tiny.path), str(large_file), "--device", "host"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith(f"{large_file}[0]: first ")
    yield process
    process.kill()
    process.communicate()


def test_a_missing_bundle_is_one_line_and_exit_code_4():
    done = edgeexit("info", "./nosuch")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("edgeexit: error: ")
    assert done.stderr.count("\n") == 1


def test_debug_1_adds_the_traceback():
    done = edgeexit("info", "./nosuch", DEBUG="1")
    assert done.returncode == 4
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.splitlines()[-1].startswith("edgeexit: error: ")


def test_a_reader_that_goes_away_ends_the_program_quietly(at_work):
    at_work.stdout.close()
    assert at_work.wait(timeout=30) == 141
    assert at_work.stderr.read() == ""


def test_an_interrupt_ends_the_program_with_one_line(at_work):
    at_work.send_signal(signal.SIGINT)
    output, errors = at_work.communicate(timeout=30)
    assert at_work.returncode == 130
    assert errors.strip() == "edgeexit: interrupted"
    assert output.count("\n") < ENOUGH - 1


def test_a_bundle_is_described():
    done = edgeexit("info", "fashion-resnet", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["exits"]) == 6


@pytest.mark.parametrize(("bundle", "exits"), [("fashion-resnet", 6), ("fashion-vgg", 8)])
def test_the_demo_compares_all_policies_on_real_images(bundle, exits, tmp_path):
    done = edgeexit("demo", "--bundle", bundle, "--images", 30, "--json", "--png", tmp_path / "demo.png")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["bundle"], report["exit_count"], report["images"]) == (bundle, exits, 30)
    assert report["left_out"] == {}
    assert len(report["policies"]) == 14
    assert len(report["findings"]) >= 3
    whole = [row for row in report["policies"] if row["setting"] == "last"]
    assert all(row["accuracy"] >= 0.8 and row["missed_share"] == 0.0 for row in whole)
    bound = report["policies"][-1]
    assert bound["is_bound"]
    assert bound["simulated_energy_j"] <= min(row["simulated_energy_j"] for row in whole)
    assert [curve["setting"] for curve in report["curves"]] == ["check-and-cap", "thresholds", "forecast"]
    assert all(len(curve["points"]) == 4 for curve in report["curves"])
    assert (tmp_path / "demo.png").stat().st_size > 20_000


def test_the_demo_without_a_terminal_draws_no_progress_bar(tmp_path):
    done = edgeexit("demo", "--images", 3, "--no-png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("simulated") > 3


def test_the_demo_needs_less_than_250_megabytes(tmp_path):
    # Not ru_maxrss: that of a new process begins with what the process that started it had.
    code = (
        "import re\n"
        "from pathlib import Path\n"
        "from edgeexit.cli import main\n"
        f"code = main(['demo', '--images', '30', '--png', {str(tmp_path / 'demo.png')!r}])\n"
        "print(code, re.search(r'VmHWM:\\s*(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    exit_code, peak_kb = map(int, done.stdout.splitlines()[-1].split())
    assert exit_code == 0, done.stderr
    assert peak_kb * 1024 < 250e6
