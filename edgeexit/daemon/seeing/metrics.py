"""Prometheus metrics of the daemon.

Names are prefixed `edgeexit_`, units are SI. Every label has a bounded set of values: models that are served, their
exits, operating points of the board, classes of errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from edgeexit.daemon.seeing.reasons import reason_of

if TYPE_CHECKING:
    from edgeexit.daemon.contracts import InferAnswer, InferOptions, ModelView, Status
    from edgeexit.runtime.result import Result

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
UNKNOWN: Final = "unknown"
"""Stands for every model that the daemon was not told to serve: its name comes from a client."""
BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)


class Metrics:
    """An observer that counts, and shows how the daemon is doing when it is asked.

    Args:
        status: Returns the daemon's status.
        models: Returns what it serves.
    """

    def __init__(self, status: Callable[[], Status], models: Callable[[], Sequence[ModelView]]) -> None:
        self._models = models
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Present(status, models))
        version = ("model", "version")
        self._answers = Counter("edgeexit_answers", "Requests that were answered.", version, registry=registry)
        self._failures = Counter(
            "edgeexit_failures",
            "Requests to a model that were not answered; neither who may not ask nor who was kept out by limits.",
            ("model", "reason"),
            registry=registry,
        )
        self._latency = Histogram(
            "edgeexit_latency_seconds",
            "From handing over to the answer, of answered requests.",
            version,
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._queue = Histogram(
            "edgeexit_queue_seconds", "From handing over to the engine.", version, buckets=BUCKETS_S, registry=registry
        )
        self._deadlines = Counter(
            "edgeexit_deadlines", "Answers with a deadline.", (*version, "met"), registry=registry
        )
        self._exits = Counter(
            "edgeexit_exits", "Samples by the exit that answered.", (*version, "exit"), registry=registry
        )
        self._looks = Counter("edgeexit_looks", "Exits that were looked at.", version, registry=registry)
        self._hits = Counter(
            "edgeexit_forecast_hits",
            "Samples answered by the first exit that was looked at, or by the one that was forecast there.",
            version,
            registry=registry,
        )
        self._energy = Counter(
            "edgeexit_energy_joules", "Energy of inferences, as far as known.", (*version, "source"), registry=registry
        )
        self._children: dict[tuple[str, str], _OfModel] = {}

    def answered(self, answer: InferAnswer, options: InferOptions) -> None:
        """Count an answer."""
        key = (answer.model, answer.version)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = _OfModel(self, key)
        child.count(answer)

    def refused(self, model: str, error: Exception) -> None:
        """Count a request that was not answered."""
        known = any(view.name == model for view in self._models())
        self._failures.labels(model if known else UNKNOWN, reason_of(error)).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _OfModel:
    """The counters of one version of a model, looked up once."""

    def __init__(self, metrics: Metrics, key: tuple[str, str]) -> None:
        self._key = key
        self._answers = metrics._answers.labels(*key)
        self._latency = metrics._latency.labels(*key)
        self._queue = metrics._queue.labels(*key)
        self._looks = metrics._looks.labels(*key)
        self._hits = metrics._hits.labels(*key)
        self._deadlines = {met: metrics._deadlines.labels(*key, text) for met, text in ((True, "yes"), (False, "no"))}
        self._all_exits = metrics._exits
        self._all_energy = metrics._energy
        self._exits: dict[int, Any] = {}
        self._energy: dict[str, Any] = {}

    def count(self, answer: InferAnswer) -> None:
        self._answers.inc()
        self._latency.observe(answer.latency_s)
        self._queue.observe(answer.queue_s)
        if answer.deadline_met is not None:
            self._deadlines[answer.deadline_met].inc()
        for result in answer.results:
            self._count_result(result)
        self._count_energy(answer)

    def _count_result(self, result: Result) -> None:
        exit_index = result.exit_index
        child = self._exits.get(exit_index)
        if child is None:
            child = self._exits[exit_index] = self._all_exits.labels(*self._key, str(exit_index))
        child.inc()
        looks = len(result.exits_looked_at)
        self._looks.inc(looks)
        if looks <= 2:
            self._hits.inc()

    def _count_energy(self, answer: InferAnswer) -> None:
        """Count what a request drew; in a batch every sample's figure is that of all up to its own answer."""
        known = [
            result for result in answer.results if result.energy_j is not None and result.energy_source is not None
        ]
        if not known:
            return
        last = max(known, key=lambda result: result.latency_s)
        source = "" if last.energy_source is None else last.energy_source.value
        child = self._energy.get(source)
        if child is None:
            child = self._energy[source] = self._all_energy.labels(*self._key, source)
        child.inc(max(last.energy_j or 0.0, 0.0))


class _Present(Collector):
    """What is so at the moment of asking."""

    def __init__(self, status: Callable[[], Status], models: Callable[[], Sequence[ModelView]]) -> None:
        self._status = status
        self._models = models

    def describe(self) -> list[Any]:
        """Return nothing: the registry need not ask for names, and nothing is collected before the start."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        status = self._status()
        yield _gauge("edgeexit_uptime_seconds", "Time since the start.", status.uptime_s)
        yield _gauge("edgeexit_queue_length", "Requests that wait.", status.queue_length)
        yield _gauge("edgeexit_queue_limit", "Requests that may wait.", status.queue_limit)
        yield _gauge("edgeexit_clocks_settable", "1 if somebody sets the clocks.", status.clocks_set_by != "nobody")
        yield from self._clocks(status)
        yield from _conditions(status)
        yield from self._of_models(status)

    def _clocks(self, status: Status) -> Iterator[Any]:
        clocks = GaugeMetricFamily("edgeexit_clock_hertz", "Present frequency.", labels=("domain",))
        for domain, hertz in status.clocks.items():
            clocks.add_metric((domain,), hertz)
        yield clocks
        spent = CounterMetricFamily(
            "edgeexit_clock_residency_seconds", "Time at each operating point.", labels=("domain", "hertz")
        )
        for (domain, hertz), seconds in sorted(status.clock_seconds.items()):
            spent.add_metric((domain, str(hertz)), seconds)
        yield spent

    def _of_models(self, status: Status) -> Iterator[Any]:
        ready = GaugeMetricFamily("edgeexit_model_ready", "1 if it answers.", labels=("model", "version"))
        drifted = GaugeMetricFamily(
            "edgeexit_model_drifted", "1 if its exits are no longer distributed as in calibration.", labels=("model",)
        )
        for view in self._models():
            ready.add_metric((view.name, view.version), view.ready)
        for name in sorted({view.name for view in self._models()}):
            drifted.add_metric((name,), name in status.drifted)
        yield ready
        yield drifted


def _conditions(status: Status) -> Iterator[Any]:
    now = status.conditions
    for name, text, value in (
        ("edgeexit_temperature_celsius", "Of the hottest part.", now.temperature_c),
        ("edgeexit_power_watts", "Of the board.", now.power_w),
        ("edgeexit_cpu_load_ratio", "Busy share of all cores.", now.cpu_load),
        ("edgeexit_memory_available_bytes", "Of the machine.", now.memory_available_bytes),
        (
            "edgeexit_throttled",
            "1 if the board holds its clocks down.",
            None if now.throttled is None else bool(now.throttled),
        ),
    ):
        if value is not None:
            yield _gauge(name, text, value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
