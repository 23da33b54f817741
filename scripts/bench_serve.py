#!/usr/bin/env python3
"""Measure what `edgeexit serve` adds to a call within the process, beside LitServe and MLServer.

All servers run at the same time and are asked in turn, in rounds, over loopback by the same bare socket client. A
network of 3 ms or more is made first, with an input of 49,152 bytes. edgeexit runs it with exits, governor and metrics
on, and is compared with `Session.infer` here; the peers run it whole by plain ONNX Runtime, and are compared with that
here. Needs the extras `prepare`, `serve` and `client`; the peers are installed from PyPI into a virtual environment of
their own below --folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from serving_daemon import DEFAULT_COMMAND, binary_request, daemon, json_request, read_reply
from serving_load import Address, Connection, one_by_one, side_by_side
from serving_net import FOLDER, INPUT, ServingNet, make_serving_net, whole_network
from serving_peers import VERSIONS, litserve, make_environment, mlserver
from serving_processes import cpu_s, memory_bytes

import edgeexit
from edgeexit.errors import ExitsDrifted

Infer = Callable[[int], object]
"""Answers for the image of this number, within this process."""

EXITS: Final = "Session.infer"
WHOLE: Final = "ONNX Runtime"
CONNECTIONS: Final = (1, 4, 8)
BUDGET_S: Final = 0.5
"""Deadline of every request: one to plan for, which all of eight that wait still meet."""
IDLE_S: Final = 10.0


class Contender(NamedTuple):
    """A server, and what it is compared with."""

    name: str
    address: Address
    requests: Sequence[bytes]
    """One an image."""
    within: str
    """The call within the process that does the same work."""


class Figures(NamedTuple):
    """What was measured; each list has one figure a round."""

    within_s: dict[str, list[float]]
    """Median seconds of a call within the process."""
    added_s: dict[str, list[float]]
    """Median seconds that a server adds to it."""
    share: dict[tuple[str, int], list[float]]
    """Throughput of a server at so many connections, over that of one call after the other within the process."""


def main() -> None:
    """Make the network, start all servers, measure, and print the table."""
    args = _arguments()
    warnings.simplefilter("ignore", ExitsDrifted)  # 16 images again and again are no sample of what was calibrated
    net = make_serving_net(args.folder / "net")
    with ExitStack() as stack:
        calls = stack.enter_context(within_process(net, args.device))
        contenders, notes = start_daemon(stack, net, args)
        contenders += start_peers(stack, net, args)
        figures = measure(calls, contenders, args)
    print("\n".join([*_about(args), *notes, "", *table(figures, contenders)]))


@contextmanager
def within_process(net: ServingNet, device: str) -> Iterator[Mapping[str, Infer]]:
    """Yield the calls that servers are compared with."""
    images = [image[None] for image in net.images]
    whole = whole_network(net.model)
    bundle, governor = edgeexit.load_bundle(net.bundle), edgeexit.load_governor("plan")
    with edgeexit.open_device(device) as board, edgeexit.Session(bundle, board, governor) as session:
        yield {
            EXITS: lambda i: session.infer(images[i], latency_budget_s=BUDGET_S),
            WHOLE: lambda i: whole.run(None, {INPUT: images[i]}),
        }


def start_daemon(stack: ExitStack, net: ServingNet, args: argparse.Namespace) -> tuple[list[Contender], list[str]]:
    """Start `edgeexit serve`, check its answers, and return its three ways in, and what it uses."""
    binary = [binary_request(image[None], latency_budget_s=BUDGET_S) for image in net.images]
    texts = [json_request(image[None], latency_budget_s=BUDGET_S) for image in net.images]
    run = stack.enter_context(
        daemon(net.bundle, args.folder / "edgeexit", binary[0], device=args.device, command=args.serve)
    )
    check_answers(net, run.tcp, binary, args.device)
    used_s = cpu_s(run.process)
    time.sleep(IDLE_S)
    idle = (cpu_s(run.process) - used_s) / IDLE_S
    notes = [
        f"daemon: {run.command}",
        f"start to first answer {run.start_s:.2f} s, idle {100 * idle:.2f} % of a core, resident "
        f"{memory_bytes(run.process) / 2**20:.0f} MiB after {len(binary) + 1} answers",
    ]
    ways = [("TCP, binary", run.tcp, binary), ("Unix socket, binary", run.unix, binary), ("TCP, JSON", run.tcp, texts)]
    return [Contender(f"edgeexit, {name}", address, requests, EXITS) for name, address, requests in ways], notes


def check_answers(net: ServingNet, address: Address, requests: Sequence[bytes], device: str) -> None:
    """Compare the daemon's answers with those of a session here.

    Raises:
        SystemExit: If one is another.
    """
    bundle = edgeexit.load_bundle(net.bundle)
    with ExitStack() as stack:
        connection = stack.enter_context(Connection(address))
        session = stack.enter_context(edgeexit.Session(bundle, stack.enter_context(edgeexit.open_device(device))))
        for image, request in zip(net.images, requests, strict=True):
            told, own = read_reply(connection.ask(request)).outputs, session.infer(image[None])
            same = np.allclose(told["probabilities"][0], own.probabilities, atol=1e-5)
            if not same or (int(told["label"][0]), int(told["exit_index"][0])) != (own.label, own.exit_index):
                raise SystemExit(f"the daemon answers {told}, a session {own}")


def start_peers(stack: ExitStack, net: ServingNet, args: argparse.Namespace) -> list[Contender]:
    """Start LitServe, and MLServer in its two ways."""
    if args.no_peers:
        return []
    python = make_environment(args.folder / "peers-venv")
    peers = [
        stack.enter_context(litserve(python, args.folder / "litserve", net.model, net.images)),
        stack.enter_context(mlserver(python, args.folder / "mlserver-1", net.model, net.images, workers=1)),
        stack.enter_context(mlserver(python, args.folder / "mlserver-0", net.model, net.images, workers=0)),
    ]
    return [Contender(peer.name, peer.address, peer.requests, WHOLE) for peer in peers]


def measure(calls: Mapping[str, Infer], contenders: Sequence[Contender], args: argparse.Namespace) -> Figures:
    """Measure all in turn, round by round, in another order each time."""
    figures = Figures({name: [] for name in calls}, {each.name: [] for each in contenders}, {})
    for number in range(args.rounds):
        turn = number % len(contenders)
        medians, rates = {}, {}
        for name, call in calls.items():
            times = call_one_by_one(call, args.round_s)
            medians[name], rates[name] = median_by_image(times), len(times) / sum(seconds for _, seconds in times)
            figures.within_s[name].append(statistics.median(medians[name].values()))
        for each in (*contenders[turn:], *contenders[:turn]):
            times = one_by_one(each.address, each.requests, args.round_s)
            base = medians[each.within]
            added_s = [seconds - base[image] for image, seconds in times if image in base]
            if added_s:  # a round in which the machine stood still compares nothing
                figures.added_s[each.name].append(statistics.median(added_s))
            for connections in CONNECTIONS if number < args.throughput_rounds else ():
                rate = side_by_side(each.address, each.requests, args.round_s, connections)
                figures.share.setdefault((each.name, connections), []).append(rate / rates[each.within])
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    return figures


def call_one_by_one(call: Infer, for_s: float) -> list[tuple[int, float]]:
    """Call for one image after the other; return each one's number and the seconds that it took."""
    times: list[tuple[int, float]] = []
    end = time.perf_counter() + for_s
    while (start := time.perf_counter()) < end:
        image = len(times) % 16
        call(image)
        times.append((image, time.perf_counter() - start))
    return times


def median_by_image(times: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return the median seconds for each image: they leave at different exits."""
    by_image: dict[int, list[float]] = {}
    for image, seconds in times:
        by_image.setdefault(image, []).append(seconds)
    return {image: statistics.median(seconds) for image, seconds in by_image.items()}


def table(figures: Figures, contenders: Sequence[Contender]) -> Iterator[str]:
    """Yield the lines of the result."""
    for name, seconds in figures.within_s.items():
        yield f"{name} within the process: {_ms(seconds)} (median and quartiles of rounds)"
    yield ""
    heads = "  ".join(f"{f'at {n}':>6}" for n in CONNECTIONS)
    yield f"{'server':<32}{'added latency':>26}   throughput, % of within the process"
    yield f"{'':<32}{'ms (quartiles)':>26}   {heads} connections"
    for each in contenders:
        shares = "  ".join(f"{100 * statistics.median(figures.share[each.name, n]):6.0f}" for n in CONNECTIONS)
        yield f"{each.name:<32}{_ms(figures.added_s[each.name]):>26}   {shares}"
    yield ""
    for own in contenders[:2]:
        for peer in contenders[3:]:
            yield _ratio(own.name, peer.name, figures.added_s)


def _ratio(own: str, peer: str, added_s: Mapping[str, Sequence[float]]) -> str:
    ratios = [ours / theirs for ours, theirs in zip(added_s[own], added_s[peer], strict=True)]
    middle = statistics.median(added_s[own]) / statistics.median(added_s[peer])
    low, high = np.percentile(ratios, [25, 75])
    return f"{own} adds {middle:.2f} times what {peer} adds (quartiles of rounds {low:.2f} to {high:.2f})"


def _ms(seconds: Sequence[float]) -> str:
    low, middle, high = 1e3 * np.percentile(seconds, [25, 50, 75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _about(args: argparse.Namespace) -> list[str]:
    packages = ("onnxruntime", "uvicorn", "uvloop", "httptools", "starlette", "msgspec", "numpy")
    return [
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, load average before "
        f"{args.load:.2f}, Python {platform.python_version()}",
        ", ".join(f"{name} {version(name)}" for name in packages),
        "peers: none" if args.no_peers else f"peers: {', '.join(VERSIONS)}",
        f"command: {' '.join(sys.argv)}",
        f"{args.rounds} rounds of {args.round_s:g} s, throughput in {args.throughput_rounds} of them; board "
        f"{args.device}, governor plan, deadline {1e3 * BUDGET_S:g} ms, input 49,152 bytes",
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add: Any = parser.add_argument
    add(
        "--folder",
        type=Path,
        default=FOLDER,
        help="for network, peers and logs (default a temporary one)",
    )
    add("--rounds", type=int, default=40, help="rounds of latency (default 40)")
    add("--throughput-rounds", type=int, default=10, help="of these also measure throughput (default 10)")
    add("--round-s", type=float, default=0.5, help="seconds of each measurement (default 0.5)")
    add("--device", default="simulated:jetson-tx2", help="board of daemon and session (default simulated:jetson-tx2)")
    add("--serve", default=DEFAULT_COMMAND, help="command of the daemon (default that of this Python)")
    add("--no-peers", action="store_true", help="measure edgeexit alone")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    args.load = os.getloadavg()[0]
    return args


if __name__ == "__main__":
    main()
