import errno
import json
import os
from pathlib import Path

import pytest
from clock_machines import BOOT_ID, CPUFREQ, a_machine, die, fail_with, journal_of, knob_texts, lease_on, live

from edgeexit.device import journal as journal_module
from edgeexit.device import journal_file
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.journal import FileJournal
from edgeexit.device.journal_file import PAGE_BYTES, JournalHeader, KnobEntry, decode, encode, slots_text
from edgeexit.device.lease import Lease
from edgeexit.device.processes import ProcessMark
from edgeexit.errors import ClocksUnavailable, DeviceError, JournalError, LeaseTaken

MHZ = 1_000_000
POLICY0 = f"{CPUFREQ}/policy0"
GOVERNOR, SETSPEED = "cpufreq/policy0/scaling_governor", "cpufreq/policy0/scaling_setspeed"


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
    """The knobs of the policy's own; its kernel governor's tunables are left out."""
    return [knob for domain in find_cpufreq(tree) for knob in domain.knobs if "/policy" in knob.key]


def document(folder):
    return json.loads((folder / "lease.json").read_text(encoding="ascii"))


# --- what stands in it -------------------------------------------------------------------------------


def test_it_says_whose_it_is_and_what_every_knob_was(tree, journal, folder):
    journal.open(knobs(tree))
    written = document(folder)
    assert written["format"] == 1
    assert written["boot_id"] == "0c2e0000-boot"
    assert (written["pid"], written["pid_started"]) == (os.getpid(), 7000)
    assert written["created_by"].startswith("edgeexit ")
    assert [(knob["key"], knob["was"]) for knob in written["knobs"]] == [
        (GOVERNOR, "ondemand"),
        (SETSPEED, "<unsupported>"),
    ]
    assert journal.read_holder() == JournalHeader(
        "0c2e0000-boot", ProcessMark(os.getpid(), 7000), written["created_by"]
    )


def test_a_note_is_on_the_disk_when_it_returns(tree, journal, folder):
    governor, _ = knobs(tree)
    journal.open(knobs(tree))
    journal.note(governor, ["userspace"])
    assert [value.strip() for value in document(folder)["knobs"][0]["ours"]] == ["userspace", "", ""]
    journal.note(governor, ["a", "b", "c"])
    assert [value.strip() for value in document(folder)["knobs"][0]["ours"]] == ["a", "b", "c"]
    assert [value.strip() for value in document(folder)["knobs"][1]["ours"]] == ["", "", ""]


def test_a_note_is_one_system_call(tree, journal, monkeypatch):
    governor, _ = knobs(tree)
    journal.open(knobs(tree))
    calls = []
    monkeypatch.setattr(journal_module.os, "pwrite", lambda *arguments: calls.append(arguments) or len(arguments[1]))
    journal.note(governor, ["userspace"])
    assert len(calls) == 1


def test_a_later_open_adds_knobs_and_keeps_what_was_noted(tree, journal, folder):
    governor, setspeed = knobs(tree)
    journal.open([governor])
    journal.note(governor, ["userspace"])
    governor.write("userspace")
    journal.open([governor, setspeed])
    first, second = document(folder)["knobs"]
    assert (first["was"], first["ours"][0].strip()) == ("ondemand", "userspace")
    assert (second["key"], second["was"]) == (SETSPEED, "600000")
    journal.note(setspeed, ["750000"])
    journal.note(governor, ["performance"])
    assert document(folder)["knobs"][0]["ours"][0].strip() == "performance"
    assert document(folder)["knobs"][1]["ours"][0].strip() == "750000"


def test_knobs_that_could_not_be_added_are_not_in_it(tree, journal, monkeypatch):
    governor, setspeed = knobs(tree)
    journal.open([governor])
    with monkeypatch.context() as patch:
        patch.setattr(journal_file.os, "write", fail_with(errno.ENOSPC))
        with pytest.raises(JournalError, match="No space left"):
            journal.open([setspeed])
    with pytest.raises(JournalError, match="not in the journal"):
        journal.note(setspeed, ["750000"])
    journal.note(governor, ["userspace"])


def test_a_knob_that_cannot_be_read_is_not_journalled(tree, journal, folder):
    found = knobs(tree)
    tree.fail_next_read(f"{POLICY0}/scaling_governor", errno.EBUSY)
    with pytest.raises(DeviceError, match="cannot be read"):
        journal.open(found)
    assert not (folder / "lease.json").exists()


def test_nothing_is_left_beside_it(tree, journal, folder):
    journal.open(knobs(tree)[:1])
    journal.open(knobs(tree))
    assert sorted(path.name for path in folder.iterdir()) == ["lease.json", "lock"]
    journal.restore()
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_what_a_killed_process_left_beside_it_is_swept_away(tree, journal, folder):
    folder.mkdir()
    (folder / "lease.json.4711.new").write_text("half a journ", encoding="ascii")
    journal.open(knobs(tree))
    assert sorted(path.name for path in folder.iterdir()) == ["lease.json", "lock"]


def test_it_needs_to_find_its_own_process(tree, journal, folder):
    tree.remove(f"/proc/{os.getpid()}/stat")
    with pytest.raises(JournalError, match="cannot be found in /proc"):
        journal.open(knobs(tree))
    assert not (folder / "lease.json").exists()


def test_noting_before_it_is_open_is_an_error(tree, journal):
    with pytest.raises(JournalError, match="not in the journal"):
        journal.note(knobs(tree)[0], ["userspace"])


def test_noting_after_it_was_ended_is_an_error(tree, journal):
    journal.open(knobs(tree))
    journal.restore()
    with pytest.raises(JournalError, match="not in the journal"):
        journal.note(knobs(tree)[0], ["userspace"])


@pytest.mark.parametrize("value", ["x" * 25, 'a"b', "a\\b", "a b", "ä", "a\n"])
def test_a_value_that_would_break_it_is_refused(tree, journal, value):
    journal.open(knobs(tree))
    with pytest.raises(JournalError, match="cannot stand in the journal"):
        journal.note(knobs(tree)[0], [value])


def test_a_knob_whose_old_value_would_break_it_is_refused(tree, journal, folder):
    tree.set_text(f"{POLICY0}/scaling_governor", "two words\n")
    with pytest.raises(JournalError, match="'two words' cannot stand"):
        journal.open(knobs(tree))
    assert not (folder / "lease.json").exists()


def test_longest_values_fit():
    assert slots_text(["x" * 24] * 3) == '["' + '", "'.join(["x" * 24] * 3) + '"]'
    assert len(slots_text([])) == len(slots_text(["x" * 24] * 3))


@pytest.mark.parametrize("count", [1, 2, 63, 64, 500])
def test_no_knobs_slots_lie_on_two_pages(count):
    header = JournalHeader("b" * 36, ProcessMark(1, 2), "edgeexit 0.1.0")
    entries = [KnobEntry(f"cpufreq/policy{n}/scaling_max_freq", "1500000", ("1000000",)) for n in range(count)]
    data, offsets = encode(header, entries)
    assert len(offsets) == count
    for offset in offsets.values():
        slots = data[offset : offset + len(slots_text([]))]
        assert json.loads(slots)[0].strip() == "1000000"
        assert offset // PAGE_BYTES == (offset + len(slots) - 1) // PAGE_BYTES
    assert decode(Path("lease.json"), data) == (header, entries)


def test_the_slots_of_many_cores_can_all_be_written_over(folder):
    tree = a_machine()
    for number in range(64):
        tree.add_cpufreq_policy(number, cpus=(number,), governors=("ondemand",))
    journal = journal_of(tree, folder)
    every = knobs(tree)
    journal.open(every)
    for index, knob in enumerate(every):
        journal.note(knob, [str(index), "7" * 24, "y"])
    read = document(folder)["knobs"]
    assert [knob["ours"][0].strip() for knob in read] == [str(index) for index in range(128)]
    assert {knob["was"] for knob in read} == {"600000", "1500000"}


# --- the order of things -----------------------------------------------------------------------------


@pytest.mark.parametrize("governors", [("ondemand", "userspace"), ("ondemand",)])
def test_every_value_stands_in_the_journal_before_the_machine_sees_it(folder, monkeypatch, governors):
    tree = a_machine()
    tree.add_cpufreq_policy(0, governors=governors)
    seen = []
    write = tree.sys_write

    def check_and_write(descriptor, data):
        in_journal = {value.strip() for knob in document(folder)["knobs"] for value in knob["ours"]}
        seen.append(data.decode())
        assert data.decode() in in_journal
        return write(descriptor, data)

    lease = lease_on(tree, folder)
    with monkeypatch.context() as patch:
        patch.setattr(tree, "sys_write", check_and_write)
        for mhz in (1000, 1500, 600, 600, 750, 1500):
            lease.set({"cpu": mhz * MHZ})
    assert len(seen) >= 6
    lease.close()


def test_nothing_is_written_anywhere_before_the_first_clock_is_asked_for(tree, folder):
    lease_on(tree, folder).close()
    assert not folder.exists()
    assert tree.writes == []


# --- whose it is -------------------------------------------------------------------------------------


def test_a_second_lease_is_refused_while_the_first_one_lives(tree, folder):
    with lease_on(tree, folder) as first:
        first.set({"cpu": 1000 * MHZ})
        text = (folder / "lease.json").read_bytes()
        second = lease_on(tree, folder)
        with pytest.warns(ClocksUnavailable, match="another session of this process holds the clocks"):
            second.set({"cpu": 1500 * MHZ})
        assert second.observe_only
        second.close()
        assert tree.policies[0].cur_khz == 1_000_000
        assert (folder / "lease.json").read_bytes() == text


def test_a_lease_that_was_refused_does_not_stop_the_journalling_of_the_first(tree, folder):
    domains = {domain.name: domain for domain in find_cpufreq(tree)}
    with Lease(domains, journal=journal_of(tree, folder)) as first:
        first.set({"cpu": 1000 * MHZ})
        with Lease(domains, journal=journal_of(tree, folder)) as second, pytest.warns(ClocksUnavailable):
            second.set({"cpu": 1500 * MHZ})
        Lease(domains, journal=journal_of(tree, folder)).close()
        first.set({"cpu": 750 * MHZ})
        assert document(folder)["knobs"][1]["ours"][0].strip() == "750000"


def test_a_taken_lease_is_an_error_of_its_own(tree, journal, folder):
    journal.open(knobs(tree))
    other = journal_of(tree, folder)
    with pytest.raises(LeaseTaken, match="close it first"):
        other.open(knobs(tree))
    with pytest.raises(LeaseTaken):
        other.restore_abandoned()
    assert not other.is_abandoned()
    assert other.restore() == ()
    journal.restore()
    other.open(knobs(tree))


def killed_at(tree, folder, mhz):
    lease = lease_on(tree, folder)
    lease.set({"cpu": mhz * MHZ})
    die(tree, folder, lease)


def test_the_journal_of_a_dead_process_is_played_back(tree, folder):
    before = knob_texts(tree)
    killed_at(tree, folder, 1000)
    assert knob_texts(tree) != before
    late = journal_of(tree, folder)
    assert late.is_abandoned()
    done = late.restore_abandoned()
    assert done.restored[0] == GOVERNOR
    assert (done.left, done.failed) == ({}, {})
    assert knob_texts(tree) == before
    assert not (folder / "lease.json").exists()


def test_the_next_lease_plays_back_the_journal_of_a_dead_one_first(tree, folder):
    before = knob_texts(tree)
    killed_at(tree, folder, 1000)
    live(tree, started=8000)
    with lease_on(tree, folder) as lease:
        lease.set({"cpu": 1500 * MHZ})
        assert document(folder)["knobs"][0]["was"] == "ondemand"
    assert knob_texts(tree) == before


def test_a_process_that_was_given_the_same_id_later_is_not_the_owner(tree, folder):
    before = knob_texts(tree)
    killed_at(tree, folder, 1000)
    live(tree, started=7001)
    journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before


def test_a_zombie_is_not_the_owner_any_more(tree, folder):
    before = knob_texts(tree)
    killed_at(tree, folder, 1000)
    live(tree, started=7000, state="Z")
    journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before


def test_the_journal_of_an_earlier_boot_is_deleted_and_changes_nothing(tree, folder):
    killed_at(tree, folder, 1000)
    tree.set_text(BOOT_ID, "another-boot\n")
    live(tree, started=7000)  # even if the same process id and start time came up again
    texts = knob_texts(tree)
    done = journal_of(tree, folder).restore_abandoned()
    assert (done.restored, done.left, done.failed) == ([], {}, {})
    assert knob_texts(tree) == texts
    assert not (folder / "lease.json").exists()


def test_where_there_is_no_journal_there_is_nothing_to_do(journal, folder):
    done = journal.restore_abandoned()
    assert (done.restored, done.left, done.failed) == ([], {}, {})
    assert journal.read_holder() is None
    assert not journal.is_abandoned()
    assert not folder.exists()


def test_a_journal_that_ended_while_the_lock_was_waited_for_is_nothing_to_do(tree, folder, monkeypatch):
    killed_at(tree, folder, 1000)
    late = journal_of(tree, folder)
    reads = iter([b"there", None])
    monkeypatch.setattr(journal_module, "read_file", lambda _path: next(reads))
    assert late.restore_abandoned().restored == []


def test_what_cannot_be_given_back_stays_in_a_journal_that_nobody_holds(tree, folder, caplog):
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    tree.policies[0].online = False
    lease.close()
    assert "scaling_governor could not be put back" in caplog.text
    assert journal_of(tree, folder).is_abandoned()
    tree.policies[0].online = True
    assert journal_of(tree, folder).restore_abandoned().restored == [GOVERNOR]
    assert tree.policies[0].governor == "ondemand"
    assert not (folder / "lease.json").exists()


def test_what_was_given_back_is_not_in_the_journal_that_is_left(folder):
    tree = a_machine()
    for number in (0, 1):
        tree.add_cpufreq_policy(number, cpus=(number,))
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    tree.policies[1].online = False
    lease.close()
    assert [knob["key"] for knob in document(folder)["knobs"]] == [
        "cpufreq/policy1/scaling_governor",
    ]


def test_while_a_dead_ones_clocks_cannot_be_given_back_no_clock_is_set(tree, folder, monkeypatch):
    killed_at(tree, folder, 1000)
    live(tree, started=8000)
    lease = lease_on(tree, folder)
    del tree.writes[:]
    with monkeypatch.context() as patch:
        patch.setattr(tree, "sys_write", fail_with(errno.EBUSY))
        with pytest.warns(ClocksUnavailable, match="cannot all be put back .*edgeexit restore` as root"):
            lease.set({"cpu": 1500 * MHZ})
        assert lease.observe_only
        lease.close()
    assert tree.writes == []
    assert journal_of(tree, folder).is_abandoned()


def test_a_dead_ones_journal_that_cannot_be_deleted_is_an_error(tree, folder, monkeypatch):
    killed_at(tree, folder, 1000)
    monkeypatch.setattr(journal_module.Path, "unlink", fail_with(errno.EACCES))
    with pytest.raises(JournalError, match="cannot be deleted: Permission denied"):
        journal_of(tree, folder).restore_abandoned()


# --- forks and guardians -----------------------------------------------------------------------------


def in_a_child(act):
    """Run `act` in a forked child and return what it wrote, or its error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(act()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as answer:
        return answer.read()


def test_a_forked_child_neither_gives_back_nor_sets_its_parents_clocks(tree, folder):
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    text = (folder / "lease.json").read_bytes()
    before = knob_texts(tree)
    assert in_a_child(lambda: (lease.close(), knob_texts(tree) == before)) == "(None, True)"
    assert "ClocksUnavailable" in in_a_child(lambda: lease.set({"cpu": 1500 * MHZ}))
    assert (folder / "lease.json").read_bytes() == text
    lease.close()
    assert not (folder / "lease.json").exists()


def test_a_forked_child_does_not_take_over_its_parents_journal(tree, folder, journal):
    governor, setspeed = knobs(tree)
    journal.open([governor])
    text = (folder / "lease.json").read_bytes()
    assert "of which this one is a fork" in in_a_child(lambda: journal.open([setspeed]))
    assert (folder / "lease.json").read_bytes() == text
    journal.note(governor, ["userspace"])
    assert document(folder)["knobs"][0]["ours"][0].strip() == "userspace"


def test_a_forked_child_may_hold_a_lease_of_its_own(folder):
    tree = a_machine()
    tree.add_cpufreq_policy(0)
    lease = lease_on(tree, folder)

    def take():
        live(tree)
        lease.set({"cpu": 1000 * MHZ})
        held = (tree.policies[0].cur_khz, lease.observe_only, document(folder)["pid"] == os.getpid())
        lease.close()
        return (*held, tree.policies[0].governor, (folder / "lease.json").exists())

    assert in_a_child(take) == "(1000000, False, True, 'ondemand', False)"


class WatchedFolder:
    """Stands for a guardian: notes when it was called, and that it was closed."""

    def __init__(self, path):
        self.saw_the_journal = path.exists()
        self.closed = 0

    def close(self):
        self.closed += 1


def test_a_guardian_is_started_once_there_is_a_journal_and_ended_with_it(tree, folder):
    guardians = []

    def watch():
        guardians.append(WatchedFolder(folder / "lease.json"))
        return guardians[-1]

    journal = FileJournal(lambda key: key, folder, tree, watch=watch)
    assert guardians == []
    journal.open(knobs(tree)[:1])
    journal.open(knobs(tree))
    assert [guardian.saw_the_journal for guardian in guardians] == [True]
    journal.restore()
    journal.restore()
    assert [guardian.closed for guardian in guardians] == [1]


def test_without_a_journal_no_guardian_is_started(tree, folder):
    folder.write_text("in the way", encoding="utf-8")
    guardians = []
    journal = FileJournal(lambda key: key, folder, tree, watch=lambda: guardians.append("started"))
    with pytest.raises(JournalError):
        journal.open(knobs(tree))
    assert guardians == []
