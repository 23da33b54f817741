"""The Open Inference Protocol, version 2: its routes over a `Service`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from edgeexit.daemon.http import openapi
from edgeexit.daemon.http.infer import Infer
from edgeexit.daemon.http.metadata import Metadata
from edgeexit.daemon.http.repository import Repository
from edgeexit.daemon.inference import Inference
from edgeexit.daemon.statistics import Statistics
from edgeexit.open_inference import WireLimits

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from edgeexit.daemon.contracts import Service
    from edgeexit.daemon.http.repository import Check

_MODEL: Final = "/v2/models/{name}"
_VERSION: Final = "/v2/models/{name}/versions/{version}"
_UNSUPPORTED: Final = (
    "/v2/systemsharedmemory/{rest:path}",
    "/v2/cudasharedmemory/{rest:path}",
    "/v2/trace/setting",
    "/v2/models/{name}/trace/setting",
    "/v2/logging",
)


def routes(
    service: Service, limits: WireLimits, *, require_control: Check, statistics: Statistics | None = None
) -> list[BaseRoute]:
    """Return the protocol's routes, that for inference first, and that of the API's description.

    Args:
        service: Who answers.
        limits: On requests.
        require_control: Raises `Denied` for who may not load and unload models. Who may not read and infer is to be
            refused before a request comes here.
        statistics: Counts requests; None for one of its own.
    """
    statistics = statistics or Statistics()
    infer = Infer(service, limits, Inference(service, statistics))
    about = Metadata(service, statistics)
    return [
        *(Route(f"{path}/infer", infer, methods=["POST"]) for path in (_MODEL, _VERSION)),
        Route("/v2", about.server),
        Route("/v2/health/live", about.live),
        Route("/v2/health/ready", about.ready),
        Route("/v2/models/stats", about.all_statistics),
        *_model_routes(about),
        *_repository_routes(Repository(service, require_control)),
        *(Route(path, _unsupported, methods=["GET", "POST"]) for path in _UNSUPPORTED),
        *openapi.routes(),
    ]


def _model_routes(about: Metadata) -> list[BaseRoute]:
    answers = {"": about.model, "/ready": about.model_ready, "/config": about.config, "/stats": about.statistics}
    return [Route(f"{path}{end}", answer) for path in (_MODEL, _VERSION) for end, answer in answers.items()]


def _repository_routes(repository: Repository) -> list[BaseRoute]:
    return [
        Route("/v2/repository/index", repository.index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", repository.load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", repository.unload, methods=["POST"]),
    ]


async def _unsupported(request: Request) -> Response:
    raise HTTPException(400, f"{request.url.path[:100]} is not supported here; GET /v2 names the extensions that are")
