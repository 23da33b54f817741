"""int8 variants of segments: right, on one scale where segments meet, and used where they gain."""

import numpy as np
import onnx
import pytest
from graphs import model, node, normal, run, saved

import edgeexit
from edgeexit.bundle.precision import with_precision
from edgeexit.bundle.write import write_bundle
from edgeexit.errors import DataError, GraphError, OptionError
from edgeexit.exits.fixed import Fixed
from edgeexit.offline.compress import precisions as measuring
from edgeexit.offline.compress import quantise_bundle, with_newer_opset
from edgeexit.offline.compress.precisions import choose_precisions
from edgeexit.offline.compress.quantise import quantise_model, scales_of
from edgeexit.offline.compress.segments import quantise_segments
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.graph.source import opset_version
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.record import record_trace
from edgeexit.protocols import Verdict
from edgeexit.runtime.engine import Engine

IMAGES = normal(240, 2, 8, 8, seed=9)


def three_exits(opset=17, batch="N"):
    """Three convolutions of 8 channels, an exit behind each that answers with each class."""
    proto = unbalanced_exits(opset, batch)
    said = [run(proto, {"image": IMAGES[i : i + 1]}) for i in range(len(IMAGES))]
    for index, out in enumerate(("early0", "early1", "logits")):
        bias = -np.mean([values[out][0] for values in said], axis=0)
        (old,) = (w for w in proto.graph.initializer if w.name == f"c{index}")
        old.CopyFrom(onnx.numpy_helper.from_array(bias, f"c{index}"))
    return proto


def unbalanced_exits(opset, batch):
    nodes, weights, value, outputs = [], {}, "image", {}
    for index in range(3):
        conv, relu, pooled, flat = (f"{word}{index}" for word in ("conv", "relu", "pooled", "flat"))
        out = "logits" if index == 2 else f"early{index}"
        nodes += [
            node("Conv", [value, f"w{index}", f"b{index}"], [conv], name=conv, pads=[1, 1, 1, 1]),
            node("Relu", [conv], [relu], name=relu),
            node("GlobalAveragePool", [relu], [pooled], name=pooled),
            node("Flatten", [pooled], [flat], name=flat),
            node("Gemm", [flat, f"h{index}", f"c{index}"], [out], name=out),
        ]
        channels = 2 if index == 0 else 8
        weights |= {
            f"w{index}": normal(8, channels, 3, 3, seed=index) / np.float32(channels),
            f"b{index}": normal(8, seed=10 + index),
            f"h{index}": 4 * normal(8, 3, seed=20 + index),
            f"c{index}": np.zeros(3, np.float32),
        }
        value, outputs[out] = relu, [batch, 3]
    return model(nodes, {"image": [batch, 2, 8, 8]}, outputs, weights, opset=opset)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    return split_model(saved(folder, three_exits()), folder / "net", name="net")


def samples(count=240, labels=None):
    return samples_of_arrays({"image": IMAGES[:count]}, labels)


def trial(bundle, folder, **options):
    """Write the bundle with its variants."""
    made = quantise_segments(bundle, samples(), **options)
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    return write_bundle(folder / "trial", made.manifest, {**files, **made.files}), made


@pytest.fixture(scope="module")
def variants(bundle, tmp_path_factory):
    return trial(bundle, tmp_path_factory.mktemp("variants"))[0]


def answers(bundle, cache, **options):
    """Return the logits of all exits, (S, 3, 3)."""
    engine = Engine(bundle, fuse_heads=True, cache_dir=cache, **options)
    tensors = {"image": IMAGES}
    for piece in engine.segments:
        piece.run(tensors)
    return np.stack([tensors[exit_.logits] for exit_ in bundle.exits], axis=1), engine


def test_every_segment_with_a_convolution_gets_a_variant(bundle, tmp_path):
    written, made = trial(bundle, tmp_path)
    assert made.refused == {}
    assert [s.precisions for s in written.segments] == [("float32", "int8")] * 3
    assert [s.precision for s in written.segments] == ["float32"] * 3
    assert sorted(made.files) == [f"segment{i}.int8.onnx" for i in range(3)]


def test_int8_says_nearly_what_float_says(variants, tmp_path):
    want, _ = answers(variants, tmp_path)
    got, engine = answers(with_precision(variants, "int8"), tmp_path)
    assert engine.optimised
    assert 0.0 < np.abs(got - want).max() < 0.15 * np.abs(want).max()


@pytest.mark.parametrize("mix", [("int8", "float32", "int8"), ("float32", "int8", "float32")])
def test_a_bundle_may_mix_precisions(variants, tmp_path, mix):
    mixed = with_precision(variants, mix)
    portable, _ = answers(mixed, tmp_path, optimise=False)
    optimised, engine = answers(mixed, tmp_path)
    want, _ = answers(variants, tmp_path)
    assert engine.optimised
    np.testing.assert_allclose(optimised, portable, rtol=0, atol=0.05 * np.abs(want).max())
    np.testing.assert_allclose(optimised, want, rtol=0, atol=0.15 * np.abs(want).max())


def test_two_segments_quantise_what_is_between_them_on_one_scale(variants):
    first, second = (scales_of(variants.read_file(f"segment{i}.int8.onnx")) for i in (0, 1))
    assert first["relu0"] == second["relu0"]


def test_what_is_between_two_int8_segments_stays_in_8_bits_on_the_device(variants, tmp_path):
    _, engine = answers(with_precision(variants, "int8"), tmp_path)
    separate = Engine(with_precision(variants, "int8"), cache_dir=tmp_path)
    assert engine.optimised
    kinds = [v.type for v in separate.segments[1].session.get_inputs()]
    assert kinds == ["tensor(uint8)"]


def test_logits_are_left_in_float(variants):
    graph = onnx.load_from_string(variants.read_file("segment2.int8.onnx")).graph
    (maker,) = (n for n in graph.node if "logits" in n.output)
    assert maker.op_type == "Gemm"


def test_nothing_of_a_variant_is_called_as_something_of_another_but_how_they_meet(variants):
    names = []
    for index in range(3):
        graph = onnx.load_from_string(variants.read_file(f"segment{index}.int8.onnx")).graph
        names.append({v for n in graph.node for v in n.output} | {w.name for w in graph.initializer})
    assert names[0] & names[1] == {"relu0_QuantizeLinear_Output", "relu0_scale", "relu0_zero_point"}
    assert names[0] & names[2] == set()


def test_a_segment_without_layers_is_refused_with_the_reason(tmp_path):
    proto = three_exits()
    path = saved(tmp_path, proto)
    cut = split_model(path, tmp_path / "net", name="net", exits=["logits"], cuts=[["conv0"], ["relu0"]])
    made = quantise_segments(cut, samples())
    assert list(made.refused) == [1]
    assert "holds no layer to quantise (Conv, Gemm, MatMul)" in made.refused[1]


def test_a_quantised_segment_is_not_quantised_again(variants):
    with pytest.raises(GraphError, match="quantised already"):
        quantise_model(variants.read_file("segment0.int8.onnx"), lambda: [{"image": IMAGES}])


@pytest.mark.parametrize(("opset", "by_channel"), [(12, False), (13, True)])
def test_weights_have_a_scale_for_each_channel_where_the_opset_knows_that(opset, by_channel):
    data = quantise_model(three_exits(opset).SerializeToString(), lambda: [{"image": IMAGES}])
    weights = {w.name: w for w in onnx.load_from_string(data).graph.initializer}
    sizes = {tuple(w.dims) for name, w in weights.items() if name.endswith("w1_scale")}
    assert sizes == ({(8,)} if by_channel else {()})
    want = run(three_exits(opset), {"image": IMAGES})["logits"]
    np.testing.assert_allclose(run(data, {"image": IMAGES})["logits"], want, rtol=0, atol=0.15 * np.abs(want).max())


def test_weights_may_be_of_7_bits():
    data = quantise_model(three_exits().SerializeToString(), lambda: [{"image": IMAGES}], narrow_weights=True)
    numbers = [onnx.numpy_helper.to_array(w) for w in onnx.load_from_string(data).graph.initializer]
    assert max(np.abs(n.astype(int)).max() for n in numbers if n.dtype == np.int8) == 64


def test_an_opset_without_quantisation_is_refused():
    with pytest.raises(GraphError, match="opset 9, 10 or newer is needed"):
        quantise_model(three_exits(opset=9).SerializeToString(), lambda: [{"image": IMAGES}])


def test_a_network_that_takes_one_sample_at_a_time_is_quantised(tmp_path):
    fixed = split_model(saved(tmp_path, three_exits(batch=1)), tmp_path / "net", name="net")
    assert quantise_segments(fixed, samples(40)).refused == {}


def test_an_old_model_is_converted_to_an_opset_that_can_be_quantised():
    old = three_exits(opset=9)
    newer = with_newer_opset(old)
    assert opset_version(newer) == 13
    np.testing.assert_array_equal(run(newer, {"image": IMAGES})["logits"], run(old, {"image": IMAGES})["logits"])
    assert with_newer_opset(newer) is newer


def test_a_model_that_onnx_cannot_convert_is_refused():
    proto = model([node("Upsample", ["x", "s"], ["y"])], {"x": [1, 2]}, {"y": [1, 4]}, opset=9)
    with pytest.raises(GraphError, match="opset 9 and cannot be converted to 13"):
        with_newer_opset(proto)


def measured(monkeypatch, float_us, int8_us, whole_us):
    """Replace what is measured: segments in float, in int8, then the whole in both."""
    rows = iter([[*float_us, *int8_us], whole_us])
    monkeypatch.setattr(measuring, "least_times", lambda runs: tuple(1e-6 * us for us in next(rows)))


def test_segments_that_are_faster_run_in_int8(variants, monkeypatch):
    measured(monkeypatch, (10, 20, 30), (10, 10, 20), (60, 40))
    choice = choose_precisions(variants, samples(), allowed_drop=100.0)
    assert choice.precisions == ("float32", "int8", "int8")
    assert [s.why for s in choice.segments] == ["int8 is not faster", "int8 is faster", "int8 is faster"]
    assert (choice.before.latency_s, choice.after.latency_s) == pytest.approx((6e-5, 4e-5))


def test_int8_that_gains_the_whole_nothing_is_not_used(variants, monkeypatch):
    measured(monkeypatch, (10, 20, 30), (9, 19, 29), (60, 61))
    choice = choose_precisions(variants, samples(), allowed_drop=100.0)
    assert (choice.kept, choice.lost_points) == (False, 0.0)
    assert {s.why for s in choice.segments} == {"int8 is faster here and gains the whole nothing"}
    assert choice.after == choice.before


def worse_in_the_middle(bundle, folder):
    """Variants of which that of segment 1 is not what it should be: its weights are turned around."""
    written, _ = trial(bundle, folder)
    proto = onnx.load_from_string(written.read_file("segment1.int8.onnx"))
    for weight in proto.graph.initializer:
        if weight.data_type == onnx.TensorProto.INT8 and len(weight.dims) == 4:
            numbers = onnx.numpy_helper.to_array(weight)
            weight.CopyFrom(onnx.numpy_helper.from_array(-numbers, weight.name))
    files = {name: written.read_file(name) for name in written.manifest.files}
    files["segment1.int8.onnx"] = proto.SerializeToString()
    return write_bundle(folder / "worse", written.manifest, files)


def test_a_segment_that_costs_too_much_accuracy_stays_in_float(bundle, tmp_path, monkeypatch):
    measured(monkeypatch, (10, 20, 30), (5, 10, 20), (60, 40))
    choice = choose_precisions(worse_in_the_middle(bundle, tmp_path), samples(), allowed_drop=20.0)
    assert choice.precisions == ("int8", "float32", "int8")
    assert "costs more than 20 points" in choice.segments[1].why
    assert choice.lost_points <= 20.0


def test_labels_decide_what_is_right_where_there_are_some(variants, monkeypatch):
    measured(monkeypatch, (10, 20, 30), (10, 10, 20), (60, 40))
    choice = choose_precisions(variants, samples(labels=np.full(240, 7)), allowed_drop=0.0)
    assert (choice.before.accuracy, choice.after.accuracy, choice.lost_points) == (0.0, 0.0, 0.0)
    assert choice.kept


@pytest.mark.parametrize("options", [{"allowed_drop": -1.0}, {"least_gain": 1.0}, {"least_gain": -0.1}])
def test_limits_that_are_none_are_refused(variants, options):
    with pytest.raises(OptionError, match="allowed_drop"):
        choose_precisions(variants, samples(), **options)


def test_a_bundle_gets_the_variants_that_gain_and_no_others(bundle, tmp_path, monkeypatch):
    measured(monkeypatch, (10, 20, 30), (10, 10, 20), (60, 40))
    done = quantise_bundle(bundle, samples(), allowed_drop=100.0)
    written = write_bundle(tmp_path / "int8", done.manifest, done.files)
    assert [s.precision for s in written.segments] == ["float32", "int8", "int8"]
    assert [s.precisions for s in written.segments] == [("float32",), ("float32", "int8"), ("float32", "int8")]
    assert "segment0.int8.onnx" not in written.manifest.files
    assert done.report.lines[0].startswith("quantise: kept, int8 in segments 1, 2 (0.060 ms -> 0.040 ms, accuracy ")
    assert done.report.lines[1] == "segment 0: float, int8 is not faster (10 us -> 10 us)"


def test_a_bundle_that_gains_nothing_stays_as_it_is(bundle, monkeypatch):
    measured(monkeypatch, (10, 20, 30), (11, 21, 31), (60, 60))
    done = quantise_bundle(bundle, samples())
    assert done.manifest == bundle.manifest
    assert done.files.keys() == bundle.manifest.files.keys()
    assert done.report.lines[0].startswith("quantise: undone, int8 gains nothing here")


def test_too_few_samples_are_refused(bundle):
    with pytest.raises(DataError, match="99 samples are too few for int8: 100 or more"):
        quantise_bundle(bundle, samples(99))


def test_a_session_runs_the_precision_that_is_asked_for(variants, tmp_path):
    image, said = IMAGES[:1], {}
    with edgeexit.open_device("host") as device:
        for precision in (None, "float32", "int8", ("float32", "float32", "int8")):
            with edgeexit.Session(
                variants, device, exit_rule=Fixed(3, exit_index=2), precision=precision, cache_dir=tmp_path
            ) as session:
                said[precision] = session.infer(image).probabilities.tolist()
                assert [s.precision for s in session.bundle.segments] == {
                    None: ["float32"] * 3, "float32": ["float32"] * 3, "int8": ["int8"] * 3,
                }.get(precision, list(precision or ()))  # fmt: skip
    assert said[None] == said["float32"] != said["int8"]


class AsksForInt8:
    """A rule that wants the next segments in int8."""

    name = "asks"
    looks_at_every_exit = False

    def judge(self, evidence):
        return Verdict(False, 2, None, "int8")


def test_a_rule_that_asks_for_a_precision_at_run_time_is_refused(variants, tmp_path):
    with edgeexit.open_device("host") as device, pytest.raises(OptionError, match="fixed when a session is opened"):
        edgeexit.Session(variants, device, exit_rule=AsksForInt8(), cache_dir=tmp_path)


def test_a_reference_network_is_as_right_in_int8(tmp_path):
    reference = edgeexit.load_bundle("fashion-resnet")
    stored = np.load(reference.path.parent / "fashion-images.npz")
    images = stored["images"].reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)
    shown = samples_of_arrays({reference.inputs[0].name: images}, stored["labels"])
    made = quantise_segments(reference, shown.take(np.arange(100)))
    assert made.refused == {}
    files = {name: reference.read_file(name) for name in reference.manifest.files}
    int8 = with_precision(write_bundle(tmp_path / "int8", made.manifest, {**files, **made.files}), "int8")
    want, got = (record_trace(bundle, images, stored["labels"]).logits.argmax(axis=2) for bundle in (reference, int8))
    assert (want == got).mean() > 0.97
