"""What a bundle does with samples that nothing was chosen on, and how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tqdm import tqdm

from edgeexit.bundle.certificates import CERTIFIED
from edgeexit.clock import MonotonicClock
from edgeexit.device.host import HostDevice
from edgeexit.exits.settings import make_rule
from edgeexit.offline.preparing.preparation import ExitFigures, RuleFigures, Times
from edgeexit.offline.preparing.worth import SINGLE_EXIT
from edgeexit.offline.replay import Costs, Replay, replay, summarise
from edgeexit.runtime.engine import open_session
from edgeexit.runtime.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.traces import Trace

SHOWN_SETTINGS: Final = 4
"""Settings that are reported at each drop, the best single exit aside."""

TIMED_SAMPLES: Final = 100
ROUNDS: Final = 3


def exit_figures(bundle: Bundle, trace: Trace) -> tuple[ExitFigures, ...]:
    """Return what each exit costs and how often it is right.

    Args:
        bundle: The bundle.
        trace: Of its exits, on samples that nothing was chosen on.
    """
    costs = Costs(bundle.workload)
    return tuple(
        ExitFigures(
            behind=bundle.segments[exit_.segment].outputs if exit_.index < bundle.exit_count - 1 else (bundle.output,),
            macs_share=float((costs.depth[exit_.index] + costs.head[exit_.index]) / costs.full),
            head_share=float(costs.head[exit_.index] / costs.full),
            accuracy=float(trace.accuracies[exit_.index]),
        )
        for exit_ in bundle.exits
    )


def rule_figures(bundle: Bundle, trace: Trace, drops: Sequence[float]) -> tuple[RuleFigures, ...]:
    """Run settings on samples that nothing was chosen on.

    At each drop these are the one that was certified, if there is one, those that needed least work where they were
    chosen, in that order, and the best single exit last.

    Args:
        bundle: A calibrated bundle.
        trace: Of its exits.
        drops: Allowed drops in percentage points, as they were calibrated.
    """
    rules, predictor = bundle.read_rules(), bundle.read_predictor()
    figures = []
    for drop in drops:
        for name in _shown(rules["settings"], f"{drop:g}"):
            run = replay(make_rule(name, bundle.exit_count, rules, predictor, drop), trace, bundle.workload)
            summary = summarise(run)
            figures.append(
                RuleFigures(
                    setting=name,
                    allowed_drop=drop,
                    accuracy=summary.accuracy,
                    macs_share=summary.macs_share,
                    looks=summary.looks,
                    loss_error=_loss_error(run, trace),
                )
            )
    return tuple(figures)


def _loss_error(run: Replay, trace: Trace) -> float | None:
    """Return the standard error of the mean paired difference, right of the full network less right of the rule."""
    lost = trace.correct[:, -1].astype(np.float64) - run.correct
    return float(lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else None


def _shown(settings: Mapping[str, Any], drop: str) -> list[str]:
    there = [name for name, setting in settings.items() if drop in setting["chosen_on"]]
    there.sort(key=lambda name: float(settings[name]["chosen_on"][drop]["macs_share"]))
    proved = [name for name in there if name in CERTIFIED.values()]
    chosen = [name for name in there if name not in (*proved, SINGLE_EXIT)][:SHOWN_SETTINGS]
    return [*proved, *chosen, *(name for name in there if name == SINGLE_EXIT)]


def time_bundle(bundle: Bundle, model: bytes, setting: str, drop: float, bench: Bench) -> Times:
    """Time the model as it was against the bundle, sample by sample, in turn; the shortest of the rounds counts.

    Args:
        bundle: A calibrated bundle.
        model: The ONNX model before anything was done to it.
        setting: Name of a calibrated setting.
        drop: Its allowed drop in percentage points.
        bench: What every step works with; a hundred samples of its part "certify" are run.
    """
    samples = bench.material.parts["certify"]
    chosen = spread(len(samples), TIMED_SAMPLES)
    count, inputs = len(chosen), [samples.read(chosen[index : index + 1]) for index in range(len(chosen))]
    clock, whole = MonotonicClock(), open_session(model)
    best_s = np.full((2, count), np.inf)
    cache = bench.work.path / "cache"
    with Session(bundle, HostDevice(), exit_rule=setting, allowed_drop=drop, cache_dir=cache) as session:
        ways = (lambda sample: whole.run(None, sample), session.infer)
        for way in ways:
            way(inputs[0])
        for _ in tqdm(range(ROUNDS), desc="timing", unit="round", disable=not bench.progress):
            for index, sample in enumerate(inputs):
                for row, way in enumerate(ways):
                    best_s[row, index] = min(best_s[row, index], _seconds(clock, way, sample))
    return Times(whole_s=float(best_s[0].mean()), exits_s=float(best_s[1].mean()), samples=count)


def spread(samples: int, count: int) -> NDArray[np.int64]:
    """Return at most `count` positions evenly over `samples`, which may stand class by class."""
    return np.unique(np.linspace(0, samples - 1, min(count, samples)).astype(np.int64))


def _seconds(clock: MonotonicClock, way: Callable[[Any], Any], sample: Mapping[str, NDArray[Any]]) -> float:
    start_s = clock.now_s()
    way(sample)
    return clock.now_s() - start_s
