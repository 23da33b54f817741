"""A wall clock that jumps, for processes of a test: a library that they load first, see tests/stub_clock/wall_clock.c.

A test file gets the fixture by `pytest_plugins = ("wall_clock",)`.
"""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "stub_clock" / "wall_clock.c"
HOUR_S = 3600


class WallClock:
    """The time that processes see which get `environment`.

    Args:
        folder: Where library and shift lie.
    """

    def __init__(self, folder):
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("a wall clock that jumps needs a C compiler (gcc)")
        library, self._file = folder / "wall_clock.so", folder / "shift"
        options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([compiler, *options, "-o", str(library), str(SOURCE)], check=True)
        self.set_right()
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_SHIFT": str(self._file)}

    def jump_to(self, hours):
        """Show a time that is so many hours off."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", hours * HOUR_S))

    def set_right(self):
        """Show the right time."""
        self._file.write_bytes(struct.pack("=q", 0))


@pytest.fixture(scope="module")
def wall_clock(tmp_path_factory):
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(autouse=True)
def right_time(wall_clock):
    """Begin and end each test at the right time."""
    wall_clock.jump_to(0)
    yield
    wall_clock.jump_to(0)
