"""Measure a network as a whole: its time for one sample, and how often it is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import DataError, EngineError
from edgeexit.offline.batching import choose_batch, fixed_batch, pad_batch
from edgeexit.offline.compress.report import Figures
from edgeexit.offline.compress.timing import least_times
from edgeexit.offline.graph.macs import count_work
from edgeexit.offline.graph.shapes import infer_values
from edgeexit.runtime.engine import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.offline.data import Samples

    Answers = NDArray[Any]


def count_macs(model: Any) -> int:
    """Return the multiply-accumulates of a model for one sample; one with a fixed batch is counted at that."""
    values, inputs = infer_values(model, batch=1), Dataflow(model.graph).inputs
    return count_work(model.graph, values).macs // (fixed_batch(values[inputs[0]].shape) or 1)


class _Network(NamedTuple):
    """A session, and above which score a label holds: half where the outputs are probabilities."""

    session: Any
    limit: float


class Judge:
    """Compares networks on the same samples and in turn.

    Args:
        model: onnx.ModelProto of the network as it was: what it answers is right where there are no labels.
        samples: On which accuracy is measured: none that a network was fitted on.

    Raises:
        DataError: If there are no samples.
        EngineError: If ONNX Runtime refuses the model.
    """

    def __init__(self, model: Any, samples: Samples) -> None:
        if not len(samples):
            raise DataError("there are no samples to measure accuracy on")
        self._samples = samples
        labels = samples.labels
        self._many = labels is not None and labels.ndim == 2
        self._right = self._answers(self._open(model))[:, -1] if labels is None else np.asarray(labels)

    def figures(self, models: Sequence[Any]) -> list[Figures]:
        """Measure networks; accuracy is the mean over a network's outputs.

        Args:
            models: onnx.ModelProto each.

        Raises:
            EngineError: If ONNX Runtime refuses one.
        """
        networks = [self._open(model) for model in models]
        times_s = least_times([self._run(network.session) for network in networks])
        return [
            Figures(latency_s=time_s, accuracy=self._accuracy(network), macs=count_macs(model))
            for model, network, time_s in zip(models, networks, times_s, strict=True)
        ]

    def _open(self, model: Any) -> _Network:
        own = model.graph.output[-1].name
        sigmoid = any(node.op_type == "Sigmoid" and own in node.output for node in model.graph.node)
        try:
            return _Network(open_session(model.SerializeToString()), 0.5 if sigmoid else 0.0)
        except Exception as error:
            raise EngineError(f"ONNX Runtime refuses a network: {error}") from error

    def _run(self, session: Any) -> Callable[[], object]:
        tensors = self._padded(session, self._samples.read(np.arange(1)))
        return lambda: session.run(None, tensors)

    def _padded(self, session: Any, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        fixed = self._fixed(session)
        return tensors if fixed is None else pad_batch(tensors, fixed)

    def _fixed(self, session: Any) -> int | None:
        return next((size for i in session.get_inputs() if (size := fixed_batch(i.shape)) is not None), None)

    def _accuracy(self, network: _Network) -> float:
        answers = self._answers(network)
        hits = answers == (self._right[:, np.newaxis] if not self._many else self._right[:, np.newaxis, :])
        return float((hits.all(axis=-1) if self._many else hits).mean())

    def _answers(self, network: _Network) -> Answers:
        """Return (S, E) the classes that each output names, or (S, E, L) the labels that hold."""
        rows, session = [], network.session
        for tensors in self._samples.batches(choose_batch([i.shape for i in session.get_inputs()])):
            count = len(next(iter(tensors.values())))
            outputs = session.run(None, self._padded(session, tensors))
            scores = np.stack([out[:count].reshape(count, -1) for out in outputs], axis=1)
            rows.append(scores > network.limit if self._many else scores.argmax(axis=-1))
        return np.concatenate(rows)
