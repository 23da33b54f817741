"""Runs in a guest: kills a process at random moments while it changes clocks, and gives the clocks back."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback

from board.answers import CPUFREQ, DEVFREQ, NODE, write
from board.clock_files import CPU_STATES, GPU_STATES, differences, nodes, read_files, set_state, settle
from board.in_guest_clocks import RUN_FOLDER, find_domains

import edgeexit.cli.restore
import edgeexit.device.host  # noqa: F401  imported here once, and not in each child that restores
from edgeexit.cli import main as main_of_cli
from edgeexit.device.guardian import Guardian
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree

LONGEST_S = 0.1
"""How long a process changes clocks at most before it is killed; it makes some 100 changes in that time."""

PROGRAMS = 3
EARLY = 8
"""How many processes are killed at any moment since they were started, perhaps before their first change."""


def main(rounds, seed):
    """Kill `rounds` times, each time followed by `edgeexit restore`; the first few are programs of their own."""
    tree, chance = Tree(), random.Random(seed)
    killed = [kill_once(tree, chance, program=number < PROGRAMS) for number in range(rounds)]
    early = [kill_once(tree, chance, from_start=True) for _ in range(EARLY)]
    return {
        "rounds": killed,
        "early": early,
        "somebody_else": somebody_else(tree, chance),
        "guardian": by_guardian(tree, chance),
    }


def kill_once(tree, chance, *, program=False, from_start=False):
    set_state(tree, chance.choice(CPU_STATES), chance.choice(GPU_STATES))
    before = read_files(tree)
    start_change_and_kill(tree, chance, chance.uniform(0.0, LONGEST_S), from_start=from_start)
    at_kill, journal_left = differences(before, read_files(tree)), (RUN_FOLDER / "lease.json").exists()
    done = run_restore(program=program)
    settle()
    return {
        "changed_at_kill": sorted(at_kill),
        "journal_left": journal_left,
        "restore": done,
        "not_restored": differences(before, read_files(tree)),
        "journal_ended": not (RUN_FOLDER / "lease.json").exists(),
    }


def somebody_else(tree, chance):
    """Let somebody else set both clocks after the kill: what they have set is not touched, all else is."""
    set_state(tree, {"scaling_governor": "powersave"}, {"max_freq": "650250000"})
    before = read_files(tree)
    start_change_and_kill(tree, chance, None)
    theirs = {f"{CPUFREQ}/policy0/scaling_governor": "performance"}
    if nodes(tree):
        theirs[f"{DEVFREQ}/{NODE}/max_freq"] = "999000000"
    for path, text in theirs.items():
        assert write(tree, path, text) is None
    settle()
    done = run_restore()
    settle()
    after = read_files(tree)
    return {
        "theirs": theirs,
        "after": {path: after[path] for path in theirs},
        "restore": done,
        "files": [before, after],
    }


def by_guardian(tree, chance):
    """Return what is not restored within a while by the guardian alone, and how long it took."""
    set_state(tree, {"scaling_governor": "powersave"}, {"max_freq": "650250000"})
    before = read_files(tree)
    start_change_and_kill(tree, chance, None, watch=lambda: Guardian(RUN_FOLDER))
    start_s = time.monotonic()
    while (missing := differences(before, read_files(tree))) and time.monotonic() - start_s < 30.0:
        time.sleep(0.05)
    return {"not_restored": missing, "took_s": time.monotonic() - start_s}


def start_change_and_kill(tree, chance, after_s, *, from_start=False, watch=None):
    """Start a process that changes all clocks without a pause, and kill it.

    Args:
        after_s: How long after every clock has been changed, or with `from_start` after it was started; None is once
            all clocks are in the middle, where the process then leaves them.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            change_forever(tree, None if after_s is None else random.Random(chance.random()), sender, watch)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(sender)
    if not from_start:
        os.read(receiver, 1)
    time.sleep(after_s or 0.0)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(receiver)
    assert os.WIFSIGNALED(status), "the process that changed clocks ended by itself"


def change_forever(tree, chance, ready, watch):
    domains = {domain.name: domain for domain in find_domains(tree)}
    journal = FileJournal(lambda key: open_knob(tree, key), RUN_FOLDER, watch=watch)
    lease = Lease(domains, journal=journal)
    middle = {
        name: domain.operating_points_hz[len(domain.operating_points_hz) // 2] for name, domain in domains.items()
    }
    lease.set({name: min(domain.operating_points_hz) for name, domain in domains.items()})
    lease.set(middle)
    os.write(ready, b"1")
    while chance is None:
        time.sleep(1.0)
    while True:
        lease.set({name: chance.choice(domain.operating_points_hz) for name, domain in domains.items()})


def run_restore(*, program=False):
    """Run `edgeexit restore --json`: as a program, or by its main function in a child, which starts much faster."""
    arguments = ["restore", "--json"]
    if program:
        done = subprocess.run(
            [sys.executable, "-m", "edgeexit", *arguments], stdout=subprocess.PIPE, check=True, cwd="/tmp"
        )
        return json.loads(done.stdout)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(sender, 1)
        os._exit(main_of_cli(arguments))
    os.close(sender)
    with os.fdopen(receiver) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"edgeexit restore ended with {status}: {text}"
    return json.loads(text)
