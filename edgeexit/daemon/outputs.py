"""The outputs of a model over the protocol, made of a session's results."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edgeexit.errors import BundleError, EngineError, MalformedMessage, ModelNotReady
from edgeexit.open_inference import OutputTensor, RequestedOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.daemon.contracts import InferAnswer, ModelView
    from edgeexit.runtime.result import Result

    Array = NDArray[Any]

PROBABILITIES: Final = "probabilities"
LABEL: Final = "label"
EXIT_INDEX: Final = "exit_index"


class Output(NamedTuple):
    """An output that a model has."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    """-1 for a size that is not fixed."""


def bundle_of(view: ModelView) -> Bundle:
    """Return the bundle of a model.

    Raises:
        ModelNotReady: If it has never been loaded.
    """
    if view.bundle is None:
        why = f": {view.reason}" if view.reason else ""
        raise ModelNotReady(f"model {view.name!r} version {view.version} is {view.state}{why}")
    return view.bundle


def outputs_of(bundle: Bundle) -> Mapping[str, Output]:
    """Return a model's outputs by name: the network's own first, then those of edgeexit whose names it leaves free."""
    try:
        classes = bundle.class_count
    except BundleError:
        classes = -1
    return _outputs(bundle.output, classes)


@lru_cache
def _outputs(name: str, classes: int) -> Mapping[str, Output]:
    own = Output(name, "FP32", (-1, classes))
    ours = (
        Output(PROBABILITIES, "FP32", (-1, classes)),
        Output(LABEL, "INT64", (-1,)),
        Output(EXIT_INDEX, "INT64", (-1,)),
    )
    return MappingProxyType({own.name: own} | {output.name: output for output in ours if output.name != own.name})


def check_wanted(wanted: Sequence[RequestedOutput] | None, bundle: Bundle, *, binary: bool) -> list[RequestedOutput]:
    """Return the outputs that a request gets.

    Args:
        wanted: Those that it names; None for all.
        bundle: The model's.
        binary: True if all are wanted raw where it names none.

    Raises:
        MalformedMessage: If the model does not have one, or classes are wanted of one that has none.
    """
    there = outputs_of(bundle)
    if wanted is None:
        return [RequestedOutput(name, binary) for name in there]
    for output in wanted:
        if output.name not in there:
            raise MalformedMessage(f"the model has the outputs {', '.join(there)}, not {output.name!r}")
        if output.classes and len(there[output.name].shape) == 1:
            raise MalformedMessage(f"output {output.name!r} is no row of classes: take {PROBABILITIES!r} instead")
    return list(wanted)


def output_tensors(answer: InferAnswer, wanted: Sequence[RequestedOutput], bundle: Bundle) -> list[OutputTensor]:
    """Return the outputs of an answer that are wanted."""
    return [_tensor(answer.results, output, bundle) for output in wanted]


def _tensor(results: Sequence[Result], output: RequestedOutput, bundle: Bundle) -> OutputTensor:
    array = _array(results, output.name, bundle)
    if output.classes:
        array = classify(array, output.classes, bundle.labels)
    return OutputTensor(output.name, array, output.binary)


def _array(results: Sequence[Result], name: str, bundle: Bundle) -> Array:
    if name == bundle.output:
        return _rows([_logits(result) for result in results], bundle)
    if name == PROBABILITIES:
        return _rows([result.probabilities for result in results], bundle)
    values = [result.label if name == LABEL else result.exit_index for result in results]
    return np.array(values, np.int64)


def _rows(rows: list[Array], bundle: Bundle) -> Array:
    if len(rows) == 1:
        return rows[0][np.newaxis]
    return np.stack(rows) if rows else np.empty((0, bundle.class_count), np.float32)


def _logits(result: Result) -> Array:
    if result.logits is None:
        raise EngineError("the engine gave an answer without what the network puts out")
    return result.logits


def classify(rows: Array, classes: int, labels: Sequence[str] | None) -> Array:
    """Return the likeliest classes of each row: the protocol's classification extension.

    Args:
        rows: (N, C) float32.
        classes: How many; C if there are fewer.
        labels: Names of the classes, if they are known.

    Returns:
        (N, classes) of bytes "value:index" or "value:index:label", the largest value first.
    """
    count = min(classes, rows.shape[1])
    best = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    array = np.empty(best.shape, object)
    for at, index in np.ndenumerate(best):
        name = "" if labels is None else f":{labels[int(index)]}"
        array[at] = f"{rows[at[0], index]:f}:{index}{name}".encode()
    return array
