"""Heads with layers of their own: the maps they read, their size, their nodes, and what is recorded for them."""

import errno
from dataclasses import replace

import numpy as np
import onnx
import pytest
from graphs import model, newest_opset, node, normal, run, saved
from nets_of_each_kind import channels_last_net

from edgeexit.errors import DataError, GraphError
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.graph.cut_candidates import CutCandidate, find_cuts
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.heads import ConvHead, attach_heads, fit_heads, output_names, record_features, trace_of
from edgeexit.offline.heads import recording as recording_module
from edgeexit.offline.heads.conv_head import SeparableWeights, check_written, head_macs, pack_head, unpack_head
from edgeexit.offline.heads.conv_plan import ConvPlan, HeadRecipe, NoConvHead, plan_head
from edgeexit.offline.heads.maps import MapPooling, RecordedMaps, map_pooling_of
from edgeexit.offline.record import record_trace

EQUAL = {"rtol": 0, "atol": 1e-5}


def place(kind, shape, macs_before=0):
    return CutCandidate(("x",), macs_before, 0, "x", kind, shape)


def two_convolutions(side=28, opset=17):
    """Two convolutions over (N, 1, side, side); "r0" and "r1" have 4 channels; 3 classes."""
    weights = {"w0": normal(4, 1, 3, 3), "w1": normal(4, 4, 3, 3, seed=1) / 3, "h": normal(4, 3, seed=2)}
    nodes = [
        node("Conv", ["image", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w1"], ["c2"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c2"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "h"], ["scores"]),
    ]
    return model(nodes, {"image": ["N", 1, side, side]}, {"scores": ["N", 3]}, weights, opset=opset)


def images(count=6, side=28):
    return {"image": normal(count, 1, side, side, seed=7)}


def a_head(pooling, layers=((8, 2), (6, 1)), classes=3):
    """A head of random weights."""
    channels, made = pooling.shape[0], []
    for index, (outputs, stride) in enumerate(layers):
        weights = normal(channels, 1, 3, 3, seed=10 + index) / 3, normal(channels, seed=20 + index)
        mixed = normal(outputs, channels, 1, 1, seed=30 + index) / 2, normal(outputs, seed=40 + index)
        made.append(SeparableWeights(*weights, *mixed, stride))
        channels = outputs
    return ConvHead(pooling, tuple(made), normal(channels * 4, classes, seed=50), normal(classes, seed=51), loss=0.5)


def recorded(proto, inputs, **options):
    """What two heads of layers of their own, at "r0" and "r1", read."""
    candidates = find_cuts(proto).candidates
    maps = [map_pooling_of(candidate) for candidate in candidates]
    return candidates, record_features(proto, candidates, samples_of_arrays(inputs), maps=maps, **options)


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("map_nchw", (16, 14, 14), MapPooling("x", "map_nchw", (16, 14, 14), (1, 1), (1, 1))),
        ("map_nchw", (16, 28, 28), MapPooling("x", "map_nchw", (16, 14, 14), (2, 2), (2, 2))),
        ("map_nchw", (16, 55, 28), MapPooling("x", "map_nchw", (16, 13, 7), (7, 4), (4, 4))),
        ("map_nhwc", (28, 14, 16), MapPooling("x", "map_nhwc", (16, 14, 7), (2, 2), (2, 2))),
        ("map_nchw", (1024, 14, 14), MapPooling("x", "map_nchw", (1024, 4, 4), (5, 5), (3, 3))),
    ],
)
def test_a_map_is_averaged_to_14_places_and_16_384_values_at_most(kind, shape, expected):
    assert map_pooling_of(place(kind, shape)) == expected


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("vector", (64,)),
        ("sequence_ncl", (8, 32)),
        ("tokens_nlc", (32, 8)),
        ("map_nchw", (16, None, None)),
        ("map_nchw", (16, 1, 8)),
        ("map_nchw", (5000, 7, 7)),
    ],
)
def test_what_is_no_map_of_known_size_is_not_read(kind, shape):
    assert map_pooling_of(place(kind, shape)) is None


def test_maps_are_recorded_beside_pooled_features():
    proto, inputs = two_convolutions(), images()
    _, features = recorded(proto, inputs)
    proto.graph.output.extend([onnx.helper.make_empty_tensor_value_info("r0")])
    whole = run(proto, inputs)["r0"]
    expected = whole.reshape(6, 4, 14, 2, 14, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(features.maps[0].read(slice(None)), expected, **EQUAL)
    expected = whole.reshape(6, 4, 2, 14, 2, 14).mean(axis=(3, 5)).reshape(6, -1)
    np.testing.assert_allclose(features.pooled[0], expected, **EQUAL)


def test_a_map_whose_channels_are_last_has_them_first_when_it_is_read():
    proto, inputs = channels_last_net(), {"image": normal(5, 8, 8, 3)}
    candidates, features = recorded(proto, inputs)
    proto.graph.output.extend([onnx.helper.make_empty_tensor_value_info(candidates[0].feature)])
    expected = run(proto, inputs)[candidates[0].feature].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(features.maps[0].read(slice(None)), expected, **EQUAL)


def test_windows_that_overlap_cover_all_places():
    proto, inputs = two_convolutions(side=31), images(side=31)
    _, features = recorded(proto, inputs)
    assert features.maps[0].pooling == MapPooling("r0", "map_nchw", (4, 10, 10), (4, 4), (3, 3))
    proto.graph.output.extend([onnx.helper.make_empty_tensor_value_info("r0")])
    whole = run(proto, inputs)["r0"]
    np.testing.assert_allclose(
        features.maps[0].read(slice(None))[:, :, 9, 9], whole[:, :, 27:, 27:].mean((2, 3)), **EQUAL
    )


def test_an_interrupted_pass_with_maps_goes_on_where_it_stopped(tmp_path, monkeypatch):
    proto, inputs = two_convolutions(), images(9)
    put, left = recording_module.RowsInFolder.put, [3]  # both files of a batch, and the maps of the next

    def fill(self, batch, rows):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, batch, rows)

    with monkeypatch.context() as patch:
        patch.setattr(recording_module.RowsInFolder, "put", fill)
        with pytest.raises(OSError, match="No space left"):
            recorded(proto, inputs, batch=3, store=tmp_path)
    left[0] = 4
    monkeypatch.setattr(recording_module.RowsInFolder, "put", fill)
    _, features = recorded(proto, inputs, batch=3, store=tmp_path)
    expected = recorded(proto, inputs)[1]
    np.testing.assert_allclose(features.maps[1].read(slice(None)), expected.maps[1].read(slice(None)), **EQUAL)


def test_a_batch_is_small_where_its_maps_are_large(monkeypatch):
    """A row of two maps, two times 16 features and 3 logits has 1,603 numbers, 6,412 bytes."""
    monkeypatch.setattr(recording_module, "MOST_ROW_BYTES", 2 * 6412)
    sizes = []
    whole = recording_module._run_batch

    def run_batch(run, probe, samples, start, size):
        sizes.append(size)
        return whole(run, probe, samples, start, size)

    monkeypatch.setattr(recording_module, "_run_batch", run_batch)
    recorded(two_convolutions(), images(5))
    assert sizes == [2, 2, 1]


def test_samples_and_places_of_maps_can_be_taken():
    _, features = recorded(two_convolutions(), images())
    taken = features.take(np.array([4, 1])).keep([1])
    np.testing.assert_array_equal(taken.maps[0].read(slice(None)), features.maps[1].read(np.array([4, 1])))


@pytest.mark.parametrize("opset", [9, 17, newest_opset()])
def test_onnx_says_what_the_layers_say(opset):
    proto, inputs = two_convolutions(opset=opset), images()
    candidates, features = recorded(proto, inputs)
    heads = [a_head(maps.pooling) for maps in features.maps]
    made = attach_heads(proto, candidates, heads)
    onnx.checker.check_model(made)
    outputs = run(made, inputs)
    for output, head, maps in zip(output_names(2), heads, features.maps, strict=True):
        expected = by_hand(head, maps.read(slice(None)))
        np.testing.assert_allclose(outputs[output], expected, rtol=0, atol=1e-4)
        np.testing.assert_allclose(head.logits(maps), expected, rtol=0, atol=1e-4)


def by_hand(head, values):
    """The logits by NumPy alone: shifted sums, products, and averages over quarters of a last map of 7 x 7."""
    values = values.astype(np.float64)
    for layer in head.layers:
        padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
        _, _, height, width = values.shape
        shifts = [(i, j) for i in range(3) for j in range(3)]
        values = sum(
            padded[:, :, i : i + height, j : j + width] * layer.depthwise[:, 0, i, j, None, None] for i, j in shifts
        )
        values = (values + layer.depthwise_bias[:, None, None])[:, :, :: layer.stride, :: layer.stride]
        values = np.einsum("nchw,mc->nmhw", values, layer.pointwise[:, :, 0, 0]) + layer.pointwise_bias[:, None, None]
        values = np.maximum(values, 0)
    assert values.shape[2:] == (7, 7)
    quarters = [[values[:, :, i : i + 4, j : j + 4].mean(axis=(2, 3)) for j in (0, 3)] for i in (0, 3)]
    return np.moveaxis(np.array(quarters), (0, 1), (2, 3)).reshape(len(values), -1) @ head.weights + head.bias


def test_the_network_with_such_a_head_becomes_a_bundle_that_says_and_costs_the_same(tmp_path):
    proto, inputs = two_convolutions(), images()
    candidates, features = recorded(proto, inputs)
    heads = [a_head(features.maps[0].pooling), *fit_heads_at(features, 1)]
    bundle = split_model(saved(tmp_path, attach_heads(proto, candidates, heads)), tmp_path / "net", name="net")
    assert [exit_.macs for exit_ in bundle.exits[:-1]] == [head.macs for head in heads]
    assert bundle.segments[0].outputs == ("r0",)
    expected = trace_of(features, heads).logits
    np.testing.assert_allclose(record_trace(bundle, inputs).logits, expected, rtol=0, atol=1e-4)


def fit_heads_at(features, index):
    """A linear head at one place, fitted to made-up classes of as many samples as it needs."""
    many = replace(features, pooled=tuple(np.tile(part, (10, 1)) for part in features.pooled), maps=())
    many = replace(many, logits=np.tile(features.logits, (10, 1)))
    return fit_heads(many.keep([index]), np.arange(len(many)) % 3)


def test_work_is_counted_by_hand():
    """14 x 14 to 7 x 7 places: 49 x 4 x (9 + 8), then 49 x 8 x (9 + 6), then 4 x 6 features to 3 classes."""
    assert head_macs((4, 14, 14), ((8, 2), (6, 1)), 3) == 3332 + 5880 + 72


def test_a_head_at_a_place_without_maps_is_refused():
    proto, inputs = two_convolutions(), images()
    candidates = find_cuts(proto).candidates
    features = record_features(proto, candidates, samples_of_arrays(inputs)).keep([0])
    with pytest.raises(DataError, match="the head at 'r0' reads maps, and none were recorded there"):
        trace_of(features, [a_head(map_pooling_of(candidates[0]))])


def test_a_head_that_says_another_thing_than_its_training_is_refused():
    pooling = MapPooling("x", "map_nchw", (4, 14, 14))
    head, maps = a_head(pooling), RecordedMaps(lambda: normal(5, 784), 0, np.arange(5), pooling)
    expected = by_hand(head, maps.read(slice(None)))
    check_written(head, maps, expected)
    with pytest.raises(GraphError, match=r"the head at 'x' differs by .* between training and ONNX Runtime"):
        check_written(head, maps, expected + 1e-2)
    with pytest.raises(GraphError, match=r"differs by nan"):
        check_written(head, maps, expected * np.nan)


def test_a_head_is_the_same_after_it_was_kept():
    head = a_head(MapPooling("x", "map_nchw", (4, 14, 14)))
    again = unpack_head(pack_head(head), head.pooling)
    maps = RecordedMaps(lambda: normal(5, 784), 0, np.arange(5), head.pooling)
    np.testing.assert_array_equal(again.logits(maps), head.logits(maps))
    assert (again.loss, again.macs) == (head.loss, head.macs)


def test_the_widest_head_of_6_percent_of_the_network_is_planned():
    """64 channels cost 473,856: 5.9 % of 8 million."""
    plan = plan_head(place("map_nchw", (16, 14, 14), 1_000_000), 8_000_000, 10)
    assert plan == ConvPlan(MapPooling("x", "map_nchw", (16, 14, 14)), ((32, 1), (64, 2), (64, 1)), 10)


def test_a_coarse_map_is_not_halved():
    plan = plan_head(place("map_nchw", (32, 7, 7), 1_000_000), 9_000_000, 10)
    assert plan.layers == ((64, 1), (64, 1))


def test_a_head_near_the_end_costs_a_third_of_the_rest_at_most():
    """Of 300,000 that are left a head may cost 99,000; 24 channels cost 70,488, and 32 cost 103,040."""
    plan = plan_head(place("map_nchw", (32, 7, 7), 8_700_000), 9_000_000, 10)
    assert plan.layers == ((24, 1), (24, 1))


@pytest.mark.parametrize(
    ("kind", "shape", "macs_before", "why"),
    [
        ("vector", (64,), 0, "what can be read there is no image-like map, of a known size, that suits one"),
        ("map_nchw", (32, 7, 7), 8_990_000, "the smallest one would cost too much of what it can save"),
    ],
)
def test_where_no_head_can_be_it_is_said_why(kind, shape, macs_before, why):
    assert plan_head(place(kind, shape, macs_before), 9_000_000, 10) == NoConvHead(why)


@pytest.mark.parametrize(("batches", "epochs"), [(10, 60), (50, 30), (1000, 20)])
def test_few_samples_are_seen_more_often_than_many(batches, epochs):
    recipe = HeadRecipe(steps=1500, fewest_epochs=20, most_epochs=60)
    assert recipe.epochs(batches) == epochs
