"""Compress a network as a whole, before it gets its exits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import DataError, EdgeExitError, GraphError, OptionError
from edgeexit.offline.batching import choose_batch, fixed_batch, pad_batch
from edgeexit.offline.compress.distil import distil_logits
from edgeexit.offline.compress.judge import Judge
from edgeexit.offline.compress.opset import with_newer_opset
from edgeexit.offline.compress.order import LEAST_GAIN, OrderSearch, check_order, default_order, halves, search_order
from edgeexit.offline.compress.precisions import ALLOWED_DROP
from edgeexit.offline.compress.prune import prune_channels
from edgeexit.offline.compress.quantise import quantise_model
from edgeexit.offline.compress.report import CompressionReport, Figures, Outcome
from edgeexit.offline.compress.segments import CALIBRATION_SAMPLES
from edgeexit.offline.compress.steps import Step
from edgeexit.offline.graph.cut_candidates import find_cuts, shortlist
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.offline.heads import attach_heads, fit_heads, record_features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgeexit.offline.data import Samples

SHARE: Final = 0.25
"""Of the channels to prune, where the user names none."""
FITTED_SAMPLES: Final = 512
"""That steps are fitted on; more changed nothing on the reference networks."""
FEWEST_SAMPLES: Final = 100
_TRIAL_EXITS: Final = 3
_MOST_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionOptions:
    """How the steps are done.

    Attributes:
        share: Of the channels of each convolution to prune.
        allowed_drop: Percentage points of accuracy that one step may cost.
        narrow_weights: See `quantise_model`.
        seed: Of all chance.
        progress: True for progress bars on stderr.
    """

    share: float = SHARE
    allowed_drop: float = ALLOWED_DROP
    narrow_weights: bool = False
    seed: int = 0
    progress: bool = False


def compress_model(
    model: Any, samples: Samples, steps: Sequence[Step], options: CompressionOptions | None = None
) -> tuple[Any, CompressionReport]:
    """Do compression steps one after the other, and undo each that loses more than it gains.

    Pruning and quantising are kept if the network is then faster by `LEAST_GAIN` and no less accurate than
    `allowed_drop` permits; distilling, if it is then more accurate.

    Args:
        model: onnx.ModelProto with one output and its weights in it; it is not changed.
        samples: Half of them, at most `FITTED_SAMPLES`, fit the steps, the others measure accuracy: by their labels, or
            by what the network itself answers. None may be of the part that certifies rules.
        steps: In the order in which they are done; a warning for an unusual one is in the report. Exits are no step
            here: they are fitted afterwards.
        options: How.

    Returns:
        onnx.ModelProto, and what was kept and undone.

    Raises:
        OptionError: If a step is named twice, or exits are one.
        DataError: If there are too few samples.
        EngineError: If ONNX Runtime refuses the model.
    """
    options = options or CompressionOptions()
    if Step.EXITS in steps:
        raise OptionError("exits are no step of compressing a model: they are fitted to the compressed one")
    notes = check_order(steps)
    fitting, judging = _divide(samples)
    judge, apply = Judge(model, judging), model_steps(model, fitting, options)
    outcomes, current = list[Outcome](), model
    for step in steps:
        try:
            changed = apply[step](current)
        except EdgeExitError as error:
            outcomes.append(Outcome(step=step, kept=False, why=f"it cannot be done: {error}"))
            continue
        before, after = judge.figures([current, changed])
        outcomes.append(_judged(step, before, after, options.allowed_drop))
        current = changed if outcomes[-1].kept else current
    return current, CompressionReport(outcomes=tuple(outcomes), notes=notes)


def find_order(
    model: Any, samples: Samples, steps: Sequence[Step], options: CompressionOptions | None = None
) -> OrderSearch:
    """Try all pairs of steps in both orders on a network, see `search_order`.

    With the step "exits" up to three exits with ridge heads are fitted, and accuracy is the mean over all outputs.

    Args:
        model: onnx.ModelProto with one output and its weights in it; it is not changed.
        samples: As in `compress_model`.
        steps: In any order.
        options: How they are done.

    Raises:
        DataError: If there are too few samples.
        EngineError: If ONNX Runtime refuses the model.
    """
    options = options or CompressionOptions()
    fitting, judging = _divide(samples)
    every = model_steps(model, fitting, options)
    return search_order(model, judging, {s: every[s] for s in default_order(steps)}, progress=options.progress)


def model_steps(teacher: Any, samples: Samples, options: CompressionOptions) -> Mapping[Step, Callable[[Any], Any]]:
    """Return what does each step to a model and returns a new one.

    Args:
        teacher: onnx.ModelProto of the network as it was.
        samples: To fit on.
        options: How.
    """
    return {
        Step.DISTIL: lambda model: distil_logits(model, teacher, samples, seed=options.seed)[0],
        Step.PRUNE: lambda model: (
            prune_channels(model, samples, options.share, seed=options.seed, progress=options.progress).model
        ),
        Step.QUANTISE: lambda model: quantise_whole(model, samples, narrow_weights=options.narrow_weights),
        Step.EXITS: lambda model: _with_trial_exits(model, samples, options),
    }


def quantise_whole(model: Any, samples: Samples, *, narrow_weights: bool = False) -> Any:
    """Return a model in int8, its inputs and outputs in float as they were; in opset 13 if it is older.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed.
        samples: For calibration; the first `CALIBRATION_SAMPLES` are used.
        narrow_weights: See `quantise_model`.

    Raises:
        GraphError: If it cannot be quantised.
    """
    values = infer_values(model)
    shapes = [values[name].shape for name in Dataflow(model.graph).inputs]
    fixed = next((size for size in map(fixed_batch, shapes) if size is not None), None)
    few = samples.take(np.arange(min(CALIBRATION_SAMPLES, len(samples))))

    def feeds() -> Iterator[Mapping[str, NDArray[Any]]]:
        for tensors in few.batches(min(_MOST_AT_ONCE, choose_batch(shapes))):
            yield tensors if fixed is None else pad_batch(tensors, fixed)

    source = with_newer_opset(model).SerializeToString()
    data = quantise_model(source, feeds, float_outputs=True, narrow_weights=narrow_weights)
    return onnx.load_from_string(data)


def _judged(step: Step, before: Figures, after: Figures, allowed_drop: float) -> Outcome:
    lost = 100.0 * (before.accuracy - after.accuracy)
    gain = 1.0 - after.latency_s / before.latency_s
    if step is Step.DISTIL:
        kept, why = lost < 0.0, "it is more accurate" if lost < 0.0 else "it is not more accurate"
    elif lost > allowed_drop:
        kept, why = False, f"it costs more than {allowed_drop:g} points"
    else:
        kept = gain > LEAST_GAIN
        why = f"it is {gain:.0%} faster" if kept else "it is not faster on this machine"
    return Outcome(step=step, kept=kept, why=why, before=before, after=after)


def _with_trial_exits(model: Any, samples: Samples, options: CompressionOptions) -> Any:
    if len(model.graph.output) > 1:
        raise GraphError("the model has exits already")
    search = find_cuts(model)
    places = shortlist(search.candidates, search.whole_macs, _TRIAL_EXITS)
    if not places:
        raise GraphError(f"there is no place for an exit: {search.why}")
    task = "labels" if samples.labels is not None and samples.labels.ndim == 2 else "classes"
    features = record_features(model, places, samples, task=task)
    targets = samples.labels if samples.labels is not None else _probabilities(features.logits)
    return attach_heads(model, places, fit_heads(features, targets, task=task, seed=options.seed))


def _probabilities(logits: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _divide(samples: Samples) -> tuple[Samples, Samples]:
    if len(samples) < FEWEST_SAMPLES:
        raise DataError(f"{len(samples)} samples are too few to compress with: {FEWEST_SAMPLES} or more are needed")
    return halves(samples, FITTED_SAMPLES)
