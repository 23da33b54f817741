"""Record pooled features at many places of a network, and its own logits, in one pass over the samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tqdm import tqdm

from edgeexit.bundle.manifest import CLASSES
from edgeexit.errors import DataError, EngineError, GraphError, OptionError
from edgeexit.offline.batching import choose_batch, fixed_batch, pad_batch
from edgeexit.offline.graph.evidence import add_evidence, check_task, count_classes
from edgeexit.offline.graph.shapes import Value, infer_values
from edgeexit.offline.heads.features import Features, FloatArray
from edgeexit.offline.heads.nodes import Nodes
from edgeexit.offline.heads.pooling import Pooling, append_pooling, feature_count, pooling_of
from edgeexit.offline.heads.store import Rows, RowsInFolder, RowsInMemory
from edgeexit.runtime.engine import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeexit.offline.data import Samples
    from edgeexit.offline.graph.cut_candidates import CutCandidate

    Run = Callable[[dict[str, NDArray[Any]]], Sequence[FloatArray]]

PREFIX = "edgeexit/feature"


def record_features(
    model: Any,
    candidates: Sequence[CutCandidate],
    samples: Samples,
    *,
    grid: int = 2,
    batch: int | None = None,
    threads: int = 1,
    task: str = CLASSES,
    progress: bool = False,
    store: Path | None = None,
) -> Features:
    """Run the network once over all samples, and record what heads could read and what its own output says.

    The features are pooled inside the graph, so that no more than they are kept: S x (all features) x 4 bytes.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed. Its last output is the network's own.
        candidates: Where heads may be.
        samples: What to run on.
        grid: Windows along each axis, see `pooling_of`.
        batch: Samples to run at once; None chooses by the size of the inputs. A model that takes a fixed number gets
            that.
        threads: Threads that ONNX Runtime may use.
        task: "classes" or "labels", which says what the network's own output holds.
        progress: True for a progress bar on stderr.
        store: Folder for finished batches; an interrupted pass goes on where it stopped, and a finished one is only
            read. The features then stay in a file of it. None keeps them in memory.

    Raises:
        GraphError: If a candidate cannot be read by a head, or the output is no batch of one float for each class.
        DataError: If there are no samples, or a feature or logit is not finite.
        EngineError: If ONNX Runtime fails.
        OptionError: If the grid is not 1 to 8, the batch less than 1, or the task unknown.
        OSError: If `store` cannot be written to.
    """
    if not len(samples):
        raise DataError("there are no samples to record features of")
    poolings = tuple(pooling_of(c, grid) for c in candidates)
    widths = [feature_count(c, p) for c, p in zip(candidates, poolings, strict=True)]
    probe = _build_probe(model, poolings, widths, task)
    size = _batch_size(probe, batch)
    starts = range(0, len(samples), size)
    sizes = [min(size, len(samples) - start) for start in starts]
    data = probe.model.SerializeToString(deterministic=True)
    rows: Rows = RowsInMemory(sizes) if store is None else RowsInFolder(store, sizes, _key(data, samples, size))
    missing = [index for index in range(len(sizes)) if not rows.has(index)]
    run = _open(data, probe.outputs, threads) if missing else None
    done = len(samples) - sum(sizes[index] for index in missing)
    with tqdm(total=len(samples), initial=done, desc="features", unit="sample", disable=not progress) as bar:
        for index in missing:
            assert run is not None, "opened where something is missing"
            rows.put(index, _run_batch(run, probe, samples, starts[index], sizes[index]))
            bar.update(sizes[index])
    return _split(rows.join(), probe)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A network that returns features and logits in place of its outputs.

    `widths` are those of the features and of the logits, one an output; `batch` is the number of samples it takes at
    once, None for any.
    """

    model: Any
    outputs: tuple[str, ...]
    poolings: tuple[Pooling, ...]
    widths: tuple[int, ...]
    batch: int | None
    shapes: tuple[tuple[Any, ...] | None, ...]


def _build_probe(model: Any, poolings: tuple[Pooling, ...], widths: Sequence[int], task: str) -> _Probe:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    values = infer_values(probe)
    output = probe.graph.output[-1].name
    classes = count_classes(output, values[output], None)
    check_task(task, classes)
    own = add_evidence(probe, values, 0, output, class_count=classes, task=task).logits
    names = [_add_features(probe, values, index, pooling) for index, pooling in enumerate(poolings)]
    del probe.graph.output[:]
    outputs = (*names, own)
    probe.graph.output.extend(helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in outputs)
    weights = {w.name for w in model.graph.initializer}
    shapes = tuple(values[v.name].shape for v in model.graph.input if v.name not in weights)
    fixed = next((size for size in map(fixed_batch, shapes) if size is not None), None)
    return _Probe(probe, outputs, poolings, (*widths, classes), fixed, shapes)


def _add_features(probe: Any, values: dict[str, Value], index: int, pooling: Pooling) -> str:
    if pooling.tensor not in values:
        raise GraphError(f"the model has no tensor {pooling.tensor!r} for a head to read")
    nodes = Nodes(probe, f"{PREFIX}{index}")
    return append_pooling(nodes, pooling, element_type=values[pooling.tensor].element_type)


def _batch_size(probe: _Probe, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise OptionError(f"batch must be 1 sample or more, not {asked}")
    if probe.batch is None and asked is not None:
        return asked
    return choose_batch(probe.shapes)


def _key(data: bytes, samples: Samples, batch: int) -> str:
    whole = hashlib.sha256(data)
    whole.update(f"{samples.sha256} {len(samples)} {batch}".encode())
    return whole.hexdigest()


def _open(data: bytes, outputs: tuple[str, ...], threads: int) -> Run:
    try:
        session = open_session(data, threads=threads)
    except Exception as error:
        raise EngineError(f"ONNX Runtime refuses the model with its features as outputs: {error}") from error

    def run(tensors: dict[str, NDArray[Any]]) -> Sequence[FloatArray]:
        try:
            return list(session.run(outputs, tensors))
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed while features were recorded: {error}") from error

    return run


def _run_batch(run: Run, probe: _Probe, samples: Samples, start: int, size: int) -> FloatArray:
    """Return (size, T) float32: all features, then the logits."""
    tensors = samples.read(np.arange(start, start + size))
    found = run(tensors if probe.batch is None else pad_batch(tensors, probe.batch))
    rows = np.concatenate(found, axis=1)[:size]
    if not np.isfinite(rows).all():
        _complain(probe, rows, start)
    return rows


def _complain(probe: _Probe, rows: FloatArray, start: int) -> None:
    row, column = (int(index[0]) for index in np.nonzero(~np.isfinite(rows)))
    part = int(np.searchsorted(np.cumsum(probe.widths), column, side="right"))
    where = "the network's output" if part == len(probe.poolings) else f"tensor {probe.poolings[part].tensor!r}"
    raise DataError(
        f"sample {start + row} makes {where} infinite or no number: check the preprocessing, or leave the sample out"
    )


def _split(rows: FloatArray, probe: _Probe) -> Features:
    *pooled, logits = np.split(rows, np.cumsum(probe.widths)[:-1], axis=1)
    return Features(tuple(pooled), np.array(logits), probe.poolings)
