"""What the exits seen say together, for all samples at once; `edgeexit.exits.ensemble` is the rule.

Each exit that may be the newest has its own weights of the exits up to it, fitted to the labels. They are few, so they
are fitted once, to all samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.rightness import combine_logs, fit_weights, log_probabilities
from edgeexit.offline.traces import Trace

FloatArray = NDArray[np.float64]


class EnsembleTable:
    """The ensembles of a trace's exits, each worked out when it is first asked for.

    Args:
        trace: S samples with their labels, one class each.
        weights_of: Take the weights of this table, of other samples, and fit none.
    """

    def __init__(self, trace: Trace, *, weights_of: EnsembleTable | None = None) -> None:
        self._trace = trace
        self._logs = log_probabilities(trace)
        self._rows: dict[tuple[int, ...], FloatArray] = {} if weights_of is None else weights_of._rows
        self._said: dict[tuple[int, ...], FloatArray] = {}

    def weights(self, exits: tuple[int, ...]) -> list[list[float]]:
        """Return the parameter `weights` of the rule; an exit that is not looked at stands alone.

        Args:
            exits: The exits that are looked at, ascending.
        """
        rows = []
        for newest in range(self._trace.exit_count):
            row = [0.0] * (newest + 1)
            seen = tuple(e for e in exits if e <= newest) if newest in exits else (newest,)
            for e, weight in zip(seen, self._fitted(seen) if newest in exits else [1.0], strict=True):
                row[e] = float(weight)
            rows.append(row)
        return rows

    def scores(self, exits: tuple[int, ...]) -> FloatArray:
        """Return (S, K) how sure the ensemble is after each of the exits `exits`."""
        return np.stack([np.exp(said.max(axis=1)) for said in self._after(exits)], axis=1)

    def labels(self, exits: tuple[int, ...]) -> NDArray[np.int64]:
        """Return (S, K) what the ensemble answers after each of the exits `exits`."""
        return np.stack([said.argmax(axis=1) for said in self._after(exits)], axis=1)

    def rightness(self, exits: tuple[int, ...], right: FloatArray) -> FloatArray:
        """Return (S, K) how probably these answers are right.

        Where an ensemble outvotes the newest exit it is right less often than it says: it was fitted to outvote. There
        it is counted.

        Args:
            exits: The exits that are looked at, ascending.
            right: (S, E) how probably each exit is right by itself.
        """
        own, labels = self._trace.label[:, list(exits)], self.labels(exits)
        counted = labels == self._trace.labels[:, np.newaxis]
        gained = counted.astype(np.float64) - self._trace.correct[:, list(exits)]
        return np.asarray(right[:, list(exits)] + np.where(labels == own, 0.0, gained))

    def _after(self, exits: tuple[int, ...]) -> list[FloatArray]:
        prefixes = [exits[: k + 1] for k in range(len(exits))]
        for prefix in prefixes:
            if prefix not in self._said:
                self._said[prefix] = combine_logs(self._logs[:, list(prefix)], self._fitted(prefix))
        return [self._said[prefix] for prefix in prefixes]

    def _fitted(self, seen: tuple[int, ...]) -> FloatArray:
        if seen not in self._rows:
            found = fit_weights(self._logs[:, list(seen)], self._trace.labels)
            self._rows[seen] = np.array([float(f"{weight:.6g}") for weight in found])
        return self._rows[seen]
