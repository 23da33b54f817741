"""Puts the daemon's HTTP application together: routes, and what stands before them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from edgeexit.daemon.http import open_inference
from edgeexit.daemon.http.failures import exception_handlers
from edgeexit.daemon.http.guard import Guard, require_control
from edgeexit.daemon.http.limits import BodyLimits
from edgeexit.daemon.inference import wire_limits

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from edgeexit.daemon.access import Access
    from edgeexit.daemon.config import ServeConfig
    from edgeexit.daemon.contracts import Service
    from edgeexit.daemon.http.refusal import App
    from edgeexit.daemon.statistics import Statistics


def make_app(
    service: Service,
    config: ServeConfig,
    access: Access,
    more: Iterable[BaseRoute] = (),
    statistics: Statistics | None = None,
) -> App:
    """Return the application.

    Args:
        service: Who answers.
        config: Its limits.
        access: Who may ask what.
        more: Routes beside those of the protocol: metrics, dashboard, settings.
        statistics: Counts requests, also those of other transports; None for one of its own.
    """
    protocol = open_inference.routes(
        service, wire_limits(config.limits), require_control=require_control, statistics=statistics
    )
    routed = Starlette(routes=[*protocol, *more], exception_handlers=exception_handlers())
    routed.router.redirect_slashes = False
    limits = config.limits
    limited = BodyLimits(routed, body_bytes=limits.body_bytes, all_bodies_bytes=limits.all_bodies_bytes)
    return Guard(limited, access)
