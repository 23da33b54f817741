"""Runs the pieces of a bundle on ONNX Runtime; the only file that imports it.

One session a segment; heads in sessions of their own, or fused into their segments where the exit rule looks at
every exit. Buffers are allocated and bound once for each input shape, so that a call moves no data but the input:
a boundary tensor stays where its segment put it until the next segment takes it.

One thread makes no pool at all; with more, all sessions share ONNX Runtime's one global pool, because a spinning
pool for each session cost 43 to 49 % (docs/results, onnxruntime facts).
"""

from __future__ import annotations

import logging
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from edgeexit.bundle.whole import join_pieces, kept_stages
from edgeexit.errors import EngineError, OptionError
from edgeexit.protocols import Look
from edgeexit.runtime.cache import cache_key, default_cache_dir, optimised_pieces, read_cpu_identity
from edgeexit.runtime.inputs import made_up_inputs
from edgeexit.runtime.pieces import Piece, Pieces, fuse, portable_pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle

    Array = NDArray[Any]

logger = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
_WARNINGS_OFF = 3
_SELF_CHECK_TOLERANCE = 1e-4
_ONLY_GLOBAL_POOL = "use_per_session_threads must be false"
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


class PieceSession:
    """A piece and the ONNX Runtime session that runs it."""

    __slots__ = ("piece", "session")

    def __init__(self, piece: Piece, session: ort.InferenceSession) -> None:
        self.piece = piece
        self.session = session

    def run(self, tensors: dict[str, Array]) -> None:
        """Run on tensors of any batch size; take the inputs from `tensors` and put the outputs there."""
        try:
            outputs = self.session.run(self.piece.outputs, {name: tensors[name] for name in self.piece.inputs})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed in {self.piece.name}: {error}") from error
        tensors.update(zip(self.piece.outputs, outputs, strict=True))


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
    with TemporaryDirectory(prefix="edgeexit-") as folder:
        path = Path(folder) / "optimised.onnx"
        try:
            open_session(model, save_optimised=path)
            return path.read_bytes()
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot optimise the whole model: {error}") from error


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
