"""From a user's files to `Samples`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgeexit.errors import DataError
from edgeexit.offline.data.folders import ARRAY_SUFFIX, CLASS_LIST, FolderContent, scan_folder
from edgeexit.offline.data.label_table import LabelTable, read_label_table
from edgeexit.offline.data.labels import Labels, labels_of_array, labels_of_texts
from edgeexit.offline.data.preprocess import check_preprocess, default_preprocess
from edgeexit.offline.data.rows import Rows, open_npy, open_npz
from edgeexit.offline.data.samples import Samples
from edgeexit.offline.data.sources import ArraySource, Source, array_files, image_files
from edgeexit.offline.data.splitting import limit_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.bundle import Preprocess, Tensor

LABEL_ARRAYS: Final = ("labels", "y")
"""Names that the array of labels may have in a .npz file."""
NAME_ARRAY: Final = "class_names"
"""Name of the array of class names, texts, in a .npz file."""


def load_samples(
    path: Path | str,
    inputs: Sequence[Tensor],
    *,
    labels: Path | None = None,
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Samples:
    """Open a user's samples; their inputs are read later, batch by batch.

    Args:
        path: One of these:

            * a ``.npz`` file with arrays named like the inputs, or for a model with one input a single array; and,
              if known, ``labels`` or ``y``, and ``class_names`` (texts);
            * a ``.npy`` file, for a model with one input;
            * a folder of ``.npy`` files: one array for each input, named like it, or one file a sample;
            * a folder of images: in a sub-folder for each class, or with a ``labels.csv`` (see `label_table`), or
              without labels.

            A folder of arrays may have ``labels.npy`` or ``labels.csv`` too. A ``classes.txt`` with a class name on
            each line, in the model's order, says which class is which; without it, names that are all whole numbers
            are the classes themselves, and others are numbered in the order of the alphabet.
        inputs: Of the model; the first axis is that of the samples.
        labels: File of the labels, ``.csv`` or ``.npy``, if they are not with the data.
        preprocess: How images, and arrays of uint8, become the input of a model that has one; by default derived
            from the input's shape, see `preprocess.default_preprocess`.
        limit: Take at most so many samples, at random, of every class its share.
        seed: Of that choice.

    Returns:
        The samples; their `preprocess` is what was given or derived, None if there are no images.

    Raises:
        DataError: If something is missing, damaged or does not fit the model; the message names the file.
        OptionError: If the limit is below 1.
        MissingExtra: If there are images and Pillow is not installed.
    """
    path = Path(path)
    if preprocess is not None:
        check_preprocess(preprocess, _only(inputs, "a preprocessing"))
    if path.is_dir():
        opened = _open_folder(path, inputs, labels, preprocess)
    elif path.suffix.lower() in (".npz", ARRAY_SUFFIX):
        opened = _open_file(path, inputs, labels, preprocess)
    else:
        problem = "is neither" if path.exists() else "does not exist"
        raise DataError(f"{path} {problem}: give a .npz or .npy file, or a folder of images or .npy files")
    return limit_samples(opened.samples(str(path)), limit, seed=seed)


@dataclass(frozen=True, slots=True)
class _Opened:
    source: Source
    labels: Labels | None
    preprocess: Preprocess | None

    def samples(self, where: str) -> Samples:
        known = self.labels
        if known is not None and len(known.values) != len(self.source):
            raise DataError(f"{where}: {len(self.source)} samples, but {len(known.values)} labels: give one for each")
        values, names = (None, None) if known is None else (known.values, known.class_names)
        return Samples(self.source, np.arange(len(self.source)), values, names, self.preprocess)


def _open_file(path: Path, inputs: Sequence[Tensor], labels: Path | None, preprocess: Preprocess | None) -> _Opened:
    """Open a .npz or a .npy file."""
    arrays = open_npz(path) if path.suffix.lower() == ".npz" else {"": open_npy(path)}
    names = _class_names(arrays.pop(NAME_ARRAY, None), path)
    inner = [name for name in LABEL_ARRAYS if name in arrays and name not in {t.name for t in inputs}]
    if len(inner) > 1:
        raise DataError(f"{path} holds both {' and '.join(map(repr, inner))}: leave one of them")
    own = arrays.pop(inner[0]) if inner else None
    found: Labels | None = None
    if labels is not None:
        found = _label_file(labels, names)
    elif own is not None:
        found = labels_of_array(_whole(own), f"{path}[{inner[0]}]", names)
    return _arrays(_by_name(arrays, inputs, str(path)), inputs, preprocess, str(path), found)


def _open_folder(path: Path, inputs: Sequence[Tensor], labels: Path | None, preprocess: Preprocess | None) -> _Opened:
    content = scan_folder(path)
    if labels is not None:
        content = _with_labels(content, labels)
    whole = None if content.are_images else _whole_arrays(content, inputs)
    if whole is not None:
        found = None if content.labels is None else _label_file(content.labels, content.class_names)
        return _arrays(whole, inputs, preprocess, str(path), found)
    tensor = _only(inputs, "a folder with one file a sample")
    files, known = _labelled_files(content)
    if content.are_images:
        preprocess = preprocess or default_preprocess(tensor)
        return _Opened(image_files(files, tensor, preprocess), known, preprocess)
    if preprocess is None and _needs_preprocess(open_npy(files[0]), tensor):
        preprocess = default_preprocess(tensor)
    return _Opened(array_files(files, tensor, preprocess), known, preprocess)


def _arrays(
    rows: Mapping[str, Rows],
    inputs: Sequence[Tensor],
    preprocess: Preprocess | None,
    where: str,
    labels: Labels | None,
) -> _Opened:
    if preprocess is None and len(inputs) == 1 and _needs_preprocess(rows[inputs[0].name], inputs[0]):
        preprocess = default_preprocess(inputs[0])
    return _Opened(ArraySource(rows, inputs, preprocess, where), labels, preprocess)


def _needs_preprocess(rows: Rows, tensor: Tensor) -> bool:
    """True for pixels where the model takes images of other numbers."""
    return rows.dtype == np.uint8 and np.dtype(tensor.dtype).kind == "f" and len(tensor.shape or ()) == 4


def _by_name(arrays: Mapping[str, Rows], inputs: Sequence[Tensor], where: str) -> dict[str, Rows]:
    """Return which array is which input."""
    names = [tensor.name for tensor in inputs]
    if all(name in arrays for name in names):
        return {name: arrays[name] for name in names}
    if len(names) == len(arrays) == 1:
        return {names[0]: next(iter(arrays.values()))}
    found = ", ".join(map(repr, filter(None, arrays))) or ("one array" if arrays else "nothing")
    raise DataError(f"{where}: the model takes {', '.join(map(repr, names))}, found {found}: name the arrays so")


def _whole_arrays(content: FolderContent, inputs: Sequence[Tensor]) -> dict[str, Rows] | None:
    """Return the arrays of the inputs if each is one file; None if each file is a sample."""
    files = {file.stem: file for file, group in zip(content.files, content.groups, strict=True) if not group}
    if all(tensor.name in files for tensor in inputs):
        return {tensor.name: open_npy(files[tensor.name]) for tensor in inputs}
    if len(inputs) > 1:
        return _by_name({name: open_npy(file) for name, file in files.items()}, inputs, str(content.root))
    if len(content.files) == len(files) == 1:
        rows = open_npy(content.files[0])
        if len(rows.shape) == len(inputs[0].shape or rows.shape):
            return {inputs[0].name: rows}
    return None


def _labelled_files(content: FolderContent) -> tuple[Sequence[Path], Labels | None]:
    """Return the files that are samples, and their labels."""
    flat = not any(content.groups)
    if content.labels is not None:
        return _listed_files(content, content.labels)
    if flat and not content.sub_folders:
        return content.files, None
    if not all(content.groups):
        loose = content.files[content.groups.index("")]
        raise DataError(
            f"{content.root} has sub-folders, and {loose.name} beside them: move it into one, or give a labels.csv"
        )
    empty = [name for name in content.sub_folders if name not in content.groups]
    if empty:
        raise DataError(f"{content.root / empty[0]} holds no sample: each sub-folder is a class; fill or delete it")
    return content.files, labels_of_texts(content.groups, str(content.root), content.class_names)


def _listed_files(content: FolderContent, labels: Path) -> tuple[Sequence[Path], Labels]:
    if labels.suffix.lower() != ".csv":
        return content.files, _label_file(labels, content.class_names)
    table = read_label_table(labels, content.class_names)
    if table.files is None:
        return content.files, table.labels
    return _in_table_order(content, table, labels), table.labels


def _in_table_order(content: FolderContent, table: LabelTable, labels: Path) -> list[Path]:
    there = {file.relative_to(content.root).as_posix(): file for file in content.files}
    names = [Path(name).as_posix() for name in table.files or ()]
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(f"{labels}: {missing[0]!r} is no sample in {content.root} ({len(missing)} such rows)")
    unlisted = sorted(there.keys() - set(names))
    if unlisted:
        raise DataError(
            f"{labels} has no row for {unlisted[0]!r} ({len(unlisted)} such files): add it, or move it away"
        )
    return [there[name] for name in names]


def _with_labels(content: FolderContent, labels: Path) -> FolderContent:
    files = [(f, g) for f, g in zip(content.files, content.groups, strict=True) if f.resolve() != labels.resolve()]
    if not files:
        raise DataError(f"{content.root} holds no samples beside the labels")
    return FolderContent(
        content.root,
        tuple(file for file, _ in files),
        tuple(group for _, group in files),
        content.sub_folders,
        labels,
        content.class_names,
    )


def _label_file(path: Path, names: tuple[str, ...] | None) -> Labels:
    """Read labels in the order of the samples."""
    if path.suffix.lower() == ARRAY_SUFFIX:
        return labels_of_array(_whole(open_npy(path)), str(path), names)
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path} is no file of labels: give .csv or .npy")
    table = read_label_table(path, names)
    if table.files is not None:
        raise DataError(f"{path} names files, but the samples are rows of arrays: leave the column 'file' out")
    return table.labels


def _class_names(rows: Rows | None, path: Path) -> tuple[str, ...] | None:
    if rows is None:
        return None
    if rows.dtype.kind != "U" or len(rows.shape) != 1:
        raise DataError(f"{path}: {NAME_ARRAY} must be texts, one a class, like the lines of a {CLASS_LIST}")
    return tuple(map(str, _whole(rows).tolist()))


def _whole(rows: Rows) -> NDArray[Any]:
    return rows.read(np.arange(rows.shape[0]))


def _only(inputs: Sequence[Tensor], what: str) -> Tensor:
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise DataError(f"{what} is for models with one input, and this one takes {names}: give a .npz file")
    return inputs[0]
