"""A file tree in memory that answers system calls as the kernel's own file systems do."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

from edgeexit.device.board_text import Entry
from edgeexit.device.sysfs import Tree

USER_ID = 1000
"""The user that `MemoryTree.as_user` makes of us."""
_LINKS_AT_MOST = 40
"""More on one path is a loop: ELOOP (Linux MAXSYMLINKS)."""

Show = Callable[[], str]
Store = Callable[[str], None]


def fail(code: int, path: str = "") -> NoReturn:
    """Raise the OSError of an errno, as a system call would."""
    raise OSError(code, os.strerror(code), path)


class MemoryFile:
    """One file: what reading it gives and what writing to it does.

    Args:
        path: Where it lies.
        show: Called for its text; may raise OSError.
        store: Called with what is written; may raise OSError. None for a file that cannot be written.
        mode: Permission bits, perhaps with the bits of a type (a regular file without them).
        owner: User and group.
    """

    def __init__(
        self, path: str, show: Show, store: Store | None = None, *, mode: int = 0o444, owner: tuple[int, int] = (0, 0)
    ) -> None:
        self.path = path
        self.show = show
        self.store = store
        self.mode = mode if stat.S_IFMT(mode) else mode | stat.S_IFREG
        self.owner = owner
        self.gone = False
        self.next_read_errno: int | None = None
        self.next_write_errno: int | None = None

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            OSError: ENODEV once its device is gone, or what `show` raises.
        """
        self._may_fail("next_read_errno")
        return self.show().encode("utf-8", "surrogateescape")

    def write(self, data: bytes) -> int:
        """Take what is written and return how much it was.

        Raises:
            OSError: ENODEV once its device is gone, or what `store` raises.
        """
        self._may_fail("next_write_errno")
        if self.store is None:
            fail(errno.EIO, self.path)
        self.store(data.decode("utf-8", "surrogateescape"))
        return len(data)

    def _may_fail(self, which: str) -> None:
        if self.gone:
            fail(errno.ENODEV, self.path)
        code = getattr(self, which)
        setattr(self, which, None)
        if code is not None:
            fail(code, self.path)


class MemoryTree(Tree):
    """A tree of files that exist in memory only, with the permissions and errors of sysfs.

    As in sysfs nobody, root included, opens a file for writing that nobody may write. Descriptors are numbers of its
    own; a descriptor whose file was removed answers ENODEV, also when there is a new file of that name.

    Attributes:
        writes: (path, text) of every write that reached a file, refused or not; paths have no links in them.
        read_only: Whether the tree is mounted read-only, as /sys is in a container: opening for writing is EROFS.
    """

    def __init__(self) -> None:
        super().__init__(Path("/"))
        self.writes: list[tuple[str, str]] = []
        self.read_only = False
        self._user_id = 0
        self._groups: frozenset[int] = frozenset((0,))
        self._files: dict[str, MemoryFile] = {}
        self._links: dict[str, str] = {}
        self._folders: dict[str, set[str]] = {"/": set()}
        self._open: dict[int, MemoryFile] = {}
        self._descriptors = count(1000)

    # --- building ---------------------------------------------------------------------------------

    def add(self, file: MemoryFile) -> MemoryFile:
        """Add a file, or put it in another's place."""
        self.remove(file.path)
        self._enter(file.path)
        self._files[file.path] = file
        return file

    def add_file(self, path: str, text: str | Show, mode: int = 0o444, owner: tuple[int, int] = (0, 0)) -> MemoryFile:
        """Add a file that holds a text, or whose text a function makes anew at each read.

        What is written to it (if `mode` lets anybody) is its new text, made of a function or not.
        """
        file = MemoryFile(path, text if callable(text) else lambda: text, mode=mode, owner=owner)

        def store(written: str) -> None:
            file.show = lambda: written

        file.store = store
        return self.add(file)

    def add_failing(self, path: str, code: int, mode: int = 0o444) -> MemoryFile:
        """Add a file that cannot be read: each read gives errno `code`, as a disabled sensor's does."""
        return self.add(MemoryFile(path, lambda: fail(code, path), mode=mode))

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link; `target` is absolute within the tree or relative to the link's folder."""
        self.remove(path)
        self._enter(path)
        self._links[path] = target

    def add_entry(self, entry: Entry) -> None:
        """Add what an entry of a recording stands for; a file that was not read is empty."""
        if entry.target is not None:
            self.add_link(entry.path, entry.target)
        elif entry.is_folder:
            self.add_folder(entry.path)
        elif entry.error is not None:
            self.add_failing(entry.path, entry.error, entry.mode).owner = entry.owner
        else:
            self.add_file(entry.path, entry.text or "", entry.mode, entry.owner)

    def add_folder(self, path: str) -> None:
        """Add an empty folder; the folders that files lie in need none."""
        if path not in self._folders:
            self._enter(path)
            self._folders[path] = set()

    def remove(self, path: str) -> None:
        """Remove a file, a link or a folder with all in it, if there is one; links are not followed."""
        for name in tuple(self._folders.get(path, ())):
            self.remove(f"{path}/{name}")
        file = self._files.pop(path, None)
        if file is not None:
            file.gone = True
        existed = (
            file is not None or self._links.pop(path, None) is not None or self._folders.pop(path, None) is not None
        )
        if existed:
            folder, _, name = path.rpartition("/")
            self._folders[folder or "/"].discard(name)

    def set_text(self, path: str, text: str | Show) -> None:
        """Give a file another text, as the machine does when a value changes; permissions do not matter."""
        self.file(path).show = text if callable(text) else lambda: text

    def set_mode(self, path: str, mode: int) -> None:
        """Give a file other permission bits (chmod)."""
        file = self.file(path)
        file.mode = stat.S_IFMT(file.mode) | mode

    def set_owner(self, path: str, user_id: int, group_id: int) -> None:
        """Give a file to another user and group (chown)."""
        self.file(path).owner = (user_id, group_id)

    def fail_next_read(self, path: str, code: int) -> None:
        """Let the next read of a file give errno `code`, once."""
        self.file(path).next_read_errno = code

    def fail_next_write(self, path: str, code: int) -> None:
        """Let the next write to a file give errno `code`, once, and have no effect."""
        self.file(path).next_write_errno = code

    def sys_user(self) -> int:
        """Return the user that files are opened as."""
        return self._user_id

    def as_user(self, unprivileged: bool, groups: Iterable[int] = ()) -> None:
        """Make the one who opens files root, or user 1000 with some groups; what is open stays so."""
        self._user_id = USER_ID if unprivileged else 0
        self._groups = frozenset((self._user_id, *groups))

    def file(self, path: str) -> MemoryFile:
        """Return the file at a path, links followed.

        Raises:
            FileNotFoundError: If there is none.
        """
        file = self._files.get(self.resolve(path))
        return file if file is not None else fail(errno.ENOENT, path)

    def files_below(self, folder: str) -> tuple[MemoryFile, ...]:
        """Return every file below a folder; links are not followed."""
        inside = [f"{folder}/{name}" for name in sorted(self._folders.get(folder, ()))]
        here = [self._files[path] for path in inside if path in self._files]
        return (*here, *(file for path in inside for file in self.files_below(path)))

    def resolve(self, path: str) -> str:
        """Return a path with every link in it followed, whether or not something is there."""
        return self._follow(path, last=True)

    def entries(self) -> Iterator[Entry]:
        """Yield all there is, as the entries of a recording; a file that cannot be read has the error."""
        for path, target in self._links.items():
            yield Entry(path=path, mode=stat.S_IFLNK | 0o777, target=target)
        for path, names in self._folders.items():
            if not names and path != "/":
                yield Entry(path=path, mode=stat.S_IFDIR | 0o755)
        for path, file in self._files.items():
            text, error = None, None
            try:
                text = file.show() if stat.S_ISREG(file.mode) and file.mode & 0o444 else None
            except OSError as problem:
                error = problem.errno
            yield Entry(path=path, mode=file.mode, owner=file.owner, text=text, error=error)

    # --- system calls -----------------------------------------------------------------------------

    def sys_open(self, path: str, flags: int) -> int:
        """Open a file and return its descriptor."""
        real = self.resolve(path)
        file = self._files.get(real)
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        if file is None:
            fail(self._why_no_file(real, writing, flags), path)
        if writing and self.read_only:
            fail(errno.EROFS, path)
        if writing and not (file.mode & 0o222 and self._may(file, os.W_OK)):
            fail(errno.EACCES, path)
        if flags & os.O_ACCMODE != os.O_WRONLY and not (file.mode & 0o444 and self._may(file, os.R_OK)):
            fail(errno.EACCES, path)
        descriptor = next(self._descriptors)
        self._open[descriptor] = file
        return descriptor

    def sys_read(self, descriptor: int) -> bytes:
        """Read a file from its start."""
        return self._opened(descriptor).read()

    def sys_write(self, descriptor: int, data: bytes) -> int:
        """Write a file; an empty write does nothing."""
        file = self._opened(descriptor)
        if not data:
            return 0
        self.writes.append((file.path, data.decode("utf-8", "replace")))
        return file.write(data)

    def sys_close(self, descriptor: int) -> None:
        """Close a descriptor."""
        self._opened(descriptor)
        del self._open[descriptor]

    def sys_list(self, path: str) -> list[str]:
        """Return the names in a folder."""
        real = self.resolve(path)
        names = self._folders.get(real)
        if names is None:
            fail(errno.ENOTDIR if real in self._files else errno.ENOENT, path)
        return list(names)

    def sys_mode(self, path: str) -> int:
        """Return a file's type and permission bits, links followed."""
        real = self.resolve(path)
        return stat.S_IFDIR | 0o755 if real in self._folders else self.file(path).mode

    def sys_owner(self, path: str) -> tuple[int, int]:
        """Return a file's owner and group; folders are root's."""
        return (0, 0) if self.resolve(path) in self._folders else self.file(path).owner

    def sys_readlink(self, path: str) -> str:
        """Return where a symbolic link points."""
        real = self._follow(path, last=False)
        if real in self._links:
            return self._links[real]
        fail(errno.EINVAL if real in self._files or real in self._folders else errno.ENOENT, path)

    def sys_access(self, path: str, mode: int) -> bool:
        """Return whether a file's permission bits allow it; root always may, even where opening would fail."""
        real = self.resolve(path)
        if mode & os.W_OK and self.read_only:
            return False
        if real in self._folders:
            return not mode & os.W_OK or self._user_id == 0
        return real in self._files and self._may(self._files[real], mode)

    def real_path(self, path: str) -> Path:
        """Fail: these files lie nowhere on this machine.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"{path} exists in memory only; go through the tree's own methods")

    # --- inside -----------------------------------------------------------------------------------

    def _enter(self, path: str) -> None:
        """Make the folders above a path, and its name in the lowest of them."""
        folder, _, name = path.rpartition("/")
        if not path.startswith("/") or not name:
            raise ValueError(f"{path!r} is no absolute path of a file")
        folder = folder or "/"
        if folder not in self._folders:
            self._enter(folder)
            self._folders[folder] = set()
        self._folders[folder].add(name)

    def _follow(self, path: str, *, last: bool) -> str:
        ahead = deque(path.split("/"))
        here, budget = "", _LINKS_AT_MOST
        while ahead:
            name = ahead.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                here = here.rpartition("/")[0]
                continue
            target = self._links.get(f"{here}/{name}")
            if target is None or not (ahead or last):
                here = f"{here}/{name}"
                continue
            budget -= 1
            if budget == 0:
                fail(errno.ELOOP, path)
            here = "" if target.startswith("/") else here
            ahead.extendleft(reversed(target.split("/")))
        return here or "/"

    def _why_no_file(self, real: str, writing: bool, flags: int) -> int:
        if real in self._folders:
            return errno.EISDIR
        if real.rpartition("/")[0] in self._files:
            return errno.ENOTDIR
        return errno.EACCES if writing and flags & os.O_CREAT else errno.ENOENT

    def _may(self, file: MemoryFile, wanted: int) -> bool:
        if self._user_id == 0:
            return True
        user_id, group_id = file.owner
        shift = 6 if user_id == self._user_id else 3 if group_id in self._groups else 0
        return (file.mode >> shift) & wanted == wanted

    def _opened(self, descriptor: int) -> MemoryFile:
        file = self._open.get(descriptor)
        return file if file is not None else fail(errno.EBADF)
