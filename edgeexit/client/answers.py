"""What the client's calls return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

READY: Final = "READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer for a batch of N samples.

    Attributes:
        model: Which model answered.
        version: Which version of it.
        labels: (N,) int64; of a bundle whose task is "labels" each the set of the labels that hold, bit i for label i.
        class_names: Their names, one a sample; None if the bundle has none.
        probabilities: (N, C) float32.
        exit_index: (N,) int64: the exit that answered.
        exits_looked_at: Of the sample that answered deepest; None if the server does not say.
        reason: Why that exit answered.
        latency_s: From the request's arrival at the queue until the answer stood: without the network.
        queue_s: How much of it passed before the engine began.
        energy_j: What the inference drew; None where no meter knows.
        energy_source: Where `energy_j` is from: "counter", "integrated", "modelled" or "simulated".
        energy_uncertainty_j: How far it may be off (one standard deviation), as far as it is known.
        deadline_met: None without a deadline.
        clocks: Frequencies in Hz at the answer, by clock domain; empty where none was chosen.
    """

    model: str
    version: str
    labels: Ints
    class_names: tuple[str, ...] | None
    probabilities: Floats
    exit_index: Ints
    exits_looked_at: tuple[int, ...] | None = None
    reason: str = ""
    latency_s: float | None = None
    queue_s: float | None = None
    energy_j: float | None = None
    energy_source: str | None = None
    energy_uncertainty_j: float | None = None
    deadline_met: bool | None = None
    clocks: Mapping[str, int] = field(default_factory=dict)


class ServedModel(NamedTuple):
    """A model that the daemon was told to serve, in one version."""

    name: str
    version: str
    state: str
    """"READY", "LOADING" or "UNAVAILABLE"."""
    reason: str
    """Why it is not as it should be; "" if it is."""

    @property
    def ready(self) -> bool:
        """True if it answers."""
        return self.state == READY


class TensorMetadata(NamedTuple):
    """An input or an output of a model."""

    name: str
    datatype: str
    """The protocol's word: "FP32", "INT64", ..."""
    shape: tuple[int, ...]
    """-1 where any size is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What a model takes and returns.

    Attributes:
        name: What clients call it.
        versions: Those that are served.
        platform: The kind of network.
        inputs: What it takes.
        outputs: What it returns.
        parameters: Whatever else the daemon tells of it.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters: Mapping[str, Any]
