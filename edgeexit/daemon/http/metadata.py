"""What the protocol tells of the server and of its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

import edgeexit
from edgeexit.daemon.http.outputs import bundle_of, outputs_of
from edgeexit.errors import ModelNotFound
from edgeexit.open_inference.datatypes import datatype_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from edgeexit.bundle import Tensor
    from edgeexit.daemon.contracts import ModelView, Service
    from edgeexit.daemon.http.statistics import Statistics

EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)
PLATFORM: Final = "edgeexit"
_BACKEND: Final = "onnxruntime"


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer of JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


class Metadata:
    """Answers what is asked about server and models.

    Args:
        service: Who knows.
        statistics: Counts requests.
    """

    def __init__(self, service: Service, statistics: Statistics) -> None:
        self._service = service
        self._statistics = statistics

    async def server(self, _: Request) -> Response:
        """Tell name, version and extensions."""
        return json_response({"name": "edgeexit", "version": edgeexit.__version__, "extensions": EXTENSIONS})

    async def live(self, _: Request) -> Response:
        """Tell that the server answers."""
        return json_response({"live": True})

    async def ready(self, _: Request) -> Response:
        """Tell whether every model can be used; one that was unloaded on purpose does not count."""
        ready = all(view.ready or view.state == "unloaded" for view in self._service.models())
        return json_response({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Tell versions, inputs and outputs of a model."""
        view = self._view(request)
        bundle = bundle_of(view)
        return json_response(
            {
                "name": view.name,
                "versions": sorted((each.version for each in self._versions(view.name)), key=_in_order),
                "platform": PLATFORM,
                "inputs": [
                    {"name": tensor.name, "datatype": datatype_name(tensor.dtype), "shape": _shape(tensor)}
                    for tensor in bundle.inputs
                ],
                "outputs": [output._asdict() for output in outputs_of(bundle)],
                "parameters": {"task": bundle.task} | ({} if bundle.labels is None else {"labels": bundle.labels}),
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Tell whether a model can be used."""
        view = self._view(request)
        return json_response({"name": view.name, "ready": view.ready}, 200 if view.ready else 503)

    async def config(self, request: Request) -> Response:
        """Tell of a model what NVIDIA's server would have in its configuration, as far as there is something to it."""
        view = self._view(request)
        bundle = bundle_of(view)
        inputs = [(tensor.name, datatype_name(tensor.dtype), _shape(tensor)) for tensor in bundle.inputs]
        return json_response(
            {
                "name": view.name,
                "platform": PLATFORM,
                "backend": _BACKEND,
                "version_policy": {"all": {}},
                "max_batch_size": 0,
                "input": [_config_tensor(*tensor) for tensor in inputs],
                "output": [_config_tensor(*output) for output in outputs_of(bundle)],
            }
        )

    async def all_statistics(self, _: Request) -> Response:
        """Tell how often and how long every model was asked."""
        return json_response(self._statistics.as_json(self._service.models()))

    async def statistics(self, request: Request) -> Response:
        """Tell how often and how long a model was asked."""
        view = self._view(request)
        one = request.path_params.get("version") is not None
        return json_response(self._statistics.as_json([view] if one else self._versions(view.name)))

    def _view(self, request: Request) -> ModelView:
        path = request.path_params
        return self._service.model(path["name"], path.get("version"))

    def _versions(self, name: str) -> Sequence[ModelView]:
        views = [view for view in self._service.models() if view.name == name]
        if not views:
            raise ModelNotFound(f"no model {name!r} is served here")
        return views


def _in_order(version: str) -> tuple[int, str]:
    return int(version) if version.isdecimal() else -1, version


def _shape(tensor: Tensor) -> list[int]:
    return [size if isinstance(size, int) else -1 for size in tensor.shape or (-1,)]


def _config_tensor(name: str, datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    kind = "STRING" if datatype == "BYTES" else datatype
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": list(shape)}
