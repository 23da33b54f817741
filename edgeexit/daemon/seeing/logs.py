"""What the daemon logs: one line an event on standard error, as text or as JSON.

Nobody waits for the log: a line that cannot be written is dropped, be its disk full, or its reader gone or asleep.

A record's `extra={"fields": {...}}` becomes members of the JSON object. Whatever a client has sent is written such
that it stays within its line.
"""

from __future__ import annotations

import json
import logging
import select
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from edgeexit.daemon.contracts import InferAnswer, InferOptions

log = logging.getLogger(__name__)

LOGGERS: Final = ("edgeexit", "uvicorn.error")
_OWN: Final = frozenset({"time", "level", "logger", "message", "error"})
_EVERY_S: Final = 10.0
_PIECE: Final = 1024
"""So many characters have at most 4096 bytes: a pipe that has room takes as many at once (PIPE_BUF, man 7 pipe)."""
_UNPRINTABLE: Final = {
    number: f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
    for number in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Control characters, and those that turn the direction of writing."""


class TextLines(logging.Formatter):
    """Formats a record as one line of text; a traceback follows it, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = f"{_time(record)} {record.levelname.lower()}: {_one_line(record.getMessage())}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    {_one_line(each)}" for each in trace)
        return line


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            document |= {str(key): value for key, value in fields.items() if key not in _OWN}
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class PatientLines(logging.Handler):
    """Writes to a stream what it takes without waiting; once it takes lines again, tells how many were dropped.

    Args:
        stream: For instance standard error; None where that is closed.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or drop it."""
        if self._dropped:
            self._tell_dropped()
        try:
            written = self._write(f"{self.format(record)}\n")
        except OSError:  # its disk is full, or nobody is there any more to read it
            written = False
        except Exception:  # what was to be logged cannot be made a text
            self.handleError(record)
            return
        self._dropped += not written

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        many = f"{dropped} lines" if dropped > 1 else "a line"
        self.emit(log.makeRecord(log.name, logging.WARNING, __file__, 0, f"{many} could not be logged", (), None))
        self._dropped = dropped if self._dropped else 0

    def _write(self, text: str) -> bool:
        """Write a text in pieces, as long as there is room; return whether all of it was written."""
        if self._stream is None:
            return False
        for start in range(0, len(text), _PIECE):
            if not _takes_more(self._stream):
                return False
            self._stream.write(text[start : start + _PIECE])
            self._stream.flush()
        return True


@contextmanager
def logging_to(stream: TextIO | None, level: str, form: str) -> Iterator[None]:
    """Log to a stream, in place of where the program has logged to so far; Python's warnings go there too.

    Args:
        stream: For instance standard error; None where that is closed.
        level: The least that is logged: "debug", "info", "warning" or "error".
        form: "text" or "json".
    """
    handler = PatientLines(stream)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    before = [_take_over(logging.getLogger(name), handler, level.upper()) for name in LOGGERS]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield
    finally:
        for give_back in before:
            give_back()


class RefusalLog:
    """Logs that requests were not answered: the first at once, then at most one line in ten seconds, with their number.

    Args:
        now_s: Tells the time.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._next_s = -float("inf")
        self._untold = 0

    def answered(self, answer: InferAnswer, options: InferOptions) -> None:
        """Do nothing: answers are counted elsewhere."""

    def refused(self, model: str, error: Exception) -> None:
        """Log a refusal, or keep it for the next line."""
        self._untold += 1
        now_s = self._now_s()
        if now_s < self._next_s:
            return
        many = (
            f"{self._untold} requests were not answered, the last" if self._untold > 1 else "a request was not answered"
        )
        fields = {"model": model, "refused": self._untold, "kind": type(error).__name__}
        log.info("%s for %s: %s", many, model, error, extra={"fields": fields})
        self._untold, self._next_s = 0, now_s + _EVERY_S


def _take_over(logger: logging.Logger, handler: logging.Handler, level: str) -> Callable[[], None]:
    """Make a handler a logger's only one; returns what undoes it."""
    handlers, old_level, propagate = logger.handlers[:], logger.level, logger.propagate

    def give_back() -> None:
        logger.handlers[:] = handlers
        logger.setLevel(old_level)
        logger.propagate = propagate

    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return give_back


def _takes_more(stream: TextIO) -> bool:
    """Return whether a stream takes a piece at once; also True if that is an error."""
    try:
        descriptor = stream.fileno()
    except OSError:  # kept in memory
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _log_warning(message: Warning | str, *_: object, **__: object) -> None:
    log.warning("%s", message)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _one_line(text: str) -> str:
    return text.translate(_UNPRINTABLE)
