"""Signals that end a program come as an exception, so that clocks are given back on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""SIGINT is KeyboardInterrupt already."""


class EndedBySignal(BaseException):
    """A signal that ends programs has come; like KeyboardInterrupt it is no Exception."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def orderly_end() -> Iterator[None]:
    """Raise `EndedBySignal` in the main thread when SIGTERM or SIGHUP comes; one that is ignored stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not installed by Python, so never replaced
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:  # a second one must not interrupt the giving back
        signal.signal(each, signal.SIG_IGN)
    raise EndedBySignal(number)
