"""Reads the configuration: defaults, then a file, then the environment, then flags; each value keeps its origin.

A value that cannot be used is refused with the place that it is from, a key that is not known with the one that was
probably meant.
"""

from __future__ import annotations

import difflib
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from edgeexit.daemon.config import BundleConfig, ServeConfig, parse_bundle
from edgeexit.errors import OptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX: Final = "EDGEEXIT_"
MAX_FILE_BYTES: Final = 2**20
_DEFAULT: Final = "default"
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "null": '"none"',
    "array": "a list",
    "object": "a table",
}
"""What the types of a setting are called."""
_NONE: Final = "none"
"""How a setting that may be without a value is given none: TOML and environments have no null."""
_PATHS: Final = ("unix", "grpc_unix", "token_file", "cache_dir", "clockd_socket")
_SECTIONS: Final = ("limits", "timeouts", "log")


class Told(NamedTuple):
    """A configuration, and where each part of it is from."""

    config: ServeConfig
    origins: Mapping[str, str]
    """By dotted key: "default", the file, "environment EDGEEXIT_PORT" or "flag --port"."""
    remarks: tuple[str, ...]
    """Variables of the environment that look like a setting and are none."""


class _Value(NamedTuple):
    value: Any
    origin: str
    text: bool
    """True if it is text whatever its type, from environment or flags."""


def read_config(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Iterable[tuple[str, str, Any]] = (),
) -> Told:
    """Read the configuration.

    Args:
        file: TOML, or JSON where its name ends so; relative paths in it count from its folder.
        environment: Of which variables EDGEEXIT_PORT or EDGEEXIT_LIMITS_BODY_BYTES are looked for.
        flags: Dotted key, flag and value of each flag that was given.

    Raises:
        OptionError: If the file cannot be read, a key is not known, or a value is of the wrong type or out of its
            range; the message says where it is from.
    """
    variables = environment or {}
    values: dict[str, _Value] = {}
    if file is not None:
        values |= dict(_from_file(file))
    values |= dict(_from_environment(variables))
    values |= dict(_from_flags(flags))
    settings = {key: _converted(key, value) for key, value in values.items()}
    origins = {key: values[key].origin if key in values else _DEFAULT for key in _known()}
    return Told(_assembled(settings), origins, tuple(_remarks(variables)))


def _known() -> dict[str, Any]:
    """Return the type of every setting by its dotted key."""
    types: dict[str, Any] = {}
    for name, kind in get_type_hints(ServeConfig, include_extras=True).items():
        if name in _SECTIONS:
            section = get_type_hints(kind, include_extras=True)
            types |= {f"{name}.{key}": inner for key, inner in section.items() if not key.startswith("__")}
        elif not name.startswith("__"):
            types[name] = kind
    return types


def _assembled(settings: Mapping[str, Any]) -> ServeConfig:
    whole: dict[str, Any] = {key: value for key, value in settings.items() if "." not in key}
    types = get_type_hints(ServeConfig)
    for name in _SECTIONS:
        inner = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{name}.")}
        whole[name] = types[name](**inner)
    return ServeConfig(**whole)


def _from_flags(flags: Iterable[tuple[str, str, Any]]) -> Iterator[tuple[str, _Value]]:
    for key, flag, value in flags:
        if key not in _known():
            raise OptionError(f"{flag}: {key!r} is no setting{_nearest(key, _known())}")
        yield key, _Value(value, f"flag {flag}", text=True)


def _from_file(file: Path) -> Iterator[tuple[str, _Value]]:
    folder = file.resolve().parent
    for key, value in _flat(_parsed(file), file):
        if key not in _known():
            raise OptionError(f"{file}: {key!r} is no setting{_nearest(key, _known())}")
        yield key, _Value(_from_folder(key, value, folder), str(file), text=False)


def _parsed(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise OptionError(f"the configuration {file} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise OptionError(f"the configuration {file} is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if file.suffix == ".json" else "TOML"
        raise OptionError(f"the configuration {file} is no {kind}: {error}") from error
    if not isinstance(document, dict):
        raise OptionError(f"the configuration {file} is no JSON object")
    return document


def _flat(document: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if key not in _SECTIONS:
            yield key, value
        elif isinstance(value, dict):
            yield from ((f"{key}.{inner}", each) for inner, each in value.items())
        else:
            raise OptionError(f"{file}: {key!r} must be a table of settings, not {value!r}")


def _from_folder(key: str, value: Any, folder: Path) -> Any:
    """Return a value of a file with its relative paths counted from the file's folder."""
    if key in _PATHS and isinstance(value, str) and value not in ("", _NONE):
        return str(folder / value)
    if key == "bundles" and isinstance(value, list):
        return [_bundle_from_folder(each, folder) for each in value]
    return value


def _bundle_from_folder(bundle: Any, folder: Path) -> Any:
    settings = parse_bundle(bundle) if isinstance(bundle, str) else bundle
    if not isinstance(settings, dict):
        return settings
    there = dict(settings)
    path, costs = there.get("path"), there.get("cost_file")
    if isinstance(path, str) and "/" in path:
        there["path"] = str(folder / path)
    if isinstance(costs, str):
        there["cost_file"] = str(folder / costs)
    return there


def _from_environment(variables: Mapping[str, str]) -> Iterator[tuple[str, _Value]]:
    for key in _known():
        name = variable_of(key)
        if name in variables:
            yield key, _Value(variables[name], f"environment {name}", text=True)


def variable_of(key: str) -> str:
    """Return the variable of the environment that holds a setting, for instance "EDGEEXIT_LOG_LEVEL" of "log.level"."""
    return PREFIX + key.replace(".", "_").upper()


def _remarks(variables: Mapping[str, str]) -> Iterator[str]:
    known = {variable_of(key) for key in _known()}
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in known:
            short = [each.removeprefix(PREFIX) for each in known]
            near = difflib.get_close_matches(name.removeprefix(PREFIX), short, n=1, cutoff=0.8)
            if near:
                yield f"environment: {name} is no setting; did you mean {PREFIX}{near[0]}?"


def _converted(key: str, given: _Value) -> Any:
    """Return a value as its setting's type."""
    kind = _known()[key]
    where = f"{given.origin}: {key}"
    try:
        if key == "bundles":
            return tuple(_bundles(given, where))
        value = given.value
        if key == "governor_options" and isinstance(value, str):
            value = dict(_pairs(value))
        elif key == "hosts" and isinstance(value, str):
            value = value.split()
        if value == _NONE and _may_be_none(kind):
            return None
        return msgspec.convert(value, kind, strict=not given.text, dec_hook=_path)
    except (msgspec.ValidationError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"{where} = {given.value!r}: {_reason(error, kind)}") from error


def _bundles(given: _Value, where: str) -> Iterator[BundleConfig]:
    listed = shlex.split(given.value) if isinstance(given.value, str) else given.value
    if not isinstance(listed, (list, tuple)):
        raise OptionError(f"{where}: must be a list of bundles, not {listed!r}")
    for index, each in enumerate(listed):
        settings = parse_bundle(each) if isinstance(each, str) else each
        if not isinstance(settings, dict):
            raise OptionError(f"{where}[{index}] = {each!r}: must be a table of settings or a text")
        for key in settings:
            if key not in BundleConfig.__struct_fields__:
                raise OptionError(
                    f"{where}[{index}]: {key!r} is no setting{_nearest(key, BundleConfig.__struct_fields__)}"
                )
        try:
            yield msgspec.convert(settings, BundleConfig, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise OptionError(f"{where}[{index}] = {each!r}: {_reason(error)}") from error


def _pairs(text: str) -> Iterator[tuple[str, int | float | str]]:
    for pair in shlex.split(text):
        key, equals, value = pair.partition("=")
        if not (equals and key.isidentifier()):
            raise ValueError(f"must be KEY=VALUE, not {pair!r}")
        yield key, _number_or_text(value)


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _may_be_none(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _may_be_none(get_args(kind)[0])
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return a hint at the key that was probably meant, or "" if none is near."""
    candidates = list(known)
    near = difflib.get_close_matches(key, candidates, n=1)
    if not near:  # the right name in the wrong table, or without it
        near = [each for each in candidates if each.rpartition(".")[2] == key.rpartition(".")[2]]
    return f"; did you mean {near[0]!r}?" if near else ""


def _path(kind: type, value: Any) -> Any:
    """Convert what msgspec leaves to us."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("expected the path of a file")


def _reason(error: Exception, kind: Any = None) -> str:
    """Return what is wrong with a value, in the words of the files and flags that it may come from."""
    text = str(error).partition(" - at ")[0]
    if text.startswith("Invalid enum value"):
        return f"must be one of {', '.join(map(str, get_args(kind)))}"
    if not text.startswith("Expected `"):
        return text
    kinds, _, more = text.removeprefix("Expected `").partition(", got")[0].partition("`")
    return f"must be {' or '.join(_KINDS.get(each, each) for each in kinds.split(' | '))}{more}"
