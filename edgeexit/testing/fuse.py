"""Mounts a fake machine, so that processes reach it by true system calls and get true error numbers.

    with mounted(FakeTree.from_recording(text), folder) as machine:
        domains = find_cpufreq(machine.tree)        # here, or in any other process with Tree(folder)
        machine.control("cap policy0 1000000")

The files are served by a process of their own: it outlives a client that is killed, and ends with its starter.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from edgeexit.clock import MonotonicClock
from edgeexit.device.sysfs import Tree
from edgeexit.errors import DeviceError
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.memory_tree import MemoryFile
from edgeexit.testing.remote_control import obey

if TYPE_CHECKING:
    from edgeexit.protocols import Clock

CONTROL = "/.control"
"""Each line that is written to it is a command, see `edgeexit.testing.remote_control`."""
WRITES = "/.writes"
"""Reads as every write so far, one a line: path, space, what was written without its last line feed."""
START_S = 20.0
"""How long the serving process may take to mount."""
GRACE_S = 0.5
"""How long it may take to unmount once it is told to."""
_FILE_BYTES = 4096
"""What sysfs says every file's size is."""
_CAP_SYS_ADMIN = 21
_UNMOUNT = (("fusermount", "-u", "-z"), ("fusermount3", "-u", "-z"), ("umount", "-l"))


def why_not() -> str | None:
    """Return why no file system can be mounted here and what mends it, or None if one can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return (
            "no FUSE: /dev/fuse is missing or closed to this user (modprobe fuse; in a container: --device /dev/fuse)"
        )
    try:
        import mfusepy  # noqa: F401, PLC0415
    except (ImportError, OSError) as error:
        return f"no FUSE: {error} (pip install mfusepy; apt install libfuse2 or fuse3)"
    if os.geteuid() == 0 and not _may_mount():
        return "no FUSE: root may not mount here (in a container: --cap-add SYS_ADMIN)"
    return None


def _may_mount() -> bool:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    found = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")]
    return not found or bool(found[0] >> _CAP_SYS_ADMIN & 1)


class MountedTree:
    """A fake machine that is mounted on a folder of this one.

    Attributes:
        folder: The folder.
        tree: Its files, by true system calls.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = Tree(folder)

    def control(self, line: str) -> None:
        """Do something to the machine, see `edgeexit.testing.remote_control.obey`.

        Raises:
            OSError: EINVAL if the line is not understood.
        """
        descriptor = self.tree.sys_open(CONTROL, os.O_WRONLY)
        try:
            self.tree.sys_write(descriptor, line.encode())
        finally:
            self.tree.sys_close(descriptor)

    def writes(self) -> tuple[tuple[str, str], ...]:
        """Return (path, text) of every write so far, without its last line feed."""
        lines = (self.folder / WRITES[1:]).read_text(encoding="utf-8").splitlines()
        return tuple((path, text) for path, _, text in (line.partition(" ") for line in lines))


@contextmanager
def mounted(machine: FakeTree | str, folder: Path) -> Iterator[MountedTree]:
    """Mount a fake machine for the time of a with statement.

    Args:
        machine: A recording's text, or a tree that is taken as it is now (see `FakeTree.to_recording`); what then
            becomes of the mounted one does not show in it.
        folder: An empty folder.

    Raises:
        DeviceError: If it cannot be mounted.
    """
    text = machine.to_recording() if isinstance(machine, FakeTree) else machine
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as complaints:
        board = Path(scratch) / "board.txt"
        board.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "edgeexit.testing.fuse", str(board), str(folder)]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=complaints, stderr=complaints, start_new_session=True
        )
        try:
            _await(server, folder, complaints)
            yield MountedTree(folder)
        finally:
            _end(server, folder)


def _await(server: subprocess.Popen[bytes], folder: Path, complaints: IO[bytes]) -> None:
    deadline_s = time.monotonic() + START_S
    while not (folder / CONTROL[1:]).exists():
        if server.poll() is not None or time.monotonic() > deadline_s:
            complaints.seek(0)
            said = complaints.read()[-500:].decode("utf-8", "replace").strip()
            raise DeviceError(f"the fake machine could not be mounted on {folder}: {said or 'it takes too long'}")
        time.sleep(0.01)
    # The first close of a file teaches the kernel that this file system has no flush; a client may then close what it
    # has open after the end of it all without an error.
    os.close(os.open(folder / WRITES[1:], os.O_RDONLY))


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    """End the serving process: by the end of its input, or else by unmounting under it, or else by force."""
    if server.stdin is not None:
        server.stdin.close()
    try:
        server.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:  # somebody still has a file of it open
        _unmount(folder)
        server.kill()
        server.wait()
    if os.path.ismount(folder):
        _unmount(folder)


def _unmount(folder: Path) -> None:
    for command in _UNMOUNT:
        with suppress(OSError):
            if subprocess.run([*command, str(folder)], capture_output=True, check=False).returncode == 0:
                return


class FuseFiles:
    """What FUSE asks of a file system, answered from a tree. Errors are OSError.

    Args:
        tree: The files.
        folder: Where they are mounted; absolute links are led there.
    """

    use_ns = True

    def __init__(self, tree: FakeTree, folder: str) -> None:
        self._tree = tree
        self._folder = folder
        self._user = (os.geteuid(), os.getegid())
        tree.add(MemoryFile(CONTROL, lambda: "", self._obey, mode=0o666))
        tree.add_file(WRITES, self._show_writes)

    def getattr(self, path: str, _: Any = None) -> dict[str, int]:
        """Return what stat tells; the link itself, not where it leads. Root's files are the server's."""
        mode = self._mode(path)
        owner = (0, 0) if stat.S_ISLNK(mode) else self._tree.sys_owner(path)
        user_id, group_id = (own or mine for own, mine in zip(owner, self._user, strict=True))
        size = _FILE_BYTES if stat.S_ISREG(mode) else 0
        return {"st_mode": mode, "st_nlink": 1, "st_uid": user_id, "st_gid": group_id, "st_size": size}

    def readdir(self, path: str, _: Any) -> list[str]:
        """Return the names in a folder."""
        hidden = (CONTROL[1:], WRITES[1:]) if path == "/" else ()
        return [".", "..", *(name for name in self._tree.sys_list(path) if name not in hidden)]

    def readlink(self, path: str) -> str:
        """Return where a link points."""
        target = self._tree.sys_readlink(path)
        return self._folder + target if target.startswith("/") else target

    def open(self, path: str, info: Any) -> int:
        """Open a file; nothing of it is cached, so that each read and write is one of the kernel's."""
        info.fh = self._tree.sys_open(path, info.flags)
        info.direct_io = 1
        return 0

    def read(self, _: str, size: int, offset: int, info: Any) -> bytes:
        """Read a file."""
        return self._tree.sys_read(info.fh)[offset : offset + size]

    def write(self, _: str, data: bytes, __: int, info: Any) -> int:
        """Write a file."""
        return self._tree.sys_write(info.fh, data)

    def truncate(self, _: str, __: int, ___: Any = None) -> int:
        """Do nothing, as sysfs does."""
        return 0

    def release(self, _: str, info: Any) -> int:
        """Close a file."""
        self._tree.sys_close(info.fh)
        return 0

    def _mode(self, path: str) -> int:
        with suppress(OSError):
            self._tree.sys_readlink(path)
            return stat.S_IFLNK | 0o777
        return self._tree.sys_mode(path)

    def _obey(self, text: str) -> None:
        for line in text.splitlines():
            try:
                obey(self._tree, line)
            except ValueError as error:
                raise OSError(errno.EINVAL, str(error)) from error

    def _show_writes(self) -> str:
        return "".join(
            f"{path} {text.removesuffix(chr(10))}\n"
            for path, text in self._tree.writes
            if path not in (CONTROL, WRITES)
        )


def serve(board: Path, folder: Path, clock: Clock | None = None) -> None:
    """Serve a recorded board on a folder until standard input ends or somebody unmounts it."""
    import mfusepy  # noqa: PLC0415

    tree = FakeTree.from_recording(board.read_text(encoding="utf-8"), clock or MonotonicClock())
    folder = folder.resolve()
    Thread(target=_unmount_at_the_end_of_input, args=(folder,), daemon=True).start()
    options: dict[str, Any] = {"default_permissions": True}
    if os.geteuid() == 0:
        options["allow_other"] = True
    mfusepy.FUSE(
        FuseFiles(tree, str(folder)),
        str(folder),
        foreground=True,
        nothreads=True,
        raw_fi=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        fsname="edgeexit",
        **options,
    )


def _unmount_at_the_end_of_input(folder: Path) -> None:
    """End the process as well: a file that a client still has open would keep it alive, detached from its folder."""
    sys.stdin.buffer.read()
    _unmount(folder)
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
