"""Labels from a CSV file.

Its first line names the columns. `file` names the sample's file within the folder; without it the rows are in the order
of the samples. Then either `label` (a class; several with ";" between them where a sample can have several), or one
column of 0 and 1 for each label.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from edgeexit.errors import DataError
from edgeexit.offline.data.labels import Labels, labels_of_sets, labels_of_texts

FILE: Final = "file"
LABEL: Final = "label"
SEPARATOR: Final = ";"


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What a CSV file says.

    Attributes:
        files: Names within the folder, one a row; None if the table names none.
        labels: Of the rows.
    """

    files: tuple[str, ...] | None
    labels: Labels


def read_label_table(path: Path, class_names: tuple[str, ...] | None = None) -> LabelTable:
    """Read a CSV file (UTF-8).

    Args:
        path: Of the file.
        class_names: In the order of the model's classes, if known; by default the names found in the order of the
            alphabet, or for columns of 0 and 1 those of the columns.

    Raises:
        DataError: If the file cannot be read, a column is unknown, a row is too long or too short, a file is named
            twice or lies outside the folder, or a label is missing.
    """
    columns = _columns(path)
    files = columns.pop(FILE, None)
    if files is not None:
        _check_files(files, path)
    if LABEL in columns:
        unknown = [name for name in columns if name != LABEL]
        if unknown:
            raise DataError(
                f"{path}: unknown column {unknown[0]!r}: beside {LABEL!r} there can be {FILE!r} alone; leave "
                f"{LABEL!r} out if each other column stands for a label with 0 and 1"
            )
        labels = _from_texts(columns[LABEL], path, class_names)
    else:
        labels = _from_flags(columns, path, class_names)
    return LabelTable(None if files is None else tuple(files), labels)


def _columns(path: Path) -> dict[str, list[str]]:
    """Return the texts of each column, without spaces around them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[text.strip() for text in row] for row in csv.reader(file, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV (UTF-8): {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if len(rows) < 2:
        raise DataError(f"{path} holds no rows: the first line names the columns, for instance {FILE},{LABEL}")
    names = rows[0]
    for name in names:
        if not name or names.count(name) > 1:
            raise DataError(f"{path}: the columns {', '.join(map(repr, names))} need names of their own")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise DataError(f"{path}: row {number} has {len(row)} entries, the first line names {len(names)} columns")
    return {name: [row[column] for row in rows[1:]] for column, name in enumerate(names)}


def _check_files(files: Sequence[str], path: Path) -> None:
    seen: set[PurePosixPath] = set()
    for number, text in enumerate(files, 2):
        name = PurePosixPath(text)
        if not text or name.is_absolute() or ".." in name.parts:
            raise DataError(f"{path}: row {number}: {text!r} is no file within the folder")
        if name in seen:
            raise DataError(f"{path}: row {number}: {text!r} stands there twice")
        seen.add(name)


def _from_texts(texts: Sequence[str], path: Path, names: tuple[str, ...] | None) -> Labels:
    if not any(SEPARATOR in text for text in texts):
        for number, text in enumerate(texts, 2):
            if not text:
                raise DataError(f"{path}: row {number} has no label")
        return labels_of_texts(texts, str(path), names)
    sets = [[part.strip() for part in text.split(SEPARATOR) if part.strip()] for text in texts]
    return labels_of_sets(sets, str(path), names)


def _from_flags(columns: Mapping[str, Sequence[str]], path: Path, names: tuple[str, ...] | None) -> Labels:
    if not columns:
        raise DataError(f"{path} has no labels: it needs a column {LABEL!r}, or a column of 0 and 1 for each label")
    for name, flags in columns.items():
        for number, flag in enumerate(flags, 2):
            if flag not in ("0", "1"):
                raise DataError(
                    f"{path}: unknown column {name!r}: row {number} holds {flag!r}; columns are {FILE!r} and "
                    f"{LABEL!r}, or {FILE!r} and one of 0 and 1 for each label"
                )
    rows = zip(*columns.values(), strict=True)
    sets = [[name for name, flag in zip(columns, row, strict=True) if flag == "1"] for row in rows]
    return labels_of_sets(sets, str(path), tuple(columns) if names is None else names)
