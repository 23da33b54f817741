"""The option with which commands name a calibrated setting's accuracy drop, and what is to be said of a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgeexit.cli.failures import show_line
from edgeexit.cli.numbers import FiniteRange

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle

allowed_drop = click.option(
    "--allowed-drop",
    type=FiniteRange(min=0.0),
    metavar="POINTS",
    help="Accuracy that the exit setting may cost, in percentage points: one of the drops that the "
    "bundle is calibrated for; `edgeexit info` lists them [default: 0, or where the setting has none for 0, as a "
    "certified one, its least].",
)


def warn_of_missed_drop(bundle: Bundle, exit_rule: str | None, asked: float | None) -> None:
    """Say so if a setting may be expected to lose more than it is allowed to.

    Args:
        bundle: The bundle.
        exit_rule: Name of the setting; None for the one that the bundle recommends.
        asked: Its allowed drop, None if none was given.
    """
    from edgeexit.exits.settings import drop_in_use, missed_text  # noqa: PLC0415  loads NumPy

    rules = bundle.read_rules()
    name = rules.get("recommended", "") if exit_rule is None else exit_rule
    text = missed_text(rules, name, drop_in_use(rules, name, asked))
    if text is not None:
        show_line("warning", text)
