"""What replays found, as records that JSON can hold; every joule is simulated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.beside import write_beside
from edgeexit.errors import DataError
from edgeexit.offline.bootstrap import Estimate

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FORMAT: Final = "edgeexit.replay/1"
SIMULATED: Final = "simulated"


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """A stretch of time in which a board did one thing."""

    start_s: float
    end_s: float
    clocks: str
    """As text, for instance "gpu 726.75 MHz"."""
    what: str
    """"switch", "segment 0", "head 0" or "idle"."""
    power_w: float


@dataclass(frozen=True, slots=True)
class SampleArrays:
    """What became of each of N inferences, in the order of the samples that were asked for.

    Attributes:
        sample: (N,) index into the trace.
        exit_index: (N,) the exit that answered.
        looks: (N,) how many exits were looked at.
        correct: (N,) whether the answer was right.
        latency_s: (N,) from the request to the answer.
        energy_j: (N,) from the begin of the inference to that of the next.
        point: (N,) index of the operating point until the next request: that of the answer, if nobody changed it since.
    """

    sample: IntArray
    exit_index: IntArray
    looks: IntArray
    correct: NDArray[np.bool_]
    latency_s: FloatArray
    energy_j: FloatArray
    point: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorRun:
    """One rule and one governor at one deadline.

    Attributes:
        rule: Name of the setting.
        governor: Name of the governor or policy.
        deadline_factor: The deadline in times of the full network at the highest clock; None if there was no deadline.
        deadline_s: From the request on; None if there was none.
        arrivals: In words.
        inferences: How many.
        accuracy: Share of right answers.
        energy_j: Mean energy of an inference and of the idling until the next, simulated.
        energy_parts_j: Its means by "work", "switches" and "idle".
        rail_energy_j: The same of single power rails, as far as the profile knows them.
        latency_s: "mean", "p50", "p95", "p99" and "max" of the time from the request to the answer.
        latency_histogram: Edges in seconds, one more than there are counts, and counts.
        misses: How many answers were late.
        cut_short: How many samples the governor did not let go as deep as the rule wanted.
        sent_on: How many samples the governor sent on without a look that the rule wanted.
        exit_counts: How many answers each exit gave.
        looks: Mean number of exits looked at.
        macs_share: Mean work, heads included, as a share of the full network.
        switches: Clock changes for each inference.
        residency: Share of the time at each setting of the clocks.
        noise: In words; None for none.
        guard: What latencies are multiplied by where a deadline must hold.
        timeline: What the board did in the first few inferences.
        clairvoyant_j: A lower bound of `energy_j` for what this very run answered: every exit known in advance, free
            switching, no look but that of the exit that answers, in the time that the run took where it was late. Where
            it was cut short or sent on, `Bounds` are of other answers; this is of its own. None where requests are not
            periodic, latencies vary or there is no deadline.
        samples: What became of each inference; not in the JSON.
        source: Where the energies are from.
    """

    rule: str
    governor: str
    deadline_factor: float | None
    deadline_s: float | None
    arrivals: str
    inferences: int
    accuracy: Estimate
    energy_j: Estimate
    energy_parts_j: Mapping[str, float]
    rail_energy_j: Mapping[str, Estimate]
    latency_s: Mapping[str, float]
    latency_histogram: tuple[tuple[float, ...], tuple[int, ...]]
    misses: int
    cut_short: int
    sent_on: int
    exit_counts: tuple[int, ...]
    looks: float
    macs_share: float
    switches: float
    residency: Mapping[str, float]
    noise: str | None = None
    guard: float = 1.0
    timeline: tuple[TimelineStep, ...] = ()
    clairvoyant_j: float | None = None
    samples: SampleArrays | None = field(default=None, repr=False, compare=False)
    source: str = SIMULATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least energy of an inference and its period for one rule and deadline, simulated.

    All are for who answers as the rule wants, the optimum up to `cap`: a run that is late, cut short or sent on without
    a look may need less, and has `GovernorRun.clairvoyant_j` to be held against.

    Attributes:
        rule: Name of the setting.
        deadline_factor: The deadline in times of the full network at the highest clock.
        clairvoyant_j: The exit known in advance, and free switching; the rule's looks are paid for.
        optimum_j: A lower bound of what any governor with the same evidence needs; None if it was not worked out.
        optimum_reached_j: What such a governor is sure to reach.
        without_looks_j: As `clairvoyant_j`, if the exit rule too knew the exit and looked at no other.
        cap: The exit at which the deadline cuts the rule in the optimum, for all samples; None where the rule fits in
            the worst case, and where no optimum was worked out.
    """

    rule: str
    deadline_factor: float
    clairvoyant_j: float
    optimum_j: float | None = None
    optimum_reached_j: float | None = None
    without_looks_j: float | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRow:
    """How good a rule's forecasts after its first look were, for the samples that went on.

    Attributes:
        rule: Name of the setting.
        samples: How many went on.
        exact: Share of samples whose likeliest exit answered.
        mean_absolute_error: Of the likeliest exit, in exits.
        overshoot: Share of forecasts that were too deep.
        undershoot: Share of forecasts that were not deep enough.
        surprise: Mean of -ln of the probability given to the exit that answered.
        usual_surprise: The same if every sample gets the distribution of all of them.
        reliability: For classes of the probability given to an exit: the mean given, the share that came true, and
            how many there were.
    """

    rule: str
    samples: int
    exact: float
    mean_absolute_error: float
    overshoot: float
    undershoot: float
    surprise: float
    usual_surprise: float
    reliability: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardReplay:
    """All that was replayed of one bundle on one board.

    Attributes:
        board: Name of the profile.
        bundle: Name of the network.
        samples: How many samples the trace has.
        work_scale: Every multiply-accumulate counts as so many.
        static_share: Share of the power that does not follow the clock, if it was varied; None: as in the profile.
        full_latency_s: The full network at the highest clock.
        runs: Every rule, governor and deadline.
        bounds: Every rule and deadline.
        forecast: Every rule that forecasts.
        provenance: Where the board's power figures are from, in words.
        seed: Of the order of the samples and the arrivals; None if not known.
        edgeexit_version: Of the package that replayed; empty if not known.
        source: Where the energies are from.
    """

    board: str
    bundle: str
    samples: int
    work_scale: float
    static_share: float | None
    full_latency_s: float
    runs: tuple[GovernorRun, ...]
    bounds: tuple[Bounds, ...] = ()
    forecast: tuple[ForecastRow, ...] = ()
    provenance: str = ""
    seed: int | None = None
    edgeexit_version: str = ""
    source: str = SIMULATED

    def as_json(self) -> dict[str, Any]:
        """Return a JSON document; arrays by sample are left out."""
        document = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("runs", "bounds", "forecast")}
        return {
            "format": FORMAT,
            **document,
            "runs": [_run_document(run) for run in self.runs],
            "bounds": [asdict(bounds) for bounds in self.bounds],
            "forecast": [asdict(row) for row in self.forecast],
        }


def save_replays(path: Path, replays: tuple[BoardReplay, ...]) -> None:
    """Write replays as JSON: one document, or a list if there are several.

    Raises:
        DataError: If the file cannot be written.
    """
    documents = [replay.as_json() for replay in replays]
    try:
        write_beside(path, (json.dumps(documents[0] if len(documents) == 1 else documents) + "\n").encode())
    except OSError as error:
        raise DataError(f"replays cannot be written to {path}: {error.strerror or error}") from error


def load_replays(path: Path) -> tuple[BoardReplay, ...]:
    """Read the replays of a file.

    Raises:
        DataError: If it cannot be read or holds something else; the message names it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return tuple(read_replay(each) for each in (document if isinstance(document, list) else [document]))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as replay results of format {FORMAT}: {error}") from error


def read_replay(document: Any) -> BoardReplay:
    """Return the replay of a JSON document.

    Raises:
        DataError: If it is something else, or of another format.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise DataError(f"replay results must be of format {FORMAT!r}, not {found!r}: replay again")
    try:
        values = {name: value for name, value in document.items() if name != "format"}
        values["runs"] = tuple(_read_run(run) for run in values["runs"])
        values["bounds"] = tuple(Bounds(**bounds) for bounds in values["bounds"])
        values["forecast"] = tuple(_read_forecast(row) for row in values["forecast"])
        return BoardReplay(**values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"replay results are damaged: {error!r}") from error


def _run_document(run: GovernorRun) -> dict[str, Any]:
    document = {f.name: getattr(run, f.name) for f in fields(run) if f.name != "samples"}
    document["accuracy"], document["energy_j"] = asdict(run.accuracy), asdict(run.energy_j)
    document["rail_energy_j"] = {name: asdict(energy) for name, energy in run.rail_energy_j.items()}
    document["timeline"] = [asdict(step) for step in run.timeline]
    return document


def _read_run(document: dict[str, Any]) -> GovernorRun:
    edges_s, counts = document["latency_histogram"]
    values = {
        **document,
        "accuracy": Estimate(**document["accuracy"]),
        "energy_j": Estimate(**document["energy_j"]),
        "rail_energy_j": {name: Estimate(**energy) for name, energy in document["rail_energy_j"].items()},
        "latency_histogram": (tuple(edges_s), tuple(counts)),
        "exit_counts": tuple(document["exit_counts"]),
        "timeline": tuple(TimelineStep(**step) for step in document["timeline"]),
    }
    return GovernorRun(**values)


def _read_forecast(document: dict[str, Any]) -> ForecastRow:
    reliability = tuple((float(given), float(true), int(count)) for given, true, count in document["reliability"])
    return ForecastRow(**{**document, "reliability": reliability})
