"""Record pooled features at many places of a network, and its own logits, in one pass over the samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
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
from edgeexit.offline.heads.maps import MapPooling, RecordedMaps, append_map
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
MAP_PREFIX = "edgeexit/map"
MAPS = "maps"
"""Folder of the maps within that of the features: they are read place by place, and not held mapped."""
MOST_ROW_BYTES = 32 * 2**20
"""Of what a batch records where maps are among it: they are far larger than pooled features."""


def record_features(
    model: Any,
    candidates: Sequence[CutCandidate],
    samples: Samples,
    *,
    grid: int = 2,
    batch: int | None = None,
    threads: int = 1,
    task: str = CLASSES,
    maps: Sequence[MapPooling | None] = (),
    progress: bool = False,
    store: Path | None = None,
) -> Features:
    """Run the network once over all samples, and record what heads could read and what its own output says.

    The features are pooled inside the graph, so that no more than they are kept: S x (all features) x 4 bytes. With a
    `store` that is on disk.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed. Its last output is the network's own.
        candidates: Where heads may be.
        samples: What to run on.
        grid: Windows along each axis, see `pooling_of`.
        batch: Samples to run at once; None chooses by the size of the inputs. A model that takes a fixed number gets
            that.
        threads: Threads that ONNX Runtime may use.
        task: "classes" or "labels", which says what the network's own output holds.
        maps: For each candidate how the map is made that a head with layers of its own reads there; None for none.
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
    probe = _build_probe(model, poolings, widths, tuple(maps), task)
    size = _batch_size(probe, batch)
    starts = range(0, len(samples), size)
    sizes = [min(size, len(samples) - start) for start in starts]
    data = probe.model.SerializeToString(deterministic=True)
    key = _key(data, samples, size)
    rows, maps_rows = _open_rows(store, sizes, key), None
    if any(maps):
        maps_rows = _open_rows(None if store is None else store / MAPS, sizes, key)
    missing = [i for i in range(len(sizes)) if not (rows.has(i) and (maps_rows is None or maps_rows.has(i)))]
    run = _open(data, probe.outputs, threads) if missing else None
    done = len(samples) - sum(sizes[index] for index in missing)
    with tqdm(total=len(samples), initial=done, desc="features", unit="sample", disable=not progress) as bar:
        for index in missing:
            assert run is not None, "opened where something is missing"
            found = _run_batch(run, probe, samples, starts[index], sizes[index])
            if maps_rows is not None:
                maps_rows.put(index, np.concatenate(found[probe.map_outputs :], axis=1))
            rows.put(index, np.concatenate(found[: probe.map_outputs], axis=1))
            bar.update(sizes[index])
    return _split(rows.join(), maps_rows, probe)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A network that returns features, logits and maps in place of its outputs.

    `widths` are those of the features, of the logits and of the maps, one an output; `batch` is the number of samples
    it takes at once, None for any.
    """

    model: Any
    outputs: tuple[str, ...]
    poolings: tuple[Pooling, ...]
    maps: tuple[MapPooling | None, ...]
    widths: tuple[int, ...]
    batch: int | None
    shapes: tuple[tuple[Any, ...] | None, ...]

    @property
    def map_outputs(self) -> int:
        """Index of the first output that is a map."""
        return len(self.poolings) + 1

    @property
    def tensors(self) -> tuple[str | None, ...]:
        """What is read for each output; None for the network's own."""
        return (*(p.tensor for p in self.poolings), None, *(m.tensor for m in self.maps if m is not None))


def _build_probe(
    model: Any, poolings: tuple[Pooling, ...], widths: Sequence[int], maps: tuple[MapPooling | None, ...], task: str
) -> _Probe:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    values = infer_values(probe)
    output = probe.graph.output[-1].name
    classes = count_classes(output, values[output], None)
    check_task(task, classes)
    own = add_evidence(probe, values, 0, output, class_count=classes, task=task).logits
    names = [_add_features(probe, values, index, pooling) for index, pooling in enumerate(poolings)]
    map_names = [_add_map(probe, values, index, pooling) for index, pooling in enumerate(maps) if pooling is not None]
    del probe.graph.output[:]
    outputs = (*names, own, *map_names)
    probe.graph.output.extend(helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in outputs)
    weights = {w.name for w in model.graph.initializer}
    shapes = tuple(values[v.name].shape for v in model.graph.input if v.name not in weights)
    fixed = next((size for size in map(fixed_batch, shapes) if size is not None), None)
    sizes = (*widths, classes, *(pooling.size for pooling in maps if pooling is not None))
    return _Probe(probe, outputs, poolings, maps, sizes, fixed, shapes)


def _add_features(probe: Any, values: dict[str, Value], index: int, pooling: Pooling) -> str:
    if pooling.tensor not in values:
        raise GraphError(f"the model has no tensor {pooling.tensor!r} for a head to read")
    nodes = Nodes(probe, f"{PREFIX}{index}")
    return append_pooling(nodes, pooling, element_type=values[pooling.tensor].element_type)


def _add_map(probe: Any, values: dict[str, Value], index: int, pooling: MapPooling) -> str:
    nodes = Nodes(probe, f"{MAP_PREFIX}{index}")
    value = append_map(nodes, pooling, element_type=values[pooling.tensor].element_type)
    return nodes.add("Flatten", [value], "row", axis=1)


def _batch_size(probe: _Probe, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise OptionError(f"batch must be 1 sample or more, not {asked}")
    if probe.batch is None and asked is not None:
        return asked
    size = choose_batch(probe.shapes)
    if probe.batch is None and any(probe.maps):
        return max(1, min(size, MOST_ROW_BYTES // (sum(probe.widths) * np.dtype(np.float32).itemsize)))
    return size


def _open_rows(store: Path | None, sizes: list[int], key: str) -> Rows:
    return RowsInMemory(sizes) if store is None else RowsInFolder(store, sizes, key)


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


def _run_batch(run: Run, probe: _Probe, samples: Samples, start: int, size: int) -> list[FloatArray]:
    """Return what each output of the probe says of so many samples."""
    tensors = samples.read(np.arange(start, start + size))
    found = run(tensors if probe.batch is None else pad_batch(tensors, probe.batch))
    parts = [part[:size] for part in found]
    for tensor, part in zip(probe.tensors, parts, strict=True):
        if not np.isfinite(part).all():
            _complain(tensor, part, start)
    return parts


def _complain(tensor: str | None, part: FloatArray, start: int) -> None:
    row = int(np.nonzero(~np.isfinite(part))[0][0])
    where = "the network's output" if tensor is None else f"tensor {tensor!r}"
    raise DataError(
        f"sample {start + row} makes {where} infinite or no number: check the preprocessing, or leave the sample out"
    )


def _split(rows: FloatArray, maps_rows: Rows | None, probe: _Probe) -> Features:
    count = len(probe.poolings)
    *pooled, logits = np.split(rows, np.cumsum(probe.widths[:count]), axis=1)
    maps = (None,) * count if maps_rows is None else tuple(_split_maps(maps_rows, probe))
    return Features(tuple(pooled), np.array(logits), probe.poolings, maps)


def _split_maps(rows: Rows, probe: _Probe) -> Iterator[RecordedMaps | None]:
    samples, start = np.arange(len(rows.join())), 0
    for pooling in probe.maps:
        if pooling is None:
            yield None
        else:
            yield RecordedMaps(rows.read, start, samples, pooling)
            start += pooling.size
