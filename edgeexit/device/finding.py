"""What keeps a sensor from being used, and the command that mends it."""

from __future__ import annotations

import shlex
import sys
from typing import NamedTuple


class Finding(NamedTuple):
    """Something of this machine that cannot be used as it is."""

    what: str
    """What it is about, for instance "RAPL zone package-0"."""
    why: str
    """Why it cannot be used."""
    mend: str | None = None
    """The exact command, or what else to do; None where nothing helps."""


def own_command(arguments: str) -> str:
    """Return the command line of this very edgeexit, also where the shell's path does not name it, as under sudo.

    Args:
        arguments: For instance "restore".
    """
    program = f"{shlex.quote(sys.executable)} -m edgeexit" if sys.executable else "edgeexit"
    return f"{program} {arguments}"


def unreadable(what: str, path: str) -> Finding:
    """Return the finding for a sensor file that this process may not read."""
    return Finding(
        what,
        f"{path} may be read by root only",
        f'sudo chgrp "$(id -gn)" {path} && sudo chmod g+r {path}   # until the next boot',
    )
