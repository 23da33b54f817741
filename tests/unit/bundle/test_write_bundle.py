"""A bundle is written in full or not at all."""

import errno
import json
import os
import resource
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgeexit.bundle import load_bundle
from edgeexit.bundle.write import replace_files, write_bundle
from edgeexit.errors import BundleError


@pytest.fixture
def content(sound_bundle):
    return {name: sound_bundle.read_file(name) for name in sound_bundle.manifest.files}


def everything_below(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@contextmanager
def disk_that_takes(size):
    """Let no file grow beyond `size` bytes: a real error of the system while a file is written."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_it_holds_what_was_given(sound_bundle, content, tmp_path):
    bundle = write_bundle(tmp_path / "deep" / "net", sound_bundle.manifest, content)
    assert bundle.path == tmp_path / "deep" / "net"
    assert {p.name for p in bundle.path.iterdir()} == {*content, "manifest.json"}
    assert bundle.manifest == load_bundle(bundle.path).manifest == sound_bundle.manifest
    assert bundle.digest == sound_bundle.digest


def test_others_may_read_it_as_the_umask_says(sound_bundle, content, tmp_path):
    old = os.umask(0o022)
    try:
        bundle = write_bundle(tmp_path / "net", sound_bundle.manifest, content)
    finally:
        os.umask(old)
    assert bundle.path.stat().st_mode & 0o777 == 0o755
    assert (bundle.path / "manifest.json").stat().st_mode & 0o777 == 0o644


def test_what_exists_is_not_overwritten(sound_bundle, content, folder):
    before = everything_below(folder.parent)
    with pytest.raises(BundleError, match="net: exists already"):
        write_bundle(folder, sound_bundle.manifest, content)
    assert everything_below(folder.parent) == before


def test_a_bundle_is_replaced_if_asked(sound_bundle, content, folder):
    (folder / "stale.txt").write_text("old")
    bundle = write_bundle(folder, replace(sound_bundle.manifest, name="newer"), content, replace=True)
    assert bundle.name == load_bundle(folder).name == "newer"
    assert {p.name for p in folder.parent.iterdir()} == {"net"}
    assert not (folder / "stale.txt").exists()


def test_a_bundle_is_replaced_where_names_cannot_be_exchanged(sound_bundle, content, folder, monkeypatch):
    monkeypatch.setattr("edgeexit.bundle.write._exchange", lambda *_: False)
    write_bundle(folder, replace(sound_bundle.manifest, name="newer"), content, replace=True)
    assert load_bundle(folder).name == "newer"
    assert {p.name for p in folder.parent.iterdir()} == {"net"}


def test_the_old_bundle_comes_back_if_the_new_one_cannot_take_its_place(sound_bundle, content, folder, monkeypatch):
    real = Path.rename

    def rename(path, target):
        if target == folder and path.joinpath("manifest.json").read_bytes() != old:
            raise OSError(errno.EIO, "broken")
        return real(path, target)

    old = (folder / "manifest.json").read_bytes()
    monkeypatch.setattr("edgeexit.bundle.write._exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="broken"):
        write_bundle(folder, replace(sound_bundle.manifest, name="newer"), content, replace=True)
    assert load_bundle(folder).name == "net"
    assert {p.name for p in folder.parent.iterdir()} == {"net"}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_bundle_is_never_replaced(sound_bundle, content, folder, tmp_path, kind):
    target = tmp_path / "precious"
    if kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("years")
    elif kind == "file":
        target.write_text("years")
    else:
        target.symlink_to(folder)
    before = everything_below(tmp_path)
    with pytest.raises(BundleError, match="is not replaced, because it is no bundle"):
        write_bundle(target, sound_bundle.manifest, content, replace=True)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("old", [False, True])
def test_a_full_disk_leaves_nothing_behind_and_the_old_bundle_in_place(sound_bundle, content, folder, tmp_path, old):
    target = folder if old else tmp_path / "other"
    before = everything_below(tmp_path)
    with disk_that_takes(300), pytest.raises(OSError, match="File too large"):
        write_bundle(target, sound_bundle.manifest, content, replace=True)
    assert everything_below(tmp_path) == before


def test_a_disk_that_does_not_confirm_leaves_nothing_behind(sound_bundle, content, tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(tmp_path / "net", sound_bundle.manifest, content)
    assert list(tmp_path.iterdir()) == []


def test_every_file_and_both_folders_are_brought_to_the_disk(sound_bundle, content, tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink()), real(fd)))
    write_bundle(tmp_path / "net", sound_bundle.manifest, content)
    names = [path.name for path in synced]
    assert names[:-2] == [*content, "manifest.json"]
    assert names[-2].startswith(".net.")
    assert synced[-1] == tmp_path


def test_pieces_that_do_not_fit_the_manifest_are_not_written(sound_bundle, content, tmp_path):
    with pytest.raises(BundleError, match=r"files: 'head0\.onnx' is missing"):
        write_bundle(tmp_path / "net", sound_bundle.manifest, {n: d for n, d in content.items() if n != "head0.onnx"})
    with pytest.raises(BundleError, match=r"head0\.onnx: takes and returns"):
        write_bundle(tmp_path / "net", sound_bundle.manifest, content | {"head0.onnx": content["head1.onnx"]})
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_leads_elsewhere_is_not_written(sound_bundle, content, tmp_path):
    with pytest.raises(BundleError, match="no absolute, parent or nested path"):
        write_bundle(tmp_path / "net", sound_bundle.manifest, content | {"../escaped": b""})
    assert list(tmp_path.iterdir()) == []


def test_files_are_added_to_a_bundle(folder):
    before = load_bundle(folder)
    after = replace_files(before, {"rules.json": json.dumps({"last": {}}).encode()})
    assert after.read_rules() == {"last": {}}
    assert after.path == folder
    assert after.digest != before.digest
    assert after.read_file("segment0.onnx") == before.read_file("segment0.onnx")


def test_a_bundle_that_was_changed_is_not_written_again(folder):
    bundle = load_bundle(folder)
    (folder / "segment0.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"segment0\.onnx"):
        replace_files(bundle, {"rules.json": b"{}"})
