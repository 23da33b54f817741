"""Do certificates hold? Many random splits of recorded samples, and how often the bound is broken on the rest.

The path of settings is made once, on a split of its own. Then, many times, some samples are drawn to calibrate on and
all others are held back: Learn-then-Test certifies a setting of the path, and beside it a greedy picker takes the
cheapest setting that loses no more than the bound on the same samples. A violation is a setting that loses more than
the bound on samples that were not drawn.

The guarantee is about the population. Here that is all the samples of the pool, and drawing with replacement from it
is what the tests assume; the held-back part is another random sample, small where many are drawn, and it can lose more
than the bound by its own chance. So both are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.guarantee.counts import against, run_setting
from edgeexit.offline.guarantee.p_values import p_value
from edgeexit.offline.guarantee.paths import Bound, SettingPath
from edgeexit.offline.traces import Trace

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LTT, GREEDY = "Learn-then-Test", "greedy"


class PoolOutcomes(NamedTuple):
    """What each of a path's K settings did with each of S samples.

    Attributes:
        lost: (S, K) 1 where the full network is right and the setting wrong, else 0.
        gained: (S, K) 1 the other way round.
        cost: (S, K) as a share of the full network.
    """

    lost: IntArray
    gained: IntArray
    cost: FloatArray

    @property
    def drops(self) -> FloatArray:
        """(K,) the share of the pool that each setting loses."""
        return np.asarray((self.lost - self.gained).mean(axis=0))


class StudyRow(NamedTuple):
    """How one way of choosing did over all splits.

    Attributes:
        bound: That was asked for.
        samples: Drawn to calibrate on.
        way: "Learn-then-Test" or "greedy".
        splits: How many.
        held_out: Share of them in which the setting lost more than the bound on the samples held back.
        population: Share in which it loses more than the bound on the whole pool; drawn with replacement.
        none: Share in which no setting was found, so that the whole network runs.
        drop_points: Mean over the splits of what was lost on the samples held back, in points.
        macs_share: Mean work there; 1 where no setting was found.
    """

    bound: Bound
    samples: int
    way: str
    splits: int
    held_out: float
    population: float
    none: float
    drop_points: float
    macs_share: float


def pool_outcomes(path: SettingPath, pool: Trace, risk: str) -> PoolOutcomes:
    """Run every setting of a path on every sample of the pool."""
    judged = against(pool, risk)
    right = judged.correct[:, -1]
    columns = []
    for step in path.steps:
        run = run_setting(path.rule, step.parameters, path.predictor, judged, path.workload)
        columns.append((right & ~run.correct, ~right & run.correct, run.macs / run.full_macs))
    lost, gained, cost = (np.stack(column, axis=1) for column in zip(*columns, strict=True))
    return PoolOutcomes(lost.astype(np.int64), gained.astype(np.int64), cost)


def study(
    outcomes: PoolOutcomes, bound: Bound, samples: int, *, splits: int = 500, seed: int = 0
) -> tuple[StudyRow, StudyRow]:
    """Draw many times, choose by both ways, and count the violations.

    Args:
        outcomes: Of the path on the pool.
        bound: What is to be guaranteed.
        samples: To draw each time; fewer than the pool has.
        splits: How often.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    picks = {way: _Picks(outcomes, bound) for way in (LTT, GREEDY)}
    everything = len(outcomes.lost)
    for _ in range(splits):
        order = generator.permutation(everything)
        drawn, held = order[:samples], order[samples:]
        again = generator.integers(0, everything, samples)
        for way, choose in ((LTT, certified_step), (GREEDY, greedy_step)):
            picks[way].held_out(choose(outcomes, drawn, bound), held)
            picks[way].population(choose(outcomes, again, bound))
    first, second = (picks[way].row(way, samples, splits) for way in (LTT, GREEDY))
    return first, second


def certified_step(outcomes: PoolOutcomes, drawn: IntArray, bound: Bound) -> int:
    """Return the last step that passes in a fixed sequence of tests on the samples drawn; -1 if none does."""
    lost, gained = outcomes.lost[drawn].sum(axis=0), outcomes.gained[drawn].sum(axis=0)
    for step, (losses, gains) in enumerate(zip(lost.tolist(), gained.tolist(), strict=True)):
        if _p_value(losses, gains, len(drawn), bound) > 1 - bound.confidence:
            return step - 1
    return len(lost) - 1


def greedy_step(outcomes: PoolOutcomes, drawn: IntArray, bound: Bound) -> int:
    """Return the cheapest step that loses at most the bound on the samples drawn; -1 if none does."""
    drops = (outcomes.lost[drawn] - outcomes.gained[drawn]).mean(axis=0)
    costs = np.where(drops <= bound.share, outcomes.cost[drawn].mean(axis=0), np.inf)
    return int(costs.argmin()) if np.isfinite(costs).any() else -1


def study_text(rows: Sequence[StudyRow]) -> str:
    """Return a table of a study."""
    return "\n".join(_lines(rows))


class _Picks:
    """Sums over the splits for one way of choosing."""

    def __init__(self, outcomes: PoolOutcomes, bound: Bound) -> None:
        self._outcomes, self._bound = outcomes, bound
        self._broken = self._wrong = self._none = 0
        self._drop = self._cost = 0.0

    def held_out(self, step: int, held: IntArray) -> None:
        """Count what the step does on the samples held back."""
        if step < 0:
            self._none += 1
            self._cost += 1.0
            return
        drop = float((self._outcomes.lost[held, step] - self._outcomes.gained[held, step]).mean())
        self._broken += drop > self._bound.share
        self._drop += drop
        self._cost += float(self._outcomes.cost[held, step].mean())

    def population(self, step: int) -> None:
        """Count whether the step loses too much on the whole pool."""
        self._wrong += step >= 0 and self._outcomes.drops[step] > self._bound.share

    def row(self, way: str, samples: int, splits: int) -> StudyRow:
        """Return the means."""
        return StudyRow(
            self._bound, samples, way, splits, self._broken / splits, self._wrong / splits, self._none / splits,
            100 * self._drop / splits, self._cost / splits,
        )  # fmt: skip


@lru_cache(maxsize=200_000)
def _p_value(lost: int, gained: int, samples: int, bound: Bound) -> float:
    return p_value(lost, gained, samples, bound.share, bound.risk)


def _lines(rows: Sequence[StudyRow]) -> Iterator[str]:
    yield "risk    bound   samples  way               violations  violations   nothing  mean drop  mean MACs"
    yield "       points                               on the rest  on the pool  found     points       %"
    for row in rows:
        yield (
            f"{row.bound.risk:<7} {row.bound.max_drop:5.2f}  {row.samples:8,}  {row.way:<16}  "
            f"{100 * row.held_out:8.1f} %  {100 * row.population:8.1f} %  {100 * row.none:7.1f} %  "
            f"{row.drop_points:9.2f}  {100 * row.macs_share:9.1f}"
        )
