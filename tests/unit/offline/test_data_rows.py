"""Arrays on disk are read row by row, and damage is noticed."""

import errno
import io
import os
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeexit.errors import DataError
from edgeexit.offline.data import rows as rows_module
from edgeexit.offline.data.rows import StoredRows, open_npy, open_npz

ARRAY = np.arange(60, dtype=np.float32).reshape(10, 2, 3)


def read(rows, *indices):
    return rows.read(np.array(indices, np.int64))


def open_saved(folder, array, kind):
    path = folder / f"x.{'npy' if kind == 'npy' else 'npz'}"
    if kind == "npy":
        np.save(path, array)
        return open_npy(path)
    (np.savez if kind == "stored" else np.savez_compressed)(path, first=np.zeros(3), x=array)
    return open_npz(path)["x"]


@pytest.mark.parametrize("kind", ["npy", "stored", "compressed"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f2", "u1", "?", "<i8", "<U3"])
def test_rows_come_in_the_order_asked_for(tmp_path, kind, dtype):
    array = ARRAY.astype(dtype)
    rows = open_saved(tmp_path, array, kind)
    assert isinstance(rows, StoredRows)
    assert (rows.shape, rows.dtype) == ((10, 2, 3), np.dtype(dtype))
    assert read(rows, 4, 5, 6, 1, 9, 1).tolist() == array[[4, 5, 6, 1, 9, 1]].tolist()
    assert read(rows).shape == (0, 2, 3)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9), max_size=20))
def test_any_rows_are_those_of_the_array(tmp_path, indices):
    rows = open_saved(tmp_path, ARRAY, "stored")
    assert read(rows, *indices).tolist() == ARRAY[indices].tolist()


def test_rows_of_no_items(tmp_path):
    assert read(open_saved(tmp_path, np.zeros((4, 0)), "npy"), 1, 2).shape == (2, 0)


@pytest.mark.parametrize("kind", ["stored", "compressed"])
def test_an_unpacked_archive_can_be_deleted(tmp_path, kind):
    rows = open_saved(tmp_path, ARRAY, kind)
    (tmp_path / "x.npz").unlink()
    assert read(rows, 9).tolist() == ARRAY[9:].tolist()


def open_in(folder):
    """Return the files below `folder` that this process has open; others may be closed meanwhile by a collector."""
    files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            files.append(descriptor.readlink())
    return [file for file in files if file.is_relative_to(folder)]


def test_an_open_file_is_seen(tmp_path):
    with (tmp_path / "open").open("w"):
        assert open_in(tmp_path) == [tmp_path / "open"]


def test_no_descriptor_is_left_behind(tmp_path):
    for kind in ("npy", "stored", "compressed"):
        rows = open_saved(tmp_path, ARRAY, kind)
        read(rows, 1)
        del rows
    assert open_in(tmp_path) == []


def refused(path, message, opener=open_npy):
    with pytest.raises(DataError, match=message) as caught:
        opener(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0, 1, 5, 40, 127, 200, -1])
def test_a_truncated_array(tmp_path, kept):
    np.save(tmp_path / "x.npy", ARRAY)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:kept])
    refused(tmp_path / "x.npy", "cannot be read as NumPy arrays|is cut short")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kept", [0, 1, 5, 40, 200, -1])
def test_a_truncated_archive(tmp_path, save, kept):
    save(tmp_path / "x.npz", x=ARRAY)
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:kept])
    refused(tmp_path / "x.npz", "cannot be read as NumPy arrays", open_npz)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_in_an_archive(tmp_path, save):
    save(tmp_path / "x.npz", x=ARRAY)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[200] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    refused(tmp_path / "x.npz", "cannot be read as NumPy arrays", open_npz)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["npy", "npz"]), st.lists(st.tuples(st.integers(0, 500), st.integers(1, 255)), min_size=1))
def test_changed_bytes_are_refused_or_read_but_never_end_in_another_error(tmp_path, suffix, changes):
    path = tmp_path / f"x.{suffix}"
    np.save(path, ARRAY) if suffix == "npy" else np.savez(path, x=ARRAY)
    data = bytearray(path.read_bytes())
    for place, change in changes:
        data[place % len(data)] ^= change
    path.write_bytes(data)
    with suppress(DataError):
        arrays = {"x": open_npy(path)} if suffix == "npy" else open_npz(path)
        for rows in arrays.values():
            rows.read(np.arange(min(3, rows.shape[0])))


def test_a_file_that_shrinks_while_it_is_in_use(tmp_path):
    rows = open_saved(tmp_path, ARRAY, "npy")
    os.truncate(tmp_path / "x.npy", 150)
    with pytest.raises(DataError, match=r"x.npy was cut short while it was in use"):
        read(rows, 9)


def header(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(10**12, 2), (10**30, 10**30)])
def test_a_header_that_promises_too_much(tmp_path, shape):
    (tmp_path / "x.npy").write_bytes(header(shape))
    refused(tmp_path / "x.npy", "is cut short: its header promises")
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header(shape))
    refused(tmp_path / "x.npz", "is cut short: its header promises", open_npz)


@pytest.mark.parametrize("shape", [(), (-1, 2)])
def test_a_single_number_or_an_impossible_shape(tmp_path, shape):
    (tmp_path / "x.npy").write_bytes(header(shape) + b"\0" * 64)
    refused(tmp_path / "x.npy", "the first axis must be that of the samples")


def test_python_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([{}], dtype=object))
    refused(tmp_path / "x.npy", "holds Python objects")
    refused(tmp_path / "x.npz", "holds Python objects", open_npz)


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    refused(tmp_path / "x.npy", "cannot be read: No such file")
    refused(tmp_path, "cannot be read: Is a directory", open_npz)


class FullDisk(io.BytesIO):
    def write(self, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_to_unpack_an_archive(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", x=ARRAY)
    monkeypatch.setattr(rows_module.tempfile, "TemporaryFile", FullDisk)
    refused(tmp_path / "x.npz", f"no room to unpack it in {tempfile.gettempdir()} .* let TMPDIR name", open_npz)
