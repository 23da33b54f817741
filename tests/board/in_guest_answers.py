"""Runs in a guest: what its kernel answers, case by case, and what it answers to an ordinary user."""

import json
import os
import traceback

from board.answers import as_user_answers, transcripts
from board.clock_files import settle

from edgeexit.device.sysfs import Tree

USER = 1000


def main(board, paths):
    return {
        "transcripts": transcripts(board, Tree(), settle),
        "user": in_child(lambda: as_user_answers(Tree(), paths)),
        "modes": {path: [Tree().sys_mode(path), *Tree().sys_owner(path)] for path in paths},
    }


def in_child(function):
    """Return what a function returns to an ordinary user, in a process of its own."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
        try:
            os.write(sender, json.dumps(function()).encode())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    assert text, "the child failed: its traceback is on the console"
    return json.loads(text)
