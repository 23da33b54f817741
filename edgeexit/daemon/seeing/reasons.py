"""Why a request was not answered, in a handful of words for metrics, dashboard and `edgeexit top`."""

from __future__ import annotations

from typing import Final

from edgeexit.errors import (
    DeadlinePassed,
    EngineError,
    InputError,
    MalformedMessage,
    ModelNotFound,
    ModelNotReady,
    OptionError,
    PluginNotFound,
    Refused,
)

OTHER: Final = "error"
_REASONS: Final = (
    (ModelNotFound, "model_not_found"),
    (ModelNotReady, "model_not_ready"),
    (Refused, "refused"),
    (DeadlinePassed, "deadline_passed"),
    (EngineError, "engine_error"),
    ((InputError, MalformedMessage, OptionError, PluginNotFound), "bad_request"),
)


def reason_of(error: Exception) -> str:
    """Return the word that stands for an error; those that nobody foresaw share one."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), OTHER)
