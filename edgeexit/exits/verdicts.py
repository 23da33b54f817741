"""Every verdict that a rule can give, made once, so that judging allocates nothing.

A rule whose `prior` is known (how often each exit answers, from calibration) forecasts with it: what is left of
the prior once the exits that have passed are ruled out. In a forecast 0 means impossible, so an exit that may
still answer never gets less than `LEAST_PROBABILITY`, however rare it was in calibration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from edgeexit.exits.options import check_list
from edgeexit.protocols import Verdict

LEAST_PROBABILITY: Final = 1e-6


class Verdicts(NamedTuple):
    """A rule's verdicts by the exit that was looked at last; the newest look is all they depend on."""

    first: Verdict
    """When nothing has been looked at."""
    stop: tuple[Verdict, ...]
    go_on: tuple[Verdict, ...]
    """To the next exit the rule looks at; equal to `stop` where there is none."""


def prepare_verdicts(exit_count: int, looked_at: Sequence[int], prior: Sequence[float] | None) -> Verdicts:
    """Make the verdicts of a rule that looks at the exits `looked_at` one after the other.

    Args:
        exit_count: Number of exits.
        looked_at: Exit indices, ascending; the last of them always answers.
        prior: How often each exit answers, or None if the rule shall not forecast.
    """
    stop = tuple(prepare_stop(exit_count, exit_index, forecasts=prior is not None) for exit_index in range(exit_count))
    ahead = [[later for later in looked_at if later > exit_index] for exit_index in range(-1, exit_count)]
    go_on = [
        Verdict(stop=False, next_exit=later[0], distribution=condition(exit_count, prior, later)) if later else None
        for later in ahead
    ]
    first = go_on[0] or stop[0]
    return Verdicts(first, stop, tuple(go or stop[exit_index] for exit_index, go in enumerate(go_on[1:])))


def prepare_stop(exit_count: int, exit_index: int, *, forecasts: bool) -> Verdict:
    """Make the verdict that exit `exit_index` answers; a rule that `forecasts` is certain of it now."""
    certain = tuple(float(other == exit_index) for other in range(exit_count))
    return Verdict(stop=True, next_exit=exit_index, distribution=certain if forecasts else None)


def condition(exit_count: int, prior: Sequence[float] | None, possible: Iterable[int]) -> tuple[float, ...] | None:
    """Return `prior` given that one of the exits `possible` answers, None if there is no prior."""
    if prior is None:
        return None
    allowed = set(possible)
    floored = [max(prior[e], LEAST_PROBABILITY) if e in allowed else 0.0 for e in range(exit_count)]
    total = sum(floored)
    return tuple(share / total for share in floored)


def check_prior(prior: Sequence[float] | None, exit_count: int) -> list[float] | None:
    """Return the `prior` parameter of a rule, checked."""
    return None if prior is None else check_list("prior", prior, exit_count, low=0.0, high=1.0)
