import logging

import numpy as np
import pytest
from models import doubling_chain

from edgeexit.bundle import load_bundle
from edgeexit.errors import BundleError
from edgeexit.runtime.cache import cache_key, default_cache_dir, read_cpu_identity
from edgeexit.runtime.engine import Engine

IMAGE = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)


@pytest.fixture
def chain(tmp_path):
    return doubling_chain(tmp_path)


def open_engine(chain, tmp_path):
    return Engine(chain, cache_dir=tmp_path / "cache")


def cached_folder(tmp_path):
    (folder,) = (tmp_path / "cache").iterdir()
    return folder


def last_logits(engine):
    program = engine.program({"image": IMAGE})
    program.run_segments(0, 3)
    return program.look(2).logits.tolist()


def test_optimised_pieces_are_built_once_and_kept(chain, tmp_path):
    open_engine(chain, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in cached_folder(tmp_path).iterdir()}
    engine = open_engine(chain, tmp_path)
    assert engine.optimised
    assert before == {path.name: path.stat().st_mtime_ns for path in cached_folder(tmp_path).iterdir()}
    assert len(before) == 7, "three segments, three heads, an index"


@pytest.mark.parametrize("damage", ["truncate", "change a byte", "remove", "empty index", "foreign key", "open to all"])
def test_a_damaged_or_foreign_cache_is_built_anew(chain, tmp_path, damage, caplog):
    open_engine(chain, tmp_path)
    folder = cached_folder(tmp_path)
    piece, index = folder / "segment1.onnx", folder / "index.json"
    good = piece.read_bytes()
    if damage == "truncate":
        piece.write_bytes(good[:-20])
    elif damage == "change a byte":
        piece.write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
    elif damage == "remove":
        piece.unlink()
    elif damage == "empty index":
        index.write_text("[]")
    elif damage == "foreign key":
        index.write_text(index.read_text().replace(folder.name.rpartition("-")[2], "0" * 32))
    else:
        folder.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        engine = open_engine(chain, tmp_path)
    assert engine.optimised
    assert last_logits(engine) == [8.0, 16.0, 32.0]
    assert (cached_folder(tmp_path) / "segment1.onnx").read_bytes() == good
    assert "built anew" in caplog.text


def test_a_cache_that_cannot_be_written_costs_only_time(chain, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    engine = open_engine(chain, tmp_path)
    assert engine.optimised
    assert last_logits(engine) == [8.0, 16.0, 32.0]
    assert "not kept" in caplog.text


def test_optimising_that_fails_falls_back_to_the_portable_pieces(chain, tmp_path, monkeypatch, caplog):
    from edgeexit.errors import EngineError
    from edgeexit.runtime import engine as module

    def refuse(_model):
        raise EngineError("no")

    monkeypatch.setattr(module, "optimise_model", refuse)
    engine = open_engine(chain, tmp_path)
    assert not engine.optimised
    assert last_logits(engine) == [8.0, 16.0, 32.0]
    assert "portable" in caplog.text


def test_pieces_that_answer_otherwise_are_never_used(chain, tmp_path, monkeypatch, caplog):
    from edgeexit.runtime import engine as module

    monkeypatch.setattr(module, "_same_answers", lambda _bundle, _pieces: False)
    engine = open_engine(chain, tmp_path)
    assert not engine.optimised
    assert not (tmp_path / "cache").exists()
    assert "other answers" in caplog.text


def test_a_bundle_whose_name_is_a_path_is_refused(chain, tmp_path):
    manifest = chain.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "chain"', '"name": "../escape"', 1))
    with pytest.raises(BundleError, match="plain name"):
        load_bundle(chain.path)


def test_the_key_names_bundle_runtime_version_and_cpu(chain):
    keys = {cache_key(chain, version, cpu) for version in ("1.23.2", "1.31.1") for cpu in ("a", "b")}
    assert len(keys) == 4


def test_the_cpu_identity_changes_with_the_instruction_set(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("processor\t: 0\nmodel name\t: X\nflags\t: sse avx\ncpu MHz\t: 1000\n")
    other.write_text("processor\t: 1\nmodel name\t: X\nflags\t: sse\ncpu MHz\t: 1000\n")
    assert read_cpu_identity(one) != read_cpu_identity(other)
    other.write_text(one.read_text().replace("1000", "2000"))
    assert read_cpu_identity(one) == read_cpu_identity(other)


def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "edgeexit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "edgeexit"
