"""Kills clockd and its client at random while clocks change, and sees that the clocks always come back.

    python scripts/chaos_clocks.py [--kills 50] [--stops 5] [--load clocks|inference|daemon] [--seed 1] [--report FILE]

The machine is a fake one by FUSE, so everything goes by true system calls; clockd and its load are processes of their
own, and a supervisor starts them again as systemd would: it runs `restore` after clockd (ExecStopPost), and at times
kills the guardian with it (KillMode=control-group). What is printed: how long until every file held its old value
again, how long until clocks were set again, and every value that was left changed. The second of these includes the
start of what was killed: a Python process, for a session also its bundle and 20 answers. On an idle machine that is
about a second, and on one that is busy with other things it may be ten; clockd itself takes some tens of milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import edgeexit
from edgeexit.daemon.clockd.client import ClockdLease
from edgeexit.daemon.clockd.running import ClockdSettings, run_clockd
from edgeexit.device.host import HostDevice, machine_journal
from edgeexit.device.sysfs import Tree
from edgeexit.errors import LeaseTaken
from edgeexit.protocols import Decision, Observation
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import MountedTree, mounted, why_not

if TYPE_CHECKING:
    from chaos_daemon import Asker

RESTORE_S: Final = 2.0
"""So soon the clocks have to be back."""
PATIENCE_S: Final = 30.0
"""So long something is waited for at all."""
STEP_S: Final = 0.002
CPUFREQ: Final = "/sys/devices/system/cpu/cpufreq"
GPU: Final = "/sys/class/devfreq/17000000.gv11b"
FILES: Final = (
    *(f"{CPUFREQ}/policy{number}/scaling_{part}" for number in (0, 2) for part in ("governor", "min_freq", "max_freq")),
    *(f"{GPU}/{part}" for part in ("governor", "min_freq", "max_freq")),
    f"{CPUFREQ}/schedutil/rate_limit_us",
)


def machine() -> FakeTree:
    """Return a big.LITTLE processor and a GPU: three clock domains, one of them with a limit set by its user."""
    tree = FakeTree()
    governors = ("schedutil", "performance", "userspace")
    tree.add_cpufreq_policy(0, cpus=(0, 1), governors=governors, governor="schedutil")
    table = (500_000, 900_000, 1_300_000, 1_700_000, 2_100_000)
    tree.add_cpufreq_policy(
        2, cpus=(2, 3), table_khz=table, limit_max_khz=1_700_000, governors=governors, governor="schedutil"
    )
    tree.add_devfreq()
    return tree


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything lies."""

    root: Path
    run: Path
    socket: Path


@dataclass(slots=True)
class Round:
    """One kill, or one stop.

    Attributes:
        what: "clockd", "client", "both" or "stopped client".
        guardian: False if the guardian was killed with clockd.
        at_once: True if the supervisor started it again at once; then nobody can say when the clocks were back.
        restored_s: Time until every file held its old value; None if that was not waited for.
        left: Files that did not, after `PATIENCE_S`.
        resumed_s: Time until clocks were set again; None if they never were.
        ended: What ended by itself, and with which exit status.
    """

    what: str
    guardian: bool = True
    at_once: bool = False
    restored_s: float | None = None
    left: dict[str, list[str | None]] = field(default_factory=dict)
    resumed_s: float | None = None
    ended: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether the clocks were back in time, and service went on."""
        in_time = self.at_once or (self.restored_s is not None and self.restored_s <= RESTORE_S)
        return in_time and not self.left and self.resumed_s is not None and not self.ended


Command = Callable[[Place], list[str]]


def clockd_command(place: Place) -> list[str]:
    """Return what starts clockd on the fake machine."""
    return _this_script("clockd", place)


def clock_load_command(place: Place) -> list[str]:
    """Return what starts a client that changes all clocks all the time."""
    return _this_script("client", place)


def inference_load_command(place: Place) -> list[str]:
    """Return what starts a session that changes the clocks before every segment, and checks its answers."""
    return _this_script("inference", place)


def daemon_command(place: Place) -> list[str]:
    """Return what starts the whole daemon on the fake machine."""
    return _this_script("daemon", place)


LOADS: Final[dict[str, Command]] = {
    "clocks": clock_load_command,
    "inference": inference_load_command,
    "daemon": daemon_command,
}
"""What asks for clocks: name -> what starts it. The process is killed and started again like clockd; if it ends by
itself, for instance because of a wrong answer, that counts as bad."""


def _this_script(role: str, place: Place) -> list[str]:
    return [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--role",
        role,
        str(place.root),
        str(place.run),
        str(place.socket),
    ]


class Service:
    """A process that the supervisor keeps alive."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def restart(self) -> None:
        """Wait for its death and start it again."""
        self.process.wait()
        self.process = self._started()

    def end(self) -> None:
        """End it in an orderly way."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE_S)


class Chaos:
    """A mounted machine with its services.

    Args:
        mount: The machine.
        place: Where everything lies.
        load: What asks for clocks.
        chance: Decides who is killed, and when.
    """

    def __init__(self, mount: MountedTree, place: Place, load: Command, chance: random.Random) -> None:
        self._tree, self._place, self._chance = mount.tree, place, chance
        self.before = self._settings()
        self.clockd, self.load = Service(clockd_command(place)), Service(load(place))
        self._resumed(time.monotonic())

    def kill(self) -> Round:
        """Kill one process or both at a random moment, and start again what died."""
        chance = self._chance
        done = Round(chance.choice(("clockd", "clockd", "client", "client", "both")))
        done.at_once = chance.random() < 0.3
        done.guardian = done.what == "client" or chance.random() < 0.5
        killed = {"clockd": [self.clockd], "client": [self.load], "both": [self.clockd, self.load]}[done.what]
        time.sleep(chance.uniform(0.0, 0.3))
        guardians = [] if done.guardian else _children(self.clockd.process.pid)
        done.ended = self._ended()
        start_s = time.monotonic()
        for pid in [*(service.process.pid for service in killed), *guardians]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.clockd in killed:
            self.clockd.process.wait()
            self._exec_stop_post()
        if not done.at_once:
            self._see_restored(done, start_s)
        for service in killed:
            service.restart()
        done.resumed_s = self._resumed(start_s)
        return done

    def stop(self) -> Round:
        """Let the client be silent, and go on."""
        done = Round("stopped client")
        time.sleep(self._chance.uniform(0.0, 0.3))
        start_s = time.monotonic()
        self.load.process.send_signal(signal.SIGSTOP)
        self._see_restored(done, start_s)
        self.load.process.send_signal(signal.SIGCONT)
        done.resumed_s = self._resumed(start_s)
        return done

    def end(self) -> dict[str, list[str | None]]:
        """End both services in an orderly way; return the files that do not hold their old value."""
        self.load.end()
        self.clockd.end()
        return self._left()

    def _ended(self) -> dict[str, int]:
        """Return which services have ended by themselves."""
        codes = {"clockd": self.clockd.process.poll(), "load": self.load.process.poll()}
        return {name: code for name, code in codes.items() if code is not None}

    def _exec_stop_post(self) -> None:
        """Do what `edgeexit restore` does."""
        with suppress(LeaseTaken):
            machine_journal(self._tree, self._place.run).restore_abandoned()

    def _see_restored(self, done: Round, start_s: float) -> None:
        while self._left():
            if time.monotonic() - start_s > PATIENCE_S:
                done.left = self._left()
                return
            time.sleep(STEP_S)
        done.restored_s = time.monotonic() - start_s

    def _resumed(self, start_s: float) -> float | None:
        """Return how long it took until clocks were set by the present clockd."""
        while not (self._holder() == self.clockd.process.pid and self._left()):
            if time.monotonic() - start_s > PATIENCE_S or self.clockd.process.poll() is not None:
                return None
            time.sleep(STEP_S)
        return time.monotonic() - start_s

    def _holder(self) -> int | None:
        try:
            return int(json.loads((self._place.run / "lease.json").read_bytes())["pid"])
        except (OSError, ValueError):
            return None

    def _settings(self) -> dict[str, str | None]:
        return {path: self._tree.read_or_none(path) for path in FILES}

    def _left(self) -> dict[str, list[str | None]]:
        """Return every file that holds another value than before: path -> before, now."""
        now = self._settings()
        return {path: [was, now[path]] for path, was in self.before.items() if was != now[path]}


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def run(arguments: argparse.Namespace) -> int:
    """Kill and stop as often as asked, print what came of it, and return an exit code."""
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        place = Place(Path(scratch) / "machine", Path(scratch) / "run", Path(scratch) / "clockd.sock")
        place.root.mkdir()
        mount = stack.enter_context(mounted(machine(), place.root))
        mount.tree.open_attribute(FILES[-1]).write("4321")  # the kernel forgets it when the governor changes
        asker = _asker(place) if arguments.load == "daemon" else None
        chaos = Chaos(mount, place, LOADS[arguments.load], chance)
        stack.callback(_force_end, chaos)
        kinds = [chaos.kill] * arguments.kills + [chaos.stop] * arguments.stops
        chance.shuffle(kinds)
        rounds = [_shown(number, kind()) for number, kind in enumerate(kinds, 1)]
        answers = {} if asker is None else dict(asker.close())
        left = chaos.end()
        journal = (place.run / "lease.json").exists()
    _print_summary(rounds, left)
    if answers:
        print("requests: " + ", ".join(f"{count} {what}" for what, count in sorted(answers.items())))
    if arguments.report is not None:
        arguments.report.write_text(json.dumps([asdict(done) for done in rounds], indent=1) + "\n", encoding="utf-8")
    return 0 if all(done.good for done in rounds) and not left and not journal and not answers.get("wrong") else 1


def _asker(place: Place) -> Asker:
    from chaos_daemon import Asker  # noqa: PLC0415  the other loads need neither HTTP nor its extras

    return Asker(place.socket)


def be_daemon(place: Place) -> None:
    """Be the daemon."""
    from chaos_daemon import be_daemon  # noqa: PLC0415

    be_daemon(place.root, place.socket)


def _force_end(chaos: Chaos) -> None:
    for service in (chaos.load, chaos.clockd):
        service.process.kill()
        service.process.wait()


def _shown(number: int, done: Round) -> Round:
    guardian = "" if done.guardian else " and guardian"
    restored = "started again at once" if done.restored_s is None else f"restored after {done.restored_s * 1e3:.0f} ms"
    resumed = "NEVER resumed" if done.resumed_s is None else f"resumed after {done.resumed_s * 1e3:.0f} ms"
    bad = "" if done.good else f"  BAD: left {done.left}, ended by itself {done.ended}"
    print(f"{number:3d} {done.what}{guardian}: {restored}, {resumed}{bad}", flush=True)
    return done


def _print_summary(rounds: Sequence[Round], left: dict[str, list[str | None]]) -> None:
    for what in ("clockd", "client", "both", "stopped client"):
        some = [done for done in rounds if done.what == what]
        times = [done.restored_s for done in some if done.restored_s is not None]
        again = [done.resumed_s for done in some if done.resumed_s is not None]
        if times and again:
            print(
                f"{what}: {len(some)} times; restored after {median(times) * 1e3:.0f} ms (median), "
                f"{max(times) * 1e3:.0f} ms (longest, of {len(times)}); set again after {median(again) * 1e3:.0f} ms "
                f"(median), {max(again) * 1e3:.0f} ms (longest)"
            )
    bad = sum(not done.good for done in rounds)
    print(f"{len(rounds)} rounds, {bad} bad; left changed at the end: {left or 'nothing'}")


def be_clockd(place: Place) -> None:
    """Run clockd on a fake machine, as `edgeexit clockd` does on this one."""
    with HostDevice(tree=Tree(place.root), run_folder=place.run, nvml=False) as device:
        run_clockd(device, ClockdSettings(socket=place.socket))


def be_client(place: Place) -> None:
    """Ask for other clocks all the time, until killed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        HostDevice(tree=Tree(place.root), run_folder=place.run.parent / "none", nvml=False) as device,
        ClockdLease(place.socket, device.domains) as lease,
    ):
        points = {name: domain.operating_points_hz for name, domain in device.domains.items()}
        while True:
            lease.set({name: random.choice(some) for name, some in points.items()})
            lease.read_clocks()
            time.sleep(random.uniform(0.0, 0.01))


class AnyPoint:
    """A governor that takes any operating point, so that clocks change all the time."""

    name = "any point"

    def decide(self, observation: Observation) -> Decision:
        """Choose by chance."""
        return Decision({name: random.choice(some) for name, some in observation.operating_points.items()})


def be_inference(place: Place) -> None:
    """Answer for images all the time, until killed; end if an answer is another than without any clock changed."""
    import numpy as np  # noqa: PLC0415  the other roles start without it

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    bundle = edgeexit.load_bundle("fashion-resnet")
    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as stored:
        images = stored["images"][:20].reshape(-1, 1, 1, 28, 28).astype(np.float32) / np.float32(255.0)
    with edgeexit.open_device("simulated:jetson-tx2") as board, edgeexit.Session(bundle, board) as session:
        expected = [session.infer(image).label for image in images]
    with (
        HostDevice(tree=Tree(place.root), run_folder=place.run.parent / "none", nvml=False) as device,
        ClockdLease(place.socket, device.domains) as lease,
        edgeexit.Session(bundle, device, AnyPoint(), lease=lease) as session,
    ):
        for index in cycle(range(len(images))):
            found = session.infer(images[index]).label
            if found != expected[index]:
                print(f"image {index}: {found} is not {expected[index]}", file=sys.stderr, flush=True)
                sys.exit(3)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Kill clockd and its client at random; the clocks must come back.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=5, help="how often the client is stopped for a while (SIGSTOP)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", choices=sorted(LOADS), default="clocks")
    parser.add_argument("--report", type=Path, help="also write every round to this file, as JSON")
    parser.add_argument("--role", nargs=4, metavar=("ROLE", "ROOT", "RUN", "SOCKET"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: argparse.Namespace) -> int:
    """Be one of the processes, or the supervisor."""
    if arguments.role:
        role, *paths = arguments.role
        roles = {"clockd": be_clockd, "client": be_client, "inference": be_inference, "daemon": be_daemon}
        roles[role](Place(*map(Path, paths)))
        return 0
    problem = why_not()
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(parse(sys.argv[1:])))
