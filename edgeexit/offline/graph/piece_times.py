"""Measure on this machine what the pieces between candidate cuts take, and heads there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from edgeexit.errors import DataError
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.offline.graph.side_inputs import choose_side_inputs
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.heads.attach import attach_heads
from edgeexit.runtime.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.offline.graph.cut_candidates import CutCandidate
    from edgeexit.offline.heads.conv_head import Head
    from edgeexit.runtime.engine import Program

    Inputs = Mapping[str, NDArray[Any]]

ENOUGH_S: Final = 1.0
"""Time after which no further round is begun, in seconds."""
LEAST_ROUNDS: Final = 5
MOST_ROUNDS: Final = 500


def measure_segments(
    model: Any, candidates: Sequence[CutCandidate], inputs: Inputs, *, side_inputs: Sequence[str] | None = None
) -> tuple[float, ...]:
    """Measure the pieces between neighbouring cuts, as they run on a device: optimised as a whole, then cut.

    Args:
        model: onnx.ModelProto with its weights in it; its last output is the network's own.
        candidates: Where it is cut, from the input to the output.
        inputs: A sample or more by the names of the model's inputs; the first is run.
        side_inputs: As they were found; None finds them again.

    Returns:
        Seconds of each piece for one sample, one more than there are cuts: the least of many runs, because everything
        else that the machine does only makes them longer.

    Raises:
        GraphError: If the model cannot be cut so.
        EngineError: If ONNX Runtime refuses a piece.
        DataError: If there is no sample.
    """
    cuts = [list(candidate.tensors) for candidate in candidates]
    side_inputs = _found_side_inputs(model, side_inputs)
    with _opened(model, inputs, cuts, [str(model.graph.output[-1].name)], side_inputs) as program:
        return _least_times([_segment(program, index) for index in range(len(cuts) + 1)])


def time_heads(
    model: Any,
    candidates: Sequence[CutCandidate],
    heads: Sequence[Head],
    inputs: Inputs,
    *,
    side_inputs: Sequence[str] | None = None,
) -> tuple[float, ...]:
    """Measure the heads at candidate cuts, each in a call of its own.

    Args:
        model: onnx.ModelProto with its weights in it; its last output is the network's own.
        candidates: Where the heads are, from the input to the output.
        heads: One for each of them.
        inputs: A sample or more by the names of the model's inputs; the first is run.
        side_inputs: As they were found; None finds them again.

    Returns:
        Seconds of each head for one sample: the least of many runs.

    Raises:
        GraphError: If a head does not fit its candidate.
        EngineError: If ONNX Runtime refuses a piece.
        DataError: If there is no sample.
    """
    side_inputs = _found_side_inputs(model, side_inputs)
    with _opened(attach_heads(model, candidates, heads), inputs, None, None, side_inputs) as program:
        program.run_segments(0, len(heads))
        return _least_times([_head(program, index) for index in range(len(heads))])


@contextmanager
def _opened(
    model: Any,
    inputs: Inputs,
    cuts: Sequence[Sequence[str]] | None,
    exits: Sequence[str] | None,
    side_inputs: Sequence[str],
) -> Iterator[Program]:
    """Write the model as a bundle in a folder for the time being, and open that."""
    sample = {name: array[:1] for name, array in inputs.items()}
    if not sample or any(not len(array) for array in sample.values()):
        raise DataError("one sample is needed to measure with, and there is none")
    with TemporaryDirectory(prefix="edgeexit-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        bundle = split_model(
            path, Path(folder) / "pieces", name="pieces", cuts=cuts, exits=exits, side_inputs=side_inputs
        )
        yield Engine(bundle, cache_dir=Path(folder) / "cache").program(sample)


def _found_side_inputs(model: Any, side_inputs: Sequence[str] | None) -> Sequence[str]:
    return choose_side_inputs(model, infer_values(model, batch=1)) if side_inputs is None else side_inputs


def _segment(program: Program, index: int) -> Callable[[], object]:
    return lambda: program.run_segments(index, index + 1)


def _head(program: Program, index: int) -> Callable[[], object]:
    return lambda: program.look(index)


def _least_times(pieces: Sequence[Callable[[], object]]) -> tuple[float, ...]:
    """Run all pieces in turn, round after round, and return the least time of each in seconds."""
    least = [float("inf")] * len(pieces)
    start_s, rounds = perf_counter(), 0
    while rounds < LEAST_ROUNDS or (rounds < MOST_ROUNDS and perf_counter() - start_s < ENOUGH_S):
        for index, piece in enumerate(pieces):
            begin_s = perf_counter()
            piece()
            least[index] = min(least[index], perf_counter() - begin_s)
        rounds += 1
    return tuple(least)
