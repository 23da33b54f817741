"""Read JSON strictly: nothing repeated, unknown, missing or of another type, and errors that say where."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from edgeexit.errors import BundleError, EdgeExitError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a kind of file is refused: which error, and what its user can do."""

    error: Callable[[str], EdgeExitError]
    remedy: str
    """For instance "write the bundle again"."""
    suspicion: str
    """What may have happened to a file with a wrong value, and what to do."""


BUNDLE: Final = Refusal(BundleError, "write the bundle again", "the bundle is damaged or foreign, write it again")


def parse_json(data: bytes, where: str, refusal: Refusal = BUNDLE) -> object:
    """Read JSON without repeated keys, NaN, Infinity and numbers that no machine type holds.

    Raises:
        BundleError: If it is not that; the message begins with `where`. Or the error of the `refusal` given.
    """
    try:
        return json.loads(
            data, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite, parse_int=_bounded
        )
    except (ValueError, RecursionError) as error:
        raise refusal.error(f"{where}: no valid JSON: {error}; {refusal.remedy}") from error


class JsonNode:
    """A JSON value and where it stands, so that an error can say so."""

    def __init__(self, value: object, where: str, refusal: Refusal = BUNDLE) -> None:
        self.value = value
        self.where = where
        self._refusal = refusal

    def refuse(self, wanted: str) -> EdgeExitError:
        """Return the error that says what was wanted here and what was found."""
        shown = repr(self.value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return self._refusal.error(f"{self.where}: {wanted}, found {shown}; {self._refusal.suspicion}")

    def record(self, *keys: str, optional: Sequence[str] = ()) -> list[JsonNode]:
        """Take an object with exactly `keys`, and any of the `optional` ones: one that is missing reads as null."""
        if not isinstance(self.value, dict):
            raise self.refuse("expected an object")
        for key in self.value:
            if key not in (*keys, *optional):
                allowed = ", ".join((*keys, *optional))
                raise self._refusal.error(f"{self.where}: unknown key {key!r}; allowed are {allowed}")
        for key in keys:
            if key not in self.value:
                raise self._refusal.error(f"{self.where}: the key {key!r} is missing; {self._refusal.remedy}")
        return [self._within(self.value.get(key), f": {key}") for key in (*keys, *optional)]

    def table(self, take: Callable[[JsonNode], _T]) -> dict[str, _T]:
        """Take an object with any keys, each value by `take`."""
        if not isinstance(self.value, dict):
            raise self.refuse("expected an object")
        return {key: take(self._within(item, f"[{key!r}]")) for key, item in self.value.items()}

    def items(self, take: Callable[[JsonNode], _T], *, at_least: int = 0) -> tuple[_T, ...]:
        """Take a list of `at_least` items or more, each by `take`."""
        if not isinstance(self.value, list) or len(self.value) < at_least:
            raise self.refuse(f"expected a list of {at_least} or more" if at_least else "expected a list")
        return tuple(take(self._within(item, f"[{i}]")) for i, item in enumerate(self.value))

    def optional(self, take: Callable[[JsonNode], _T]) -> _T | None:
        """Take null as None, anything else by `take`."""
        return None if self.value is None else take(self)

    def text(self) -> str:
        """Take a string that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.refuse("expected a text that is not empty")
        return self.value

    def one_of(self, allowed: Collection[str]) -> str:
        """Take one of the strings that are `allowed`."""
        if not isinstance(self.value, str) or self.value not in allowed:
            raise self.refuse(f"expected one of {', '.join(sorted(allowed))}")
        return self.value

    def count(self) -> int:
        """Take a whole number that is not negative."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise self.refuse("expected a whole number that is not negative")
        return self.value

    def number(self) -> float:
        """Take a number."""
        if not isinstance(self.value, (int, float)) or isinstance(self.value, bool):
            raise self.refuse("expected a number")
        return float(self.value)

    def amount(self) -> float:
        """Take a number that is not negative."""
        if self.number() < 0.0:
            raise self.refuse("expected a number that is not negative")
        return self.number()

    def truth(self) -> bool:
        """Take true or false."""
        if not isinstance(self.value, bool):
            raise self.refuse("expected true or false")
        return self.value

    def matching(self, pattern: re.Pattern[str], wanted: str) -> str:
        """Take a string that matches `pattern` from its start; `wanted` describes it."""
        if not isinstance(self.value, str) or not pattern.match(self.value):
            raise self.refuse(f"expected {wanted}")
        return self.value

    def _within(self, value: object, place: str) -> JsonNode:
        return JsonNode(value, self.where + place, self._refusal)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands there twice")
    return found


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large for a number")
    return value


def _bounded(text: str) -> int:
    value = int(text)
    if abs(value) >= 2**63:
        raise ValueError(f"{text} is too large for a number")
    return value
