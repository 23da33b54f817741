"""A stub of NVIDIA's libnvidia-ml.so.1, compiled here: what NVML does is tested through the real nvidia-ml-py.

In this process `NvmlStub.load` brings it in; a process of its own gets it by LD_LIBRARY_PATH. In both, the loader takes
it for NVIDIA's by its soname. Without STUB_NVML_FOLDER in the environment it says that no driver is loaded, so tests
that come later find no GPU. See tests/stub_nvml/nvml.c for what it can be told.

A test file gets the fixtures by `pytest_plugins = ("nvml_stub",)`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "stub_nvml" / "nvml.c"
SONAME = "libnvidia-ml.so.1"
UUID = "GPU-96ab329d-7a1f-73a8-a9b7-18b4b2855f90"
SECOND_UUID = "GPU-96ab329d-7a1f-73a8-a9b7-18b4b2855f91"
KEY = f"nvml/{UUID}/locked_clocks"


def compile_stub(folder: Path, *, old_driver: bool = False) -> Path:
    """Compile the stub into `folder`, for LD_LIBRARY_PATH; skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("the stub of NVIDIA's library needs a C compiler (gcc)")
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{SONAME}"]
    if old_driver:
        options.append("-DOLD_DRIVER")
    subprocess.run([compiler, *options, "-o", str(folder / SONAME), str(SOURCE)], check=True)
    return folder


class NvmlStub:
    """The compiled stub, and the state of the GPUs it plays.

    Args:
        library_folder: Where the library lies.
        state_folder: Where it keeps the locks, for all processes that are to see the same GPUs; made if need be.
    """

    uuid = UUID
    second_uuid = SECOND_UUID
    key = KEY

    def __init__(self, library_folder: Path, state_folder: Path) -> None:
        self.library_folder = library_folder
        self.state_folder = state_folder
        state_folder.mkdir(exist_ok=True)

    def load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it this process's NVML; skips the test if a real one was loaded before."""
        ctypes.CDLL(str(self.library_folder / SONAME), mode=ctypes.RTLD_GLOBAL)
        if not hasattr(ctypes.CDLL(SONAME), "edgeexit_stub_nvml"):
            pytest.skip("NVIDIA's own library is loaded in this process")
        monkeypatch.setenv("STUB_NVML_FOLDER", str(self.state_folder))

    def environment(self, **told: str) -> dict[str, str]:
        """Return the environment for a process that is to see the stub's GPUs."""
        path = os.environ.get("LD_LIBRARY_PATH")
        folders = str(self.library_folder) if not path else f"{self.library_folder}:{path}"
        return {**os.environ, "LD_LIBRARY_PATH": folders, "STUB_NVML_FOLDER": str(self.state_folder), **told}

    def run(self, code: str, **told: str) -> str:
        """Run Python code in a process that sees the stub's GPUs; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment(**told), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def open_count(self) -> int:
        """Return how often this process has it open."""
        return int(ctypes.CDLL(SONAME).edgeexit_stub_nvml())

    def lock(self, index: int = 0) -> str | None:
        """Return "min,max" of a GPU's lock in MHz, or None if it is not locked."""
        path = self.state_folder / f"lock-{index}"
        return path.read_text(encoding="ascii") if path.exists() else None

    def calls(self) -> list[str]:
        """Return every set and reset since the start, of all processes."""
        path = self.state_folder / "calls"
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []


@pytest.fixture(scope="session")
def compiled_stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled stub, for LD_LIBRARY_PATH."""
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml_stub(compiled_stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlStub:
    """One Volta card whose clock may be locked, in this process and for others."""
    stub = NvmlStub(compiled_stub, tmp_path / "nvml-state")
    stub.load(monkeypatch)
    return stub


@pytest.fixture
def old_nvml_stub(tmp_path: Path) -> NvmlStub:
    """The same with an old driver that lacks the functions that came late; only for processes of their own."""
    folder = tmp_path / "old-driver"
    folder.mkdir()
    return NvmlStub(compile_stub(folder, old_driver=True), tmp_path / "old-nvml-state")
