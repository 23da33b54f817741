"""`edgeexit info` says in which precision a segment runs, where there is a choice."""

import json
from dataclasses import replace

from click.testing import CliRunner
from tiny_bundle import make_bundle

from edgeexit.bundle.manifest import Variant
from edgeexit.bundle.write import write_bundle
from edgeexit.cli.info import command


def write_mixed(folder):
    bundle = make_bundle(folder)
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    first, *others = bundle.segments
    variant = Variant("segment0.int8.onnx", 16, 9)
    manifest = replace(
        bundle.manifest, segments=(replace(first, variants={"int8": variant}, precision="int8"), *others)
    )
    return write_bundle(folder / "mixed", manifest, {**files, variant.file: files[first.file]})


def test_the_precision_in_use_is_shown_where_there_are_several(tmp_path):
    said = CliRunner().invoke(command, [str(write_mixed(tmp_path).path)], standalone_mode=False).output
    assert [", in int8" in line for line in said.splitlines() if "body" in line] == [True, False]


def test_a_compressed_network_is_called_so(tmp_path):
    bundle = write_mixed(tmp_path)
    pruned = replace(bundle.manifest, compression=("prune",))
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    both = write_bundle(tmp_path / "both", pruned, files)
    said = CliRunner().invoke(command, [str(both.path)], standalone_mode=False).output
    assert "compressed  prune, int8; drops and certificates are counted from the compressed network" in said
    assert both.full_name == "full network (compressed)"


def test_json_names_the_file_in_use_and_what_there_is_to_choose_from(tmp_path):
    said = CliRunner().invoke(command, [str(write_mixed(tmp_path).path), "--json"], standalone_mode=False).output
    first, second, _ = json.loads(said)["segments"]
    assert (first["file"], first["precision"], first["precisions"]) == (
        "segment0.int8.onnx",
        "int8",
        ["float32", "int8"],
    )
    assert first["parameters"] == 9
    assert (second["precision"], second["precisions"]) == ("float32", ["float32"])
