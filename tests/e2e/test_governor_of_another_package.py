"""A governor of somebody else's package is found by name, as ours are, and held to the same contract."""

import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_bundle import make_bundle, network_input

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "careful-governors"
version = "1.0"

[project.entry-points."edgeexit.governors"]
careful = "careful_governors:Careful"
careless = "careful_governors:Careless"

[tool.setuptools]
py-modules = ["careful_governors"]
"""
MODULE = '''\
"""Governors of somebody who has never seen the source of edgeexit."""

from edgeexit import Decision
from edgeexit.protocols import Observation


class Careful:
    """The highest clocks until the chip is warm, then those in the middle."""

    name = "careful"

    def __init__(self, *, warm_c: float = 60.0) -> None:
        self.warm_c = warm_c

    def decide(self, observation: Observation) -> Decision:
        warm = observation.temperature_c is not None and observation.temperature_c > self.warm_c
        clocks = {n: p[len(p) // 2 if warm else -1] for n, p in observation.operating_points.items() if p}
        return Decision(clocks, reason="warm" if warm else "cool")


class Careless(Careful):
    """Thinks that each board has a clock called gpu."""

    name = "careless"

    def decide(self, observation: Observation) -> Decision:
        return Decision({"gpu": 400_000_000})
'''


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of a process that has the other package installed."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "careful_governors.py").write_text(MODULE)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", str(site), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}


def run(environment, *arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )


def test_it_is_found_by_name_and_passes_the_contract_check(environment):
    code = (
        "from edgeexit import load_governor\n"
        "from edgeexit.registry import list_governors\n"
        "from edgeexit.testing.governors import check_governor\n"
        "governor = load_governor('careful', warm_c=50.0)\n"
        "check_governor(governor)\n"
        "check_governor(load_governor('power-cap', power_cap_w=2.0, governor=governor))\n"
        "print(type(governor).__module__, governor.warm_c, 'careful' in list_governors(), 'plan' in list_governors())\n"
    )
    found = run(environment, "-c", code)
    assert found.stderr == ""
    assert found.stdout == "careful_governors 50.0 True True\n"


def test_one_that_breaks_the_contract_is_found_out(environment):
    code = (
        "from edgeexit import load_governor\n"
        "from edgeexit.testing.governors import check_governor\n"
        "check_governor(load_governor('careless'))\n"
    )
    found = run(environment, "-c", code)
    assert found.returncode == 1
    assert "AssertionError: gpu at 400000000 Hz is not allowed" in found.stderr


def test_the_command_line_runs_with_it(environment, tmp_path):
    np.save(tmp_path / "batch.npy", network_input())
    bundle = make_bundle(tmp_path)
    chosen = ("--governor", "careful", "--governor-option", "warm_c=50", "--device", "simulated:jetson-tx2")
    found = run(environment, "-m", "edgeexit", "run", bundle.path, tmp_path / "batch.npy", *chosen)
    assert found.stderr == ""
    assert len(found.stdout.splitlines()) == 9


def test_without_the_package_there_is_no_such_governor(environment):
    found = run({**environment, "PYTHONPATH": ""}, "-c", "from edgeexit import load_governor; load_governor('careful')")
    assert "no governor is called 'careful'" in found.stderr
