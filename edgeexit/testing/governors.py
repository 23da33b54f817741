"""The contract check for governors."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from edgeexit.protocols import Decision, Governor, Observation
from edgeexit.testing.observations import sample_observations


def check_governor(governor: Governor, observations: Iterable[Observation] | None = None) -> None:
    """Check that a governor keeps the contract of `edgeexit.protocols.Governor`.

    It is asked with many observations, twice and in two orders. Each decision has to name allowed frequencies of known
    clock domains only and an exit that exists, and must depend on nothing but the observation, which stays as it was.

    Args:
        governor: The governor, made with any options.
        observations: What to ask it; by default `edgeexit.testing.observations.sample_observations`.

    Raises:
        AssertionError: If it breaks the contract; the message holds the observation.
    """
    if not isinstance(governor, Governor):
        raise AssertionError(f"{governor!r} has no name or no decide()")
    if not isinstance(governor.name, str) or not governor.name:
        raise AssertionError(f"a governor's name is a text, not {governor.name!r}")
    asked = list(sample_observations() if observations is None else observations)
    first = []
    for observation in asked:
        before = deepcopy(observation)
        decision = governor.decide(observation)
        if observation != before:
            raise AssertionError(f"decide() changed its observation: {before}")
        _check_decision(decision, observation)
        first.append(deepcopy(decision))
    for observation, decision in zip(reversed(asked), reversed(first), strict=True):
        again = governor.decide(observation)
        if again != decision:
            raise AssertionError(f"decide() is not pure: {decision}, then {again}, for {observation}")


def _check_decision(decision: Decision, observation: Observation) -> None:
    if not isinstance(decision, Decision):
        raise AssertionError(f"decide() returned {decision!r}, not a Decision")
    if not isinstance(decision.reason, str):
        raise AssertionError(f"the reason is no text: {decision.reason!r}")
    for name, frequency_hz in decision.clocks.items():
        if frequency_hz not in observation.operating_points.get(name, ()):
            raise AssertionError(f"{name} at {frequency_hz} Hz is not allowed; decided for {observation}")
    deepest = decision.max_exit
    if deepest is not None and not 0 <= deepest < observation.exit_count:
        raise AssertionError(f"max_exit {deepest} does not exist; decided for {observation}")
