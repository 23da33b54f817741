"""What lies in a folder of samples; nothing outside of it is ever read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeexit.errors import DataError

IMAGE_SUFFIXES: Final = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
ARRAY_SUFFIX: Final = ".npy"
LABEL_FILES: Final = ("labels.csv", "labels.npy")
CLASS_LIST: Final = "classes.txt"


@dataclass(frozen=True, slots=True)
class FolderContent:
    """Sample files of a folder.

    Attributes:
        root: The folder.
        files: All image or .npy files, sorted by name, numbers in names by their value.
        groups: The sub-folder of each file; "" for files in the folder itself.
        sub_folders: All, sorted, with or without files.
        labels: labels.csv or labels.npy, if there is one.
        class_names: The lines of classes.txt, if there is one.
    """

    root: Path
    files: tuple[Path, ...]
    groups: tuple[str, ...]
    sub_folders: tuple[str, ...]
    labels: Path | None
    class_names: tuple[str, ...] | None

    @property
    def are_images(self) -> bool:
        """True for images, False for .npy files."""
        return self.files[0].suffix.lower() != ARRAY_SUFFIX


def scan_folder(root: Path) -> FolderContent:
    """Look for samples in a folder and its sub-folders; names that begin with a dot and other files are passed over.

    Raises:
        DataError: If there is no sample, there are images and .npy files, two files of labels or sub-folders of
            sub-folders, or if a link leads out of the folder.
    """
    files, folders = _entries(root, root.resolve())
    found = [(file, "") for file in files]
    for folder in folders:
        inner, deeper = _entries(folder, root.resolve())
        if deeper:
            raise DataError(f"{folder} has folders in it: samples lie in {root} or one level below; give {folder}?")
        found += [(file, folder.name) for file in inner]
    labels = [file for file in files if file.name in LABEL_FILES]
    if len(labels) > 1:
        raise DataError(f"{root} has both {' and '.join(LABEL_FILES)}: leave one of them")
    samples = [(f, group) for f, group in found if _is_sample(f) and f not in labels]
    _check_kinds(root, [file for file, _ in samples], [file for file, _ in found])
    return FolderContent(
        root,
        tuple(file for file, _ in samples),
        tuple(group for _, group in samples),
        tuple(folder.name for folder in folders),
        labels[0] if labels else None,
        _class_names(root / CLASS_LIST) if root / CLASS_LIST in files else None,
    )


def _entries(folder: Path, root: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders in a folder, sorted."""
    try:
        entries = [e for e in os.scandir(folder) if not e.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise DataError(f"{entry.path} is a link that leaves the folder: put the file itself there")
        if not entry.is_dir() and not entry.is_file():
            raise DataError(f"{entry.path} is no plain file: take it out of the folder")
    entries.sort(key=lambda entry: _natural(entry.name))
    return [Path(e.path) for e in entries if e.is_file()], [Path(e.path) for e in entries if e.is_dir()]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort "2.png" before "10.png", and everything else as it is spelt."""
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _is_sample(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES or file.suffix.lower() == ARRAY_SUFFIX


def _check_kinds(root: Path, samples: Sequence[Path], found: Sequence[Path]) -> None:
    kinds = {file.suffix.lower() == ARRAY_SUFFIX for file in samples}
    if len(kinds) == 2:
        raise DataError(f"{root} holds images and {ARRAY_SUFFIX} files: leave one kind")
    if not kinds:
        others = ", ".join(sorted({file.suffix or file.name for file in found})) or "nothing"
        raise DataError(
            f"{root} holds no samples: looked for images ({', '.join(sorted(IMAGE_SUFFIXES))}) and {ARRAY_SUFFIX} "
            f"files there and one level below, found {others}"
        )


def _class_names(path: Path) -> tuple[str, ...]:
    names = tuple(_lines(path))
    repeated = [name for name in names if names.count(name) > 1]
    if not names or repeated:
        problem = f"{repeated[0]!r} stands there twice" if repeated else "it is empty"
        raise DataError(f"{path} must name each class once, a line each in the model's order: {problem}")
    return names


def _lines(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text (UTF-8): {error}") from error
    return (line.strip() for line in text.splitlines() if line.strip())
