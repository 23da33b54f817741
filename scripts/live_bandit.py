"""Settings that are chosen while inferences run, without labels: a bandit (CeeBERT, arXiv 2405.15039) and a guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.exit_thresholds import ExitThresholds
from edgeexit.offline.replay import Costs
from edgeexit.offline.traces import BoolArray, IntArray, Trace

FloatArray = NDArray[np.float64]

SHARE: Final = 0.02
"""Of the inferences that a shadow run checks."""
FORGET: Final = 0.999
"""What a reward counts one inference later."""
FORGET_CHECK: Final = 0.995
"""What a check counts one check later."""
BELIEF: Final = 100.0
"""Checks that the share of disagreement in calibration counts for."""
CURIOSITY: Final = 0.01
"""0.001 to 0.1 were tried on one network and one drift: with a guard nothing changes that 4 seeds could tell."""


class Arms(NamedTuple):
    """What each of A settings does with each of S samples; the first runs the full network and looks at no exit.

    Attributes:
        answer: (S, A) the exit that answers.
        cost: (S, A) in full networks.
        right: (S, A) whether the answer is.
        agrees: (S, A) whether the full network says the same.
        gain: (S, A) the confidence of the answer less that of the first exit.
        check_cost: (S, A) what a shadow run adds: the rest of the network, and the heads not looked at.
        seen: (A, A, E) whether the first setting has looked wherever the second would, up to the exit.
    """

    answer: IntArray
    cost: FloatArray
    right: BoolArray
    agrees: BoolArray
    gain: FloatArray
    check_cost: FloatArray
    seen: BoolArray


class Stream(NamedTuple):
    """What came of inferences in turn, by sample."""

    right: FloatArray
    agrees: FloatArray
    cost: FloatArray
    """Shadow runs included."""


def play_out(trace: Trace, settings: Sequence[ExitThresholds], costs: Costs) -> Arms:
    """Return what each setting does with each sample, the full network before them."""
    last = trace.exit_count - 1
    never = np.zeros((1, trace.exit_count), dtype=np.bool_)
    looked = np.concatenate([never, [rule.looked_at for rule in settings]])
    looked[:, last] = True
    limits = np.array([np.ones(trace.exit_count), *(rule.thresholds for rule in settings)])
    stops = (trace.confidence[:, np.newaxis] >= limits) & looked
    stops[..., last] = True
    answer = stops.argmax(axis=2)
    heads = np.cumsum(costs.head * looked, axis=1)
    depth = np.broadcast_to(costs.depth, heads.shape)
    arm = np.arange(len(looked))
    spent = (depth + heads)[arm, answer]
    spent[:, 0] = costs.full
    to_the_end = costs.depth[-1] + costs.head.sum()
    label = np.take_along_axis(trace.label, answer, axis=1)
    sure = np.take_along_axis(trace.confidence, answer, axis=1)
    missed = np.cumsum(looked[np.newaxis] & ~looked[:, np.newaxis], axis=2)
    return Arms(
        answer,
        spent / costs.full,
        label == trace.labels[:, np.newaxis],
        label == trace.label[:, -1:],
        np.asarray(sure - trace.confidence[:, :1], dtype=np.float64),
        (to_the_end - spent) / costs.full,
        missed == 0,
    )


class Bandit:
    """UCB that forgets, over the rewards of all settings whose answer is known.

    Args:
        price: Of a full network, in confidence.
        usual: What settings do with the samples of calibration: the first belief.
    """

    def __init__(self, price: float, usual: Arms) -> None:
        self._price = price
        self._counts = np.full(usual.cost.shape[1], 10.0)
        self._sums = self._counts * (usual.gain - price * usual.cost).mean(axis=0)

    def choose(self, allowed: BoolArray) -> int:
        """Return the most promising of the settings allowed."""
        width = CURIOSITY * np.sqrt(np.log(self._counts.sum() + 1.0) / np.maximum(self._counts, 1e-3))
        return int(np.where(allowed, self._sums / np.maximum(self._counts, 1e-9) + width, -np.inf).argmax())

    def learn(self, arms: Arms, sample: int, chosen: int) -> None:
        """Take in what the inference has shown."""
        answers = arms.answer[sample]
        known = (answers <= answers[chosen]) & arms.seen[chosen, np.arange(len(answers)), answers]
        self._counts *= FORGET
        self._sums *= FORGET
        self._counts += known
        self._sums += known * (arms.gain[sample] - self._price * arms.cost[sample])


class Guard:
    """Allows settings whose answers, as shadow runs tell, differ from the full network's no more often than a bound.

    Args:
        bound: Share of all inferences.
        usual: What settings do with the samples of calibration: the first belief.
        cheapest: The last setting that may be allowed; None allows all.
    """

    def __init__(self, bound: float, usual: Arms, *, cheapest: int | None = None) -> None:
        self._bound = bound
        self._cheapest = usual.cost.shape[1] - 1 if cheapest is None else cheapest
        self._usual = 1.0 - usual.agrees.mean(axis=0)
        self._checks = 0.0
        self._differ: FloatArray = np.zeros(len(self._usual))

    @property
    def allowed(self) -> BoolArray:
        """(A,) bool; the full network always is."""
        expected = (BELIEF * self._usual + self._differ) / (BELIEF + self._checks)
        within = np.asarray(expected <= self._bound)
        within[0] = True
        within[self._cheapest + 1 :] = False
        return within

    def check(self, agrees: BoolArray) -> None:
        """Take in a shadow run, which tells what each setting would have said."""
        self._checks = FORGET_CHECK * self._checks + 1.0
        self._differ = FORGET_CHECK * self._differ + ~agrees


def run_stream(
    parts: Sequence[tuple[Arms, IntArray]], bandit: Bandit | None, guard: Guard | None, seed: int
) -> list[Stream]:
    """Run samples in turn, and return what came of each part of the stream.

    Args:
        parts: What settings do with samples, and which samples come.
        bandit: None takes the cheapest setting allowed.
        guard: None allows all, and runs nothing in the shadow.
        seed: Of which inferences are checked.
    """
    rng = np.random.default_rng(seed)
    streams = []
    for arms, samples in parts:
        allowed = guard.allowed if guard else np.ones(arms.cost.shape[1], dtype=np.bool_)
        chosen, extra = np.zeros(len(samples), dtype=np.int64), np.zeros(len(samples))
        checked = rng.random(len(samples)) < (SHARE if guard else 0.0)
        for turn, sample in enumerate(samples.tolist()):
            arm = bandit.choose(allowed) if bandit else int(np.flatnonzero(allowed)[-1])
            chosen[turn] = arm
            if bandit:
                bandit.learn(arms, sample, arm)
            if guard and checked[turn]:
                extra[turn] = arms.check_cost[sample, arm]
                guard.check(arms.agrees[sample])
                allowed = guard.allowed
        streams.append(pick(arms, samples, chosen, extra))
    return streams


def pick(arms: Arms, samples: IntArray, chosen: IntArray | int, extra: FloatArray | float = 0.0) -> Stream:
    """Return what came of samples with the settings chosen."""
    return Stream(
        arms.right[samples, chosen].astype(np.float64),
        arms.agrees[samples, chosen].astype(np.float64),
        arms.cost[samples, chosen] + extra,
    )
