"""`edgeexit serve` with the benchmarks' network, and requests for it."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from serving_load import Address, Reply, get, post
from serving_net import INPUT
from serving_processes import free_port, running, wait_for

from edgeexit.open_inference import InferResponse, RequestedOutput, decode_response, encode_request
from edgeexit.open_inference.framing import HEADER, json_length

MODEL: Final = "textures"
OUTPUTS: Final = ("probabilities", "label", "exit_index")
DEFAULT_COMMAND: Final = f"{shlex.quote(sys.executable)} -m edgeexit serve"


class Daemon(NamedTuple):
    """A daemon that runs."""

    process: subprocess.Popen[bytes]
    tcp: Address
    unix: Address
    start_s: float
    """From the start of the process to the first answer."""
    command: str


@contextmanager
def daemon(
    bundle: Path,
    folder: Path,
    first: bytes,
    *,
    device: str,
    command: str = DEFAULT_COMMAND,
    options: Sequence[str] = (),
) -> Iterator[Daemon]:
    """Run the daemon on TCP and a Unix socket of its own, until the block ends.

    Args:
        bundle: What it serves.
        folder: For its socket and its log, serve.log.
        first: A request, asked until it is answered.
        device: The board whose clocks the governor sets; a simulated one needs no rights.
        command: What runs it.
        options: Further arguments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, unix = free_port(), folder / "serve.sock"
    unix.unlink(missing_ok=True)
    arguments = [f"{MODEL}={bundle}", "--port", str(port), "--unix", str(unix), "--device", device, *options]
    asked = [*shlex.split(command), *arguments]
    start = time.perf_counter()
    with running(asked, folder, "serve.log") as process:
        wait_for(process, ("127.0.0.1", port), first, every_s=0.01)
        took_s = time.perf_counter() - start
        yield Daemon(process, ("127.0.0.1", port), str(unix), took_s, shlex.join(asked))
        process.send_signal(signal.SIGTERM)


def binary_request(image: NDArray[np.float32], **parameters: str | float) -> bytes:
    """Return a request by the binary tensor extension for one image (1, 3, 64, 64) float32."""
    wanted = [RequestedOutput(name, binary=True) for name in OUTPUTS]
    frame = encode_request({INPUT: image}, outputs=wanted, parameters=parameters)
    headers = {"content_type": "application/octet-stream", HEADER: str(frame.json_length)}
    return post(f"/v2/models/{MODEL}/infer", frame.body, **headers)


def json_request(image: NDArray[np.float32], **parameters: str | float) -> bytes:
    """Return the same request with tensors in JSON, its answer too."""
    wanted = [RequestedOutput(name, binary=False) for name in OUTPUTS]
    frame = encode_request({INPUT: image}, outputs=wanted, parameters=parameters, binary=False)
    return post(f"/v2/models/{MODEL}/infer", frame.body, content_type="application/json")


def read_reply(reply: Reply) -> InferResponse:
    """Return what the daemon answers."""
    return decode_response(reply.body, json_length(reply.header(HEADER)))


def metrics_request() -> bytes:
    """Return a request for the daemon's metrics."""
    return get("/metrics")
