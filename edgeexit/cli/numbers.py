"""Numbers on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A float within a range, and neither infinite nor "not a number", which lie within any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse it."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"must be a finite number, not {value}", param, ctx)
        return number


def take_factor_or(word: str) -> Callable[[click.Context, click.Parameter, str], float | None]:
    """Return a callback for an option that is a factor above 0, or `word` for None."""

    def take(ctx: click.Context, parameter: click.Parameter, text: str) -> float | None:
        return None if text == word else _factor(ctx, parameter, text, word)

    return take


def take_factors_or(word: str) -> Callable[[click.Context, click.Parameter, Sequence[str]], tuple[float | None, ...]]:
    """Return the same for an option that can be given again."""
    take = take_factor_or(word)
    return lambda ctx, parameter, texts: tuple(take(ctx, parameter, text) for text in texts)


def _factor(ctx: click.Context, parameter: click.Parameter, text: str, word: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < inf:
        raise click.BadParameter(f'must be "{word}" or a number above 0, not {text!r}', ctx, parameter)
    return factor
