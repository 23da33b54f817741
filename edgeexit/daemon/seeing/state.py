"""How the daemon is doing as one JSON document, for the dashboard and `edgeexit top`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import edgeexit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.daemon.contracts import ModelView, Recent, Service, Status
    from edgeexit.daemon.seeing.minute import LastMinute

RECENT: Final = 60
"""So many answers are told."""


def state_of(service: Service, minute: LastMinute) -> dict[str, Any]:
    """Return the state; what is not known is None.

    Args:
        service: The daemon's.
        minute: Its last minute.
    """
    status = service.status()
    now = status.conditions
    return {
        "edgeexit": edgeexit.__version__,
        "uptime_s": status.uptime_s,
        "device": status.device,
        "simulated": status.simulated,
        "governor": status.governor,
        "governors": list(status.governors),
        "latency_budget_s": status.latency_budget_s,
        "queue": {"length": status.queue_length, "limit": status.queue_limit},
        "clocks": _clocks(status),
        "clocks_set_by": status.clocks_set_by,
        "clocks_reason": status.clocks_reason,
        "temperature_c": now.temperature_c,
        "power_w": now.power_w,
        "throttled": None if now.throttled is None else list(now.throttled),
        "cpu_load": now.cpu_load,
        "energy_source": status.energy_source,
        "models": _models(service.models(), status),
        "minute": minute.summary(),
        "recent": [_recent(each) for each in status.recent[-RECENT:]],
    }


def _clocks(status: Status) -> dict[str, Any]:
    names = sorted({*status.clocks, *status.operating_points_hz})
    return {
        name: {
            "hz": status.clocks.get(name),
            "points_hz": list(status.operating_points_hz.get(name, ())),
        }
        for name in names
    }


def _models(views: Sequence[ModelView], status: Status) -> list[dict[str, Any]]:
    return [
        {
            "name": view.name,
            "version": view.version,
            "ready": view.ready,
            "state": view.state,
            "reason": view.reason,
            "exits": None if view.bundle is None else view.bundle.exit_count,
            "drifted": view.name in status.drifted,
        }
        for view in views
    ]


def _recent(each: Recent) -> dict[str, Any]:
    return {**each._asdict(), "clocks": dict(each.clocks)}
