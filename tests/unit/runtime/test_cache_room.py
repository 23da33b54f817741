"""The cache of optimised pieces keeps what is used, and no more than there is room for."""

import os
import time

import pytest

from edgeexit.runtime.cache_room import LEFT_OVER_S, make_room, mark_used


@pytest.fixture
def keep(tmp_path):
    def keep_one(name, size, used_s):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "segment0.onnx").write_bytes(bytes(size))
        os.utime(folder, (used_s, used_s))
        return folder

    return keep_one


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def key(digit):
    return str(digit) * 32


def test_what_was_not_used_for_longest_goes_first(keep, tmp_path):
    for digit in range(4):
        folder = keep(key(digit), 100, 1000.0 + digit)
    make_room(tmp_path, folder, max_bytes=350)
    assert names(tmp_path) == [key(1), key(2), key(3)]


def test_what_is_used_stays(keep, tmp_path):
    first, _ = keep(key(1), 100, 1000.0), keep(key(2), 100, 2000.0)
    newest = keep(key(3), 100, 3000.0)
    mark_used(first)
    make_room(tmp_path, newest, max_bytes=200)
    assert names(tmp_path) == [key(1), key(3)]


def test_the_newest_stays_however_large_it_is(keep, tmp_path):
    keep(key(1), 100, 1000.0)
    newest = keep(key(2), 1000, 500.0)
    make_room(tmp_path, newest, max_bytes=200)
    assert names(tmp_path) == [key(2)]


def test_what_was_broken_off_long_ago_goes_and_what_is_being_written_stays(keep, tmp_path):
    keep(".new-old", 10, time.time() - LEFT_OVER_S - 60.0)
    keep(".new-now", 10, time.time())
    make_room(tmp_path, keep(key(1), 10, 1000.0))
    assert names(tmp_path) == [".new-now", key(1)]


def test_what_is_not_of_the_cache_is_never_touched(keep, tmp_path):
    keep("photographs", 10_000, 1.0)
    (tmp_path / key(7)).write_bytes(bytes(1000))
    (tmp_path / key(8)).symlink_to(tmp_path / "photographs")
    make_room(tmp_path, keep(key(1), 10, 1000.0), max_bytes=20)
    assert names(tmp_path) == [key(1), key(7), key(8), "photographs"]


def test_a_folder_that_vanishes_meanwhile_stops_nothing(keep, tmp_path):
    make_room(tmp_path, tmp_path / key(9), max_bytes=20)
    mark_used(tmp_path / key(9))
    assert names(tmp_path) == []
