import subprocess
import sys

import pytest

from edgeexit import __version__
from edgeexit.cli import main

HEAVY = {"numpy", "onnxruntime", "matplotlib", "PIL", "google.protobuf", "edgeexit.bundle", "edgeexit.runtime"}
COMMANDS = ("demo", "prepare", "calibrate", "export", "run", "info", "doctor", "measure", "replay", "report", "restore")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_neither_numpy_nor_onnxruntime(arguments):
    code = f"import sys\nfrom edgeexit.cli import main\ncode = main({arguments!r})\nprint(*sys.modules)\nsys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.splitlines()[-1].split())


def test_help_names_every_command_and_every_exit_code(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert all(f"\n    {code:<3}  " in text for code in (0, 1, 2, 3, 4, 5, 130, 141))


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 0
    assert "Usage: edgeexit" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Usage: edgeexit {name}" in capsys.readouterr().out


def test_the_version_is_the_package_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgeexit {__version__}\n"


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "edgeexit", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"edgeexit {__version__}\n"
