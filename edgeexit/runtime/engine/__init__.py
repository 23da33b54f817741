"""Runs the pieces of a bundle on ONNX Runtime; the only package that imports it.

One session a segment; heads in sessions of their own, or fused into their segments where the exit rule looks at
every exit. Buffers are allocated and bound once for each input shape, so that a call moves no data but the input:
a boundary tensor stays where its segment put it until the next segment takes it.

* `sessions`: one ONNX Runtime session for each piece, one thread pool and one memory arena for all of them;
* `program`: the buffers of inputs of one shape.

Some wheels of ONNX Runtime send telemetry, with a thread and files in the user's cache. It is turned off here, unless
ORT_DISABLE_TELEMETRY says otherwise in the environment.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before the import: later it has begun to send
import onnxruntime as ort

from edgeexit.bundle.whole import join_pieces, kept_stages
from edgeexit.errors import EngineError, OptionError
from edgeexit.runtime.cache import cache_key, default_cache_dir, optimised_pieces, read_cpu_identity
from edgeexit.runtime.engine.program import Program, make_look
from edgeexit.runtime.engine.sessions import CPU, PieceSession, open_session, optimise_model, simplify_model
from edgeexit.runtime.inputs import made_up_inputs
from edgeexit.runtime.pieces import Piece, Pieces, fuse, portable_pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle

    Array = NDArray[Any]

__all__ = ["Engine", "PieceSession", "Program", "make_look", "open_session", "optimise_model", "simplify_model"]

_SELF_CHECK_TOLERANCE = 1e-4
_MEMORY = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}


class Engine:
    """The sessions of one bundle.

    Args:
        bundle: The bundle to run.
        fuse_heads: True where every exit is looked at; a head then runs within its segment's call.
        threads: Threads that ONNX Runtime may use in all; 1 makes no thread pool.
        providers: Execution providers, the preferred first; the CPU is the default.
        optimise: Optimise the whole graph on this device first, and keep the result in `cache_dir`.
        cache_dir: Folder for optimised pieces; by default ``$XDG_CACHE_HOME/edgeexit``.

    Raises:
        EngineError: If ONNX Runtime refuses a piece.
        OptionError: If `threads` or `providers` cannot be had.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        fuse_heads: bool = False,
        threads: int = 1,
        providers: Sequence[str] | None = None,
        optimise: bool = True,
        cache_dir: Path | None = None,
    ) -> None:
        self.bundle = bundle
        self.fuse_heads = fuse_heads
        self.providers = _check_providers(providers)
        self.memory = _MEMORY.get(self.providers[0], "cpu")
        self._threads = _check_threads(threads)
        pieces = self._choose_pieces(optimise, default_cache_dir() if cache_dir is None else cache_dir)
        self.optimised = pieces.optimised
        self._open_sessions(pieces)

    def _choose_pieces(self, optimise: bool, cache_dir: Path) -> Pieces:
        if not optimise or self.providers != (CPU,):
            return portable_pieces(self.bundle)
        return optimised_pieces(
            self.bundle,
            key=cache_key(self.bundle, ort.__version__, read_cpu_identity()),
            cache_dir=cache_dir,
            optimise=optimise_model,
            accept=partial(_same_answers, self.bundle),
        )

    def _open_sessions(self, pieces: Pieces) -> None:
        fused = {exit_.segment: exit_.index for exit_ in self.bundle.exits if self.fuse_heads}
        fused[len(pieces.segments) - 1] = self.bundle.exit_count - 1
        self.fused_exits = frozenset(fused.values())
        parts = [
            fuse(piece, pieces.heads[fused[index]]) if index in fused else piece
            for index, piece in enumerate(pieces.segments)
        ]
        self.segments = tuple(self._open(piece, pieces.optimised) for piece in parts)
        self.heads = tuple(
            None if index in self.fused_exits else self._open(piece, pieces.optimised)
            for index, piece in enumerate(pieces.heads)
        )

    def _open(self, piece: Piece, optimised: bool) -> PieceSession:
        try:
            session = open_session(
                piece.model,
                threads=self._threads,
                optimise=_level(optimised),
                providers=self.providers,
                share_memory=True,
            )
        except Exception as error:
            raise EngineError(f"ONNX Runtime refuses {piece.name} of bundle {self.bundle.name!r}: {error}") from error
        return PieceSession(piece, session)

    def program(self, inputs: Mapping[str, Array]) -> Program:
        """Allocate the buffers for inputs of these shapes and dtypes; every call of the program uses them."""
        return Program(self, inputs)


def _same_answers(bundle: Bundle, pieces: Pieces) -> bool:
    """Compare newly built pieces with the whole network on a made-up input."""
    tensors = made_up_inputs(bundle)
    whole = join_pieces(bundle, kept_stages(bundle)).SerializeToString()
    session = open_session(whole)
    names = [exit_.probabilities for exit_ in bundle.exits]
    expected = session.run(names, tensors)
    for piece in (*pieces.segments, *pieces.heads):
        PieceSession(piece, open_session(piece.model, optimise=_level(pieces.optimised))).run(tensors)
    return all(
        np.allclose(want, tensors[name], atol=_SELF_CHECK_TOLERANCE, equal_nan=True)
        for name, want in zip(names, expected, strict=True)
    )


def _level(optimised: bool) -> ort.GraphOptimizationLevel:
    """Pieces that were optimised before they were cut are loaded as they are."""
    return ort.GraphOptimizationLevel.ORT_DISABLE_ALL if optimised else ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def _check_providers(providers: Sequence[str] | None) -> tuple[str, ...]:
    if not providers:
        return (CPU,)
    there = ort.get_available_providers()
    for name in providers:
        if name not in there:
            raise OptionError(f"execution provider {name!r} is not in this ONNX Runtime; there are: {', '.join(there)}")
    return tuple(providers)


def _check_threads(threads: int) -> int:
    if threads < 1:
        raise OptionError(f"threads must be 1 or more, not {threads}")
    return threads
