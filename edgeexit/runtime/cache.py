"""The pieces that were optimised on this device: *optimise first, split second*.

ONNX Runtime optimises the whole graph once, and the optimised graph is cut where the bundle is cut. The pieces
then give the whole network's outputs bit for bit, and lose little time against one session of the whole. They hold
operators of one CPU type and one ONNX Runtime version, so they are kept in the user's cache folder under a key of
both, and built anew whenever anything about them is not as expected.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeexit.bundle.graph.cut import cut
from edgeexit.bundle.graph.schema import parse_model
from edgeexit.bundle.whole import find_stages, join_pieces, kept_stages
from edgeexit.errors import BundleError, EdgeExitError
from edgeexit.runtime.cache_room import UNFINISHED, make_room, mark_used
from edgeexit.runtime.pieces import Piece, Pieces, portable_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeexit.bundle import Bundle
    from edgeexit.bundle.graph.cut import Piece as CutPiece

logger = logging.getLogger(__name__)

FORMAT = 1
INDEX = "index.json"
_CPU_FIELDS = frozenset(
    {"vendor_id", "model name", "flags", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"}
)


def default_cache_dir() -> Path:
    """Return ``$XDG_CACHE_HOME/edgeexit``, or ``~/.cache/edgeexit`` where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "edgeexit"


def read_cpu_identity(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Describe this machine's kinds of CPU in a way that changes when their instruction sets do."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    kinds = sorted({line for line in lines if line.partition(":")[0].strip() in _CPU_FIELDS})
    return "\n".join([os.uname().machine, *kinds])


def cache_key(bundle: Bundle, runtime_version: str, cpu_identity: str) -> str:
    """Return the name under which the optimised pieces of `bundle` are kept: a hash of all they depend on."""
    text = "\0".join((str(FORMAT), bundle.digest, runtime_version, cpu_identity))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def optimised_pieces(
    bundle: Bundle,
    *,
    key: str,
    cache_dir: Path,
    optimise: Callable[[bytes], bytes],
    accept: Callable[[Pieces], bool],
) -> Pieces:
    """Return the optimised pieces of `bundle`, from the cache or built now; the portable ones if that fails.

    Args:
        bundle: The bundle.
        key: From `cache_key`.
        cache_dir: Folder of all cached bundles; it need not exist.
        optimise: Turns a whole model into ONNX Runtime's optimised form of it.
        accept: Says whether newly built pieces give the same answers as the whole network.
    """
    folder = cache_dir / key
    try:
        if folder.exists():
            pieces = _read(folder, key)
            mark_used(folder)
            return pieces
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("optimised pieces in %s are damaged (%s): they are built anew", folder, error)
    try:
        pieces = _build(bundle, optimise)
        accepted = accept(pieces)
    except EdgeExitError as error:
        logger.warning("%s runs from its portable pieces: optimising failed: %s", bundle.name, error)
        return portable_pieces(bundle)
    if not accepted:
        logger.warning("%s runs from its portable pieces: the optimised ones gave other answers", bundle.name)
        return portable_pieces(bundle)
    _keep(folder, key, pieces)
    return pieces


def _build(bundle: Bundle, optimise: Callable[[bytes], bytes]) -> Pieces:
    whole = join_pieces(bundle, kept_stages(bundle))
    optimised = parse_model(optimise(whole.SerializeToString()), name=f"optimised {bundle.name}")
    pieces = cut(optimised, find_stages(bundle, optimised))
    segments = [_piece(f"segment {index}", piece) for index, piece in enumerate(pieces.segments)]
    heads = [_piece(f"head {index}", p) for index, p in enumerate(p for p in pieces.heads if p is not None)]
    return Pieces(tuple(segments), tuple(heads), optimised=True)


def _piece(name: str, piece: CutPiece) -> Piece:
    return Piece(name, piece.model.SerializeToString(), piece.inputs, piece.outputs)


def _read(folder: Path, key: str) -> Pieces:
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise BundleError(f"{folder} can be written by other users")
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if index["format"] != FORMAT or index["key"] != key:
        raise BundleError(f"{folder / INDEX} belongs to another bundle or machine")
    segments = tuple(_read_piece(folder, entry) for entry in index["segments"])
    heads = tuple(_read_piece(folder, entry) for entry in index["heads"])
    return Pieces(segments, heads, optimised=True)


def _read_piece(folder: Path, entry: dict[str, Any]) -> Piece:
    path = folder / Path(entry["file"]).name
    model = path.read_bytes()
    if hashlib.sha256(model).hexdigest() != entry["sha256"]:
        raise BundleError(f"{path} has changed")
    return Piece(str(entry["name"]), model, tuple(entry["inputs"]), tuple(entry["outputs"]))


def _keep(folder: Path, key: str, pieces: Pieces) -> None:
    """Write the pieces beside the cache folder and rename; a cache that cannot be written is only a loss of time."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=UNFINISHED) as work:
            new = Path(work) / "pieces"
            new.mkdir(mode=0o700)
            index = {
                "format": FORMAT,
                "key": key,
                "segments": [_write_piece(new, f"segment{i}.onnx", p) for i, p in enumerate(pieces.segments)],
                "heads": [_write_piece(new, f"head{i}.onnx", p) for i, p in enumerate(pieces.heads)],
            }
            (new / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
        make_room(folder.parent, folder)
    except OSError as error:
        logger.warning("optimised pieces are not kept in %s: %s", folder, error)


def _write_piece(folder: Path, file: str, piece: Piece) -> dict[str, Any]:
    (folder / file).write_bytes(piece.model)
    return {
        "file": file,
        "name": piece.name,
        "sha256": hashlib.sha256(piece.model).hexdigest(),
        "inputs": piece.inputs,
        "outputs": piece.outputs,
    }
