"""Routes to look at the daemon with a browser, Prometheus or `edgeexit top`, and to change its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from edgeexit.daemon.contracts import Observer, Service
from edgeexit.daemon.http.body import read_body
from edgeexit.daemon.http.guard import require_control
from edgeexit.daemon.seeing.metrics import CONTENT_TYPE, Metrics
from edgeexit.daemon.seeing.minute import LastMinute
from edgeexit.daemon.seeing.state import state_of
from edgeexit.errors import MalformedMessage

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.routing import BaseRoute

PAGES: Final[Mapping[str, tuple[str, str]]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/dashboard/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/dashboard/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/dashboard/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The dashboard's files by path: these and no others, so that no request's path reaches the file system."""
SETTINGS_BYTES: Final = 4096
_FRESH: Final = {"cache-control": "no-store"}
_KEPT: Final = {"cache-control": "no-cache"}


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """What may be changed; what is left out stays.

    Attributes:
        governor: Its name, or "none".
        latency_budget_s: When answers are due where a request does not say, in seconds; null for never.
    """

    governor: str | msgspec.UnsetType = msgspec.UNSET
    latency_budget_s: float | msgspec.UnsetType | None = msgspec.UNSET


class Observed(Service, Protocol):
    """A service that tells observers what happens."""

    def observe(self, observer: Observer) -> None:
        """Tell one more from now on."""


def look_at(service: Observed) -> list[BaseRoute]:
    """Begin to observe a service; return the routes that show what is seen."""
    metrics, minute = Metrics(service.status, service.models), LastMinute()
    service.observe(metrics)
    service.observe(minute)
    return routes(service, metrics, minute, require_control=require_control)


def routes(
    service: Service, metrics: Metrics, minute: LastMinute, *, require_control: Callable[[HTTPConnection], None]
) -> list[BaseRoute]:
    """Return the routes.

    Args:
        service: What is looked at.
        metrics: Its metrics.
        minute: Its last minute.
        require_control: Raises `Denied` if a request may not change the daemon's state.
    """

    async def scrape(request: Request) -> Response:
        return Response(metrics.text(), headers=_FRESH | {"content-type": CONTENT_TYPE})

    async def state(request: Request) -> Response:
        return _state(service, minute)

    async def change(request: Request) -> Response:
        require_control(request)
        body = await read_body(request.scope, request.receive, SETTINGS_BYTES)
        await _change(service, body)
        return _state(service, minute)

    return [
        Route("/metrics", scrape),
        Route("/edgeexit/v1/state", state),
        Route("/edgeexit/v1/settings", change, methods=["POST"]),
        *(Route(path, _page(name, kind)) for path, (name, kind) in PAGES.items()),
    ]


async def _change(service: Service, body: bytes) -> None:
    try:
        settings = msgspec.json.decode(body, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedMessage(f"the settings cannot be read: {error}") from error
    budget_s = settings.latency_budget_s
    await service.change(
        governor=settings.governor if isinstance(settings.governor, str) else None,
        latency_budget_s=budget_s if isinstance(budget_s, float) else None,
        no_deadline=budget_s is None,
    )


def _state(service: Service, minute: LastMinute) -> Response:
    return Response(msgspec.json.encode(state_of(service, minute)), media_type="application/json", headers=_FRESH)


def _page(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files("edgeexit.daemon.seeing.static") / name).read_bytes()

    async def page(request: Request) -> Response:
        return Response(content, headers=_KEPT | {"content-type": kind})

    return page
