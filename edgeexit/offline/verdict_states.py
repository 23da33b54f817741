"""What a governor can know of a sample before its next exit: a finite number of states, counted on recorded samples.

A governor without memory sees the rule's verdict and how many segments have run. Every shipped rule gives one of a
finite set of verdicts, so a sample's way through the network is a walk through few states. How often each follows each
is counted on the very samples that are reported: nobody can know it better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError
from edgeexit.protocols import Verdict

IntArray = NDArray[np.int64]
BEFORE_THE_FIRST = -1
"""The newest look before anything has been looked at."""


@dataclass(frozen=True, slots=True)
class VerdictState:
    """What is known when a governor is asked, and what became of the samples that came here."""

    newest: int
    """The exit looked at last; `BEFORE_THE_FIRST` at the start."""
    next_exit: int
    """The exit looked at next."""
    possible: tuple[int, ...]
    """The exits from `next_exit` on that may answer, ascending."""
    answered: float
    """Share of the samples here that `next_exit` answered."""
    following: tuple[tuple[int, float], ...]
    """The states from which the other samples went on, as indices, and their shares."""
    visits: int
    """How many samples came here."""


def count_states(
    verdicts: Sequence[Verdict],
    verdict_index: IntArray,
    asks: IntArray,
    *,
    exit_count: int,
    remembers: bool = False,
) -> tuple[VerdictState, ...]:
    """Count the states that samples went through; the first is the start, and each is followed by later ones only.

    Args:
        verdicts: The rule's distinct verdicts.
        verdict_index: (S, A) which of them held at each ask of the governor; what stands behind the last does not
            count.
        asks: (S,) how often the governor was asked, at least once.
        exit_count: Number of exits.
        remembers: Tell samples apart by all verdicts so far instead of the newest: what a governor with a memory sees.
            There are far more such states, with few samples each, of which it then knows too much.

    Raises:
        DataError: If the arrays do not fit together, or not all samples start with the same verdict.
    """
    _check(verdict_index, asks)
    next_exits = np.array([verdict.next_exit for verdict in verdicts])
    used = np.arange(verdict_index.shape[1]) < asks[:, np.newaxis]
    newest = np.full(verdict_index.shape, BEFORE_THE_FIRST)
    newest[:, 1:] = next_exits[verdict_index[:, :-1]]
    ids = _identify(verdict_index, newest, used, len(verdicts), exit_count, remembers)
    firsts = np.unique(ids[used], return_index=True)[1]
    verdict_of, newest_of = verdict_index[used][firsts], newest[used][firsts]
    order = np.argsort(newest_of, kind="stable")
    rank = np.argsort(order)
    ids[used] = rank[ids[used]]
    walks = _count_walks(ids, used, asks, len(order))
    return tuple(
        _state(int(newest_of[old]), verdicts[int(verdict_of[old])], exit_count, walks[new])
        for new, old in enumerate(order)
    )


def cut_at(states: Sequence[VerdictState], cap: int) -> tuple[VerdictState, ...]:
    """Return the states of the same samples if exit `cap` answers those that would go deeper.

    Args:
        states: From `count_states`.
        cap: An exit index.
    """
    if cap >= states[0].possible[-1]:
        return tuple(states)
    return tuple(_cut(state, cap) for state in states if state.newest < cap)


def _cut(state: VerdictState, cap: int) -> VerdictState:
    if state.next_exit >= cap:
        return replace(state, next_exit=cap, possible=(cap,), answered=1.0, following=())
    if state.possible[-1] <= cap:
        return state
    return replace(state, possible=(*(e for e in state.possible if e < cap), cap))


def _check(verdict_index: IntArray, asks: IntArray) -> None:
    if verdict_index.ndim != 2 or asks.shape != verdict_index.shape[:1] or not len(asks):
        raise DataError(f"states need verdicts (S, A) and asks (S,), not {verdict_index.shape} and {asks.shape}")
    if asks.min() < 1 or asks.max() > verdict_index.shape[1]:
        raise DataError(
            f"a sample is asked about 1 to {verdict_index.shape[1]} times, found {asks.min()}, {asks.max()}"
        )
    if (verdict_index[:, 0] != verdict_index[0, 0]).any():
        raise DataError("not all samples start with the same verdict: the rule depends on more than the evidence")


def _identify(
    verdict_index: IntArray, newest: IntArray, used: NDArray[np.bool_], verdicts: int, exits: int, remembers: bool
) -> IntArray:
    """Return (S, A) numbers from 0 that are equal where a governor cannot tell samples apart; -1 where unused."""
    codes = verdict_index * (exits + 1) + newest + 1
    if remembers:
        for ask in range(1, codes.shape[1]):
            before = np.unique(codes[:, ask - 1], return_inverse=True)[1].reshape(-1)
            codes[:, ask] += (before + 1) * verdicts * (exits + 1)
    ids = np.full(codes.shape, -1)
    ids[used] = np.unique(codes[used], return_inverse=True)[1].reshape(-1)
    return ids


def _count_walks(ids: IntArray, used: NDArray[np.bool_], asks: IntArray, states: int) -> IntArray:
    """Return (states, states + 1) how many samples went from each state to each; the last column: were answered."""
    after = np.full(ids.shape, states)
    after[:, :-1] = ids[:, 1:]
    after[np.arange(len(asks)), asks - 1] = states
    walks = np.bincount(ids[used] * (states + 1) + after[used], minlength=states * (states + 1))
    return walks.reshape(states, states + 1)


def _state(newest: int, verdict: Verdict, exit_count: int, walks: IntArray) -> VerdictState:
    visits = int(walks.sum())
    following = tuple((int(state), float(walks[state]) / visits) for state in np.flatnonzero(walks[:-1]))
    next_exit = verdict.next_exit
    if verdict.distribution is None:
        possible = tuple(range(next_exit, exit_count))
    else:
        later = [e for e in range(next_exit + 1, exit_count) if verdict.distribution[e] > 0.0]
        possible = (next_exit, *later)
    return VerdictState(newest, next_exit, possible, float(walks[-1]) / visits, following, visits)
