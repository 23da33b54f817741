#!/usr/bin/env python3
"""Make the tables of docs/results/governors.md: every governor on every simulated board, with the bounds beside it.

    python scripts/governor_results.py bounds|static|misses|paper --traces FOLDER [--json FOLDER]

`bounds`: the governor `plan` against the bounds and all baselines, on five boards at six deadlines; `static`: the same
on boards whose static share of power is varied; `misses`: a million inferences with noisy latencies (the paper's rule:
50,000); `paper`: the comparison of the Predictive Exit paper on the TX2. FOLDER has BUNDLE.npz; what is not there is
recorded from the 10,000 test images of Fashion-MNIST (apt-get install dataset-fashion-mnist).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path

import edgeexit
from edgeexit.device.costs import CostModel
from edgeexit.device.static_share import with_static_share
from edgeexit.offline.clairvoyant import clairvoyant_energies
from edgeexit.offline.fashion_mnist import load_fashion_mnist
from edgeexit.offline.record import record_fashion_mnist
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.results import BoardReplay, GovernorRun, save_replays
from edgeexit.offline.replaying.standing import standings, standings_text
from edgeexit.offline.replaying.study import FACTORS, StudyOptions, replay_board
from edgeexit.offline.traces import Trace, load_traces, save_traces

BUNDLES = ("fashion-resnet", "fashion-vgg")
BOARDS = ("jetson-tx2", "jetson-nano", "jetson-orin-nano", "raspberry-pi-4", "raspberry-pi-5")
RULES = ("forecast", "thresholds")
GOVERNORS = (
    "plan",
    "plan-population",
    "deadline",
    "best-fixed",
    "race-to-idle",
    "performance",
    "powersave",
    "stock",
    "schedutil",
    "ondemand",
    "interactive",
    "predictive-exit",
)
STATIC_SHARES = (0.05, 0.2, 0.4, 0.6)
NOISES = (0.0, 0.1, 0.3)
INFERENCES = 1_000_000
MISSING = {"plan": 1, "predictive-exit": 20}
"""Governors that are tried for misses, and by how much fewer inferences each gets."""


def main() -> None:
    """Parse the arguments and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the recorded traces")
    parser.add_argument("--inferences", type=int, default=INFERENCES, help="of each run of `misses` (1,000,000)")
    parser.add_argument("--json", type=Path, help="folder to write the results to, for `edgeexit report`")
    options = parser.parse_args()
    make = TABLES[options.table]
    if options.table == "misses":
        make = partial(show_misses, inferences=options.inferences)
    replays: list[BoardReplay] = []
    for bundle in BUNDLES:
        replays += make(bundle, read_traces(bundle, options.traces)["test"])
    if options.json:
        options.json.mkdir(parents=True, exist_ok=True)
        for bundle in BUNDLES:
            of_bundle = tuple(replay for replay in replays if replay.bundle == bundle)
            save_replays(options.json / f"{options.table}-{bundle}.json", of_bundle)


def read_traces(bundle: str, folder: Path) -> dict[str, Trace]:
    """Return a bundle's recorded traces; record them first if they are not there."""
    path = folder / f"{bundle}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_traces(path, record_fashion_mnist(edgeexit.load_bundle(bundle), load_fashion_mnist()))
    return load_traces(path)


def show_bounds(name: str, trace: Trace) -> list[BoardReplay]:
    """Print how `plan` stands on every board."""
    bundle = edgeexit.load_bundle(name)
    replays = [replay_board(bundle, edgeexit.load_profile(board), trace, RULES, GOVERNORS) for board in BOARDS]
    print(f"{name}: plan above the bounds and the others; every joule simulated, {len(trace):,} test images")
    print(standings_text(row for replay in replays for row in standings(replay)), end="\n\n")
    return replays


def show_static(name: str, trace: Trace) -> list[BoardReplay]:
    """Print the same for boards with another static share."""
    bundle = edgeexit.load_bundle(name)
    replays = []
    for board in ("jetson-tx2", "raspberry-pi-5"):
        for share in STATIC_SHARES:
            profile = with_static_share(edgeexit.load_profile(board), share)
            options = StudyOptions(static_share=share, deadline_factors=(1.1, 1.5, 4.0))
            replay = replay_board(bundle, profile, trace, ("forecast",), GOVERNORS, options)
            print(f"{name} on {board} with a static share of {share:.0%}; every joule simulated")
            print(standings_text(standings(replay)), end="\n\n")
            replays.append(replay)
    return replays


def show_misses(name: str, trace: Trace, *, inferences: int = INFERENCES) -> list[BoardReplay]:
    """Print misses in so many inferences, with the guard set for the noise."""
    bundle, profile = edgeexit.load_bundle(name), edgeexit.load_profile("jetson-tx2")
    replays = []
    for relative, rule, (governor, fewer) in product(NOISES, RULES, MISSING.items()):
        noise = Noise(relative) if relative else None
        options = StudyOptions(noise=noise, inferences=inferences // fewer, optimum=False, deadline_factors=FACTORS)
        replay = replay_board(bundle, profile, trace, (rule,), (governor,), options)
        for run in replay.runs:
            print(
                f"{name}, {rule}, {run.governor:<15} deadline {run.deadline_factor:>4g} x, noise {relative:>3.0%}, "
                f"guard {run.guard:g}: {run.misses:>7,} of {run.inferences:,} late, {run.cut_short:>7,} cut short, "
                f"{run.sent_on:>7,} sent on; accuracy {run.accuracy.value:.2%}, "
                f"{1e3 * run.energy_j.value:.1f} mJ simulated",
                flush=True,
            )
        replays.append(replay)
    return replays


def show_paper(name: str, trace: Trace) -> list[BoardReplay]:
    """Print what exits and clocks save against the stock governor, module and GPU rail."""
    bundle, profile = edgeexit.load_bundle(name), edgeexit.load_profile("jetson-tx2")
    ours = tuple(dict.fromkeys(("forecast", str(bundle.read_rules()["recommended"]))))
    replay = replay_board(bundle, profile, trace, ("last", "threshold", *ours), ("stock", "best-fixed", "plan"))
    table = CostModel(profile, work_scale=replay.work_scale).cost_table(bundle.workload)
    runs = {(run.rule, run.governor, run.deadline_factor): run for run in replay.runs}
    bounds = {(each.rule, each.deadline_factor): each for each in replay.bounds}
    for factor in FACTORS:
        whole, classic = runs["last", "stock", factor], runs["threshold", "stock", factor]
        print(f"{name}, deadline {factor:g} x, Jetson TX2; every joule simulated")
        _print_run("full network, stock", whole)
        _print_run("full network, plan", runs["last", "plan", factor])
        _print_run("threshold exits, stock", classic)
        oracle_j = float(clairvoyant_energies(table, trace.first_agreeing_exit, factor * replay.full_latency_s).mean())
        for rule in ours:
            for title, governor in (("stock", "stock"), ("best fixed clock", "best-fixed"), ("plan", "plan")):
                _print_run(f"{rule} exits, {title}", runs[rule, governor, factor])
            print(f"  bound, these exits known in advance {1e3 * bounds[rule, factor].clairvoyant_j:7.1f} mJ")
            for title, other in (("the full network under stock", whole), ("threshold exits under stock", classic)):
                _print_saving(f"{rule} exits, plan, less than {title}", runs[rule, "plan", factor], other)
        saved = 1.0 - oracle_j / whole.energy_j.value
        print(f"  bound, first exit that agrees known {1e3 * oracle_j:7.1f} mJ, {saved:.1%} less than the first line")
    print()
    return [replay]


def _print_run(title: str, run: GovernorRun) -> None:
    print(
        f"  {title:<34}{1e3 * run.energy_j.value:8.1f} mJ ({1e3 * run.energy_parts_j['idle']:.1f} idling), GPU rail "
        f"{1e3 * run.rail_energy_j['gpu'].value:7.1f} mJ, {run.accuracy.value:.2%} right, "
        f"{run.misses / run.inferences:.2%} late"
    )


def _print_saving(title: str, run: GovernorRun, other: GovernorRun) -> None:
    module = 1.0 - run.energy_j.value / other.energy_j.value
    rail = 1.0 - run.rail_energy_j["gpu"].value / other.rail_energy_j["gpu"].value
    print(f"  {title}: {module:.1%} (GPU rail {rail:.1%})")


TABLES: dict[str, Callable[[str, Trace], Iterable[BoardReplay]]] = {
    "bounds": show_bounds,
    "static": show_static,
    "misses": show_misses,
    "paper": show_paper,
}

if __name__ == "__main__":
    main()
