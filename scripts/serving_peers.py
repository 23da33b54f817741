"""LitServe and MLServer with the same network, in a virtual environment of their own.

Each runs the whole network by plain single-threaded ONNX Runtime in one worker, and is asked in the quickest way it
has: LitServe by raw bytes, MLServer by the JSON of the Open Inference Protocol (its REST has no binary extension).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from serving_load import Address, get, post
from serving_processes import free_port, running, wait_for

VERSIONS: Final = ("litserve==0.2.19", "mlserver==1.7.1", "uvloop<0.22")
"""MLServer 1.7.1 does not start its worker under a newer uvloop."""

_LITSERVE: Final = """
import sys
from typing import Annotated

import litserve
import numpy as np
import onnxruntime as ort
from fastapi import Body, Response

MODEL, PORT, SHAPE = sys.argv[1], int(sys.argv[2]), (1, 3, 64, 64)


class Net(litserve.LitAPI):
    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Annotated[bytes, Body()]):
        return np.frombuffer(request, np.float32).reshape(SHAPE)

    def predict(self, image):
        return self.session.run(None, {"image": image})[0]

    def encode_response(self, logits) -> Response:
        return Response(logits.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(Net(), accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(host="127.0.0.1", port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning")
"""

_MLSERVER: Final = """
import os

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Net(MLModel):
    async def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["NET"], options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        image = NumpyCodec.decode_input(payload.inputs[0])
        logits = self.session.run(None, {"image": image.astype(np.float32, copy=False)})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)])
"""


class Peer(NamedTuple):
    """A server that runs the whole network."""

    name: str
    process: subprocess.Popen[bytes]
    address: Address
    requests: Sequence[bytes]
    """One an image."""


def make_environment(folder: Path) -> Path:
    """Return the Python of a virtual environment with both peers; made in `folder` if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *VERSIONS, f"onnxruntime=={version('onnxruntime')}"], check=True)
        (folder / "made").touch()
    return python


@contextmanager
def litserve(python: Path, folder: Path, model: Path, images: NDArray[np.float32]) -> Iterator[Peer]:
    """Run LitServe with one worker."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "litserve_net.py").write_text(_LITSERVE, encoding="utf-8")
    address = ("127.0.0.1", free_port())
    requests = [post("/predict", image[None].tobytes(), content_type="application/octet-stream") for image in images]
    with running([str(python), "litserve_net.py", str(model), str(address[1])], folder, "litserve.log") as process:
        wait_for(process, address, get("/health"))
        yield Peer("LitServe, raw bytes, 1 worker", process, address, requests)


@contextmanager
def mlserver(python: Path, folder: Path, model: Path, images: NDArray[np.float32], *, workers: int) -> Iterator[Peer]:
    """Run MLServer; with no worker the network runs within the server's own process."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = [free_port() for _ in range(3)]
    settings: dict[str, Any] = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    settings |= {"parallel_workers": workers, "debug": False, "host": "127.0.0.1"}
    _write_json(folder / "settings.json", settings)
    _write_json(folder / "model-settings.json", {"name": "net", "implementation": "mlserver_net.Net"})
    (folder / "mlserver_net.py").write_text(_MLSERVER, encoding="utf-8")
    command = [str(python.with_name("mlserver")), "start", "."]
    path = "/v2/models/net/infer"
    requests = [post(path, json_body(image[None]), content_type="application/json") for image in images]
    where = f"{workers} worker" if workers else "in its process"
    with running(command, folder, "mlserver.log", NET=str(model), PYTHONPATH=str(folder)) as process:
        wait_for(process, ("127.0.0.1", ports[0]), get("/v2/models/net/ready"))
        yield Peer(f"MLServer, JSON, {where}", process, ("127.0.0.1", ports[0]), requests)


def json_body(image: NDArray[np.float32]) -> bytes:
    """Return an infer request of the Open Inference Protocol with the tensor as a flat list of numbers."""
    tensor = {"name": "image", "shape": list(image.shape), "datatype": "FP32", "data": image.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
