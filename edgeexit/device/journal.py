"""The journal: written down before the first clock is changed, so that any process can put the clocks back.

A journal belongs to a living process. The journal of a dead one is played back by whoever comes first: the guardian
that watched the process, the next edgeexit that starts, `edgeexit restore`, or the service manager. There is one for
each machine, so two edgeexits cannot fight over its clocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.device.journal_file import (
    JournalHeader,
    KnobEntry,
    create_file,
    decode,
    encode,
    hand_over,
    read_file,
    slots_text,
)
from edgeexit.device.processes import ProcessMark, is_alive, read_boot_id, read_mark
from edgeexit.device.restoring import Restoration, restore_knobs
from edgeexit.device.sysfs import Tree
from edgeexit.errors import JournalError, LeaseTaken
from edgeexit.protocols import Knob

if TYPE_CHECKING:
    from edgeexit.device.guardian import Guardian
    from edgeexit.device.knob import OpenedKnob

log = logging.getLogger(__name__)

RUN_FOLDER = Path("/run/edgeexit")
"""Where the journal lies: in memory, cleared at every boot, the same for all users of the machine."""
FILE_NAME = "lease.json"
LOCK_NAME = "lock"
LOCK_PATIENCE_S = 5.0
NOBODY = ProcessMark(0, 0)
"""No process has this mark: a journal in its name is abandoned."""


class FileJournal:
    """The machine's journal in `folder`.

    Args:
        open_knob: Returns the knob of a key, which is closed afterwards; raises DeviceError if there is none.
        folder: Where it lies.
        tree: The machine whose processes and boot it goes by.
        check: Told the knobs before their values are written down; raises DeviceError where they do not read true.
        watch: Starts a guardian over this process, once there is something to put back; see `edgeexit.device.guardian`.
    """

    def __init__(
        self,
        open_knob: Callable[[str], OpenedKnob],
        folder: Path = RUN_FOLDER,
        tree: Tree | None = None,
        *,
        check: Callable[[Sequence[Knob]], None] | None = None,
        watch: Callable[[], Guardian] | None = None,
    ) -> None:
        self._open_knob = open_knob
        self._check = check
        self._watch = watch
        self._guardian: Guardian | None = None
        self._owner_pid = os.getpid()
        self._tree = Tree() if tree is None else tree
        self.folder = folder
        self.path = folder / FILE_NAME
        self._descriptor: int | None = None
        self._header: JournalHeader | None = None
        self._offsets: dict[str, int] = {}
        self._knobs: dict[str, Knob] = {}
        self._was: dict[str, str | None] = {}
        self._ours: dict[str, tuple[str, ...]] = {}

    def open(self, knobs: Sequence[Knob]) -> None:
        """Write down the present value of every knob; a later call adds knobs.

        The journal of a dead process is played back first.

        Raises:
            LeaseTaken: If a living process holds the clocks.
            JournalError: If nothing can be written down.
            DeviceError: If a knob cannot be read, or does not read true.
        """
        with self._locked():
            first = self._descriptor is None
            if first:
                self._owner_pid = os.getpid()
                self._clear_the_way()
            elif os.getpid() != self._owner_pid:
                raise JournalError(f"the clocks are held by process {self._owner_pid}, of which this one is a fork")
            if self._check is not None:
                self._check(knobs)
            was = {knob.key: knob.read() for knob in knobs if knob.key not in self._was}
            self._was.update(was)
            self._knobs.update({knob.key: knob for knob in knobs})
            try:
                self._write(self._entries(), replace=not first)
            except BaseException:
                for key in was:
                    del self._was[key]
                raise
        if first and self._watch is not None:
            self._guardian = self._watch()

    def note(self, knob: Knob, values: Sequence[str]) -> None:
        """Write down the values that count as ours from now on; costs one system call.

        Raises:
            JournalError: If it cannot be written down.
        """
        if os.getpid() != self._owner_pid:
            raise JournalError("this process was forked from the one that holds the clocks, which are its parent's")
        offset = self._offsets.get(knob.key)
        if offset is None or self._descriptor is None:
            raise JournalError(f"{knob.key} is not in the journal of the clocks, so it cannot be changed")
        data = slots_text(values).encode("ascii")
        try:
            os.pwrite(self._descriptor, data, offset)
        except OSError as error:
            raise JournalError(f"the journal of the clocks {self.path} cannot be written: {error.strerror}") from error
        self._ours[knob.key] = tuple(values)

    def restore(self) -> Sequence[str]:
        """Put back every knob that still holds our value, and end the journal.

        Of what could not be put back a journal stays that nobody holds, for `edgeexit restore`.

        Returns:
            The keys of the knobs that were left alone because somebody else has changed them.
        """
        if self._descriptor is None or os.getpid() != self._owner_pid:  # a forked child does not own its parent's lease
            return ()
        done = restore_knobs(self._entries(), self._knobs.__getitem__, self._tree.clock)
        for key, problem in done.failed.items():
            log.warning("%s could not be put back, `edgeexit restore` can try again: %s", key, problem)
        try:
            if done.failed:
                self._write([entry for entry in self._entries() if entry.key in done.failed], replace=True, mark=NOBODY)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the journal of the clocks %s is out of date, and cannot be changed: %s", self.path, error)
            self._let_go()
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)
        self._offsets, self._knobs, self._was, self._ours = {}, {}, {}, {}
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None
        return tuple(done.left)

    def read_holder(self) -> JournalHeader | None:
        """Return whose journal there is; None if there is none.

        Raises:
            JournalError: If it cannot be read.
        """
        data = read_file(self.path)
        return None if data is None else decode(self.path, data)[0]

    def is_abandoned(self) -> bool:
        """Return whether there is a journal that no living process holds.

        Raises:
            JournalError: If it cannot be read.
        """
        holder = self.read_holder()
        return holder is not None and not self._lives(holder)

    def restore_abandoned(self) -> Restoration:
        """Play back the journal of a dead process; does nothing where there is none.

        Raises:
            LeaseTaken: If the process lives.
            JournalError: If the journal cannot be read.
        """
        if read_file(self.path) is None:
            return Restoration()
        with self._locked():
            return self._play_back()

    def _clear_the_way(self) -> None:
        done = self._play_back()
        if done.failed:
            key, problem = next(iter(done.failed.items()))
            raise JournalError(
                f"the clocks that a process left behind cannot all be put back ({key}: {problem}); run "
                "`edgeexit restore` as root"
            )

    def _play_back(self) -> Restoration:
        self._clear_unfinished()
        data = read_file(self.path)
        if data is None:
            return Restoration()
        header, entries = decode(self.path, data)
        if header.boot_id != read_boot_id(self._tree):
            log.info("the journal %s is of an earlier boot: the clocks were reset since", self.path)
            done = Restoration()
        elif self._lives(header):
            if header.process.pid == os.getpid():
                raise LeaseTaken("another session of this process holds the clocks of this machine; close it first")
            raise LeaseTaken(
                f"process {header.process.pid} ({header.created_by}) holds the clocks of this machine; stop it first"
            )
        else:
            done = self._put_back(entries)
        if not done.failed:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise JournalError(f"the journal {self.path} cannot be deleted: {error.strerror}") from error
        return done

    def _clear_unfinished(self) -> None:
        """Delete what processes left that were killed while they wrote a journal."""
        with contextlib.suppress(OSError):  # as when there is no descriptor left to list the folder by
            for unfinished in self.folder.glob(f"{FILE_NAME}.*.new"):
                with contextlib.suppress(OSError):
                    unfinished.unlink()

    def _put_back(self, entries: Sequence[KnobEntry]) -> Restoration:
        """Put back the knobs of a dead process; a daemon may have to try this for hours, so none stays open."""
        with contextlib.ExitStack() as stack:

            def open_knob(key: str) -> Knob:
                knob = self._open_knob(key)
                stack.callback(knob.close)
                return knob

            return restore_knobs(entries, open_knob, self._tree.clock)

    def _lives(self, header: JournalHeader) -> bool:
        return header.boot_id == read_boot_id(self._tree) and is_alive(self._tree, header.process)

    def _entries(self) -> list[KnobEntry]:
        return [KnobEntry(key, was, self._ours.get(key, ())) for key, was in self._was.items()]

    def _let_go(self) -> None:
        """Have the journal be nobody's, where no other can be written (a full disk, no descriptors left).

        In the name of a process that goes on it would keep everybody from the clocks until that ends, this one too.
        """
        if self._descriptor is not None and self._header is not None:
            with contextlib.suppress(OSError):
                hand_over(self._descriptor, self._header, NOBODY)

    def _write(self, entries: Sequence[KnobEntry], *, replace: bool, mark: ProcessMark | None = None) -> None:
        mark = mark or read_mark(self._tree, os.getpid())
        if mark is None:
            raise JournalError("this process cannot be found in /proc, so nobody could tell when its lease ends")
        from edgeexit import __version__  # noqa: PLC0415  the package's root knows it, and imports this package

        header = JournalHeader(read_boot_id(self._tree), mark, f"edgeexit {__version__}")
        data, offsets = encode(header, entries)
        descriptor = create_file(self.path, data, replace=replace)
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._offsets, self._header = descriptor, offsets, header

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out while a journal is taken or played back; the lock ends with the process."""
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # reading is enough for flock
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / LOCK_NAME, flags, 0o660)
        except OSError as error:
            raise JournalError(
                f"the journal of the clocks cannot be kept in {self.folder} ({error.strerror}), so no clock is "
                "changed; `edgeexit doctor --fix` prints what gives this user the right to"
            ) from error
        try:
            self._wait_for(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int) -> None:
        end_s = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end_s:
                    raise LeaseTaken(
                        f"another edgeexit is putting clocks back ({self.folder / LOCK_NAME} is locked)"
                    ) from error
                time.sleep(0.01)
            else:
                return
