"""JSON objects of a device profile, read strictly: every error names the file and the key."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from edgeexit.errors import ProfileError


def read_section(path: Path) -> Section:
    """Read a JSON file that holds one object.

    Raises:
        ProfileError: If it cannot be read, is no JSON, repeats a key or holds anything but an object.
    """
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(f"profile {path} cannot be read as JSON: {error}") from error
    return Section(path, "", data)


class Section:
    """One JSON object, with the file and the key for the error messages."""

    def __init__(self, path: Path, key: str, data: object) -> None:
        self._path = path
        self._key = key
        if not isinstance(data, dict):
            raise self.error("", f"must be an object, found {_kind(data)}")
        self._data: dict[str, Any] = data

    def error(self, key: str, problem: str) -> ProfileError:
        """Return the error that says what is wrong with a key."""
        return ProfileError(f"profile {self._path}: {self._name(key) or 'the file'}: {problem}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def require_keys(self, *names: str, optional: Collection[str] = ()) -> None:
        """Check that all of `names` are there and nothing else but what is `optional`."""
        for name in names:
            if name not in self._data:
                raise self.error(name, "is missing")
        for key in self._data:
            if key not in names and key not in optional:
                raise self.error(key, f"is unknown; known are {', '.join((*names, *optional))}")

    def is_null(self, key: str) -> bool:
        """Return whether a key's value is null."""
        return self._data[key] is None

    def text(self, key: str) -> str:
        """Take a text that is not empty."""
        return self._text(key, self._data[key])

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts, each there once; an absent key is an empty list."""
        values = self._list(key)
        texts = tuple(self._text(f"{key}[{i}]", value) for i, value in enumerate(values))
        if len(set(texts)) < len(texts):
            raise self.error(key, "names something twice")
        return texts

    def number(self, key: str) -> float:
        """Take a number that is finite and not negative."""
        value = self._data[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, f"must be a number, found {_kind(value)}")
        if not _is_finite(value) or value < 0:
            raise self.error(key, f"must be finite and not negative, found {value}")
        return float(value)

    def number_or_none(self, key: str) -> float | None:
        """Take a number, or null as None."""
        return None if self.is_null(key) else self.number(key)

    def whole(self, key: str, *, least: int = 0) -> int:
        """Take a whole number that is not below `least`."""
        value = self._data[key]
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, found {_kind(value)}")
        if value < least:
            raise self.error(key, f"must be at least {least}, found {value}")
        return value

    def section(self, key: str) -> Section:
        """Take an object."""
        return Section(self._path, self._name(key), self._data[key])

    def sections(self, key: str) -> list[Section]:
        """Take a list of objects."""
        return [Section(self._path, self._name(f"{key}[{i}]"), entry) for i, entry in enumerate(self._list(key))]

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self._key, key) if part)

    def _list(self, key: str) -> list[object]:
        value = self._data.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, found {_kind(value)}")
        return value

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.error(key, f"must be a text, found {_kind(value)}")
        if not value:
            raise self.error(key, "must not be empty")
        return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} occurs twice")
        found[key] = value
    return found


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _kind(value: object) -> str:
    """Name a JSON value's type as a user of JSON knows it."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value}")
