"""Whether an exported file says what a session says, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import edgeexit
from edgeexit.bundle import Bundle
from edgeexit.errors import DataError
from edgeexit.offline.if_export import IfExport
from edgeexit.runtime.engine import open_session

BOARD = "simulated:jetson-tx2"
"""Answers do not depend on the board; on a simulated one no clock of this machine is touched."""


class Equality(NamedTuple):
    """How the answers of an exported file compare with those of a session."""

    samples: int
    labels_differ: int
    exits_differ: int
    probabilities_off: float
    """Largest difference of a probability, where both answered at the same exit."""
    exit_counts: tuple[int, ...]
    """How often each exit answered in the session."""


def compare_answers(
    written: IfExport,
    bundle: Bundle,
    inputs: Mapping[str, NDArray[Any]],
    *,
    exit_rule: str | None = "thresholds",
    allowed_drop: float = 0.0,
) -> Equality:
    """Answer every sample by the file and by a session with the same setting.

    Args:
        written: From `edgeexit.offline.if_export.export_with_ifs`.
        bundle: What it was exported from.
        inputs: Input name -> (S, ...) as the network takes them.
        exit_rule: The setting.
        allowed_drop: Accuracy that it may cost, in points.

    Raises:
        DataError: If there are no samples.
    """
    samples = len(next(iter(inputs.values())))
    if samples == 0:
        raise DataError("there are no samples to compare: give at least one")
    exported = open_session(written.path.read_bytes())
    labels = exits = 0
    off = 0.0
    counts = [0] * bundle.exit_count
    with (
        edgeexit.open_device(BOARD) as board,
        edgeexit.Session(bundle, board, exit_rule=exit_rule, allowed_drop=allowed_drop) as session,
    ):
        for index in range(samples):
            one = {name: array[index : index + 1] for name, array in inputs.items()}
            label, probabilities, exit_index = exported.run(list(written.outputs), one)
            result = session.infer(one)
            counts[result.exit_index] += 1
            labels += int(label[0]) != result.label
            if int(exit_index[0]) != result.exit_index:
                exits += 1
            else:
                off = max(off, float(np.abs(probabilities[0] - result.probabilities).max()))
    return Equality(samples, labels, exits, off, tuple(counts))
