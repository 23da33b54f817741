"""The pieces of a bundle bound to one set of buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from edgeexit.errors import EngineError
from edgeexit.protocols import Look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgeexit.runtime.engine import Engine
    from edgeexit.runtime.engine.sessions import PieceSession

    Array = NDArray[Any]


class Program:
    """The pieces of a bundle bound to one set of buffers, for inputs of one shape.

    `load` an input, then run segments in order, each once; after segment ``exit_segments[e]`` the head of exit `e`
    may be run, or not.
    """

    def __init__(self, engine: Engine, inputs: Mapping[str, Array]) -> None:
        self._engine = engine
        self._memory = engine.memory
        self._exits = engine.bundle.exits
        self._evidence_names = {name for exit_ in self._exits for name in exit_.outputs}
        self._arrays: dict[str, Array] = {name: np.array(array, order="C") for name, array in inputs.items()}
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in self._arrays.items()}
        self._segments = [self._bind(piece) for piece in engine.segments]
        self._heads = [None if piece is None else self._bind(piece) for piece in engine.heads]
        self._evidence = [self._evidence_views(index) for index in range(engine.bundle.exit_count)]

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy the inputs into their buffers; names and shapes must be those the program was made with."""
        for name, array in inputs.items():
            self._arrays[name][...] = array

    def run_segments(self, start: int, end: int) -> None:
        """Run the segments from `start` up to, but not with, `end`; those before must have run.

        Raises:
            EngineError: If ONNX Runtime fails.
        """
        try:
            for session, binding in self._segments[start:end]:
                session.run_with_iobinding(binding)
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed in segments {start} to {end - 1}: {error}") from error

    def look(self, exit_index: int) -> Look:
        """Run the head of an exit, unless it ran within its segment, and return what it says of the first sample."""
        head = self._heads[exit_index]
        if head is not None:
            session, binding = head
            try:
                session.run_with_iobinding(binding)
            except Exception as error:
                raise EngineError(f"ONNX Runtime failed in head {exit_index}: {error}") from error
        return make_look(exit_index, *self._evidence[exit_index])

    def value(self, name: str) -> Array:
        """Copy a tensor that a piece has given: an exit's logits, or a boundary tensor."""
        array = self._arrays.get(name)
        return np.array(array if array is not None else self._values[name].numpy())

    def _bind(self, part: PieceSession) -> tuple[ort.InferenceSession, ort.IOBinding]:
        """Bind a piece's buffers; a trial run with free outputs finds their shapes."""
        piece, session = part.piece, part.session
        try:
            binding = self._bound_inputs(part)
            for name in piece.outputs:
                binding.bind_output(name, self._memory_of(name))
            session.run_with_iobinding(binding)
            for name, value in zip(piece.outputs, binding.get_outputs(), strict=True):
                self._keep_output(name, value)
            binding = self._bound_inputs(part)
            for name in piece.outputs:
                binding.bind_ortvalue_output(name, self._values[name])
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot run {piece.name}: {error}") from error
        return session, binding

    def _bound_inputs(self, part: PieceSession) -> ort.IOBinding:
        binding = part.session.io_binding()
        for name in part.piece.inputs:
            binding.bind_ortvalue_input(name, self._values[name])
        return binding

    def _memory_of(self, name: str) -> str:
        return "cpu" if name in self._evidence_names else self._memory

    def _keep_output(self, name: str, value: ort.OrtValue) -> None:
        if value.device_name() == "cpu":
            self._arrays[name] = np.array(value.numpy(), order="C")
            value = ort.OrtValue.ortvalue_from_numpy(self._arrays[name])
        self._values[name] = value

    def _evidence_views(self, index: int) -> tuple[Array, Array, Array, Array]:
        logits, probabilities, values, labels = self._exits[index].outputs
        arrays = self._arrays
        return arrays[logits][0], arrays[probabilities][0], arrays[values][0], arrays[labels][0]


def make_look(exit_index: int, logits: Array, probabilities: Array, values: Array, labels: Array) -> Look:
    """Read one sample's evidence: logits (C,), probabilities (C,), the two largest of these and their labels."""
    best = values.item(0)
    margin = best - values.item(1) if values.size > 1 else best
    return Look(exit_index, labels.item(0), best, margin, logits, probabilities)
