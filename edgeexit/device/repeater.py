"""A function called again and again, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)
_CLOSE_S = 1.0
"""How long `close` waits for a step that is under way: a sensor that hangs must not hang the program."""


class Repeating(Protocol):
    """Calls a step from `start` to `close`."""

    def start(self) -> None:
        """Begin, unless it has begun."""

    def close(self) -> None:
        """End; a later `start` does nothing."""


class Repeater:
    """Calls `step` at once and then every `interval_s` seconds, in a daemon thread.

    A fork leaves the thread behind in the parent: the next `start` in the child makes another.

    Args:
        step: What to call; an exception is logged once, and the next call comes as usual.
        interval_s: Time between the end of one call and the start of the next.
        name: Name of the thread.
    """

    def __init__(self, step: Callable[[], object], interval_s: float, name: str) -> None:
        self._step = step
        self._interval_s = interval_s
        self._name = name
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._logged = False

    def start(self) -> None:
        """Begin, unless it runs already or was closed; costs next to nothing then."""
        thread = self._thread
        if (thread is not None and thread.is_alive()) or self._closing.is_set():
            return
        with self._lock:
            if self._thread is thread:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End, and wait a little for a step that is under way."""
        self._closing.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._guarded_step()
            self._closing.wait(self._interval_s)

    def _guarded_step(self) -> None:
        try:
            self._step()
        except Exception:
            if not self._logged:
                _log.exception("%s failed and goes on; later failures are not logged", self._name)
            self._logged = True
