import errno
import stat

import pytest

from edgeexit.device.board_text import MAX_TEXT_BYTES, Entry, format_recording, parse_board
from edgeexit.errors import DeviceError, RecordingError

HEADER = "edgeexit board recording 1\n"


def entry_of(line):
    (entry,) = parse_board(f"{HEADER}\n{line}\n").entries
    return entry


def test_it_reads_notes_and_entries():
    recording = parse_board(f"{HEADER}# recorded on a board\n# kernel 6.6\n\n/a/b 0444 0:0 = 1\n")
    assert recording.notes == ("recorded on a board", "kernel 6.6")
    assert recording.entries == (Entry(path="/a/b", text="1\n"),)


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("/a 0644 0:990 = 600000", Entry(path="/a", mode=stat.S_IFREG | 0o644, owner=(0, 990), text="600000\n")),
        ("/a 0444 0:0 =", Entry(path="/a", text="\n")),
        ("/a 0444 0:0 :=", Entry(path="/a", text="")),
        (r"/a 0444 0:0 := Raspberry Pi\0", Entry(path="/a", text="Raspberry Pi\0")),
        (r"/a 0444 0:0 = x y\x20", Entry(path="/a", text="x y \n")),
        (r"/a 0444 0:0 = back\\slash", Entry(path="/a", text="back\\slash\n")),
        (r"/a 0444 0:0 := \xff", Entry(path="/a", text="\udcff")),
        ("/a 0400 0:0 ! EACCES", Entry(path="/a", mode=stat.S_IFREG | 0o400, error=errno.EACCES)),
        ("/dev/vcio 020660 0:44", Entry(path="/dev/vcio", mode=stat.S_IFCHR | 0o660, owner=(0, 44))),
        ("/a -> ../b", Entry(path="/a", mode=stat.S_IFLNK | 0o777, target="../b")),
        ("/a/", Entry(path="/a", mode=stat.S_IFDIR | 0o755)),
        (r"/a\x20b 0444 0:0 = 1", Entry(path="/a b", text="1\n")),
        ("/a 0444 0:0 |\n|   x\n|\n| y", Entry(path="/a", text="  x\n\ny\n")),
    ],
)
def test_it_reads_and_writes_each_kind_of_entry(line, entry):
    assert entry_of(line) == entry
    assert format_recording((), [entry]) == f"{HEADER}\n{line}\n"


def test_entries_are_written_in_the_order_of_their_paths():
    text = format_recording(["two\nlines"], [Entry(path="/b", text="2\n"), Entry(path="/a", text="1\n")])
    assert text == f"{HEADER}# two\n# lines\n\n/a 0444 0:0 = 1\n/b 0444 0:0 = 2\n"


def test_line_ends_of_another_system_do_no_harm():
    assert parse_board(f"{HEADER}\n/a 0444 0:0 = 1\n".replace("\n", "\r\n")).entries[0].text == "1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no board recording"),
        ("edgeexit board recording 2\n", "no board recording: its first line"),
        (f"{HEADER}nonsense\n", "line 2: 'nonsense' is no entry"),
        (f"{HEADER}/a 444 0:0 = 1\n", "line 2: .* is no entry"),
        (f"{HEADER}/a 0444 root:root = 1\n", "line 2: .* is no entry"),
        (f"{HEADER}\n/a 0444 0:0 ! EVERYTHING\n", "line 3: 'EVERYTHING' is no name of an error"),
        (f"{HEADER}/a 0444 0:0 ! errorcode\n", "no name of an error"),
        (f"{HEADER}/a 0444 0:0 = 1\n/a 0444 0:0 = 2\n", "line 3: /a is there twice"),
        (f"{HEADER}/a/../b 0444 0:0 = 1\n", "no plain absolute path"),
        (f"{HEADER}/a//b 0444 0:0 = 1\n", "no plain absolute path"),
        (f"{HEADER}| text\n", "line 2: .* belongs to no file"),
        (f"{HEADER}/a 0444 0:0 = 1\n| text\n", "line 3: .* belongs to no file"),
        (HEADER + "/a 0444 0:0 = \\q\n", "line 2: .* a backslash that escapes nothing"),
        (HEADER + " " * MAX_TEXT_BYTES, "at most 1048576 characters"),
    ],
)
def test_a_damaged_recording_is_refused_with_the_line(text, message):
    with pytest.raises(RecordingError, match=message) as caught:
        parse_board(text)
    assert isinstance(caught.value, DeviceError)
