"""A bundle is checked in full when it is loaded; what is wrong with it is said with the file's name."""

import hashlib
import json
import os
import subprocess
import sys

import onnx
import pytest
from graphs import node
from onnx import TensorProto, helper

import edgeexit
from edgeexit.bundle import list_bundles, load_bundle
from edgeexit.errors import BundleError, BundleNotFound
from edgeexit.protocols import Workload


def rewrite(folder, name, data):
    """Change a file and the manifest's record of it, as a forger would."""
    (folder / name).write_bytes(data)
    document = json.loads((folder / "manifest.json").read_bytes())
    document["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(document))


def change_piece(folder, name, change):
    model = onnx.load(folder / name)
    change(model)
    rewrite(folder, name, model.SerializeToString())


def test_a_bundle_says_what_it_consists_of(folder):
    bundle = load_bundle(folder)
    assert (bundle.name, bundle.path, bundle.output) == ("net", folder, "logits")
    assert (bundle.exit_count, bundle.class_count, bundle.labels) == (2, 3, ("a", "b", "c"))
    assert [(t.name, t.dtype, t.shape) for t in bundle.inputs] == [("image", "float32", ("N", 2, 6, 6))]
    assert [(s.inputs, s.outputs) for s in bundle.segments] == [(("image",), ("r0",)), (("r0",), ("logits",))]
    assert [(e.segment, e.inputs, e.logits) for e in bundle.exits] == [
        (0, ("r0",), "early"),
        (1, ("logits",), "logits"),
    ]
    assert {t.name: t.shape for t in bundle.tensors.values()} == {"r0": ("N", 4, 6, 6), "logits": ("N", 3)}
    # Convolutions: 36 places x 4 filters x (2 x 9) and x (4 x 9) weights; matrices: 4 x 3.
    assert bundle.workload == Workload((2592, 5184 + 12), (12, 0), (0, 1))
    assert bundle.digest == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_the_evidence_that_the_segment_makes_is_not_made_by_the_head(folder):
    bundle = load_bundle(folder)
    assert bundle.head_outputs(0) == bundle.exits[0].outputs
    assert bundle.head_outputs(1) == bundle.exits[1].outputs[1:]


def test_other_files_in_the_folder_are_ignored(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "rules.json").write_text("not listed, and no JSON")
    assert load_bundle(folder).read_rules() == {}


def test_a_name_finds_a_bundle_that_ships(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeexit.bundle.load._shipped", lambda: tmp_path)
    (tmp_path / "no-bundle").mkdir()
    assert list_bundles() == ("net",)
    assert load_bundle("net").path == folder


def test_an_unknown_name_is_answered_with_those_that_there_are(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeexit.bundle.load._shipped", lambda: tmp_path)
    with pytest.raises(BundleNotFound, match=r"no bundle called 'nett' ships .*there are: net"):
        load_bundle("nett")


def test_a_folder_that_was_given_as_a_name_is_answered_with_how_to_say_it(folder, monkeypatch):
    monkeypatch.setattr("edgeexit.bundle.load._shipped", lambda: folder / "nothing")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(BundleNotFound, match=r"say \./net"):
        load_bundle("net")
    assert load_bundle("./net").name == "net"


@pytest.mark.parametrize("place", ["nowhere/at/all", "file"])
def test_a_path_without_a_folder_is_not_found(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_bundle(tmp_path / place)


@pytest.mark.parametrize("name", ["manifest.json", "segment1.onnx", "head0.onnx"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleNotFound, match=rf"{name}: does not exist"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["segment0.onnx", "segment1.onnx", "head0.onnx", "head1.onnx"])
def test_a_truncated_file_is_named(folder, name):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(BundleError, match=rf"{name}: is truncated: {len(data) - 1} bytes instead of {len(data)}"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["segment0.onnx", "head1.onnx"])
@pytest.mark.parametrize("position", [0, -1])
def test_one_changed_byte_is_found(folder, name, position):
    data = bytearray((folder / name).read_bytes())
    data[position] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name}: was changed: its sha256"):
        load_bundle(folder)


def test_a_longer_file_is_found(folder):
    with (folder / "head0.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"head0\.onnx"):
        load_bundle(folder)


def test_a_file_that_changes_after_loading_is_found_when_it_is_read(folder):
    bundle = load_bundle(folder)
    data = bundle.read_file("segment0.onnx")
    assert hashlib.sha256(data).hexdigest() == bundle.manifest.files["segment0.onnx"].sha256
    (folder / "segment0.onnx").write_bytes(bytes(len(data)))
    with pytest.raises(BundleError, match=r"segment0\.onnx: was changed"):
        bundle.read_file("segment0.onnx")


def test_a_file_that_is_not_listed_is_not_read(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt: is not listed"):
        load_bundle(folder).read_file("notes.txt")


@pytest.mark.parametrize("name", ["manifest.json", "head0.onnx"])
def test_a_file_over_the_stated_size_is_not_read(folder, name):
    """The files are sparse: to read one would take 4 GiB of memory."""
    os.truncate(folder / name, 2**32)
    with pytest.raises(BundleError, match=rf"{name}: has 4294967296 bytes, more than the \d+ allowed; raise max_file_"):
        load_bundle(folder)


def test_a_file_that_says_it_is_over_the_stated_size_is_not_looked_for(folder):
    size = (folder / "manifest.json").stat().st_size + 1000
    rewrite(folder, "head0.onnx", b"x" * (size + 1))
    (folder / "head0.onnx").unlink()
    with pytest.raises(BundleError, match=rf"head0\.onnx: should have {size + 1} bytes, more than the {size} allowed"):
        load_bundle(folder, max_file_bytes=size)


def test_a_link_within_the_bundle_is_followed(folder):
    (folder / "real").mkdir()
    (folder / "head0.onnx").rename(folder / "real" / "weights")
    (folder / "head0.onnx").symlink_to("real/weights")
    assert load_bundle(folder).exit_count == 2


@pytest.mark.parametrize("name", ["manifest.json", "head0.onnx"])
def test_a_link_that_leaves_the_bundle_is_refused(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match=rf"{name}: is a link that leaves the bundle"):
        load_bundle(folder)


def test_a_link_to_itself_is_refused(folder):
    (folder / "head0.onnx").unlink()
    (folder / "head0.onnx").symlink_to("head0.onnx")
    with pytest.raises(BundleError, match=r"head0\.onnx"):
        load_bundle(folder)


def test_a_bundle_may_itself_be_reached_by_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert load_bundle(tmp_path / "link").name == "net"


def test_a_named_pipe_does_not_hang_the_loader(folder):
    (folder / "head0.onnx").unlink()
    os.mkfifo(folder / "head0.onnx")
    with pytest.raises(BundleError, match=r"head0\.onnx: is no plain file"):
        load_bundle(folder)


def test_a_folder_in_place_of_a_file_is_refused(folder):
    (folder / "head0.onnx").unlink()
    (folder / "head0.onnx").mkdir()
    with pytest.raises(BundleError, match=r"head0\.onnx: is no plain file"):
        load_bundle(folder)


def custom_operator(model):
    model.graph.node[0].domain = "com.example"


def custom_operator_in_a_branch(model):
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    branch = helper.make_graph([node("Mine", ["r0"], ["out"], domain="com.example")], "b", [], [output])
    model.graph.node.append(node("If", ["r0"], ["z"], then_branch=branch, else_branch=branch))


def custom_function(model):
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("com.example", "Mine", ["a"], ["b"], [], opset))


def custom_operator_in_a_function(model):
    opset, nodes = [helper.make_opsetid("", 17)], [node("Mine", ["a"], ["b"], domain="com.example")]
    model.functions.append(helper.make_function("", "Innocent", ["a"], ["b"], nodes, opset))


def compiled_binary(model):
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.microsoft", "EPContext"


@pytest.mark.parametrize(
    "change",
    [custom_operator, custom_operator_in_a_branch, custom_function, custom_operator_in_a_function, compiled_binary],
)
def test_other_peoples_code_is_refused(folder, change):
    change_piece(folder, "head0.onnx", change)
    with pytest.raises(BundleError, match=r"head0\.onnx: .*(Mine|pool0)"):
        load_bundle(folder)


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_operators_that_onnx_runtime_brings_are_allowed(folder, domain):
    def change(model):
        model.graph.node[0].domain = domain

    change_piece(folder, "head0.onnx", change)
    load_bundle(folder)


def external_weight(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_attribute(model):
    tensor = helper.make_tensor("secret", TensorProto.FLOAT, [1], [0.0])
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(node("Constant", [], ["c"], value=tensor))


def external_weight_in_a_branch(model):
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    branch = helper.make_graph([], "b", [], [output], [helper.make_tensor("out", TensorProto.FLOAT, [1], [0.0])])
    branch.initializer[0].external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(node("If", ["r0"], ["z"], then_branch=branch, else_branch=branch))


@pytest.mark.parametrize("change", [external_weight, external_attribute, external_weight_in_a_branch])
def test_references_to_external_files_are_refused(folder, change):
    change_piece(folder, "head0.onnx", change)
    with pytest.raises(BundleError, match=r"head0\.onnx: tensor '.*' refers to an external file"):
        load_bundle(folder)


def test_a_piece_that_is_no_model_is_refused(folder):
    rewrite(folder, "head0.onnx", b"\xff" * 100)
    with pytest.raises(BundleError, match=r"head0\.onnx is no ONNX model"):
        load_bundle(folder)


def test_a_piece_with_other_outputs_than_the_manifest_says_is_refused(folder):
    change_piece(folder, "head0.onnx", lambda model: model.graph.output.pop())
    with pytest.raises(BundleError, match=r"head0\.onnx: takes and returns"):
        load_bundle(folder)


def test_loading_imports_neither_onnx_nor_onnxruntime_nor_numpy(folder):
    code = (
        "import sys, edgeexit; "
        f"edgeexit.load_bundle({str(folder)!r}); "
        "print([m for m in ('onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_rules_and_predictor_are_read_as_they_are(folder):
    rewrite(folder, "rules.json", b'{"threshold": {"threshold": 0.5}}')
    rewrite(folder, "predictor.json", b'{"weights": [1.5]}')
    bundle = load_bundle(folder)
    assert bundle.read_rules() == {"threshold": {"threshold": 0.5}}
    assert bundle.read_predictor() == {"weights": [1.5]}


def test_a_bundle_without_rules_and_predictor_says_so(folder):
    assert load_bundle(folder).read_rules() == {}
    assert load_bundle(folder).read_predictor() is None


@pytest.mark.parametrize("data", [b"[]", b"nonsense", b'{"a": NaN}', b'{"a": 1, "a": 2}'])
def test_rules_that_are_no_sound_json_object_are_refused(folder, data):
    rewrite(folder, "rules.json", data)
    bundle = load_bundle(folder)
    with pytest.raises(BundleError, match=r"rules\.json: "):
        bundle.read_rules()


def test_the_public_name_is_this_function():
    assert edgeexit.load_bundle is load_bundle
