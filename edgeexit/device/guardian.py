"""A small process that waits until a lease's owner is dead, and then puts the clocks back.

An owner that ends in an orderly way restores its clocks itself and ends its guardian. One that is killed cannot: then
the guardian plays back its journal. It runs in a session of its own, so that what kills the owner's terminal or process
group leaves it alive; a service manager that kills the whole control group runs `edgeexit restore` afterwards instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from edgeexit.device.processes import ProcessMark, is_alive, read_mark
from edgeexit.device.sysfs import Tree
from edgeexit.errors import JournalError

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How often a kernel without pidfd (before 5.3, as on a Jetson Nano or TX2) is asked."""
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from edgeexit.device.guardian import main; "
    "main(int(sys.argv[2]), *sys.argv[3:])"
)


class Guardian:
    """Watches this process from another one.

    Args:
        folder: The journal's.
        root: Root of the machine's files.
    """

    def __init__(self, folder: Path, root: Path = Path("/")) -> None:
        package = Path(__file__).resolve().parent.parent.parent
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(package), str(os.getpid()), str(folder), str(root)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            log.warning("nothing watches over the clocks if this process is killed: %s", error)

    @property
    def pid(self) -> int | None:
        """Its process id; None where it could not be started, or has been ended."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End it: the clocks are back."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()


def main(owner_pid: int, folder: str, root: str = "/") -> None:
    """Wait for the owner's death and play back its journal.

    Args:
        owner_pid: Process id of the owner, the parent of this process.
        folder: The journal's.
        root: Root of the machine's files.
    """
    from edgeexit.device.journal import FileJournal  # noqa: PLC0415  the journal starts guardians
    from edgeexit.device.knobs import open_knob  # noqa: PLC0415

    tree = Tree(Path(root))
    wait_for_death(owner_pid)
    FileJournal(lambda key: open_knob(tree, key), Path(folder)).restore_abandoned()


def wait_for_death(owner_pid: int) -> None:
    """Return once the process has died; at once if it is dead, or no more this process's parent."""
    machine = Tree()
    mark = read_mark(machine, owner_pid)
    if mark is None or os.getppid() != owner_pid:
        return
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.pidfd_open(owner_pid)
        select.select([descriptor], [], [])
        os.close(descriptor)
    while _may_live(machine, mark):
        time.sleep(POLL_S)


def _may_live(machine: Tree, mark: ProcessMark) -> bool:
    try:
        return is_alive(machine, mark)
    except JournalError:  # the machine has no file descriptors left, for now
        return True
