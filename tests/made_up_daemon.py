"""What a daemon would say of itself: answers, status and models that are made up."""

from types import SimpleNamespace

from edgeexit.daemon.contracts import InferAnswer, ModelView, Recent, Status
from edgeexit.protocols import Conditions, EnergySource


def result(exit_index=0, looked=(0,), energy_j=0.5, source=EnergySource.SIMULATED, latency_s=0.01):
    return SimpleNamespace(
        exit_index=exit_index, exits_looked_at=looked, energy_j=energy_j, energy_source=source, latency_s=latency_s
    )


def answer(*results, latency_s=0.02, met=True):
    return InferAnswer("m", "1", results or (result(),), 0.005, latency_s, met)


def status(**changes):
    known = {
        "uptime_s": 9.0,
        "device": "board",
        "simulated": False,
        "governor": "plan",
        "governors": ("plan", "none"),
        "latency_budget_s": 0.05,
        "queue_length": 2,
        "queue_limit": 64,
        "clocks": {"cpu": 600},
        "operating_points_hz": {"cpu": (600, 1500)},
        "clocks_set_by": "clockd",
        "clocks_reason": "",
        "conditions": Conditions(51.5, 3.25, ("under-voltage",), 0.25, 1000),
        "energy_source": "counter",
        "drifted": ["m"],
        "recent": (Recent("m", 1, 0.01, None, 0.5, {"cpu": 600}, "why"),),
        "clock_seconds": {("cpu", 600): 7.5, ("cpu", 1500): 1.5},
    }
    return Status(**{**known, **changes})


MODELS = [ModelView("m", "1", SimpleNamespace(exit_count=3), True, "ready", "")]
