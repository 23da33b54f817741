"""Servers as processes of their own, and what they use of the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from serving_load import Address, Connection

_START_S: Final = 120.0


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], folder: Path, log: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in `folder`, its output in the file `log` there; it and its children end with the block."""
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server by SIGTERM, and what is left of its process group by SIGKILL."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def wait_for(
    process: subprocess.Popen[bytes],
    address: Address,
    probe: bytes,
    *,
    for_s: float = _START_S,
    every_s: float = 0.05,
) -> None:
    """Wait until a server answers `probe` by 200.

    Raises:
        RuntimeError: If it ends instead.
        TimeoutError: If it does not within `for_s`.
    """
    end = time.perf_counter() + for_s
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}: {process.args!r}; see its log")
        with suppress(OSError), Connection(address, timeout_s=5.0) as connection:
            if connection.ask(probe).status == 200:
                return
        time.sleep(every_s)
    raise TimeoutError(f"no server answers at {address} after {for_s:g} s: {process.args!r}")


def memory_bytes(process: subprocess.Popen[bytes]) -> int:
    """Return the resident memory of a server and its children, what they share counted once each."""
    own = psutil.Process(process.pid)
    return sum(int(each.memory_info().rss) for each in [own, *own.children(recursive=True)])


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Return the processor seconds that a server and its children have used."""
    own = psutil.Process(process.pid)
    times = [each.cpu_times() for each in [own, *own.children(recursive=True)]]
    return sum(each.user + each.system for each in times)
