"""Checks of the parameters that exit rules are made with; what is wrong becomes an `OptionError`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

from edgeexit.errors import OptionError


def check_exit_count(exit_count: object) -> int:
    """Return `exit_count` if it is a whole number from 1 on."""
    return check_count("exit_count", exit_count, least=1)


def check_count(name: str, value: object, *, least: int) -> int:
    """Return `value` if it is a whole number from `least` on."""
    number = _whole(value)
    if number is None or number < least:
        raise OptionError(f"{name} must be a whole number from {least} on, not {value!r}")
    return number


def check_exit_index(name: str, value: object, exit_count: int, *, least: int = 0) -> int:
    """Return `value` if it is the index of one of `exit_count` exits, from `least` on."""
    number = _whole(value)
    if number is None or not least <= number < exit_count:
        raise OptionError(
            f"{name} must be an exit index from {least} to {exit_count - 1} ({exit_count} exits), not {value!r}"
        )
    return number


def check_number(name: str, value: object, *, low: float, high: float = math.inf) -> float:
    """Return `value` as a float if it is a finite number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{name} must be {_range(low, high)}, not {value!r}")
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        raise OptionError(f"{name} must be {_range(low, high)}, not {value!r}")
    return number


def check_list(name: str, value: object, count: int, *, low: float, high: float = math.inf) -> list[float]:
    """Return `value` as floats if it is a list of `count` numbers from `low` to `high`."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        raise OptionError(f"{name} must be a list of {count} numbers, not {value!r}")
    return [check_number(f"{name}[{index}]", item, low=low, high=high) for index, item in enumerate(value)]


def check_numbers(name: str, value: object, exit_count: int, *, low: float, high: float = math.inf) -> list[float]:
    """Return one float an exit, from a single number for all or from a list that has one for each."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return check_list(name, value, exit_count, low=low, high=high)
    return [check_number(name, value, low=low, high=high)] * exit_count


def check_numbers_or_none(
    name: str, value: object, exit_count: int, *, low: float, high: float = math.inf
) -> list[float | None]:
    """Return what `check_numbers` does, where a list may hold None for some exits."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return [check_number(name, value, low=low, high=high)] * exit_count
    numbers = check_list(name, [low if item is None else item for item in value], exit_count, low=low, high=high)
    return [None if item is None else number for item, number in zip(value, numbers, strict=True)]


def check_keys(name: str, value: object, keys: frozenset[str]) -> Mapping[str, object]:
    """Return `value` if it is a mapping with exactly the keys `keys`."""
    if not isinstance(value, Mapping):
        raise OptionError(f"{name} must be a mapping with the keys {sorted(keys)}, not {value!r}")
    if set(value) != keys:
        missing, unknown = sorted(keys - set(value)), sorted(map(str, set(value) - keys))
        raise OptionError(f"{name} must have the keys {sorted(keys)}: missing {missing}, unknown {unknown}")
    return value


def _whole(value: object) -> int | None:
    return None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)


def _range(low: float, high: float) -> str:
    return f"a number from {low:g} on" if math.isinf(high) else f"a number from {low:g} to {high:g}"
