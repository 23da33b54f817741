"""A model becomes a bundle whose pieces give what the model gives."""

import hashlib
import json

import numpy as np
import onnx
import pytest
from graphs import model, newest_opset, node, normal, residual_net, run, run_bundle, saved, softmax
from onnx import TensorProto, helper

from edgeexit.bundle import Preprocess, load_bundle
from edgeexit.bundle.whole import bundle_stages, join_pieces
from edgeexit.errors import BundleError, GraphError
from edgeexit.offline.graph import source
from edgeexit.offline.graph.split import split_model

IMAGE = normal(2, 2, 6, 6, seed=9)


def split(folder, proto, **options):
    return split_model(saved(folder, proto), folder / "net", name="net", **options)


def head_net(*nodes, output, weights=None, opset=17, dtype=TensorProto.FLOAT, shape=("N", 3)):
    """x (N, 3) -> Relu -> `nodes`, which make `output` from "r"."""
    inputs = {"x": ["N", 3]}
    return model([node("Relu", ["x"], ["r"]), *nodes], inputs, {output: shape}, weights or {}, opset=opset, dtype=dtype)


def test_a_bundle_gives_all_outputs_of_the_model(tmp_path):
    bundle = split(tmp_path, residual_net())
    got, want = run_bundle(bundle, {"image": IMAGE}), run(residual_net(), {"image": IMAGE})
    for name in ("early", "logits"):
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-6)


def test_the_evidence_is_that_of_the_logits(tmp_path):
    bundle = split(tmp_path, residual_net())
    values = run_bundle(bundle, {"image": IMAGE})
    for exit_ in bundle.exits:
        want = softmax(values[exit_.logits])
        np.testing.assert_allclose(values[exit_.probabilities], want, atol=1e-6)
        np.testing.assert_allclose(values[exit_.top_values], -np.sort(-want, axis=1)[:, :2], atol=1e-6)
        np.testing.assert_array_equal(values[exit_.top_labels], np.argsort(-want, axis=1)[:, :2])
        assert values[exit_.top_labels].dtype == np.int64


def test_the_evidence_has_names_that_say_what_it_is(tmp_path):
    exit_ = split(tmp_path, residual_net()).exits[0]
    assert exit_.outputs == (
        "early",
        "edgeexit/exit0/probabilities",
        "edgeexit/exit0/top_values",
        "edgeexit/exit0/top_labels",
    )


def test_the_manifest_says_what_was_given(tmp_path):
    preprocess = Preprocess("RGB", (6, 6), "NCHW", 0.5, (0.0, 0.1, 0.2), (1.0, 1.0, 2.0))
    split(tmp_path, residual_net(), labels=["a", "b", "c"], preprocess=preprocess)
    bundle = load_bundle(tmp_path / "net")
    assert (bundle.name, bundle.labels, bundle.preprocess) == ("net", ("a", "b", "c"), preprocess)
    assert json.loads((tmp_path / "net" / "manifest.json").read_text())["created_by"].startswith("edgeexit ")


def test_the_same_model_gives_the_same_bundle(tmp_path):
    path = saved(tmp_path, residual_net())
    assert len({split_model(path, tmp_path / out, name="net").digest for out in ("a", "b")}) == 1


def test_the_model_file_is_not_changed(tmp_path):
    path = saved(tmp_path, residual_net())
    before = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
    split_model(path, tmp_path / "net", name="net")
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == before


def test_a_model_with_one_output_and_no_cuts_is_one_segment_with_one_exit(tmp_path):
    bundle = split(tmp_path, residual_net(), exits=["logits"])
    assert [s.outputs for s in bundle.segments] == [("logits",)]
    assert [(e.segment, e.inputs, e.logits) for e in bundle.exits] == [(0, ("logits",), "logits")]
    got = run_bundle(bundle, {"image": IMAGE})["logits"]
    np.testing.assert_allclose(got, run(residual_net(), {"image": IMAGE})["logits"], rtol=0, atol=1e-6)


def test_all_pieces_joined_are_the_whole_again(tmp_path):
    bundle = split(tmp_path, residual_net())
    whole = join_pieces(bundle, bundle_stages(bundle))
    assert [o.name for o in whole.graph.output] == [*bundle.exits[0].outputs, "logits", *bundle.exits[1].outputs[1:]]
    got, want = run(whole, {"image": IMAGE}), run(residual_net(), {"image": IMAGE})
    np.testing.assert_array_equal(got["early"], want["early"])
    np.testing.assert_array_equal(got["logits"], want["logits"])


def test_the_stages_of_a_bundle_cut_the_whole_into_the_same_pieces(tmp_path):
    from edgeexit.bundle.graph.cut import cut

    bundle = split(tmp_path, residual_net())
    pieces = cut(join_pieces(bundle, bundle_stages(bundle)), bundle_stages(bundle))
    assert [(p.inputs, p.outputs) for p in pieces.segments] == [(s.inputs, s.outputs) for s in bundle.segments]
    assert [p.outputs for p in pieces.heads] == [bundle.head_outputs(0), bundle.head_outputs(1)]


@pytest.mark.parametrize("batch", [1, 5])
def test_the_batch_stays_open(tmp_path, batch):
    bundle = split(tmp_path, residual_net(batch="batch"))
    assert bundle.inputs[0].shape == ("batch", 2, 6, 6)
    assert bundle.tensors["r0"].shape == ("batch", 4, 6, 6)
    assert run_bundle(bundle, {"image": IMAGE[:1].repeat(batch, 0)})["logits"].shape == (batch, 3)


def test_a_fixed_batch_stays_fixed(tmp_path):
    bundle = split(tmp_path, residual_net(batch=2))
    assert bundle.tensors["r0"].shape == (2, 4, 6, 6)
    # The same work as with an open batch: it is counted for one sample.
    assert bundle.workload.segment_macs == (2592, 5196)


def test_nothing_is_written_where_a_bundle_stands_unless_asked(tmp_path):
    split(tmp_path, residual_net())
    with pytest.raises(BundleError, match="exists already"):
        split(tmp_path, residual_net(), exits=["logits"])
    assert split(tmp_path, residual_net(), exits=["logits"], replace=True).exit_count == 1
    assert load_bundle(tmp_path / "net").exit_count == 1


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 15, 18, "newest"])
def test_models_of_every_opset_are_split(tmp_path, opset):
    opset = newest_opset() if opset == "newest" else opset
    proto = residual_net(opset=opset)
    if opset < 11:
        for gemm in (n for n in proto.graph.node if n.op_type == "Gemm"):
            gemm.input.append("zero")
        proto.graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]))
    bundle = split(tmp_path, proto)
    got, want = run_bundle(bundle, {"image": IMAGE}), run(proto, {"image": IMAGE})
    for name in ("early", "logits"):
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-6)
    top = bundle.exits[0]
    np.testing.assert_array_equal(got[top.top_labels][:, 0], want["early"].argmax(1))
    for piece in (*bundle.segments, *bundle.exits):
        onnx.checker.check_model(onnx.load(bundle.path / piece.file))


def test_an_older_opset_is_refused(tmp_path):
    with pytest.raises(GraphError, match="is of opset 8, 9 or newer is needed"):
        split(tmp_path, residual_net(opset=8))


def test_the_evidence_of_a_float16_network_is_float32(tmp_path):
    proto = residual_net(dtype=np.float16)
    bundle = split(tmp_path, proto)
    image = IMAGE.astype(np.float16)
    got, want = run_bundle(bundle, {"image": image}), run(proto, {"image": image})
    assert (bundle.inputs[0].dtype, bundle.tensors["r0"].dtype) == ("float16", "float16")
    assert bundle.exits[1].logits == "edgeexit/exit1/float"
    for exit_, name in zip(bundle.exits, ("early", "logits"), strict=True):
        assert got[exit_.logits].dtype == got[exit_.probabilities].dtype == np.float32
        np.testing.assert_allclose(got[exit_.logits], want[name], atol=1e-2)


def test_the_evidence_of_a_float64_network_is_float32(tmp_path):
    bundle = split(tmp_path, head_net(node("Neg", ["r"], ["y"]), output="y", dtype=TensorProto.DOUBLE))
    values = run_bundle(bundle, {"x": normal(2, 3, dtype=np.float64)})
    assert (bundle.tensors["y"].dtype, values["y"].dtype) == ("float64", np.float64)
    assert values[bundle.exits[0].logits].dtype == values[bundle.exits[0].top_values].dtype == np.float32


def test_an_exit_of_the_shape_n_c_1_1_is_flattened(tmp_path):
    proto = head_net(
        node("Unsqueeze", ["r", "axes"], ["y"]), output="y", weights={"axes": [2, 3]}, shape=("N", 3, 1, 1)
    )
    bundle = split(tmp_path, proto)
    x = normal(2, 3)
    values = run_bundle(bundle, {"x": x})
    assert bundle.class_count == 3
    np.testing.assert_array_equal(values[bundle.exits[0].logits], np.maximum(x, 0))


def test_a_softmax_is_not_applied_twice(tmp_path):
    proto = head_net(
        node("Mul", ["r", "four"], ["z"]), node("Softmax", ["z"], ["y"]), output="y", weights={"four": np.float32(4)}
    )
    bundle = split(tmp_path, proto)
    exit_ = bundle.exits[0]
    assert (exit_.logits, exit_.probabilities, bundle.output) == ("z", "y", "y")
    assert bundle.segments[0].outputs == ("z", "y")
    x = normal(2, 3)
    values = run_bundle(bundle, {"x": x})
    np.testing.assert_allclose(values["y"], softmax(4 * np.maximum(x, 0)), atol=1e-6)
    np.testing.assert_allclose(values[exit_.top_values][:, 0], values["y"].max(1))


def test_logits_are_logarithms_where_the_softmax_is_not_at_the_end(tmp_path):
    proto = head_net(
        node("Unsqueeze", ["r", "axes"], ["u"]),
        node("Softmax", ["u"], ["s"], axis=1),
        node("Squeeze", ["s", "axes"], ["y"]),
        output="y",
        weights={"axes": [2, 3]},
    )
    bundle = split(tmp_path, proto)
    exit_ = bundle.exits[0]
    values = run_bundle(bundle, {"x": np.float32([[0, 0, 200]])})
    assert (exit_.logits, exit_.probabilities) == ("edgeexit/exit0/logits", "y")
    # The logarithm of the least probability that is told apart, 1e-30.
    np.testing.assert_allclose(values[exit_.logits], [[np.log(1e-30), np.log(1e-30), 0.0]], rtol=1e-6)


def test_a_softmax_over_something_else_is_taken_as_logits(tmp_path):
    proto = head_net(
        node("Unsqueeze", ["r", "axes"], ["u"]),
        node("Softmax", ["u"], ["s"], axis=3),
        node("Squeeze", ["s", "axes"], ["y"]),
        output="y",
        weights={"axes": [2, 3]},
    )
    assert split(tmp_path, proto).exits[0].logits == "y"


def test_two_classes_and_one_class_have_as_many_top_values(tmp_path):
    for classes in (1, 2):
        proto = model([node("Relu", ["x"], ["y"])], {"x": ["N", classes]}, {"y": ["N", classes]})
        path = saved(tmp_path, proto)
        bundle = split_model(path, tmp_path / f"net{classes}", name="net")
        values = run_bundle(bundle, {"x": normal(4, classes)})
        assert values[bundle.exits[0].top_values].shape == (4, classes)


def test_the_number_of_classes_may_come_from_the_labels(tmp_path):
    proto = head_net(node("Reshape", ["r", "shape"], ["y"]), output="y", shape=None)
    proto.graph.node.insert(0, node("Shape", ["x"], ["s"]))
    proto.graph.node.insert(1, node("NonZero", ["s"], ["shape0"]))
    proto.graph.node.insert(2, node("Squeeze", ["shape0", "axis"], ["ones"]))
    proto.graph.node.insert(3, node("Sub", ["s", "zero"], ["shape"]))
    for name, value in (("axis", [0]), ("zero", [0])):
        proto.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], value))
    del proto.graph.input[0].type.tensor_type.shape.dim[1]
    proto.graph.input[0].type.tensor_type.shape.dim.add()
    with pytest.raises(GraphError, match="number of classes of exit 'y' cannot be inferred; give labels"):
        split(tmp_path, proto)
    assert split(tmp_path, proto, labels=["a", "b", "c"]).class_count == 3


@pytest.mark.parametrize(
    ("output", "shape", "message"),
    [
        (node("ReduceSum", ["r"], ["y"], keepdims=0), [], r"exit 'y' has the shape \(\)"),
        (node("Unsqueeze", ["r", "axis"], ["y"]), ["N", 1, 3], r"exit 'y' has the shape \('N', 1, 3\)"),
    ],
)
def test_an_output_that_is_no_classification_is_refused(tmp_path, output, shape, message):
    proto = head_net(output, output="y", weights={"axis": [1]}, shape=shape)
    with pytest.raises(GraphError, match=message):
        split(tmp_path, proto)


def test_an_output_of_whole_numbers_is_refused(tmp_path):
    proto = head_net(node("ArgMax", ["r"], ["y"], axis=1), output="y", shape=("N", 1))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(GraphError, match=r"exit 'y' returns INT64; floats .* are needed"):
        split(tmp_path, proto)


def test_labels_must_be_as_many_as_the_classes(tmp_path):
    with pytest.raises(GraphError, match="2 labels were given for 3 classes"):
        split(tmp_path, residual_net(), labels=["a", "b"])


def test_exits_with_other_numbers_of_classes_are_refused(tmp_path):
    proto = residual_net()
    proto.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(normal(4, 5), "h0"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    with pytest.raises(GraphError, match=r"different numbers of classes: {'early': 5, 'logits': 3}"):
        split(tmp_path, proto)


def test_custom_operators_are_refused(tmp_path):
    proto = residual_net()
    proto.graph.node[1].domain = "com.example"
    with pytest.raises(GraphError, match=r"'relu0' \(Relu\) is a custom operator of 'com.example'"):
        split(tmp_path, proto)


def test_functions_of_the_model_are_inlined(tmp_path):
    proto = residual_net()
    relu = [node("Relu", ["a"], ["b"])]
    proto.functions.append(helper.make_function("mine", "Half", ["a"], ["b"], relu, [helper.make_opsetid("", 17)]))
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Half", "mine"
    bundle = split(tmp_path, proto)
    got, want = run_bundle(bundle, {"image": IMAGE})["logits"], run(residual_net(), {"image": IMAGE})["logits"]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("data", [b"", b"not a model", b"\xff" * 10])
def test_what_is_no_model_is_refused(tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(GraphError, match=r"model\.onnx: (is no ONNX model|holds no graph)"):
        split_model(tmp_path / "model.onnx", tmp_path / "net", name="net")


def test_a_file_that_does_not_exist_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        split_model(tmp_path / "model.onnx", tmp_path / "net", name="net")


def with_external_weights(folder):
    path = folder / "model.onnx"
    onnx.save_model(
        residual_net(),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="w.bin",
        size_threshold=0,
    )
    return path


def test_weights_in_other_files_are_put_into_the_pieces(tmp_path):
    path = with_external_weights(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    bundle = split_model(path, tmp_path / "net", name="net")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    assert (
        bundle.digest == split_model(saved(tmp_path, residual_net(), "inline.onnx"), tmp_path / "b", name="net").digest
    )


def test_a_missing_file_of_weights_is_named(tmp_path):
    path = with_external_weights(tmp_path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(GraphError, match=r"segment0\.onnx: its weights cannot be read .*w\.bin"):
        split_model(path, tmp_path / "net", name="net")


def test_weights_outside_the_models_folder_are_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    path = with_external_weights(tmp_path / "inner")
    (tmp_path / "inner" / "w.bin").rename(tmp_path / "w.bin")
    proto = onnx.load(path, load_external_data=False)
    for weight in proto.graph.initializer:
        weight.external_data[0].value = "../w.bin"
    with pytest.raises(GraphError, match=r"segment0\.onnx: its weights cannot be read"):
        split_model(saved(tmp_path / "inner", proto), tmp_path / "net", name="net")


def test_a_piece_that_no_file_can_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "LARGEST_PROTOBUF", 800)
    with pytest.raises(GraphError, match=r"segment1\.onnx: holds \d+ bytes, an ONNX file can hold 800; cut it in more"):
        split(tmp_path, residual_net())
    assert not (tmp_path / "net").exists()
