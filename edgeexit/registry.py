"""The plug-in door: governors and exit rules are found by name through entry points.

A package of somebody else's offers its own under the groups ``edgeexit.governors`` and
``edgeexit.exit_rules``, and is found in the same way as ours.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgeexit.errors import OptionError, PluginNotFound
from edgeexit.protocols import ExitRule, Governor

GOVERNORS = "edgeexit.governors"
EXIT_RULES = "edgeexit.exit_rules"
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def list_governors() -> tuple[str, ...]:
    """List the names of the governors that are installed, sorted."""
    return _names(GOVERNORS)


def list_exit_rules() -> tuple[str, ...]:
    """List the names of the exit rules that are installed, sorted."""
    return _names(EXIT_RULES)


def load_governor(name: str, **options: Any) -> Governor:
    """Make the governor called `name`.

    Args:
        name: For instance "deadline"; `list_governors` tells which there are.
        **options: Options of that governor, for instance ``frequency_hz`` of "fixed".

    Raises:
        PluginNotFound: If no governor of this name is installed.
        OptionError: If it does not know an option, or the value is out of range.
    """
    governor = _make(GOVERNORS, "governor", name, (), options)
    if not isinstance(governor, Governor):
        raise PluginNotFound(f"governor {name!r} does not follow the contract edgeexit.Governor: it needs decide()")
    return governor


def load_exit_rule(name: str, exit_count: int, **parameters: Any) -> ExitRule:
    """Make the exit rule called `name` for a bundle with `exit_count` exits.

    Args:
        name: For instance "threshold"; `list_exit_rules` tells which there are.
        exit_count: Number of exits, the network's own output included.
        **parameters: Parameters of that rule, for instance ``threshold`` (0 to 1).

    Raises:
        PluginNotFound: If no exit rule of this name is installed.
        OptionError: If it does not know a parameter, one is missing, or a value is out of range.
    """
    rule = _make(EXIT_RULES, "exit rule", name, (exit_count,), parameters)
    if not isinstance(rule, ExitRule):
        raise PluginNotFound(f"exit rule {name!r} does not follow the contract edgeexit.ExitRule: it needs judge()")
    return rule


def _names(group: str) -> tuple[str, ...]:
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def _make(group: str, kind: str, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> object:
    factory = _find(group, kind, name).load()
    try:
        return factory(*args, **options)
    except TypeError as error:
        why = _why_unfit(factory, args, options) or f"cannot be made with {options}: {error}"
        raise OptionError(f"{kind} {name!r} {why}") from error


def _why_unfit(factory: Any, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """Return which options a factory does not know, or lacks; None if they are not what is wrong."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # a factory that Python cannot look into
        return None
    known = {each.name: each for each in parameters[len(args) :] if each.kind in _BY_NAME}
    unknown = [] if any(each.kind is each.VAR_KEYWORD for each in parameters) else sorted(set(options) - set(known))
    if unknown:
        return f"does not know the {_listed(unknown)}; it knows {', '.join(known) or 'none'}"
    missing = [name for name, each in known.items() if each.default is each.empty and name not in options]
    return f"needs the {_listed(missing)}" if missing else None


def _listed(names: list[str]) -> str:
    return f"option{'' if len(names) == 1 else 's'} {', '.join(names)}"


def _find(group: str, kind: str, name: str) -> EntryPoint:
    for point in entry_points(group=group):
        if point.name == name:
            return point
    known = ", ".join(_names(group)) or "none: is edgeexit installed?"
    raise PluginNotFound(f"no {kind} is called {name!r}; there are: {known}")
