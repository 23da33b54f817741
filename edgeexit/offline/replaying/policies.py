"""Governors by the names that a replay takes: all that are installed, and policies that only a replay can follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgeexit.errors import OptionError
from edgeexit.offline.clairvoyant import best_fixed_point
from edgeexit.protocols import Clocks, CostTable, Decision, Governor, Observation
from edgeexit.registry import list_governors, load_governor

BEST_FIXED: Final = "best-fixed"
RACE_TO_IDLE: Final = "race-to-idle"
PLAN_POPULATION: Final = "plan-population"
POLICIES: Final = (BEST_FIXED, RACE_TO_IDLE, PLAN_POPULATION)


class Policy(NamedTuple):
    """A governor, and what a replay does beside it."""

    governor: Governor
    rest_at_lowest: bool = False
    """The lowest clocks are set while the board idles."""


@dataclass(frozen=True, slots=True)
class HeldClocks:
    """A governor that always sets the same clocks."""

    name: str
    clocks: Clocks

    def decide(self, observation: Observation) -> Decision:
        """Return the clocks."""
        return Decision(self.clocks, reason="held")


def list_policies() -> tuple[str, ...]:
    """List the names that `make_policy` takes, sorted."""
    return tuple(sorted({*list_governors(), *POLICIES}))


def make_policy(text: str, table: CostTable, deadline_s: float | None, *, looks_at_every_exit: bool) -> Policy:
    """Make a policy.

    Args:
        text: The name of a governor, with options as in "fixed:frequency_hz=726750000" or
            "plan:per_sample=false,joules_per_second=2"; or "best-fixed", the clocks that draw least among those that
            keep the deadline in the worst case, "race-to-idle", the highest for work and the lowest while idle, or
            "plan-population", the governor "plan" without the forecast for the single sample.
        table: Costs on the board.
        deadline_s: "best-fixed" depends on it.
        looks_at_every_exit: From the exit rule; "best-fixed" depends on it.

    Raises:
        PluginNotFound: If there is no such governor.
        OptionError: If an option is wrong, or "best-fixed" has no deadline to keep.
    """
    name, options = split_options(text)
    if name == BEST_FIXED:
        if deadline_s is None:
            raise OptionError(f"policy {BEST_FIXED!r} needs a deadline: replay it with one, or take 'fixed'")
        point = best_fixed_point(table, deadline_s, looks_at_every_exit=looks_at_every_exit)
        return Policy(HeldClocks(BEST_FIXED, point.clocks))
    if name == RACE_TO_IDLE:
        return Policy(load_governor("performance", **options), rest_at_lowest=True)
    if name == PLAN_POPULATION:
        return Policy(load_governor("plan", **{"per_sample": False, **options}))
    return Policy(load_governor(name, **options))


def split_options(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of "name:key=value,key=value".

    Raises:
        OptionError: If it is not of that form.
    """
    name, colon, listed = text.partition(":")
    options: dict[str, Any] = {}
    for pair in listed.split(",") if colon else []:
        key, equals, value = pair.partition("=")
        if not (key.isidentifier() and equals) or key in options:
            raise OptionError(f"options of a governor are NAME:KEY=VALUE,KEY=VALUE with each key once, not {text!r}")
        options[key] = _value(value)
    return name, options


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
