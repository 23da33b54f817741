import errno

import numpy as np
import pytest

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.preparing.work_folder import MARKER, WorkFolder, step_key


def never():
    raise AssertionError("made again")


def test_a_result_is_made_once(tmp_path):
    with WorkFolder(tmp_path / "w") as work:
        assert work.keep("heads", "k", lambda: b"result") == b"result"
    with WorkFolder(tmp_path / "w") as work:
        assert work.keep("heads", "k", never) == b"result"
        assert work.found == ["heads"]


def test_a_result_made_from_something_else_is_not_taken(tmp_path):
    with WorkFolder(tmp_path / "w") as work:
        work.keep("heads", step_key("ridge"), lambda: b"ridge")
        assert work.keep("heads", step_key("logistic"), lambda: b"logistic") == b"logistic"
        assert work.found == []


def test_a_key_is_the_same_for_the_same_and_another_for_anything_else():
    assert step_key("a", {"x": 1, "y": 2}) == step_key("a", {"y": 2, "x": 1})
    assert len({step_key(*parts) for parts in (("a",), ("b",), ("a", "b"), ("a", 1), ("a", 1.5))}) == 5


def test_arrays_and_json_come_back_as_they_were(tmp_path):
    arrays = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)}
    with WorkFolder(tmp_path / "w") as work:
        for make in (lambda: arrays, never):
            found = work.keep_arrays("heads", "k", make)
            assert list(found) == ["weights"]
            np.testing.assert_array_equal(found["weights"], arrays["weights"])
        for make in (lambda: {"seconds": [0.1, 0.2]}, never):
            assert work.keep_json("times", "k", make) == {"seconds": [0.1, 0.2]}


def test_a_step_that_fails_leaves_no_result(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with WorkFolder(tmp_path / "w") as work, pytest.raises(KeyboardInterrupt):
        work.keep("heads", "k", fail)
    assert [path.name for path in (tmp_path / "w").iterdir()] == [MARKER]


def test_a_full_disk_leaves_no_half_result(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with WorkFolder(tmp_path / "w") as work:
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            work.keep("heads", "k", lambda: b"result")
    assert [path.name for path in (tmp_path / "w").iterdir()] == [MARKER]


def test_a_damaged_result_is_named_with_what_to_do(tmp_path):
    with WorkFolder(tmp_path / "w") as work:
        (tmp_path / "w" / "heads-k").write_bytes(b"PK damaged")
        with pytest.raises(DataError, match=r"heads-k is damaged .*; delete it, and it is made again"):
            work.keep_arrays("heads", "k", never)
        (tmp_path / "w" / "times-k").write_bytes(b"{")
        with pytest.raises(DataError, match=r"times-k is damaged"):
            work.keep_json("times", "k", never)


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="holds something else"):
        WorkFolder(tmp_path / "w")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OptionError, match="holds something else"):
        WorkFolder(tmp_path / "file")


def test_two_preparations_do_not_share_a_folder(tmp_path):
    with WorkFolder(tmp_path / "w"), pytest.raises(OptionError, match="another preparation is at work"):
        WorkFolder(tmp_path / "w")
    with WorkFolder(tmp_path / "w"):
        pass


def test_at_the_end_the_folder_is_gone_unless_it_shall_be_kept(tmp_path):
    for keep in (True, False):
        with WorkFolder(tmp_path / "w", keep=keep) as work:
            work.done()
        assert (tmp_path / "w").exists() == keep
