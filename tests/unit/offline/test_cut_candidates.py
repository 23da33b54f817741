"""Places for exits: which are found in networks of each kind, what a head reads there, and why there is none."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from graphs import model, node, normal, residual_net, run, run_bundle, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from nets_of_each_kind import channels_last_net, encoder, one_dimensional_net, text

from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.graph.cut_candidates import CutCandidate, candidate_at, find_cuts, shortlist
from edgeexit.offline.graph.split import split_model


def assert_all_places_can_be_cut(proto, feeds, tmp_path, *, output="logits"):
    search = find_cuts(proto)
    bundle = split_model(
        saved(tmp_path, proto),
        tmp_path / "net",
        name="net",
        cuts=[c.tensors for c in search.candidates],
        exits=[output],
        side_inputs=search.side_inputs,
    )
    assert len(bundle.segments) == len(search.candidates) + 1
    np.testing.assert_allclose(run_bundle(bundle, feeds)[output], run(proto, feeds)[output], rtol=0, atol=1e-5)
    before = np.cumsum([segment.macs for segment in bundle.segments])
    assert [c.macs_before for c in search.candidates] == before[:-1].tolist()
    assert search.whole_macs == before[-1]


def plain(proto):
    """The residual net without its early exit."""
    nodes = [n for n in proto.graph.node if n.output[0] not in ("p0", "f0", "early")]
    del proto.graph.node[:], proto.graph.output[0]
    proto.graph.node.extend(nodes)
    return proto


def test_a_residual_net_has_a_place_before_its_second_convolution():
    """2592 and 5184 MACs in the convolutions (batch 1, 6 x 6 places), 12 in the last product, behind 98 %."""
    search = find_cuts(plain(residual_net()))
    assert search.candidates == (CutCandidate(("r0",), 2592, 4 * 36 * 4, "r0", "map_nchw", (4, 6, 6)),)
    assert (search.whole_macs, search.side_inputs, search.why, search.output) == (7788, (), "", "logits")


def test_the_last_output_is_the_network_s_own():
    assert [c.feature for c in find_cuts(residual_net()).candidates] == ["r0"]


def test_sequences_of_a_one_dimensional_net_are_found(tmp_path):
    proto = one_dimensional_net()
    search = find_cuts(proto)
    assert [(c.feature, c.kind, c.shape) for c in search.candidates] == [
        ("r0", "sequence_ncl", (4, 32)),
        ("r1", "sequence_ncl", (4, 32)),
    ]
    assert [c.macs_before for c in search.candidates] == [4 * 32 * 6, 4 * 32 * (6 + 12)]
    assert_all_places_can_be_cut(proto, {"signal": normal(2, 2, 32)}, tmp_path)


def test_a_net_with_channels_last_is_cut_where_a_convolution_reads_through_a_transpose(tmp_path):
    proto = channels_last_net()
    assert [(c.tensors, c.kind, c.shape) for c in find_cuts(proto).candidates] == [
        (("ra",), "map_nhwc", (8, 8, 4)),
        (("rb",), "map_nhwc", (8, 8, 4)),
        (("c_first",), "map_nchw", (4, 8, 8)),
    ]
    assert_all_places_can_be_cut(proto, {"image": normal(2, 8, 8, 3)}, tmp_path)


def test_a_product_over_the_last_axis_tells_that_channels_are_last():
    nodes = [
        node("MatMul", ["x", "w0"], ["a"]),
        node("Relu", ["a"], ["ra"]),
        node("MatMul", ["ra", "w1"], ["b"]),
        node("ReduceMean", ["b"], ["logits"], axes=[1, 2], keepdims=0),
    ]
    proto = model(nodes, {"x": ["N", 4, 4, 3]}, {"logits": ["N", 5]}, {"w0": normal(3, 6), "w1": normal(6, 5)})
    assert [(c.feature, c.kind) for c in find_cuts(proto).candidates] == [("ra", "map_nhwc")]


def test_a_mask_becomes_a_side_input_and_is_named_for_the_tokens(tmp_path):
    proto = encoder()
    search = find_cuts(proto)
    assert search.side_inputs == ("mask",)
    assert [(c.feature, c.kind, c.shape, c.mask) for c in search.candidates if len(c.tensors) == 1] == [
        ("x", "tokens_nlc", (None, 8), "mask"),
        ("l0_norm1", "tokens_nlc", (None, 8), "mask"),
        ("l0_norm2", "tokens_nlc", (None, 8), "mask"),
        ("l1_norm1", "tokens_nlc", (None, 8), "mask"),
        ("mean", "vector", (8,), None),
    ]
    assert_all_places_can_be_cut(proto, text(), tmp_path)


def test_the_residual_stream_of_an_encoder_that_normalises_first_is_cut(tmp_path):
    proto = encoder(norm_first=True)
    found = {c.feature for c in find_cuts(proto).candidates if len(c.tensors) == 1}
    assert {"l0_sum1", "l0_sum2", "l1_sum1"} <= found
    assert_all_places_can_be_cut(proto, text(), tmp_path)


def test_the_shape_of_an_input_may_be_read_by_every_segment(tmp_path):
    proto = encoder(shape_of_ids=True)
    assert {"l0_norm2", "l1_norm1"} <= {c.feature for c in find_cuts(proto).candidates}
    assert_all_places_can_be_cut(proto, text(samples=3, length=6), tmp_path)


def test_side_inputs_that_the_user_names_are_taken():
    search = find_cuts(encoder(), side_inputs=())
    assert search.side_inputs == ()
    assert all(c.mask is None and len(c.tensors) > 1 for c in search.candidates if c.feature != "mean")
    with pytest.raises(GraphError, match="no input 'nowhere' to be a side input"):
        find_cuts(encoder(), side_inputs=["nowhere"])


def test_an_input_with_a_tower_of_its_own_is_no_side_input():
    """Each segment would compute the tower anew."""
    nodes = [
        node("MatMul", ["x", "w0"], ["a"]),
        node("MatMul", ["other", "w1"], ["b"]),
        node("MatMul", ["a", "w2"], ["c"]),
        node("Add", ["c", "b"], ["sum"]),
        node("MatMul", ["sum", "w3"], ["d"]),
        node("Add", ["d", "b"], ["sum2"]),
        node("MatMul", ["sum2", "w4"], ["logits"]),
    ]
    weights = {f"w{i}": normal(4, 4, seed=i) for i in range(5)}
    proto = model(nodes, {"x": ["N", 4], "other": ["N", 4]}, {"logits": ["N", 4]}, weights)
    assert find_cuts(proto).side_inputs == ()


def side_by_side():
    """A long way around: the first value crosses every place, so each cut needs two tensors."""
    weights = {f"w{i}": normal(6, 6, seed=i) / 3 for i in range(5)}
    nodes = [node("MatMul", ["x", "w0"], ["m0"]), node("Relu", ["m0"], ["r0"])]
    for layer in range(1, 4):
        nodes += [
            node("MatMul", [f"r{layer - 1}", f"w{layer}"], [f"m{layer}"]),
            node("Relu", [f"m{layer}"], [f"r{layer}"]),
        ]
    nodes += [node("Add", ["r3", "m0"], ["sum"]), node("MatMul", ["sum", "w4"], ["logits"])]
    return model(nodes, {"x": ["N", 6]}, {"logits": ["N", 6]}, weights)


def test_two_tensors_are_taken_where_no_single_one_leaves_the_work_in_parts(tmp_path):
    """Of 180 MACs 144 are behind m0 and before the sum: in between m0 crosses beside each later value."""
    search = find_cuts(side_by_side())
    assert [(c.tensors, c.macs_before, c.boundary_bytes) for c in search.candidates] == [
        (("m0", "r0"), 36, 48),
        (("m0", "r1"), 72, 48),
        (("m0", "r2"), 108, 48),
        (("sum",), 144, 24),
    ]
    assert [c.feature for c in search.candidates] == ["r0", "r1", "r2", "sum"]
    assert_all_places_can_be_cut(side_by_side(), {"x": normal(2, 6)}, tmp_path)


def test_finding_cuts_leaves_the_model_as_it_is():
    proto = encoder()
    before = proto.SerializeToString(deterministic=True)
    find_cuts(proto)
    assert proto.SerializeToString(deterministic=True) == before


def test_a_network_of_one_layer_says_that_nothing_is_between_two_layers():
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 2]}, {"w": normal(4, 2)})
    search = find_cuts(proto)
    assert search.candidates == ()
    assert search.why.startswith("all multiply-accumulates lie in one layer: there is nothing between two layers to")
    assert "100 % of the multiply-accumulates lie in one layer, node 'y' (MatMul)" in search.why


def test_a_network_without_layers_says_that_there_is_no_work_to_save():
    search = find_cuts(model([node("Relu", ["x"], ["y"])], {"x": ["N", 4]}, {"y": ["N", 4]}))
    assert search.why == "the network has no convolution or matrix product whose work an exit could save"


def test_a_network_with_one_heavy_layer_says_where_its_work_is():
    """16 + 4,096 + 64 MACs: the layer in the middle has 98 % of them, so the only place is almost at the input."""
    nodes = [node("MatMul", ["x", "a"], ["p"]), node("MatMul", ["p", "b"], ["q"]), node("MatMul", ["q", "c"], ["y"])]
    weights = {"a": normal(1, 16), "b": normal(16, 256), "c": normal(256, 1)}
    search = find_cuts(model(nodes, {"x": ["N", 1]}, {"y": ["N", 1]}, weights))
    assert [c.feature for c in search.candidates] == ["p", "q"]
    assert search.why == (
        "the places to cut have 0 %, 94 % of the multiply-accumulates before them, none is in between; "
        "94 % of the multiply-accumulates lie in one layer, node 'q' (MatMul)"
    )


def test_many_towers_side_by_side_say_how_many_tensors_cross():
    nodes = [node("MatMul", [f"x{i}", "w"], [f"a{i}"]) for i in range(5)]
    nodes += [node("MatMul", [f"a{i}", "w"], [f"b{i}"]) for i in range(5)]
    nodes += [node("Sum", [f"b{i}" for i in range(5)], ["y"])]
    proto = model(nodes, {f"x{i}": ["N", 4] for i in range(5)}, {"y": ["N", 4]}, {"w": normal(4, 4)})
    search = find_cuts(proto)
    assert search.candidates == ()
    assert search.why == "5 or more tensors cross every place between its layers (a0, a1, a2, a3, ...)"


def test_a_tensor_without_a_row_for_each_sample_says_that_samples_cannot_be_told_apart():
    """The sum over a whole batch is read by both layers."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("ReduceSum", ["a"], ["total"], keepdims=0),
        node("Add", ["a", "total"], ["r"]),
        node("MatMul", ["r", "w"], ["b"]),
        node("Add", ["b", "total"], ["y"]),
    ]
    search = find_cuts(model(nodes, {"x": ["N", 4]}, {"y": ["N", 4]}, {"w": normal(4, 4)}))
    assert search.candidates == ()
    assert search.why == (
        "of what crosses alone (a), no layer reads floats with the batch first and 2 to 4 axes; 'total' crosses places "
        "and has no row for each sample, so those of a batch could not be told apart (if it is made of a shape, export "
        "the model with fixed shapes)"
    )


def test_an_attention_map_is_no_feature():
    features = {c.feature for c in find_cuts(encoder(layers=1)).candidates}
    assert features.isdisjoint({"l0_attention", "l0_qt", "l0_kt", "l0_vt"})


def test_a_place_that_the_user_names_need_not_be_one_that_is_proposed():
    proto = plain(residual_net())
    assert candidate_at(proto, "s1").tensors == ("s1",)
    assert candidate_at(proto, "r0") == find_cuts(proto).candidates[0]
    within = candidate_at(proto, "c1")
    assert (within.tensors, within.feature, within.macs_before) == (("r0", "c1"), "c1", 2592 + 5184)
    assert candidate_at(encoder(), "l0_sum1", side_inputs=["mask"]).mask == "mask"


@pytest.mark.parametrize("name", ["nowhere", "image", "w0", "logits"])
def test_what_is_no_tensor_between_layers_is_no_place(name):
    with pytest.raises(GraphError, match=rf"'{name}' is no tensor between the layers on the way to 'logits'"):
        candidate_at(plain(residual_net()), name)


def test_a_place_that_no_head_can_read_is_refused():
    with pytest.raises(GraphError, match="no head can read 'l0_attention': floats with the batch first"):
        candidate_at(encoder(), "l0_attention", side_inputs=["mask"])


@st.composite
def random_nets(draw):
    """Layers, activations and sums over what was made before, in any connection; the last value is the output."""
    made = ["x"]
    nodes = []
    for index in range(draw(st.integers(3, 14))):
        name = f"v{index}"
        newest, other = made[-1], draw(st.sampled_from(made))
        operator = draw(st.sampled_from(["MatMul", "MatMul", "Relu", "Add"]))
        inputs = {"MatMul": [newest, "w"], "Relu": [newest], "Add": [newest, other]}[operator]
        nodes.append(node(operator, inputs, [name]))
        made.append(name)
    nodes.append(node("MatMul", [made[-1], "w"], ["logits"]))
    return model(nodes, {"x": ["N", 4]}, {"logits": ["N", 4]}, {"w": normal(4, 4) / 4})


@settings(max_examples=25, deadline=None)
@given(random_nets())
def test_any_network_can_be_cut_at_all_places_that_are_found(proto):
    with TemporaryDirectory() as folder:
        assert_all_places_can_be_cut(proto, {"x": normal(2, 4)}, Path(folder))


def place(name, macs, size):
    return CutCandidate((name,), macs, size, name, "vector", (1,))


def test_a_shortlist_is_spread_over_the_work():
    """Of places at 10, 20 ... 90, the one in the middle first, then those halfway to the ends."""
    places = [place(str(m), m, 100) for m in range(10, 100, 10)]
    assert [c.macs_before for c in shortlist(places, 100, 1)] == [50]
    assert [c.macs_before for c in shortlist(places, 100, 3)] == [20, 50, 70]
    assert shortlist(places, 100, 20) == tuple(places)


def test_a_shortlist_leaves_out_large_boundaries_beside_small_ones():
    """With a limit of 4 a distance of 5 of 100 is near: b goes because of a; c is too far from it."""
    places = [place("a", 40, 100), place("b", 44, 300), place("c", 46, 300), place("d", 70, 300)]
    assert [c.feature for c in shortlist(places, 100, 4)] == ["a", "c", "d"]


def test_a_shortlist_keeps_the_smallest_of_the_places_with_the_same_work():
    places = [place("large", 40, 400), place("small", 40, 100), place("later", 40, 100), place("wide", 40, 150)]
    assert [c.feature for c in shortlist(places, 100, 4)] == ["later"]


def test_a_shortlist_of_none_is_refused():
    assert shortlist((), 100, 3) == ()
    with pytest.raises(OptionError, match="a shortlist of 0 cuts was asked for; ask for 1 or more"):
        shortlist((), 100, 0)


def test_a_fixed_batch_counts_for_one_sample():
    search = find_cuts(plain(residual_net(batch=4)))
    assert [(c.macs_before, c.boundary_bytes, c.shape) for c in search.candidates] == [(2592, 576, (4, 6, 6))]


def test_weights_in_other_files_do_not_matter(tmp_path):
    proto = plain(residual_net())
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    left = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert find_cuts(left).candidates == find_cuts(plain(residual_net())).candidates
