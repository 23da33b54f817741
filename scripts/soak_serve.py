#!/usr/bin/env python3
"""Load `edgeexit serve` beyond what it can do, for half an hour, and count what becomes of every request.

Requests come at 120 % of what the daemon was measured to answer, at the times of a Poisson process, which does not wait
for answers (an open loop). Each has one of four deadlines. Every answer is compared with what the exit that it names
says within this process. At the end the daemon's own count of late answers is compared with the count here, and its
memory with that after the warm-up. Ends with 1 if an answer was wrong, a request was lost, a missed deadline was not
counted, or memory grew by more than 5 MB. Needs the extras `prepare`, `serve` and `client`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import uvloop
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from serving_daemon import DEFAULT_COMMAND, Daemon, binary_request, daemon, metrics_request, read_reply
from serving_load import Address, Connection, Reply, side_by_side
from serving_net import FOLDER, ServingNet, make_serving_net
from serving_processes import memory_bytes

import edgeexit

RULE: Final = "threshold"
"""Exit rule that is asked for: the exit that answers speaks for itself alone, so that its answer can be checked."""
BUDGETS_S: Final = (0.03, 0.06, 0.12, 0.24)
BOARD: Final = "simulated:jetson-tx2"
"""Of the sessions here; what an exit says is the same on each."""
OVERLOAD: Final = 1.2
WARM_UP_S: Final = 120.0
MOST_GROWTH_BYTES: Final = 5_000_000
MEMORY_EVERY_S: Final = 2.0
IN_TIME: Final = "answered in time"
LATE: Final = "answered late"
PASSED: Final = "accepted, then not begun in time (504)"
REFUSED: Final = "refused"
METRICS: Final = {
    IN_TIME: ("edgeexit_deadlines_total", {"met": "yes"}),
    LATE: ("edgeexit_deadlines_total", {"met": "no"}),
    PASSED: ("edgeexit_failures_total", {"reason": "deadline_passed"}),
    REFUSED: ("edgeexit_failures_total", {"reason": "refused"}),
}
"""How the daemon counts what is counted here."""


class Case(NamedTuple):
    """A request that is sent again and again."""

    request: bytes
    image: int
    budget_s: float


@dataclass
class Tally:
    """What became of the requests."""

    counts: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    """Of answers, as seen here."""
    beyond_s: list[float] = field(default_factory=list)
    """How much later than its deadline an answer was here that was in time in the daemon."""
    problems: list[str] = field(default_factory=list)
    """The first few errors and wrong answers, in words."""

    def note(self, kind: str, problem: str = "") -> None:
        """Count one."""
        self.counts[kind] += 1
        if problem and len(self.problems) < 10:
            self.problems.append(f"{kind}: {problem}")


class Memory(NamedTuple):
    """The daemon's resident memory at a time."""

    at_s: float
    size_bytes: int


def main() -> int:
    """Make the network, start the daemon, load it, and print what came of it."""
    args = _arguments()
    net = make_serving_net(args.folder / "net")
    cases = list(make_cases(net))
    first = binary_request(net.images[:1])
    with daemon(net.bundle, args.folder / "soak", first, device=args.device, command=args.serve) as run:
        plain = [binary_request(image[None], exit_rule=RULE) for image in net.images]
        side_by_side(run.tcp, plain, 2.0, 8)
        capacity_hz = side_by_side(run.tcp, plain, args.capacity_s, 8)
        print(f"capacity {capacity_hz:.0f} requests/s at 8 connections", file=sys.stderr)
        before = read_counts(run.tcp)
        tally, memory = uvloop.run(load(run, cases, expected_by_exit(net), OVERLOAD * capacity_hz, args.minutes * 60))
        after = read_counts(run.tcp)
        alive = run.process.poll() is None
    counted = None if before is None or after is None else after - before
    lines, failed = judge(tally, memory, counted, alive=alive, warm_up_s=min(WARM_UP_S, args.minutes * 6))
    print("\n".join([*_about(args, run.command, capacity_hz), *lines]))
    return int(failed)


def make_cases(net: ServingNet) -> Iterator[Case]:
    """Yield a request for each image with each deadline."""
    for image, pixels in enumerate(net.images):
        for budget_s in BUDGETS_S:
            yield Case(binary_request(pixels[None], exit_rule=RULE, latency_budget_s=budget_s), image, budget_s)


def expected_by_exit(net: ServingNet) -> NDArray[np.float32]:
    """Return what each exit says of each image, (images, exits, classes) float32, from sessions here."""
    bundle = edgeexit.load_bundle(net.bundle)
    every = []
    for exit_index in range(bundle.exit_count):
        rule = edgeexit.load_exit_rule("fixed", exit_count=bundle.exit_count, exit_index=exit_index)
        with edgeexit.open_device(BOARD) as board, edgeexit.Session(bundle, board, exit_rule=rule) as session:
            every.append([session.infer(image[None]).probabilities for image in net.images])
    return np.array(every, np.float32).transpose(1, 0, 2)


async def load(
    run: Daemon, cases: Sequence[Case], expected: NDArray[np.float32], rate_hz: float, for_s: float
) -> tuple[Tally, list[Memory]]:
    """Send requests at `rate_hz` on average for so long; return what became of them, and the daemon's memory."""
    tally, idle = Tally(), Pool(run.tcp)
    random = np.random.default_rng(0)
    asked: set[asyncio.Task[None]] = set()
    start = now = time.perf_counter()
    watching = asyncio.create_task(watch_memory(run, start, for_s))
    while now < start + for_s:
        case = cases[int(random.integers(len(cases)))]
        task = asyncio.create_task(ask(case, idle, expected, tally))
        asked.add(task)
        task.add_done_callback(asked.discard)
        tally.counts["sent"] += 1
        now += random.exponential(1.0 / rate_hz)
        await asyncio.sleep(max(now - time.perf_counter(), 0.0))
    if asked:
        await asyncio.wait(asked, timeout=30.0)
    for _ in range(len(asked)):
        tally.note("lost", "no answer 30 s after the end")
    memory = await watching
    idle.close()
    return tally, memory


async def watch_memory(run: Daemon, start: float, for_s: float) -> list[Memory]:
    """Read the daemon's memory every two seconds."""
    memory: list[Memory] = []
    while time.perf_counter() < start + for_s and run.process.poll() is None:
        memory.append(Memory(time.perf_counter() - start, memory_bytes(run.process)))
        await asyncio.sleep(MEMORY_EVERY_S)
    return memory


class Pool:
    """Connections that wait for their next request.

    Args:
        address: Host and port of the daemon.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> Reply:
        """Send a request over a connection that nobody uses and the daemon has not closed, or a new one."""
        reader, writer = self._waiting() or await asyncio.open_connection(*self._address)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
            reply = Reply(int(head[9:12]), head, b"")
            body = await reader.readexactly(int(reply.header("content-length") or 0))
        except BaseException:
            writer.close()
            raise
        if reply.header("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return reply._replace(body=body)

    def _waiting(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Hang up."""
        for _, writer in self._idle:
            writer.close()


async def ask(case: Case, pool: Pool, expected: NDArray[np.float32], tally: Tally) -> None:
    """Send one request, and note what becomes of it."""
    start = time.perf_counter()
    try:
        reply = await pool.ask(case.request)
    except (OSError, EOFError) as error:
        tally.note("error", repr(error))
        return
    note_reply(case, reply, time.perf_counter() - start, expected, tally)


def note_reply(case: Case, reply: Reply, took_s: float, expected: NDArray[np.float32], tally: Tally) -> None:
    """Count an answer or refusal."""
    if reply.status == 504:
        tally.note(PASSED)
    elif reply.status == 422 or (reply.status == 503 and reply.header("retry-after") is not None):
        tally.note(REFUSED)
    elif reply.status != 200:
        tally.note("error", f"status {reply.status}: {reply.body[:200]!r}")
    else:
        note_answer(case, reply, took_s, expected, tally)


def note_answer(case: Case, reply: Reply, took_s: float, expected: NDArray[np.float32], tally: Tally) -> None:
    """Count an answer as right or wrong, and as in time or late."""
    answer = read_reply(reply)
    exit_index = int(answer.outputs["exit_index"][0])
    own, told = expected[case.image, exit_index], answer.outputs["probabilities"][0]
    if not np.allclose(own, told, atol=1e-5) or int(answer.outputs["label"][0]) != int(own.argmax()):
        tally.note("wrong", f"image {case.image}, exit {exit_index}: {told}, not {own}")
        return
    met = answer.parameters.get("deadline_met") is True
    tally.note(IN_TIME if met else LATE)
    tally.counts[f"exit {exit_index}"] += 1
    tally.latencies_s.append(took_s)
    if met and took_s > case.budget_s:
        tally.beyond_s.append(took_s - case.budget_s)


def read_counts(address: Address) -> Counter[str] | None:
    """Return how often each outcome came about by the daemon's own metrics; None if it has none."""
    with Connection(address) as connection:
        reply = connection.ask(metrics_request())
    if reply.status != 200:
        return None
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(reply.body.decode()):
        for sample in family.samples:
            for kind, (name, labels) in METRICS.items():
                if sample.name == name and labels.items() <= sample.labels.items():
                    counts[kind] += int(sample.value)
    return counts


def judge(
    tally: Tally, memory: Sequence[Memory], counted: Counter[str] | None, *, alive: bool, warm_up_s: float
) -> tuple[list[str], bool]:
    """Return what came of the load in lines, and whether it is not as it should be."""
    counts = tally.counts
    growth = growth_bytes(memory, warm_up_s)
    here = {kind: counts[kind] for kind in METRICS}
    there = {kind: -1 if counted is None else counted[kind] for kind in METRICS}
    faults = {
        "the daemon ended": not alive,
        "answers were wrong": counts["wrong"] > 0,
        "requests failed": counts["error"] + counts["lost"] > 0,
        "memory grew": growth is None or growth > MOST_GROWTH_BYTES,
        "the daemon counts otherwise": here != there,
    }
    lines = [f"{kind:<42} {count:>8} {100 * count / max(counts['sent'], 1):6.2f} %" for kind, count in counts.items()]
    lines += list(_latency_lines(tally))
    lines.append(f"the daemon counts {', '.join(f'{kind} {count}' for kind, count in there.items())}")
    if memory and growth is not None:
        lines.append(f"resident {memory[-1].size_bytes / 1e6:.1f} MB, {growth / 1e6:+.2f} MB since {warm_up_s:.0f} s")
        steps = [memory[(len(memory) - 1) * part // 8] for part in range(9)]
        lines.append("MB at seconds: " + ", ".join(f"{each.size_bytes / 1e6:.1f} at {each.at_s:.0f}" for each in steps))
    lines += tally.problems
    found = [text for text, true in faults.items() if true]
    return [*lines, f"NOT as it should be: {'; '.join(found)}" if found else "all as it should be"], bool(found)


def growth_bytes(memory: Sequence[Memory], warm_up_s: float) -> float | None:
    """Return by how much memory grew from the minute after the warm-up to the last one; medians of both."""
    after = [each for each in memory if each.at_s >= warm_up_s]
    span_s = min(60.0, (after[-1].at_s - warm_up_s) / 3) if after else 0.0
    begin = [each.size_bytes for each in after if each.at_s <= warm_up_s + span_s]
    end = [each.size_bytes for each in after if each.at_s >= after[-1].at_s - span_s]
    return statistics.median(end) - statistics.median(begin) if begin and end else None


def _latency_lines(tally: Tally) -> Iterator[str]:
    if tally.latencies_s:
        middle, most = np.percentile(tally.latencies_s, [50, 99])
        yield f"latency of answers here: median {1e3 * middle:.1f} ms, 99 % within {1e3 * most:.1f} ms"
    if tally.beyond_s:
        yield (
            f"{len(tally.beyond_s)} answers were in time in the daemon and later than their deadline here (network and "
            f"this process), by {1e3 * statistics.median(tally.beyond_s):.2f} ms in the median"
        )


def _about(args: argparse.Namespace, command: str, capacity_hz: float) -> list[str]:
    return [
        f"{args.minutes:g} minutes at {OVERLOAD:.0%} of {capacity_hz:.0f} requests/s, open loop, Poisson; deadlines "
        f"{', '.join(f'{1e3 * each:g}' for each in BUDGETS_S)} ms; board {args.device}",
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"daemon: {command}",
        f"command: {' '.join(sys.argv)}",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add("--folder", type=Path, default=FOLDER, help="for network and logs (default a temporary one)")
    add("--minutes", type=float, default=30.0, help="how long to load the daemon (default 30)")
    add("--capacity-s", type=float, default=10.0, help="seconds to measure its capacity (default 10)")
    add("--device", default="host", help="board of the daemon (default host, so that deadlines are in real time)")
    add("--serve", default=DEFAULT_COMMAND, help="command of the daemon (default that of this Python)")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())
