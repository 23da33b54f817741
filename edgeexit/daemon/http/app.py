"""Puts the daemon's HTTP application together: routes, and what stands before them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from edgeexit.daemon.http import open_inference
from edgeexit.daemon.http.access import require_control
from edgeexit.daemon.http.failures import exception_handlers
from edgeexit.daemon.http.guard import Guard
from edgeexit.daemon.http.limits import BodyLimits
from edgeexit.open_inference import WireLimits

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from edgeexit.daemon.config import LimitsConfig, ServeConfig
    from edgeexit.daemon.contracts import Service
    from edgeexit.daemon.http.access import Access
    from edgeexit.daemon.http.refusal import App


def make_app(service: Service, config: ServeConfig, access: Access, more: Iterable[BaseRoute] = ()) -> App:
    """Return the application.

    Args:
        service: Who answers.
        config: Its limits.
        access: Who may ask what.
        more: Routes beside those of the protocol: metrics, dashboard, settings.
    """
    protocol = open_inference.routes(service, wire_limits(config.limits), require_control=require_control)
    routed = Starlette(routes=[*protocol, *more], exception_handlers=exception_handlers())
    routed.router.redirect_slashes = False
    limits = config.limits
    limited = BodyLimits(routed, body_bytes=limits.body_bytes, all_bodies_bytes=limits.all_bodies_bytes)
    return Guard(limited, access)


def wire_limits(limits: LimitsConfig) -> WireLimits:
    """Return what holds for one message."""
    return WireLimits(
        body_bytes=limits.body_bytes,
        json_bytes=min(limits.json_bytes, limits.body_bytes),
        elements=limits.tensor_elements,
    )
