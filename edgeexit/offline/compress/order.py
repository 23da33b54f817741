"""In which order compression steps are done, and the search for a better order on a user's own network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tqdm import tqdm

from edgeexit.errors import EdgeExitError, OptionError
from edgeexit.offline.compress.judge import Judge
from edgeexit.offline.compress.report import Figures
from edgeexit.offline.compress.steps import Step

if TYPE_CHECKING:
    from edgeexit.offline.data import Samples

    Apply = Callable[[Any], Any]

LEAST_GAIN: Final = 0.02
"""Share of the time by which one order must be faster than the other: less cannot be told from chance."""
LEAST_POINTS: Final = 0.1
"""Percentage points by which one order must be more accurate, where both are as fast."""

_DEFAULT: Final = tuple(Step)


def default_order(steps: Collection[Step]) -> tuple[Step, ...]:
    """Return the steps in the default order: distil, prune, quantise, exits (arXiv 2403.17447)."""
    return tuple(step for step in _DEFAULT if step in steps)


def check_order(steps: Sequence[Step]) -> tuple[str, ...]:
    """Check an order of steps, and return a warning for each pair that is not in the default order.

    Raises:
        OptionError: If a step is named twice.
    """
    for step in steps:
        if steps.count(step) > 1:
            raise OptionError(f"the step {step.value!r} is named twice; each is done once")
    return tuple(
        f"warning: {first.value} before {second.value} is unusual, the default order is "
        f"{', '.join(s.value for s in default_order(steps))}; a search of the order measures which is better"
        for first, second in combinations(steps, 2)
        if _DEFAULT.index(first) > _DEFAULT.index(second)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Two steps in both orders.

    Attributes:
        first: The one that is first in the default order.
        second: The other.
        default: Figures of the default order; None if it could not be done.
        reverse: Figures of the other order; None if it could not be done.
        why: Why an order could not be done; empty otherwise.
    """

    first: Step
    second: Step
    default: Figures | None
    reverse: Figures | None
    why: str = ""

    @property
    def preferred(self) -> tuple[Step, Step] | None:
        """The better order; None if both are as good, within what can be measured."""
        usual, other = (self.first, self.second), (self.second, self.first)
        if self.default is None or self.reverse is None:
            return usual if self.default else other if self.reverse else None
        points = 100.0 * (self.reverse.accuracy - self.default.accuracy)
        gain = 1.0 - self.reverse.latency_s / self.default.latency_s
        if abs(gain) > LEAST_GAIN and abs(points) <= LEAST_POINTS:
            return other if gain > 0.0 else usual
        if abs(points) > LEAST_POINTS and (abs(gain) <= LEAST_GAIN or (gain > 0.0) == (points > 0.0)):
            return other if points > 0.0 else usual
        return None

    @property
    def line(self) -> str:
        """The trial in one line."""
        return (
            f"{self.first.value} then {self.second.value}: {_text(self.default)}; "
            f"{self.second.value} then {self.first.value}: {_text(self.reverse)}{self.why and f' ({self.why})'}; "
            f"{'no difference' if self.preferred is None else f'{self.preferred[0].value} first'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSearch:
    """The best order found.

    Attributes:
        order: Of all steps.
        trials: Of each pair.
        note: Empty, or why the preferences could not all be followed.
    """

    order: tuple[Step, ...]
    trials: tuple[Trial, ...]
    note: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What was measured and found, line by line."""
        notes = (self.note,) if self.note else ()
        return (*(t.line for t in self.trials), *notes, f"order: {', '.join(s.value for s in self.order)}")


def search_order(model: Any, samples: Samples, steps: Mapping[Step, Apply], *, progress: bool = False) -> OrderSearch:
    """Do every pair of steps in both orders on the user's network, and derive an order of all from what is measured.

    An order of two is better if it is faster and as accurate, or as fast and more accurate, or both. Where one is
    faster and the other more accurate neither is, and the default order stands.

    Args:
        model: onnx.ModelProto of the network as it is; it is not changed.
        samples: On which time and accuracy are measured: none that the steps fit on.
        steps: Each step -> what does it to a model and returns a new one.
        progress: True for a progress bar on stderr.

    Raises:
        DataError: If there are no samples.
        EngineError: If ONNX Runtime refuses the network as it is.
    """
    judge = Judge(model, samples)
    pairs = list(combinations(default_order(steps), 2))
    bar = tqdm(pairs, desc="order", unit="pair", disable=not progress)
    trials = tuple(_try_pair(model, judge, steps, first, second) for first, second in bar)
    wanted = [trial.preferred for trial in trials if trial.preferred is not None]
    order = sort_steps(default_order(steps), wanted)
    if order is None:
        note = "the preferences contradict each other in a circle: the default order is taken"
        return OrderSearch(order=default_order(steps), trials=trials, note=note)
    return OrderSearch(order=order, trials=trials)


def sort_steps(steps: Sequence[Step], before: Collection[tuple[Step, Step]]) -> tuple[Step, ...] | None:
    """Sort steps topologically; of several that may come next the first of `steps` does. None if there is a circle."""
    left, order = list(steps), list[Step]()
    while left:
        free = [s for s in left if not any(second is s and first in left for first, second in before)]
        if not free:
            return None
        order.append(free[0])
        left.remove(free[0])
    return tuple(order)


def _try_pair(model: Any, judge: Judge, steps: Mapping[Step, Apply], first: Step, second: Step) -> Trial:
    made, why = list[Any](), dict[tuple[Step, Step], str]()
    for one, other in ((first, second), (second, first)):
        try:
            made.append(steps[other](steps[one](model)))
        except EdgeExitError as error:
            made.append(None)
            why[one, other] = str(error)
    figures = iter(judge.figures([result for result in made if result is not None]))
    default, reverse = (None if result is None else next(figures) for result in made)
    return Trial(first=first, second=second, default=default, reverse=reverse, why=_reasons(why))


def _reasons(why: Mapping[tuple[Step, Step], str]) -> str:
    if len(why) == 2 and len(set(why.values())) == 1:
        return f"neither can be done: {next(iter(why.values()))}"
    return "; ".join(f"{one.value} then {other.value} cannot be done: {text}" for (one, other), text in why.items())


def _text(figures: Figures | None) -> str:
    if figures is None:
        return "not done"
    return f"{1e3 * figures.latency_s:.3f} ms, {100.0 * figures.accuracy:.2f} %"


def halves(samples: Samples, most: int) -> tuple[Samples, Samples]:
    """Divide samples into those to fit on, at most `most`, and those to measure on."""
    first = min(most, len(samples) // 2)
    return samples.take(np.arange(first)), samples.take(np.arange(first, len(samples)))
