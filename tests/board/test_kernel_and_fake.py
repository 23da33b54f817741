"""The fake machine answers as a real kernel does, case by case; the kernel is Linux 6.1 on the virtual boards."""

import errno
import json
import stat
from functools import cache

import pytest
from board.answers import QUESTIONS, as_user_answers, transcripts
from board.fakes import TREES
from board.runs import ARM64_FILES, CPU_FILES

CASES = [
    (board, part, case) for board, parts in QUESTIONS.items() for part, (cases, *_) in parts().items() for case in cases
]
FILES = {"x86": CPU_FILES, "arm64": ARM64_FILES}


@cache
def fake_transcripts(board):
    return json.loads(json.dumps(transcripts(board, TREES[board](), settle=lambda: None)))


@pytest.mark.parametrize(("guest", "part", "case"), CASES, indirect=["guest"])
def test_the_fake_answers_as_the_kernel_does(guest, part, case):
    kernel = guest["answers"]["transcripts"][part][case]
    assert fake_transcripts(guest.board)[part][case] == kernel


def test_an_ordinary_user_is_told_the_same_by_both(guest):
    tree = TREES[guest.board]()
    tree.as_user(True)
    paths = FILES[guest.board]
    assert {path: list(answer) for path, answer in as_user_answers(tree, paths).items()} == told(guest)


def test_an_ordinary_user_may_read_the_clocks_but_not_set_them(guest):
    for path, (written, text, may_write, may_read) in told(guest).items():
        if path.endswith("cpuinfo_cur_freq"):
            assert (written, text, may_write, may_read) == ("open: EACCES", "open: EACCES", False, False)
        else:
            assert (written, may_write, may_read) == ("open: EACCES", False, True)
            assert text.strip()


def test_the_files_have_the_same_permissions_in_both(guest):
    tree = TREES[guest.board]()
    modes = {path: [tree.sys_mode(path), *tree.sys_owner(path)] for path in FILES[guest.board]}
    assert modes == guest["answers"]["modes"]
    assert all(stat.S_ISREG(mode) and (user, group) == (0, 0) for mode, user, group in modes.values())


def test_the_questions_reach_every_kind_of_answer(guest):
    codes = {
        code for part in guest["answers"]["transcripts"].values() for steps in part.values() for _, code, _ in steps
    }
    expected = {None, "EINVAL", "open: EACCES", "open: ENOENT", "open: EISDIR"}
    assert codes == expected | ({"EBUSY"} if guest.board == "x86" else {"ENOENT", "ERANGE"})
    assert all(hasattr(errno, code.removeprefix("open: ")) for code in codes - {None})


def told(guest):
    return guest["answers"]["user"]
