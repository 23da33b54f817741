"""Measure what exit rules cost in real time on this machine, image by image, and check them against their replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from edgeexit.clock import MonotonicClock
from edgeexit.device.host import HostDevice, read_host_facts
from edgeexit.exits.settings import make_rule
from edgeexit.offline.replay import replay
from edgeexit.runtime.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.offline.traces import Trace

    Setting = tuple[str, float]


FULL_NETWORK = "last"


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What a session did with every image.

    Attributes:
        exit_index: (S,) the exit that answered.
        label: (S,) its answer.
        time_s: (S,) the shortest time of the rounds, in seconds.
    """

    exit_index: NDArray[np.int64]
    label: NDArray[np.int64]
    time_s: NDArray[np.float64]


def measure_live(
    bundle: Bundle,
    inputs: NDArray[Any],
    settings: Sequence[Setting],
    *,
    rounds: int = 3,
    tell: Callable[[int], None] = lambda _count: None,
) -> Mapping[Setting, LiveRun]:
    """Run every setting on every image, one thread, batch 1, `rounds` times in turn.

    Args:
        bundle: A calibrated bundle with one input.
        inputs: (S, ...) as the bundle takes them.
        settings: Names of calibrated settings, each with an allowed accuracy drop in percentage points.
        rounds: How often each image is run; the shortest time counts, which leaves out what else the machine does.
        tell: Called with the number of inferences that have just been made.
    """
    device, clock = HostDevice(), MonotonicClock()
    shape = (len(settings), len(inputs))
    exits, labels = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    times = np.full(shape, np.inf)
    sessions = [Session(bundle, device, exit_rule=name, allowed_drop=drop) for name, drop in settings]
    for session in sessions:
        session.infer(inputs[:1])
    for _ in range(rounds):
        for row, session in enumerate(sessions):
            for index in range(len(inputs)):
                image = inputs[index : index + 1]
                start_s = clock.now_s()
                result = session.infer(image)
                times[row, index] = min(times[row, index], clock.now_s() - start_s)
                exits[row, index], labels[row, index] = result.exit_index, result.label
            tell(len(inputs))
    return {setting: LiveRun(exits[i], labels[i], times[i]) for i, setting in enumerate(settings)}


@dataclass(frozen=True, slots=True)
class WallTimes:
    """Measured times of calibrated settings.

    Attributes:
        mean_s: Mean seconds of an inference by setting and drop, as `policy_table` takes them.
        differing: How many live inferences ended at another exit than in the replay.
        text: How they were measured, and whether the live runs agree with the replay.
    """

    mean_s: Mapping[str, Mapping[str, float]]
    differing: int
    text: str


def measure_wall_times(
    bundle: Bundle,
    inputs: NDArray[Any],
    trace: Trace,
    names: Sequence[str],
    drops: Sequence[float],
    *,
    rounds: int,
    show_progress: bool = True,
) -> WallTimes:
    """Run settings live for their wall times, and compare each answer with the replay of the recorded trace.

    Args:
        bundle: A calibrated bundle with one input.
        inputs: (S, ...) as the bundle takes them.
        trace: What every exit said about them, recorded.
        names: Settings, for instance "threshold".
        drops: Allowed accuracy drops in percentage points.
        rounds: How often each image is run.
        show_progress: True for a progress bar.
    """
    settings = [(FULL_NETWORK, 0.0), *((name, drop) for drop in drops for name in names)]
    steps = rounds * len(settings) * len(inputs)
    with tqdm(total=steps, desc=bundle.name, unit="image", disable=not show_progress) as progress:
        runs = measure_live(bundle, inputs, settings, rounds=rounds, tell=progress.update)
    mean_s: dict[str, dict[str, float]] = {"full network": {"": float(runs[settings[0]].time_s.mean())}}
    differing = 0
    for name, drop in settings[1:]:
        run = runs[name, drop]
        mean_s.setdefault(name, {})[f"{drop:g}"] = float(run.time_s.mean())
        rule = make_rule(name, bundle.exit_count, bundle.read_rules(), bundle.read_predictor(), drop)
        expected = replay(rule, trace, bundle.workload)
        differing += int(np.count_nonzero(expected.exit_index != run.exit_index))
    text = (
        f"Wall time: mean over the images of the shortest of {rounds} live inferences each, settings in turn, one "
        f"thread, batch 1, {read_host_facts().cpu}.\nLive and replayed exits differ for {differing} of "
        f"{(len(settings) - 1) * len(inputs)} inferences."
    )
    return WallTimes(mean_s, differing, text)
