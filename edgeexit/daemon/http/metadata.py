"""What the protocol tells of the server and of its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from edgeexit.daemon.descriptions import (
    EXTENSIONS,
    describe_config,
    describe_model,
    describe_server,
    is_ready,
    versions_of,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from edgeexit.daemon.contracts import ModelView, Service
    from edgeexit.daemon.statistics import Statistics

HTTP_EXTENSIONS: Final = ("binary_tensor_data", *EXTENSIONS)


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
        return json_response(describe_server(HTTP_EXTENSIONS))

    async def live(self, _: Request) -> Response:
        """Tell that the server answers."""
        return json_response({"live": True})

    async def ready(self, _: Request) -> Response:
        """Tell whether every model can be used; one that was unloaded on purpose does not count."""
        ready = is_ready(self._service)
        return json_response({"ready": ready}, 200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Tell versions, inputs and outputs of a model."""
        return json_response(describe_model(self._service, self._view(request)))

    async def model_ready(self, request: Request) -> Response:
        """Tell whether a model can be used."""
        view = self._view(request)
        return json_response({"name": view.name, "ready": view.ready}, 200 if view.ready else 503)

    async def config(self, request: Request) -> Response:
        """Tell of a model what NVIDIA's server would have in its configuration, as far as there is something to it."""
        return json_response(describe_config(self._view(request)))

    async def all_statistics(self, _: Request) -> Response:
        """Tell how often and how long every model was asked."""
        return json_response(self._statistics.as_json(self._service.models()))

    async def statistics(self, request: Request) -> Response:
        """Tell how often and how long a model was asked."""
        view = self._view(request)
        one = request.path_params.get("version") is not None
        return json_response(self._statistics.as_json([view] if one else versions_of(self._service, view.name)))

    def _view(self, request: Request) -> ModelView:
        path = request.path_params
        return self._service.model(path["name"], path.get("version"))
