"""Runs in a guest: clockd as root, its client as an ordinary user, and either of them killed."""

import contextlib
import os
import random
import signal
import time
import traceback
import warnings

from board.clock_files import AT_BOOT, GPU_AT_BOOT, differences, read_files, set_state
from board.in_guest_answers import USER
from board.in_guest_clocks import RUN_FOLDER, find_domains
from board.in_guest_kill import run_restore

import edgeexit.cli.clockd
import edgeexit.daemon.clockd.running  # noqa: F401  imported here once, and not in each clockd
from edgeexit.cli import main as main_of_cli
from edgeexit.daemon.clockd.client import ClockdLease
from edgeexit.device.sysfs import Tree

SOCKET = RUN_FOLDER / "clockd.sock"
PATIENCE_S = 60.0
STEP_S = 0.02
KILLS = ("client", "clockd", "both", "clockd", "client")


def main(seed):
    """Kill either process at random moments; then see what clockd does for a user of whom it was not told."""
    tree, chance = Tree(), random.Random(seed)
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    before = read_files(tree)
    clockd, client = start_clockd(), start(change_forever)
    try:
        first_s = changed(tree, before)
        rounds = []
        for what in KILLS:
            done, clockd, client = kill(what, tree, before, chance, clockd, client)
            rounds.append(done)
        end(client, signal.SIGKILL)
        back_s = restored(tree, before)
        stranger = ask_as_a_stranger()
        status = end(clockd, signal.SIGTERM)
    finally:
        for child in (clockd, client):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                end(child, signal.SIGKILL)
    return {
        "first_change_s": first_s,
        "rounds": rounds,
        "client_gone_s": back_s,
        "stranger": stranger,
        "exit_status": status,
        "not_restored": differences(before, read_files(tree)),
        "socket_left": SOCKET.exists(),
        "journal_left": (RUN_FOLDER / "lease.json").exists(),
    }


def kill(what, tree, before, chance, clockd, client):
    """Kill, see the clocks come back, start again what died, and see it set clocks again."""
    time.sleep(chance.uniform(0.0, 0.2))
    start_s = time.monotonic()
    for child in {"client": [client], "clockd": [clockd], "both": [clockd, client]}[what]:
        end(child, signal.SIGKILL)
    restore = run_restore() if what != "client" else None  # as the service manager does after clockd
    restored_s, took_s = restored(tree, before), time.monotonic() - start_s
    again_s = time.monotonic()
    if what != "client":
        clockd = start_clockd()
    if what != "clockd":
        client = start(change_forever)
    done = {
        "what": what,
        "restored": restored_s is not None,
        "took_s": took_s,
        "restore": restore,
        "not_restored": differences(before, read_files(tree)) if restored_s is None else {},
        "resumed": changed(tree, before) is not None,
        "resumed_s": time.monotonic() - again_s,
    }
    return done, clockd, client


def start(function):
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    return child


def start_clockd():
    return start(
        lambda: os._exit(
            main_of_cli(["clockd", "--socket", str(SOCKET), "--device", "host", "--allow-user", str(USER)])
        )
    )


def end(child, number):
    os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def become(user):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def change_forever():
    become(USER)
    warnings.simplefilter("ignore")
    domains = {domain.name: domain for domain in find_domains(Tree())}
    points = {name: domain.operating_points_hz for name, domain in domains.items()}
    lease = ClockdLease(SOCKET, domains)
    while True:
        lease.set({name: random.choice(some) for name, some in points.items()})
        time.sleep(0.01)


def ask_as_a_stranger():
    """Return what a user is told whom clockd was not told of."""
    receiver, sender = os.pipe()

    def ask():
        become(USER + 1)
        warnings.simplefilter("ignore")
        domains = {domain.name: domain for domain in find_domains(Tree())}
        lease = ClockdLease(SOCKET, domains)
        lease.set({name: domain.operating_points_hz[-1] for name, domain in domains.items()})
        lease.wait(PATIENCE_S)
        os.write(sender, f"{lease.state}: {lease.reason}".encode())
        os._exit(0)

    child = start(ask)
    os.close(sender)
    with os.fdopen(receiver) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def restored(tree, before):
    """Return how long it took until every file held its old value; None if it never did."""
    return wait(lambda: not differences(before, read_files(tree)))


def changed(tree, before):
    """Return how long it took until a client held clocks and files had changed; None if that never came."""
    return wait(lambda: (RUN_FOLDER / "lease.json").exists() and differences(before, read_files(tree)))


def wait(condition):
    start_s = time.monotonic()
    while not condition():
        if time.monotonic() - start_s > PATIENCE_S:
            return None
        time.sleep(STEP_S)
    return time.monotonic() - start_s
