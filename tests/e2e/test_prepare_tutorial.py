"""The commands of docs/prepare.md, run as they stand there on small data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import digits_network
import pytest

import edgeexit

TUTORIAL = Path(__file__).parents[2] / "docs" / "prepare.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The folder of a reader who has done all that the tutorial says; and what each command printed."""
    folder = tmp_path_factory.mktemp("reader")
    digits_network.write_model(folder / "model.onnx")
    digits_network.write_images(folder / "samples")
    (preprocess,) = blocks("json")
    (folder / "preprocess.json").write_text(preprocess)
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    return folder, {command: run(command, folder) for command in commands}


def run(command, folder):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # two libraries' threads would fight for the cores
    environment = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache"), **threads}
    done = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_command_of_the_tutorial_works(reader):
    folder, printed = reader
    assert len(printed) == 7
    assert not list(folder.glob("*.prepare"))
    assert (folder / "my-model-with-exits.onnx").stat().st_size > 10_000


def test_the_tutorial_s_bundle_is_calibrated_and_certified(reader):
    folder, printed = reader
    bundle = edgeexit.load_bundle(folder / "my-bundle")
    assert bundle.exit_count > 1
    (certificate,) = bundle.manifest.certificates
    assert (certificate.bound_points, certificate.confidence, certificate.risk) == (5.0, 0.95, "labels")
    report = next(text for command, text in printed.items() if "-o my-bundle --max" in command)
    assert "Certificate: setting 'certified' at 5: less than 5 points of accuracy lost against the full" in report


def test_the_tutorial_without_labels_certifies_agreement(reader):
    (certificate,) = edgeexit.load_bundle(reader[0] / "agreeing").manifest.certificates
    assert certificate.risk == "full"


def test_the_tutorial_s_python_runs(reader, monkeypatch):
    monkeypatch.chdir(reader[0])
    monkeypatch.setenv("EDGEEXIT_DEVICE", "host")
    (code,) = blocks("python")
    digits, label = digits_network.surest(reader[0] / "model.onnx")
    names = {"image": digits}
    exec(compile(code, str(TUTORIAL), "exec"), names)
    assert names["result"].class_name == f"digit{label}"
