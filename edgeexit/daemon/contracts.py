"""What the parts of the daemon know of each other.

The network side (`http`), metrics and dashboard (`seeing`) talk to a `Service`: bundles, queue, engine and clocks,
everything but the network. All its methods are called on the event loop's thread, and so are an `Observer`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.protocols import Clocks, Conditions
    from edgeexit.runtime.result import Result

    Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    """What a request asks for beside its inputs; None leaves it to the daemon's configuration.

    Attributes:
        latency_budget_s: Time until the answer is due, from the moment the request is handed over.
        energy_budget_j: What the inference may draw, idling left out.
        exit_rule: One of the bundle's calibrated settings, for instance "threshold".
        allowed_drop: Accuracy that the setting may cost, in points: one that it is calibrated for.
        priority: 0 is ordinary, above 0 goes before, below 0 after; within one priority the earliest deadline is first.
    """

    latency_budget_s: float | None = None
    energy_budget_j: float | None = None
    exit_rule: str | None = None
    allowed_drop: float | None = None
    priority: int = 0


class InferAnswer(NamedTuple):
    """The answer to a request."""

    model: str
    version: str
    results: Sequence[Result]
    """One a sample, in the order of the inputs."""
    queue_s: float
    """From handing over until the engine began."""
    latency_s: float
    """From handing over until the answer stood."""
    deadline_met: bool | None
    """None without a deadline."""


class ModelView(NamedTuple):
    """A bundle that the daemon was told to serve, in one version."""

    name: str
    version: str
    bundle: Bundle | None
    """None while it has never been loaded."""
    ready: bool
    state: str
    """"ready", "loading", "unloaded" or "failed"."""
    reason: str
    """Why it is not as it should be: of a failed (re)load the error, while the bundle before may serve on."""


class Recent(NamedTuple):
    """An answer of late, for the dashboard."""

    model: str
    exit_index: int
    latency_s: float
    latency_budget_s: float | None
    energy_j: float | None
    clocks: Clocks
    reason: str
    """The governor's, for its last clock step; "" without a governor."""


class Status(NamedTuple):
    """How the daemon is doing."""

    uptime_s: float
    device: str
    simulated: bool
    governor: str | None
    governors: Sequence[str]
    """The names that `change` takes."""
    latency_budget_s: float | None
    """Of requests that bring none."""
    queue_length: int
    queue_limit: int
    clocks: Clocks
    """Present frequencies in Hz."""
    operating_points_hz: Mapping[str, Sequence[int]]
    clocks_set_by: str
    """"clockd", "in process" (simulated boards), or "nobody" with `clocks_reason`."""
    clocks_reason: str
    conditions: Conditions
    energy_source: str | None
    drifted: Sequence[str]
    """Models whose exits are no longer distributed as in calibration."""
    recent: Sequence[Recent]
    """The newest last; at most 256."""
    clock_seconds: Mapping[tuple[str, int], float] = MappingProxyType({})
    """(Domain, operating point in Hz) -> seconds that it was at it since the start."""


class Service(Protocol):
    """Bundles, queue, engine and clocks."""

    def models(self) -> Sequence[ModelView]:
        """Return every model and version that the daemon was told to serve."""

    def model(self, name: str, version: str | None = None) -> ModelView:
        """Return one; without a version the highest that is ready, else the highest.

        Raises:
            ModelNotFound: If there is none.
        """

    async def infer(
        self, name: str, version: str | None, inputs: Mapping[str, Array], options: InferOptions
    ) -> InferAnswer:
        """Answer for a batch. If the caller's task is cancelled, so is the request.

        Raises:
            ModelNotFound: If there is no such model.
            ModelNotReady: If it is not loaded.
            InputError: If an input is wrong.
            OptionError: If an option is.
            Refused: If the queue is full or the answer cannot be in time.
            DeadlinePassed: If it was accepted and could then not be begun in time.
            EngineError: If ONNX Runtime fails.
        """

    def turned_away(self, name: str, error: Exception) -> None:
        """Tell observers of a request to a model that never came to `infer`: it cannot be read, or asks what cannot be.

        Args:
            name: What the client calls the model; there may be none of that name.
            error: Why.
        """

    async def load(self, name: str) -> None:
        """Load every version of a model, or load it anew from the same folder.

        Requests in flight finish on the bundle before, which stays if the new one is damaged.

        Raises:
            ModelNotFound: If the daemon was not told of such a model.
            BundleError: If it is damaged.
            EngineError: If ONNX Runtime refuses it.
        """

    async def unload(self, name: str) -> None:
        """Unload every version of a model, once its requests have been answered.

        Raises:
            ModelNotFound: If there is no such model.
        """

    def status(self) -> Status:
        """Return how the daemon is doing; does not wait for anything."""

    async def change(
        self, *, governor: str | None = None, latency_budget_s: float | None = None, no_deadline: bool = False
    ) -> None:
        """Take another governor (its name, or "none"), or another deadline for requests that bring none.

        Raises:
            PluginNotFound: If there is no such governor.
            OptionError: If a value is out of its range.
        """


class Observer(Protocol):
    """Is told what happens, to count it; must be quick and never raises."""

    def answered(self, answer: InferAnswer, options: InferOptions) -> None:
        """Tell of an answer, once it is on its way."""

    def refused(self, model: str, error: Exception) -> None:
        """Tell of a request to a model that was not answered; `error` says why."""
