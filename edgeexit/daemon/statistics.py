"""What the protocol's statistics extension tells of each model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.daemon.contracts import InferAnswer, ModelView

_NS_PER_S: Final = 1e9
_MS_PER_S: Final = 1e3


@dataclass(slots=True)
class _Duration:
    count: int = 0
    total_s: float = 0.0

    def add(self, duration_s: float) -> None:
        self.count += 1
        self.total_s += duration_s

    def as_json(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.total_s * _NS_PER_S)}


@dataclass(slots=True)
class _Counts:
    samples: int = 0
    last_s: float = 0.0
    success: _Duration = field(default_factory=_Duration)
    fail: _Duration = field(default_factory=_Duration)
    queue: _Duration = field(default_factory=_Duration)
    compute: _Duration = field(default_factory=_Duration)


class Statistics:
    """Counts requests for each model and version, over all transports together."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], _Counts] = {}

    def answered(self, answer: InferAnswer) -> None:
        """Count an answer."""
        counts = self._of(answer.model, answer.version)
        counts.samples += len(answer.results)
        counts.last_s = time.time()
        counts.success.add(answer.latency_s)
        counts.queue.add(answer.queue_s)
        counts.compute.add(answer.latency_s - answer.queue_s)

    def failed(self, view: ModelView, duration_s: float) -> None:
        """Count a request that a model was asked and that was not answered."""
        self._of(view.name, view.version).fail.add(duration_s)

    def as_json(self, views: Sequence[ModelView]) -> dict[str, Any]:
        """Return the protocol's answer for some models."""
        return {"model_stats": [self._one(view.name, view.version) for view in views]}

    def _of(self, name: str, version: str) -> _Counts:
        return self._counts.setdefault((name, version), _Counts())

    def _one(self, name: str, version: str) -> dict[str, Any]:
        counts = self._of(name, version)
        durations = {"success": counts.success, "fail": counts.fail, "queue": counts.queue}
        return {
            "name": name,
            "version": version,
            "last_inference": round(counts.last_s * _MS_PER_S),
            "inference_count": counts.samples,
            "execution_count": counts.success.count,
            "inference_stats": {
                **{key: duration.as_json() for key, duration in durations.items()},
                "compute_infer": counts.compute.as_json(),
            },
            "batch_stats": [],
        }
