"""Standard input, output and error of a process that was started without them (`edgeexit serve 2>&-`)."""

from __future__ import annotations

import os
from typing import Final

_LAST: Final = 2
"""Standard error's number."""


def fill_standard_files() -> None:
    """Have all three open, on /dev/null where they were closed.

    Else connections get their numbers: what a library prints would go to a client, and libuv ends the process when it
    closes one (uv__close in src/unix/core.c asserts that it does not).
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
