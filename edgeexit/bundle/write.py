"""Write a bundle so that it is there in full or not at all."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Final

from edgeexit.bundle.load import Bundle, load_bundle
from edgeexit.bundle.manifest import MANIFEST, FileRecord, Manifest, manifest_bytes, parse_manifest
from edgeexit.errors import BundleError

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
"""linux/fcntl.h and linux/fs.h."""


def write_bundle(
    target: str | os.PathLike[str], manifest: Manifest, files: Mapping[str, bytes], *, replace: bool = False
) -> Bundle:
    """Write a bundle and load it.

    It grows in a temporary folder beside `target`, is brought to the disk and is then given its name. If anything
    fails, nothing is left behind and what was at `target` is untouched.

    Args:
        target: The folder to make.
        manifest: All of it but `files`, which is filled in here.
        files: Every file but the manifest, by name.
        replace: Take the place of a bundle that is at `target`, in one step where the system can.

    Raises:
        BundleError: If something is at `target` already (with `replace`: something that is no bundle), or if the
            manifest and the files do not fit together.
        OSError: If the disk is full or the place cannot be written to.
    """
    path = Path(os.path.abspath(target))  # noqa: PTH100 - Path.resolve would follow a link at `target`
    check_target(path, replace=replace)
    records = {name: FileRecord(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    document = manifest_bytes(with_fields(manifest, files=records))
    parse_manifest(document, str(path / MANIFEST))
    with _folder_beside(path) as folder:
        for name, data in (*files.items(), (MANIFEST, document)):
            _write_through(folder / name, data)
        _sync_folder(folder)
        bundle = load_bundle(folder)
        _put_in_place(folder, path)
    return with_fields(bundle, path=path)


def replace_files(bundle: Bundle, files: Mapping[str, bytes]) -> Bundle:
    """Write `bundle` again, at its place, with `files` added or exchanged, for instance a new rules.json.

    Raises:
        BundleError: If the bundle was changed since it was loaded.
        OSError: If the disk is full or the place cannot be written to.
    """
    content = {name: bundle.read_file(name) for name in bundle.manifest.files} | dict(files)
    return write_bundle(bundle.path, bundle.manifest, content, replace=True)


def check_target(path: Path, *, replace: bool) -> None:
    """Check that a bundle may be written to `path`.

    Raises:
        BundleError: If something is there already; with `replace` only if it is no bundle.
    """
    if not (path.exists() or path.is_symlink()):
        return
    if not replace:
        raise BundleError(
            f"{path}: exists already; choose another place, or have it replaced (--replace; in Python replace=True)"
        )
    if path.is_symlink() or not (path / MANIFEST).is_file():
        raise BundleError(f"{path}: is not replaced, because it is no bundle; choose another place")


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """Make a folder on the same file system, and take away what is there at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = _free_name_beside(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_name_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(folder: Path, path: Path) -> None:
    """Give `folder` the name `path`; what was there is at `folder` afterwards or gone."""
    if not path.exists():
        folder.rename(path)
    elif not _exchange(folder, path):
        old = path.rename(_free_name_beside(path))
        try:
            folder.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    _sync_folder(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step (Linux's renameat2); False where kernel or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), str(second))
