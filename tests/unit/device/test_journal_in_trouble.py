import errno
import json
import os
import threading

import pytest
from clock_machines import CPUFREQ, a_machine, fail_with, journal_of, knob_texts, lease_on, put

from edgeexit.device import journal as journal_module
from edgeexit.device import journal_file
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.errors import ClocksUnavailable, JournalError

MHZ = 1_000_000
POLICY0 = f"{CPUFREQ}/policy0"
GOVERNOR = "cpufreq/policy0/scaling_governor"


@pytest.fixture
def tree():
    machine = a_machine()
    machine.add_cpufreq_policy(0)
    return machine


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def journal(tree, folder):
    return journal_of(tree, folder)


def knobs(tree):
    return [knob for domain in find_cpufreq(tree) for knob in domain.knobs]


# --- when it cannot be written -----------------------------------------------------------------------


def refuses_to_set(tree, lease):
    """Ask for three clocks: there must be one warning, and no write that reaches the machine."""
    before = knob_texts(tree)
    with pytest.warns(ClocksUnavailable) as caught:
        applied = [lease.set({"cpu": mhz * MHZ}) for mhz in (1500, 750, 1000)]
    assert applied == [(), (), ()]
    assert len(caught) == 1
    lease.close()
    assert tree.writes == []
    assert knob_texts(tree) == before
    return str(caught[0].message)


def test_without_a_folder_that_can_be_made_no_clock_is_written(tree, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert "Not a directory" in refuses_to_set(tree, lease_on(tree, tmp_path / "file/run"))


def test_with_a_file_in_the_folders_place_no_clock_is_written(tree, folder):
    folder.write_text("in the way", encoding="utf-8")
    assert "cannot be kept in" in refuses_to_set(tree, lease_on(tree, folder))


@pytest.mark.parametrize("call", ["open", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_with_a_disk_that_takes_nothing_no_clock_is_written(tree, folder, monkeypatch, call, code):
    lease = lease_on(tree, folder)
    monkeypatch.setattr(journal_file.os, call, fail_with(code))
    assert os.strerror(code) in refuses_to_set(tree, lease)
    monkeypatch.undo()
    assert [path.name for path in folder.iterdir() if path.name != "lock"] == []


def test_with_a_disk_that_takes_a_part_no_clock_is_written(tree, folder, monkeypatch):
    write = os.write
    monkeypatch.setattr(journal_file.os, "write", lambda descriptor, data: write(descriptor, data[:-1]))
    assert "No space left" in refuses_to_set(tree, lease_on(tree, folder))
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_where_notes_cannot_be_written_no_clock_is_written(tree, folder, monkeypatch):
    monkeypatch.setattr(journal_module.os, "pwrite", fail_with(errno.EIO))
    assert "Input/output error" in refuses_to_set(tree, lease_on(tree, folder))
    assert not (folder / "lease.json").exists()


def test_a_disk_that_fails_later_stops_at_the_clock_that_was_set(tree, folder, monkeypatch):
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    written = list(tree.writes)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "pwrite", fail_with(errno.EIO))
        with pytest.warns(ClocksUnavailable, match="journal"):
            lease.set({"cpu": 1500 * MHZ})
        lease.set({"cpu": 600 * MHZ})
    assert tree.writes == written
    lease.close()
    assert knob_texts(tree) == before


def test_a_journal_that_cannot_be_deleted_does_not_stop_the_end(tree, folder, monkeypatch, caplog):
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.Path, "unlink", fail_with(errno.EROFS))
        lease.close()
    assert "out of date" in caplog.text
    assert tree.policies[0].governor == "ondemand"


# --- damage and malice -------------------------------------------------------------------------------

GOOD = {
    "format": 1,
    "boot_id": "0c2e0000-boot",
    "pid": 1,
    "pid_started": 1,
    "created_by": "edgeexit 0.1.0",
    "knobs": [{"key": GOVERNOR, "was": "ondemand", "ours": ["userspace", "", ""]}],
}
BAD_KNOBS = [
    {"key": GOVERNOR},
    {"key": GOVERNOR, "was": "ondemand", "ours": 3},
    {"key": GOVERNOR, "was": "ondemand", "ours": ["two words"]},
    {"key": GOVERNOR, "was": "ondemand", "ours": [5]},
    {"key": GOVERNOR, "was": "a b", "ours": []},
    {"key": GOVERNOR, "was": 0, "ours": []},
    {"key": GOVERNOR, "was": [], "ours": []},
    7,
]
DAMAGED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 200_000,
    json.dumps({**GOOD, "format": 2}).encode(),
    json.dumps({**GOOD, "pid": "1"}).encode(),
    json.dumps({**GOOD, "pid_started": True}).encode(),
    json.dumps({key: value for key, value in GOOD.items() if key != "boot_id"}).encode(),
    *(json.dumps({**GOOD, "knobs": [knob]}).encode() for knob in BAD_KNOBS),
]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_journal_is_kept_and_no_clock_is_written(tree, folder, data):
    folder.mkdir()
    (folder / "lease.json").write_bytes(data)
    with pytest.raises(JournalError, match="look at it, then delete it"):
        journal_of(tree, folder).restore_abandoned()
    assert "cannot be read" in refuses_to_set(tree, lease_on(tree, folder))
    assert (folder / "lease.json").read_bytes() == data


def test_a_good_journal_of_the_same_shape_is_played_back(tree, folder):
    put(tree, f"{POLICY0}/scaling_governor", "userspace")
    folder.mkdir()
    (folder / "lease.json").write_text(json.dumps(GOOD), encoding="ascii")
    assert journal_of(tree, folder).restore_abandoned().restored == [GOVERNOR]
    assert tree.policies[0].governor == "ondemand"


@pytest.mark.parametrize("key", ["cpufreq/../../../etc/passwd", "proc/sysrq", "devfreq/../max_freq", ""])
def test_a_planted_key_opens_no_other_file(tree, folder, key):
    folder.mkdir()
    planted = {**GOOD, "knobs": [{"key": key, "was": "1", "ours": ["userspace", "", ""]}]}
    (folder / "lease.json").write_text(json.dumps(planted), encoding="ascii")
    done = journal_of(tree, folder).restore_abandoned()
    assert list(done.failed) == [key]
    assert tree.writes == []


def test_a_link_planted_as_the_journal_is_not_followed(tree, folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text(json.dumps(GOOD), encoding="ascii")
    folder.mkdir()
    (folder / "lease.json").symlink_to(precious)
    with pytest.raises(JournalError, match="cannot be opened"):
        journal_of(tree, folder).restore_abandoned()
    assert "cannot be opened" in refuses_to_set(tree, lease_on(tree, folder))
    assert precious.read_text(encoding="ascii") == json.dumps(GOOD)


def test_a_link_planted_where_the_journal_is_written_is_not_followed(tree, folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious", encoding="ascii")
    folder.mkdir()
    (folder / f"lease.json.{os.getpid()}.new").symlink_to(precious)
    with lease_on(tree, folder) as lease:
        assert lease.set({"cpu": 600_000_000})
    assert precious.read_text(encoding="ascii") == "precious"


def test_a_link_planted_as_the_lock_is_not_followed(tree, folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious", encoding="ascii")
    folder.mkdir()
    (folder / "lock").symlink_to(precious)
    assert "Too many levels of symbolic links" in refuses_to_set(tree, lease_on(tree, folder))
    assert precious.read_text(encoding="ascii") == "precious"


def test_a_folder_planted_as_the_journal_is_an_error(tree, folder):
    (folder / "lease.json").mkdir(parents=True)
    assert "cannot be read: Is a directory" in refuses_to_set(tree, lease_on(tree, folder))


def test_a_pipe_planted_as_the_journal_does_not_hang(tree, folder):
    folder.mkdir()
    os.mkfifo(folder / "lease.json")
    assert "cannot be read" in refuses_to_set(tree, lease_on(tree, folder))


def test_a_journal_that_comes_up_at_the_last_moment_is_not_overwritten(tree, folder, monkeypatch):
    lease = lease_on(tree, folder)
    create = journal_module.create_file

    def create_after_another(path, data, *, replace):
        path.write_text("another's", encoding="ascii")
        return create(path, data, replace=replace)

    monkeypatch.setattr(journal_module, "create_file", create_after_another)
    assert "File exists" in refuses_to_set(tree, lease)
    assert (folder / "lease.json").read_text(encoding="ascii") == "another's"
    assert sorted(path.name for path in folder.iterdir()) == ["lease.json", "lock"]


# --- locks -------------------------------------------------------------------------------------------


def test_while_another_process_puts_clocks_back_nobody_takes_them(tree, folder, monkeypatch):
    monkeypatch.setattr(journal_module, "LOCK_PATIENCE_S", 0.0)
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        journal_module.fcntl.flock(lock, journal_module.fcntl.LOCK_EX)
        assert "is locked" in refuses_to_set(tree, lease_on(tree, folder))


def test_a_lock_is_waited_for(tree, folder, journal):
    folder.mkdir()
    lock = (folder / "lock").open("w")
    journal_module.fcntl.flock(lock, journal_module.fcntl.LOCK_EX)
    taker = threading.Thread(target=journal.open, args=(knobs(tree),))
    taker.start()
    lock.close()
    taker.join(timeout=60.0)
    assert journal.read_holder() is not None


def test_strangers_cannot_keep_the_lock(tree, folder, journal):
    journal.open(knobs(tree))
    assert (folder / "lock").stat().st_mode & 0o007 == 0


def test_a_user_who_may_only_read_the_lock_can_take_it(tree, folder, journal):
    folder.mkdir()
    (folder / "lock").touch(0o440)
    journal.open(knobs(tree))
    assert journal.read_holder() is not None
