"""Cuts within a network: which are closed, which are not, and in which order exits stand."""

import numpy as np
import onnx
import pytest
from graphs import model, node, normal, residual_net, run, run_bundle, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import GraphError, OpenCutError
from edgeexit.offline.graph.cuts import check_cuts, choose_cuts, find_single_tensor_cuts
from edgeexit.offline.graph.split import split_model

IMAGE = normal(2, 2, 6, 6, seed=9)


def split(folder, proto, **options):
    return split_model(saved(folder, proto), folder / "net", name="net", **options)


def plain(proto):
    """The network without its early exit."""
    nodes = [n for n in proto.graph.node if n.output[0] not in ("p0", "f0", "early")]
    del proto.graph.node[:], proto.graph.output[0]
    proto.graph.node.extend(nodes)
    return proto


def assert_equal_to_whole(bundle, proto, feeds, name="logits"):
    np.testing.assert_allclose(run_bundle(bundle, feeds)[name], run(proto, feeds)[name], rtol=0, atol=1e-6)


def test_a_network_is_cut_at_the_named_tensors(tmp_path):
    proto = plain(residual_net())
    bundle = split(tmp_path, proto, cuts=[["r0"], ["r1"]])
    assert [(s.inputs, s.outputs) for s in bundle.segments] == [
        (("image",), ("r0",)),
        (("r0",), ("r1",)),
        (("r1",), ("logits",)),
    ]
    assert [(e.segment, e.inputs) for e in bundle.exits] == [(2, ("logits",))]
    assert_equal_to_whole(bundle, proto, {"image": IMAGE})


def test_a_cut_through_a_skip_connection_names_both_tensors(tmp_path):
    proto = plain(residual_net())
    bundle = split(tmp_path, proto, cuts=[["c1", "r0"]])
    assert bundle.segments[0].outputs == ("r0", "c1")
    assert {name: t.shape for name, t in bundle.tensors.items()} == {
        "r0": ("N", 4, 6, 6),
        "c1": ("N", 4, 6, 6),
        "logits": ("N", 3),
    }
    assert_equal_to_whole(bundle, proto, {"image": IMAGE})


def test_an_open_cut_is_refused_with_the_missing_tensors(tmp_path):
    with pytest.raises(OpenCutError, match=r"cut 0 \(c1\) is open: r0 cross it too; name them") as caught:
        split(tmp_path, plain(residual_net()), cuts=[["c1"]])
    assert caught.value.missing == ("r0",)
    assert not (tmp_path / "net").exists()


def test_a_tensor_that_crosses_two_cuts_is_missing_in_the_second_too(tmp_path):
    proto = plain(residual_net())
    with pytest.raises(OpenCutError) as caught:
        split(tmp_path, proto, cuts=[["r0"], ["c1"]])
    assert caught.value.missing == ("r0",)
    bundle = split(tmp_path, proto, cuts=[["r0"], ["r0", "c1"]])
    assert [s.inputs for s in bundle.segments] == [("image",), ("r0",), ("r0", "c1")]


def two_inputs():
    nodes = [node("Relu", ["x"], ["a"]), node("Add", ["a", "late"], ["y"])]
    return model(nodes, {"x": ["N", 3], "late": ["N", 3]}, {"y": ["N", 3]})


def test_an_input_that_is_read_behind_the_cut_is_missing_in_it(tmp_path):
    with pytest.raises(OpenCutError, match=r"or make a graph input .* a side input") as caught:
        split(tmp_path, two_inputs(), cuts=[["a"]])
    assert caught.value.missing == ("late",)


@pytest.mark.parametrize("options", [{"cuts": [["a", "late"]]}, {"cuts": [["a"]], "side_inputs": ["late"]}])
def test_an_input_may_be_named_in_a_cut_or_be_a_side_input(tmp_path, options):
    bundle = split(tmp_path, two_inputs(), **options)
    assert [s.inputs for s in bundle.segments] == [("x",), ("late", "a")]
    assert [t.name for t in bundle.inputs] == ["x", "late"]
    assert_equal_to_whole(bundle, two_inputs(), {"x": normal(2, 3), "late": normal(2, 3, seed=1)}, "y")


def masked_net():
    """Three layers that all read what is made of a mask."""
    nodes = [node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT), node("Sub", ["m", "one"], ["bias"])]
    value = "x"
    for layer in range(3):
        nodes += [node("MatMul", [value, "w"], [f"p{layer}"]), node("Add", [f"p{layer}", "bias"], [f"v{layer}"])]
        value = f"v{layer}"
    proto = model(nodes, {"x": ["N", 3]}, {"v2": ["N", 3]}, {"w": normal(3, 3), "one": np.float32(1)})
    proto.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", 3]))
    return proto


def test_a_mask_enters_every_segment_as_a_side_input(tmp_path):
    bundle = split(tmp_path, masked_net(), cuts=[["v0"], ["v1"]], side_inputs=["mask"])
    assert [s.inputs for s in bundle.segments] == [("x", "mask"), ("mask", "v0"), ("mask", "v1")]
    assert bundle.inputs[1].dtype == "int64"
    feeds = {"x": normal(2, 3), "mask": np.int64([[1, 0, 1], [1, 1, 0]])}
    assert_equal_to_whole(bundle, masked_net(), feeds, "v2")


def test_a_mask_that_is_no_side_input_leaves_no_single_tensor_to_cut_at():
    assert find_single_tensor_cuts(masked_net()) == ()
    assert find_single_tensor_cuts(masked_net(), ["mask"]) == ("p0", "v0", "p1", "v1", "p2")


def test_single_tensors_to_cut_at_are_found_in_order():
    assert find_single_tensor_cuts(plain(residual_net())) == ("c0", "r0", "s1", "r1", "p1", "f1")


def test_cuts_are_chosen_before_layers_and_share_the_work():
    """Convolutions have 2592 and 5184 of 7788 MACs; s1 and c0 would part what is fused."""
    assert choose_cuts(plain(residual_net()), 2) == (("r0",),)
    assert choose_cuts(plain(residual_net()), 4) == (("r0",), ("r1",), ("f1",))


def test_more_segments_than_there_are_tensors_to_cut_at_are_refused():
    with pytest.raises(GraphError, match="the model has 3 tensors to cut at, 5 segments need 4"):
        choose_cuts(plain(residual_net()), 5)


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ([["nowhere"]], "the model has no tensor 'nowhere' to cut at"),
        ([["w0"]], "the model has no tensor 'w0' to cut at"),
        ([["r0"], ["r0"]], r"cut 1 \(r0\) adds nothing: cuts go from the input to the output"),
        ([["r1"], ["r0"]], r"cut 1 \(r0\) adds nothing: cuts go from the input to the output"),
        ([["image"]], r"cut 0 \(image\) adds nothing"),
        ([["logits"]], r"stage 1 \(logits, .*\) adds nothing to the stages before it"),
        ([[]], "is open"),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused(tmp_path, cuts, message):
    with pytest.raises(GraphError, match=message):
        split(tmp_path, plain(residual_net()), cuts=cuts)


def test_a_cut_beside_the_way_to_the_output_is_refused(tmp_path):
    proto = residual_net()
    with pytest.raises(GraphError, match="the output 'logits' does not depend on 'p0'"):
        split(tmp_path, proto, exits=["logits"], cuts=[["r0", "p0"]])


def test_a_constant_is_no_place_to_cut(tmp_path):
    proto = plain(residual_net())
    proto.graph.node.insert(0, node("Neg", ["w0"], ["k"]))
    with pytest.raises(GraphError, match="'k' is a constant or depends on side inputs alone"):
        split(tmp_path, proto, cuts=[["k"]])


def test_a_model_with_exits_is_not_cut_elsewhere_as_well(tmp_path):
    with pytest.raises(GraphError, match="has 2 exits and is cut at them; to cut it elsewhere name one exit"):
        split(tmp_path, residual_net(), cuts=[["r0"]])


def three_exits(*order):
    """x -> a -> b -> c with an exit behind each."""
    nodes = []
    for before, value, name in (("x", "a", "e0"), ("a", "b", "e1"), ("b", "c", "e2")):
        nodes += [node("Mul", [before, "two"], [value]), node("Neg", [value], [name])]
    return model(nodes, {"x": ["N", 3]}, {name: ["N", 3] for name in order}, {"two": np.float32(2)})


def test_exits_are_taken_in_the_order_of_their_depth(tmp_path):
    bundle = split(tmp_path, three_exits("e1", "e0", "e2"))
    assert [e.logits for e in bundle.exits] == ["e0", "e1", "e2"]
    assert [s.outputs for s in bundle.segments] == [("a",), ("b",), ("e2",)]


def test_only_the_named_outputs_are_exits(tmp_path):
    bundle = split(tmp_path, three_exits("e0", "e1", "e2"), exits=["e0", "e2"])
    assert [e.logits for e in bundle.exits] == ["e0", "e2"]
    assert len(bundle.segments) == 2


@pytest.mark.parametrize(
    ("exits", "message"),
    [
        (["e0", "logits"], "the model has no output 'logits'; it has e0, e1, e2"),
        ([], "exits names none"),
    ],
)
def test_exits_that_make_no_sense_are_refused(tmp_path, exits, message):
    with pytest.raises(GraphError, match=message):
        split(tmp_path, three_exits("e0", "e1", "e2"), exits=exits)


def test_two_exits_at_one_place_are_refused(tmp_path):
    proto = three_exits("e0", "e1", "e2")
    proto.graph.node.append(node("Exp", ["a"], ["twin"]))
    proto.graph.output.insert(0, helper.make_tensor_value_info("twin", TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(GraphError, match="exits 'twin' and 'e0' are equally deep; keep one of them"):
        split(tmp_path, proto)


def side_branch_net():
    """Two exits of a branch that the network's own output does not read, and one that reads the branch too."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["s"]), node("MatMul", ["s", "w"], ["t"])]
    nodes += [node("Exp", ["t"], ["e1"]), node("Exp", ["s"], ["e0"]), node("MatMul", ["a", "w"], ["b"])]
    nodes += [node("Add", ["b", "t"], ["e2"]), node("MatMul", ["b", "w"], ["y"])]
    return model(nodes, {"x": ["N", 3]}, {name: ["N", 3] for name in ("e1", "e0", "e2", "y")}, {"w": normal(3, 3)})


def test_exits_of_a_side_branch_get_segments_of_their_own(tmp_path):
    bundle = split(tmp_path, side_branch_net())
    assert [e.logits for e in bundle.exits] == ["e0", "e1", "e2", "y"]
    assert [s.inputs for s in bundle.segments] == [("x",), ("s",), ("a",), ("b",)]
    assert_equal_to_whole(bundle, side_branch_net(), {"x": normal(2, 3)}, "y")


def test_the_full_network_is_counted_without_a_branch_that_only_exits_read(tmp_path):
    work = split(tmp_path, side_branch_net()).workload
    assert work.segment_macs == (18, 9, 9, 9)
    assert work.own_macs == work.whole_macs == 27


def test_a_network_whose_exits_read_nothing_else_has_no_other_work_of_its_own(tmp_path):
    assert split(tmp_path, three_exits("e0", "e1", "e2")).workload.own_macs is None


def test_an_exit_apart_from_the_network_is_refused(tmp_path):
    proto = three_exits("e0", "e1", "e2")
    proto.graph.node.append(node("Exp", ["x"], ["apart"]))
    proto.graph.output.insert(0, helper.make_tensor_value_info("apart", TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(GraphError, match="exit 'apart' shares no computation with the network's own output 'e2'"):
        split(tmp_path, proto)


def test_an_exit_that_is_constant_is_refused(tmp_path):
    proto = three_exits("e0", "e1", "e2")
    proto.graph.node.append(node("Neg", ["two"], ["constant"]))
    proto.graph.output.insert(0, helper.make_tensor_value_info("constant", TensorProto.FLOAT, []))
    with pytest.raises(GraphError, match="output 'constant' is not computed from an input"):
        split(tmp_path, proto)


def test_a_later_head_may_use_what_an_earlier_head_made(tmp_path):
    proto = three_exits("e0", "e1", "e2")
    proto.graph.node[3].input[0] = "e0"
    proto.graph.node[3].op_type = "Sub"
    proto.graph.node[3].input.append("b")
    bundle = split(tmp_path, proto)
    assert bundle.segments[0].outputs == ("a", "e0")
    assert bundle.exits[1].inputs == ("e0", "b")
    assert_equal_to_whole(bundle, proto, {"x": normal(2, 3)}, "e1")


def if_net():
    """y = v0 + bias or v0 * x, decided by the sum of v0; both branches capture values from without."""

    def branch(op, other):
        output = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, ["N", 3])
        return helper.make_graph([node(op, ["v0", other], [f"{op}_out"])], op, [], [output])

    nodes = [
        node("Relu", ["x"], ["v0"]),
        node("ReduceSum", ["v0"], ["total"], keepdims=0),
        node("Greater", ["total", "limit"], ["condition"]),
        node("If", ["condition"], ["z"], then_branch=branch("Add", "bias"), else_branch=branch("Mul", "x")),
        node("Neg", ["z"], ["y"]),
    ]
    weights = {"limit": np.float32(1.0), "bias": np.float32([[1, 2, 3]])}
    return model(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}, weights)


def test_what_a_branch_captures_crosses_a_cut(tmp_path):
    with pytest.raises(OpenCutError) as caught:
        split(tmp_path, if_net(), cuts=[["condition"]])
    assert set(caught.value.missing) == {"x", "v0"}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_network_with_branches_is_cut_before_and_behind_them(tmp_path, sign):
    bundle = split(tmp_path, if_net(), cuts=[["condition", "v0", "x"], ["z"]])
    assert [s.inputs for s in bundle.segments] == [("x",), ("x", "v0", "condition"), ("z",)]
    assert bundle.tensors["condition"].dtype == "bool"
    assert_equal_to_whole(bundle, if_net(), {"x": np.full((2, 3), sign, np.float32)}, "y")


@st.composite
def random_nets(draw):
    """A net of up to 12 element-wise nodes with any connections, whose output depends on all of them."""
    values, nodes = ["x"], []
    for index in range(draw(st.integers(2, 12))):
        operator = draw(st.sampled_from(["Add", "Mul", "Tanh"]))
        inputs = [draw(st.sampled_from(values)) for _ in range(1 if operator == "Tanh" else 2)]
        values.append(f"v{index}")
        nodes.append(node(operator, inputs, [values[-1]]))
    unread = [v for v in values[1:] if not any(v in n.input for n in nodes)]
    nodes.append(node("Sum", unread, ["y"]))
    return model(nodes, {"x": [1, 3]}, {"y": [1, 3]})


def crossing(proto, count):
    """What the first `count` nodes hand to the others."""
    made = {v for n in proto.graph.node[:count] for v in n.output} | {"x"}
    return [v for v in dict.fromkeys(v for n in proto.graph.node[count:] for v in n.input) if v in made]


@given(random_nets(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_complete_cut_is_closed_and_any_incomplete_one_names_what_is_missing(proto, data):
    names = crossing(proto, data.draw(st.integers(1, len(proto.graph.node) - 1)))
    flow = Dataflow(proto.graph)
    check_cuts(flow, "y", [names])
    left_out = data.draw(st.sampled_from(names))
    rest = [v for v in names if v != left_out]
    if left_out in {v for i in flow.ancestors(rest) for v in (*flow.uses[i], *flow.nodes[i].output)} | {"x"}:
        with pytest.raises(OpenCutError) as caught:
            check_cuts(flow, "y", [rest])
        assert left_out in caught.value.missing


@given(random_nets())
@settings(max_examples=60, deadline=None)
def test_the_single_tensors_found_are_all_that_form_a_closed_cut(proto):
    flow = Dataflow(proto.graph)
    closed = []
    for name in (v for n in proto.graph.node[:-1] for v in n.output):
        try:
            check_cuts(flow, "y", [[name]])
        except OpenCutError:
            continue
        closed.append(name)
    assert list(find_single_tensor_cuts(proto)) == closed


@given(random_nets(), st.data())
@settings(max_examples=25, deadline=None)
def test_pieces_of_any_closed_cut_give_the_whole(tmp_path_factory, proto, data):
    names = crossing(proto, data.draw(st.integers(1, len(proto.graph.node) - 1)))
    bundle = split(tmp_path_factory.mktemp("any"), proto, cuts=[names])
    x = normal(1, 3)
    np.testing.assert_allclose(run_bundle(bundle, {"x": x})["y"], run(proto, {"x": x})["y"], rtol=1e-5)


def test_onnx_infers_nothing_that_the_model_did_not_say_differently(tmp_path):
    """A tensor whose shape cannot be inferred keeps its type, and its shape is open."""
    proto = model(
        [
            node("NonZero", ["x"], ["where"]),
            node("Cast", ["where"], ["f"], to=1),
            node("MatMul", ["x", "f"], ["z"]),
            node("ReduceSum", ["z", "axis"], ["s"]),
            node("Mul", ["x", "s"], ["y"]),
        ],
        {"x": ["N", 2]},
        {"y": ["N", 2]},
        {"axis": np.int64([1])},
    )
    bundle = split(tmp_path, proto, cuts=[["where", "x"]])
    where = bundle.tensors["where"]
    assert where.dtype == "int64"
    assert where.shape[0] == 2
    assert isinstance(where.shape[1], str)
    onnx.checker.check_model(onnx.load(bundle.path / "segment1.onnx"))


def test_an_exit_that_is_made_of_the_networks_own_output_is_refused(tmp_path):
    proto = three_exits("e0", "e1", "e2")
    proto.graph.node.append(node("Exp", ["e2"], ["late"]))
    proto.graph.output.insert(0, helper.make_tensor_value_info("late", TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(GraphError, match="exit 'late' is not before the network's own output 'e2'; that must be the"):
        split(tmp_path, proto)
