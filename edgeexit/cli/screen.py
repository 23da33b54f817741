"""The whole of a terminal, for a view that is drawn again and again until a key ends it."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import click

_BEGIN: Final = "\x1b[?1049h\x1b[?25l"
"""Another screen, so that what was there comes back at the end; and no cursor."""
_END: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"


@contextmanager
def whole_screen() -> Iterator[None]:
    """Take the terminal for a view, with keys that come at once, and give it back as it was however the view ends."""
    with _keys_at_once():
        click.echo(_BEGIN, nl=False)
        try:
            yield
        finally:
            click.echo(_END, nl=False)


def draw(lines: Iterable[str], *, footer: str) -> None:
    """Draw as many lines as there is room for above the footer, each as far as there is room; "…" says it is cut."""
    columns, rows = shutil.get_terminal_size()
    shown = [f"{_cut(line, columns)}{_REST_OF_LINE}" for line in (*list(lines)[: rows - 1], footer)]
    click.echo(_HOME + "\n".join(shown) + _REST_OF_SCREEN, nl=False)


def key_within(seconds: float) -> str:
    """Wait for a key and return it; "" if none comes in time, or nobody can press one."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return ""
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    ready = poll.poll(1000.0 * seconds)
    return os.read(sys.stdin.fileno(), 32).decode(errors="replace") if ready else ""


def _cut(line: str, columns: int) -> str:
    return line if len(line) <= columns else f"{line[: columns - 1]}…"


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Have keys come without Enter, and not shown."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
