"""ONNX Runtime sessions: how they are opened, and what they share within a process.

One thread makes no pool at all; with more, all sessions share ONNX Runtime's one global pool, because a spinning pool
for each session cost 43 to 49 % on two cores.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import onnxruntime as ort

from edgeexit.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeexit.runtime.pieces import Piece

CPU: Final = "CPUExecutionProvider"
_WARNINGS_OFF: Final = 3
_ONLY_GLOBAL_POOL: Final = "use_per_session_threads must be false"


class PieceSession:
    """A piece and the ONNX Runtime session that runs it."""

    __slots__ = ("piece", "session")

    def __init__(self, piece: Piece, session: ort.InferenceSession) -> None:
        self.piece = piece
        self.session = session

    def run(self, tensors: dict[str, NDArray[Any]]) -> None:
        """Run on tensors of any batch size; take the inputs from `tensors` and put the outputs there."""
        try:
            outputs = self.session.run(self.piece.outputs, {name: tensors[name] for name in self.piece.inputs})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed in {self.piece.name}: {error}") from error
        tensors.update(zip(self.piece.outputs, outputs, strict=True))


def open_session(
    model: bytes,
    *,
    threads: int = 1,
    optimise: ort.GraphOptimizationLevel = ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    providers: Sequence[str] = (CPU,),
    save_optimised: Path | None = None,
    share_memory: bool = False,
) -> ort.InferenceSession:
    """Open an ONNX Runtime session that is quiet, sequential, and never has a pool of its own that spins.

    ONNX Runtime's global pool is made once in a process, by the first session that asks for more than one thread.
    From then on ONNX Runtime lets no session have threads of its own, so all sessions share that pool.

    Args:
        model: A serialised ONNX model.
        threads: 1 for the calling thread alone, more for the global pool.
        optimise: How far ONNX Runtime optimises the graph.
        providers: Execution providers, the preferred first.
        save_optimised: Where to write the optimised model.
        share_memory: True to take working memory from one arena that all such sessions of the process share: what one
            segment has freed, still in the processor's cache, serves the next. It halved what segments cost over
            one session (docs/results/engine.md).
    """
    options = ort.SessionOptions()
    options.log_severity_level = _WARNINGS_OFF
    options.graph_optimization_level = optimise
    if share_memory:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.enable_mem_pattern = False
    if save_optimised is not None:
        options.optimized_model_filepath = str(save_optimised)
    if _pool.made or (threads > 1 and _pool.make(threads)):
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model, options, providers=list(providers))
    except Exception as error:
        if _ONLY_GLOBAL_POOL not in str(error):
            raise
        options.use_per_session_threads = False
        _pool.made = True
        return ort.InferenceSession(model, options, providers=list(providers))


@lru_cache(maxsize=1)
def _register_arena() -> None:
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)


class _GlobalPool:
    """What this process knows of ONNX Runtime's global pool, of which there is one in a process and no getter."""

    def __init__(self) -> None:
        self.made = False

    def make(self, threads: int) -> bool:
        """Make the pool, or take the one that there is, whatever its size; False if there can be none any more."""
        try:
            ort.set_global_thread_pool_sizes(threads, 1)
            self.made = True
        except Exception as error:
            self.made = "already been created" in str(error)
        return self.made


_pool = _GlobalPool()


def optimise_model(model: bytes) -> bytes:
    """Return ONNX Runtime's optimised form of a whole model, for this CPU and this version only.

    Raises:
        EngineError: If ONNX Runtime refuses the model.
    """
    return _optimised(model, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def simplify_model(model: bytes) -> bytes:
    """Return a model with its constants and BatchNormalization folded: any machine runs it.

    Raises:
        EngineError: If ONNX Runtime refuses the model.
    """
    return _optimised(model, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)


def _optimised(model: bytes, level: ort.GraphOptimizationLevel) -> bytes:
    with TemporaryDirectory(prefix="edgeexit-") as folder:
        path = Path(folder) / "optimised.onnx"
        try:
            open_session(model, optimise=level, save_optimised=path)
            return path.read_bytes()
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot optimise the whole model: {error}") from error
