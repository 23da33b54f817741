"""The harness of the virtual boards: it says why there are none, and a guest that fails shows what happened."""

import shutil

import pytest
from board import guests
from board.keep import keep
from board.packages import NotFetchedError, find_mirror


def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None if program in ("iasl", "dtc") else f"/usr/bin/{program}")
    assert guests.why_not() == "no virtual boards here; for them: apt-get install acpica-tools device-tree-compiler"


def test_a_guest_that_does_not_end_is_killed_and_shows_its_console(x86_guest, tmp_path):
    with pytest.raises(guests.GuestFailedError, match=r"did not come to its end within 1.0 s; parts that did: \[\]"):
        guests.run(guests.x86_board(), {"machine": ("in_guest_machine", {})}, tmp_path, timeout_s=1.0)


def test_a_part_that_failed_in_the_guest_shows_its_traceback():
    answers = guests.Answers("x86", {"clocks": {"value": None, "error": "ZeroDivisionError"}}, 1.0)
    with pytest.raises(AssertionError, match="clocks on the x86 board: ZeroDivisionError"):
        answers["clocks"]


def test_what_was_built_is_built_once(monkeypatch, tmp_path):
    monkeypatch.setattr("board.keep.FOLDER", tmp_path)
    built = []

    def build(folder):
        built.append(folder)
        (folder / "image").write_text("made")

    assert (keep("board", ["key"], build) / "image").read_text() == "made"
    assert keep("board", ["key"], build) == keep("board", ["key"], build)
    assert keep("board", ["other key"], build) != keep("board", ["key"], build)
    assert len(built) == 2


def test_a_build_that_is_cut_off_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr("board.keep.FOLDER", tmp_path)

    def build(folder):
        (folder / "image").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep("board", ["key"], build)
    assert list((tmp_path / "edgeexit-boards").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "debian.sources",
            "Types: deb\n# http://old\nURIs: http://mirror/debian\nSuites: bookworm\nComponents: main\n",
        ),
        ("some.list", "deb http://other/x stable main\ndeb [arch=amd64] http://mirror/debian bookworm main contrib\n"),
    ],
)
def test_packages_come_from_where_this_machine_has_its_own(tmp_path, name, text):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(text, encoding="utf-8")
    assert find_mirror(tmp_path) == "http://mirror/debian"


def test_a_machine_without_debian_12_says_so(tmp_path):
    with pytest.raises(NotFetchedError, match="bookworm"):
        find_mirror(tmp_path)
