"""From any ONNX classifier and a folder of samples to a calibrated bundle, step by step.

Every sample is looked at once: one pass records what heads could read at every place that is tried, and the network's
own outputs. All that follows works on that record, until the finished bundle is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.bundle.load import full_name
from edgeexit.bundle.write import check_target
from edgeexit.offline.preparing.bench import Bench
from edgeexit.offline.preparing.building import (
    build_bundle,
    check_bundle,
    fit_all_heads,
    plain_name,
    record_parts,
    trace_part,
)
from edgeexit.offline.preparing.calibrating import bound_of, foresee_certificate
from edgeexit.offline.preparing.checking import check_network
from edgeexit.offline.preparing.choosing import Choice, PlaceCosts, choose_exits, find_places, place_costs
from edgeexit.offline.preparing.conv_heads import better_heads, load_trainer, plan_heads, train_heads
from edgeexit.offline.preparing.finishing import finish
from edgeexit.offline.preparing.options import CONV, PrepareOptions
from edgeexit.offline.preparing.preparation import Place, Preparation
from edgeexit.offline.preparing.shrinking import compress_network, quantise_draft
from edgeexit.offline.preparing.sources import MULTI_LABEL, Material, Network, read_material, read_network
from edgeexit.offline.preparing.work_folder import WorkFolder
from edgeexit.offline.preparing.worth import judge_worth

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.graph.cut_candidates import CutCandidate, CutSearch
    from edgeexit.offline.heads import Features, Head
    from edgeexit.offline.traces import Trace


def work_path(out: Path) -> Path:
    """Return the folder in which a preparation keeps its unfinished work, beside the bundle."""
    return out.with_name(f"{out.name}.prepare")


def prepare_bundle(
    model: Path,
    data: Path,
    out: Path,
    options: PrepareOptions | None = None,
    *,
    progress: bool = False,
    tell: Callable[[str], None] = lambda _text: None,
) -> Preparation:
    """Make a calibrated bundle of a model, with the exits that pay.

    What is finished is kept in `work_path(out)` until the bundle is there. A run that was interrupted goes on from it,
    if model, samples and options are the same; what depends on another option is made again.

    Args:
        model: ONNX file of a classifier; it is not changed.
        data: Samples, see `edgeexit.offline.data.load_samples`.
        out: Folder of the bundle to make.
        options: What the user asks for.
        progress: True for progress bars on stderr.
        tell: Called with what the user should know at once, in one line.

    Returns:
        What it came to. There is no bundle after a dry run, and where no exit pays.

    Raises:
        GraphError: If the model cannot be used or not be cut; the message says why.
        DataError: If the samples are damaged, too few or not those of the model, or the full network is right for no
            more of them than by chance.
        OptionError: If a named cut is none, or another preparation is at work on `out`.
        BundleError: If something is at `out` already.
        MissingExtra: If heads with layers of their own are asked for, and PyTorch is not installed.
        OSError: If the disk is full; then nothing is half-written, and a later run goes on.
    """
    options = options or PrepareOptions()
    check_target(out, replace=options.replace)
    network = read_network(model, options.model_output)
    search, tried = find_places(network, options)
    material = read_material(data, network, options)
    if options.dry_run:
        return _found(
            model, network, material, search, tuple(_place(search, candidate) for candidate in tried), options
        )
    if options.head == CONV:
        load_trainer()
    problem = foresee_certificate(bound_of(options, material), material)
    if problem is not None:
        tell(problem)
    if work_path(out).is_dir():
        tell(f"going on from {work_path(out)}, as far as model, samples and options are the same")
    with WorkFolder(work_path(out), keep=options.keep_work) as work:
        bench = Bench(material=material, options=options, work=work, progress=progress, tell=tell)
        done = _prepare(model, network, out, bench)
        work.done()
    return done


def _prepare(model: Path, network: Network, out: Path, bench: Bench) -> Preparation:
    shrunk = compress_network(network, bench)
    search, tried = find_places(shrunk.network, bench.options)
    fitted = _fit(shrunk.network, search, tried, bench)
    places = _places(search, tried, fitted)
    found = _found(model, shrunk.network, bench.material, search, places, bench.options)
    notes = (*found.notes, *_notes(fitted, bench, bool(shrunk.steps)))
    found = replace(found, steps=shrunk.steps, compression=shrunk.lines, notes=notes)
    if not fitted.choice.kept:
        return replace(found, worth=judge_worth((), 1.0, bench.options.max_accuracy_drop))
    draft, traces = _build(shrunk.network, search, tried, fitted, plain_name(out), bench)
    if shrunk.quantise_segments:
        draft, traces, lines = quantise_draft(draft, traces, bench)
        found = replace(found, compression=(*shrunk.lines, *lines))
    return finish(found, draft, traces, network, out, bench)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """Features by part, a head at each place that is tried, what they say about the part "fit", and the choice."""

    features: Mapping[str, Features]
    heads: tuple[Head, ...]
    trace: Trace
    costs: PlaceCosts
    choice: Choice


def _fit(network: Network, search: CutSearch, tried: Sequence[CutCandidate], bench: Bench) -> _Fitted:
    plans = plan_heads(search, tried, network, bench)
    features = record_parts(network, tried, plans, bench)
    check_network(features, bench.material)
    heads = better_heads(
        search,
        tried,
        fit_all_heads(network, features["heads"], bench),
        train_heads(network, features["heads"], plans, bench),
        features["fit"],
        bench,
    )
    trace = trace_part("fit", features, heads, bench.material)
    costs = place_costs(network, search, tried, heads, bench)
    choice = choose_exits(trace, costs, bench.options)
    return _Fitted(features=features, heads=heads, trace=trace, costs=costs, choice=choice)


def _build(
    network: Network,
    search: CutSearch,
    tried: Sequence[CutCandidate],
    fitted: _Fitted,
    name: str,
    bench: Bench,
) -> tuple[Bundle, Mapping[str, Trace]]:
    """Cut the network with the heads that were kept; return what they say about the parts that rules are made of."""
    kept = fitted.choice.kept
    heads = [fitted.heads[index] for index in kept]
    draft = build_bundle(network, [tried[index] for index in kept], heads, search.side_inputs, name, bench)
    parts = {part: fitted.features[part].keep(kept) for part in ("fit", "select", "certify")}
    traces = {part: trace_part(part, parts, heads, bench.material) for part in parts}
    check_bundle(draft, traces["certify"], bench.material)
    return draft, traces


def _found(
    model: Path,
    network: Network,
    material: Material,
    search: CutSearch,
    places: tuple[Place, ...],
    options: PrepareOptions,
) -> Preparation:
    return Preparation(
        model=model.name,
        macs=search.whole_macs,
        class_count=network.class_count,
        samples={part: len(samples) for part, samples in material.parts.items()},
        by_labels=material.by_labels,
        found=len(search.candidates),
        places=places,
        side_inputs=search.side_inputs,
        allowed_drop=options.max_accuracy_drop,
        notes=(search.why,) if search.why else (),
    )


def _place(search: CutSearch, candidate: CutCandidate) -> Place:
    return Place(
        tensors=candidate.tensors,
        kind=candidate.kind,
        macs_share=candidate.macs_before / search.whole_macs if search.whole_macs else 0.0,
        boundary_bytes=candidate.boundary_bytes,
    )


def _places(search: CutSearch, tried: Sequence[CutCandidate], fitted: _Fitted) -> tuple[Place, ...]:
    choice, times_s = fitted.choice, fitted.costs.segments if fitted.costs.in_seconds else None
    return tuple(
        replace(
            _place(search, candidate),
            accuracy=float(fitted.trace.accuracies[index]),
            segment_s=None if times_s is None else times_s[index],
            refusal=None if index in choice.kept else choice.refused.get(index, ""),
        )
        for index, candidate in enumerate(tried)
    )


def _notes(fitted: _Fitted, bench: Bench, compressed: bool) -> Iterator[str]:
    """Say what looks wrong with the samples, and what agreement is counted with."""
    material, accuracy = bench.material, float(fitted.trace.accuracies[-1])
    if compressed and not material.by_labels:
        yield f"agreement is counted with the {full_name(compressed=True)}, not with the model as you gave it"
    if material.by_labels and material.task != MULTI_LABEL and accuracy * fitted.trace.class_count <= 2.0:
        yield (
            f"the full network itself is right for {accuracy:.0%} of the samples only: are the labels those of its "
            "classes, in its order, and is the preprocessing the one it was trained with?"
        )
