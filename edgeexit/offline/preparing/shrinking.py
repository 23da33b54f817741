"""Compression before the exits, and of the bundle's segments after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeexit.bundle.load import load_bundle
from edgeexit.bundle.manifest import FLOAT32
from edgeexit.bundle.write import write_bundle
from edgeexit.errors import GraphError
from edgeexit.offline.compress import CompressionOptions, Step, compress_model, find_order, quantise_bundle
from edgeexit.offline.compress.models import SHARE
from edgeexit.offline.compress.opset import with_newer_opset
from edgeexit.offline.preparing.sources import Network, describe_network
from edgeexit.offline.record import record_trace
from edgeexit.offline.traces import FloatArray, Trace

if TYPE_CHECKING:
    from pathlib import Path

    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.options import PrepareOptions

LEARNS_ON: Final = "heads"
"""The part that compression calibrates and measures on: rules and certificate see none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """A network after what was done to it before it gets its exits.

    Attributes:
        network: The network.
        steps: Names of the steps that were kept, in their order.
        lines: What was done and undone, line by line.
        quantise_segments: True if int8 comes after the exits, segment by segment.
    """

    network: Network
    steps: tuple[str, ...]
    lines: tuple[str, ...]
    quantise_segments: bool


def compress_network(network: Network, bench: Bench) -> Shrunk:
    """Do the compression steps that come before the exits; those that lose more than they gain are undone.

    Without a search that is pruning alone: int8 then comes after the exits, where each segment can have its own
    precision. With one, the steps before the exits are done in the order that was found.
    """
    options = bench.options
    network, notes = _ready_for_int8(network) if options.quantise else (network, ())
    if not (options.prune or options.search_order):
        return Shrunk(network=network, steps=(), lines=notes, quantise_segments=options.quantise)
    key = bench.key(network.digest, bench.material.against, options.prune, options.quantise, options.search_order)
    found = bench.work.keep_arrays("compressed", key, lambda: _compress(network, bench))
    smaller = describe_network(onnx.load_from_string(found["model"].tobytes()))
    return Shrunk(
        network=smaller,
        steps=tuple(map(str, found["steps"])),
        lines=(*notes, *map(str, found["lines"])),
        quantise_segments=options.quantise and Step.QUANTISE.value not in found["steps"],
    )


def _ready_for_int8(network: Network) -> tuple[Network, tuple[str, ...]]:
    """Return the network in an operator set that knows int8 by channel, or as it is and why not."""
    try:
        newer = with_newer_opset(network.model)
    except GraphError as error:
        return network, (f"int8: {error}",)
    return (network if newer is network.model else describe_network(newer)), ()


def _compress(network: Network, bench: Bench) -> Mapping[str, NDArray[Any]]:
    options, samples = bench.options, bench.material.judged(LEARNS_ON)
    how = CompressionOptions(share=options.prune or SHARE, seed=options.seed, progress=bench.progress)
    steps, lines = _steps(network, samples, how, options)
    model, report = compress_model(network.model, samples, steps, how)
    return {
        "model": np.frombuffer(model.SerializeToString(), dtype=np.uint8),
        "lines": np.array([*lines, *report.lines], dtype=np.str_),
        "steps": np.array([outcome.step.value for outcome in report.outcomes if outcome.kept], dtype=np.str_),
    }


def _steps(
    network: Network, samples: Samples, how: CompressionOptions, options: PrepareOptions
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Return the steps before the exits in their order, and what a search of it said."""
    asked = [Step.PRUNE] if options.prune else []
    if not options.search_order:
        return tuple(asked), ()
    asked += [Step.QUANTISE] if options.quantise else []
    search = find_order(network.model, samples, [Step.DISTIL, *asked, Step.EXITS], how)
    exits = search.order.index(Step.EXITS)
    early = [s for i, s in enumerate(search.order) if s is not Step.EXITS and (i < exits or s is not Step.QUANTISE)]
    return tuple(early), search.lines


def quantise_draft(
    draft: Bundle, traces: Mapping[str, Trace], bench: Bench
) -> tuple[Bundle, Mapping[str, Trace], tuple[str, ...]]:
    """Give a draft int8 segments where they gain.

    Args:
        draft: The bundle without rules.
        traces: Of its exits, on the parts that rules are made of.
        bench: What every step works with.

    Returns:
        The bundle, what its exits say now, and what was done, line by line.
    """
    key = bench.key(draft.digest, bench.material.against)
    folder = bench.work.path / f"quantised-{key}"
    lines = bench.work.keep_json("quantising", key, lambda: _quantise(draft, folder, bench))
    smaller = load_bundle(folder)
    if all(segment.precision == FLOAT32 for segment in smaller.segments):
        return draft, traces, tuple(lines)
    return smaller, _record_anew(smaller, traces, bench), tuple(lines)


def _quantise(draft: Bundle, folder: Path, bench: Bench) -> tuple[str, ...]:
    done = quantise_bundle(draft, bench.material.judged(LEARNS_ON), progress=bench.progress)
    write_bundle(folder, done.manifest, done.files, replace=folder.exists())
    return done.report.lines


def _record_anew(bundle: Bundle, traces: Mapping[str, Trace], bench: Bench) -> dict[str, Trace]:
    """Run the parts through the bundle; what was right before stays right."""
    return {part: _record(part, bundle, trace, bench) for part, trace in traces.items()}


def _record(part: str, bundle: Bundle, trace: Trace, bench: Bench) -> Trace:
    samples = bench.material.parts[part]

    def record() -> Mapping[str, FloatArray]:
        return {"logits": record_trace(bundle, samples, trace.labels, progress=bench.progress).logits}

    found = bench.work.keep_arrays(f"trace-{part}", bench.key(bundle.digest), record)
    return replace(trace, logits=found["logits"])
