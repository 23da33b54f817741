"""A graph is cut into segments and heads, and joined again."""

import numpy as np
import onnx
import pytest
from graphs import model, node, normal, residual_net, run, run_pieces
from onnx import TensorProto, helper

from edgeexit.bundle.graph.cut import Stage, cut, join
from edgeexit.bundle.graph.schema import parse_model
from edgeexit.errors import GraphError

IMAGE = normal(2, 2, 6, 6, seed=9)
TWO_EXITS = (Stage(exit=("early",)), Stage(body=("logits",)))


def private(proto):
    return parse_model(onnx.shape_inference.infer_shapes(proto).SerializeToString())


def names(piece):
    return [n.name or n.op_type for n in piece.model.graph.node]


def chain(*operators, inputs=None, weights=None, **options):
    """x -> v0 -> v1 ... with one operator each."""
    values = ["x", *(f"v{i}" for i in range(len(operators)))]
    nodes = [node(op, [values[i], *(inputs or {}).get(i, [])], [values[i + 1]]) for i, op in enumerate(operators)]
    return model(nodes, {"x": [2, 3]}, {values[-1]: [2, 3]}, weights, **options)


def test_nodes_that_only_an_exit_needs_are_its_head():
    pieces = cut(private(residual_net()), TWO_EXITS)
    assert names(pieces.segments[0]) == ["conv0", "relu0"]
    assert names(pieces.heads[0]) == ["pool0", "flat0", "gemm0"]
    assert names(pieces.segments[1]) == ["conv1", "sum1", "relu1", "pool1", "flat1", "gemm1"]
    assert pieces.heads[1] is None


def test_pieces_take_and_return_what_crosses_and_nothing_else():
    first, second = cut(private(residual_net()), TWO_EXITS).segments
    assert (first.inputs, first.outputs) == (("image",), ("r0",))
    assert (second.inputs, second.outputs) == (("r0",), ("logits",))


def test_pieces_hold_only_the_weights_they_read():
    pieces = cut(private(residual_net()), TWO_EXITS)
    held = [[w.name for w in p.model.graph.initializer] for p in (*pieces.segments, pieces.heads[0])]
    assert held == [["w0"], ["w1", "h1"], ["h0"]]


def test_pieces_run_one_after_the_other_give_the_whole():
    proto = residual_net()
    pieces = cut(private(proto), TWO_EXITS)
    order = (pieces.segments[0], pieces.heads[0], pieces.segments[1])
    got = run_pieces([p.model.SerializeToString() for p in order], {"image": IMAGE})
    want = run(proto, {"image": IMAGE})
    for name in ("early", "logits"):
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-6)


def test_the_model_that_is_cut_stays_as_it_is():
    whole = private(residual_net())
    before = whole.SerializeToString()
    cut(whole, TWO_EXITS)
    assert whole.SerializeToString() == before


def test_several_tensors_cross_where_a_connection_skips_the_cut():
    pieces = cut(private(residual_net()), (Stage(body=("c1", "r0")), Stage(body=("logits",))))
    assert pieces.segments[0].outputs == ("r0", "c1")
    assert pieces.segments[1].inputs == ("r0", "c1")


def test_a_value_that_two_later_pieces_read_passes_over_the_segment_between():
    proto = model(
        [
            node("Relu", ["x"], ["a"]),
            node("Neg", ["a"], ["b"]),
            node("Exp", ["b"], ["c"]),
            node("Add", ["a", "c"], ["y"]),
        ],
        {"x": [2, 3]},
        {"y": [2, 3]},
    )
    pieces = cut(private(proto), (Stage(body=("a",)), Stage(body=("b",)), Stage(body=("y",))))
    assert [p.inputs for p in pieces.segments] == [("x",), ("a",), ("a", "b")]
    assert [p.outputs for p in pieces.segments] == [("a",), ("b",), ("y",)]


def test_an_exit_value_that_later_stages_need_is_made_by_the_segment():
    proto = model(
        [node("Relu", ["x"], ["early"]), node("Neg", ["early"], ["seen"]), node("Exp", ["early"], ["y"])],
        {"x": [2, 3]},
        {"early": [2, 3], "y": [2, 3]},
    )
    pieces = cut(private(proto), (Stage(exit=("early", "seen")), Stage(body=("y",))))
    assert pieces.segments[0].outputs == ("early",)
    assert (pieces.heads[0].inputs, pieces.heads[0].outputs) == (("early",), ("seen",))


def test_nodes_that_only_make_a_cut_tensor_are_dropped():
    """An optimiser adds such a node to give a cut tensor back in the plain layout."""
    proto = model(
        [node("Relu", ["x"], ["a"]), node("Transpose", ["a"], ["named"]), node("Exp", ["a"], ["y"])],
        {"x": [3, 3]},
        {"named": [3, 3], "y": [3, 3]},
    )
    pieces = cut(private(proto), (Stage(body=("named",)), Stage(body=("y",))))
    assert names(pieces.segments[0]) == ["Relu"]
    assert pieces.segments[0].outputs == pieces.segments[1].inputs == ("a",)


def test_constants_are_made_anew_in_each_piece_that_reads_them():
    proto = chain("Mul", "Mul", inputs={0: ["k"], 1: ["k"]})
    constant = helper.make_tensor("", TensorProto.FLOAT, [1], [3.0])
    proto.graph.node.insert(0, node("Constant", [], ["raw"], value=constant))
    proto.graph.node.insert(1, node("Neg", ["raw"], ["k"]))
    pieces = cut(private(proto), (Stage(body=("v0",)), Stage(body=("v1",))))
    assert [names(p) for p in pieces.segments] == [["Constant", "Neg", "Mul"]] * 2
    assert pieces.segments[1].inputs == ("v0",)


def test_a_random_value_is_no_constant_and_is_drawn_once():
    proto = chain("Add", "Add", inputs={0: ["noise"], 1: ["noise"]})
    proto.graph.node.insert(0, node("RandomNormal", [], ["noise"], shape=[1, 3]))
    pieces = cut(private(proto), (Stage(body=("v0",)), Stage(body=("v1",))))
    assert [names(p) for p in pieces.segments] == [["RandomNormal", "Add"], ["Add"]]
    assert pieces.segments[0].outputs == ("noise", "v0")


def masked_chain():
    nodes = [node("Cast", ["mask"], ["m"], to=1), node("Mul", ["x", "m"], ["v0"]), node("Mul", ["v0", "m"], ["v1"])]
    proto = model(nodes, {"x": [2, 3]}, {"v1": [2, 3]})
    proto.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.INT64, [2, 3]))
    return proto


def test_a_side_input_enters_each_piece_that_depends_on_it():
    pieces = cut(private(masked_chain()), (Stage(body=("v0",)), Stage(body=("v1",))), side_inputs=["mask"])
    assert [p.inputs for p in pieces.segments] == [("x", "mask"), ("mask", "v0")]
    assert [names(p) for p in pieces.segments] == [["Cast", "Mul"]] * 2


def test_an_input_that_is_no_side_input_is_read_by_the_first_segment_alone():
    pieces = cut(private(masked_chain()), (Stage(body=("v0",)), Stage(body=("v1",))))
    assert [p.inputs for p in pieces.segments] == [("x", "mask"), ("m", "v0")]


def if_net():
    """v0 = Relu(x); y = v0 + bias or v0 * x, decided by a condition that is made of v0."""

    def branch(op, other):
        output = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2, 3])
        return helper.make_graph([node(op, ["v0", other], ["out"])], op, [], [output])

    nodes = [
        node("Relu", ["x"], ["v0"]),
        node("ReduceSum", ["v0"], ["total"], keepdims=0),
        node("Greater", ["total", "limit"], ["condition"]),
        node("If", ["condition"], ["y"], then_branch=branch("Add", "bias"), else_branch=branch("Mul", "x")),
    ]
    weights = {"limit": np.float32(1.0), "bias": np.float32([[1, 2, 3]])}
    return model(nodes, {"x": [2, 3]}, {"y": [2, 3]}, weights)


@pytest.mark.parametrize("image", [np.full((2, 3), -1.0, np.float32), np.full((2, 3), 2.0, np.float32)])
def test_values_that_a_branch_captures_are_inputs_of_its_piece(image):
    pieces = cut(private(if_net()), (Stage(body=("condition", "v0")), Stage(body=("y",))))
    assert pieces.segments[1].inputs == ("x", "v0", "condition")
    assert [w.name for w in pieces.segments[1].model.graph.initializer] == ["bias"]
    got = run_pieces([p.model.SerializeToString() for p in pieces.segments], {"x": image})["y"]
    np.testing.assert_array_equal(got, run(if_net(), {"x": image})["y"])


def test_joined_pieces_hold_each_node_and_weight_once():
    proto = residual_net()
    pieces = cut(private(proto), TWO_EXITS)
    whole = join([pieces.segments[0].model, pieces.heads[0].model, pieces.segments[1].model], ("early", "logits"))
    assert sorted(n.name for n in whole.graph.node) == sorted(n.name for n in proto.graph.node)
    assert sorted(w.name for w in whole.graph.initializer) == ["h0", "h1", "w0", "w1"]
    assert [v.name for v in whole.graph.input] == ["image"]
    assert [v.name for v in whole.graph.output] == ["early", "logits"]
    want = run(proto, {"image": IMAGE})
    got = run(whole, {"image": IMAGE})
    np.testing.assert_array_equal(got["early"], want["early"])
    np.testing.assert_array_equal(got["logits"], want["logits"])


def test_cutting_what_was_joined_gives_the_same_pieces():
    first = cut(private(residual_net()), TWO_EXITS)
    models = [first.segments[0].model, first.heads[0].model, first.segments[1].model]
    second = cut(join(models, ("early", "logits")), TWO_EXITS)
    assert [p.model.SerializeToString() for p in second.segments] == [
        p.model.SerializeToString() for p in first.segments
    ]
    assert second.heads[0].model.SerializeToString() == first.heads[0].model.SerializeToString()


def test_a_head_is_joined_to_its_segment():
    pieces = cut(private(residual_net()), TWO_EXITS)
    fused = join([pieces.segments[0].model, pieces.heads[0].model], ("r0", "early"))
    assert sorted(run(fused, {"image": IMAGE})) == ["early", "r0"]


def test_joining_for_an_output_that_nothing_makes_is_refused():
    pieces = cut(private(residual_net()), TWO_EXITS)
    with pytest.raises(GraphError, match="no piece makes 'early'"):
        join([pieces.segments[0].model], ("early",))


def test_joining_pieces_of_different_opsets_is_refused():
    with pytest.raises(GraphError, match=r"operator set 'ai\.onnx' is 17 in one and 13 in another"):
        join([private(chain("Relu")), private(chain("Relu", opset=13))], ("v0",))


def test_an_element_type_that_the_file_does_not_state_follows_from_the_operators():
    bare = parse_model(chain("Cast", "Mul", inputs={1: ["k"]}, weights={"k": np.float16(2)}).SerializeToString())
    bare.graph.node[0].attribute.add(name="to", i=TensorProto.FLOAT16)
    pieces = cut(bare, (Stage(body=("v0",)), Stage(body=("v1",))))
    assert pieces.segments[0].model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    assert not pieces.segments[0].model.graph.output[0].type.tensor_type.HasField("shape")


def test_cutting_at_what_is_no_tensor_is_refused_by_name():
    proto = chain("SequenceConstruct", "ConcatFromSequence")
    proto.graph.node[1].attribute.append(helper.make_attribute("axis", 0))
    value = proto.graph.value_info.add(name="v0")
    value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(GraphError, match="'v0' cannot be told, or it is no tensor"):
        cut(parse_model(proto.SerializeToString()), (Stage(body=("v0",)), Stage(body=("v1",))))


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((Stage(body=("v9",)),), "no value 'v9'"),
        ((Stage(),), "stage 0 names no value"),
        ((Stage(body=("k",)),), "'k', which stage 0 shall bring forth, is not computed"),
        ((Stage(body=("v0",)), Stage(body=("v0",))), r"stage 1 \(v0\) adds nothing"),
        ((Stage(exit=("x",)), Stage(body=("v0",))), "'x', which stage 0 shall bring forth, is not computed"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(stages, message):
    proto = private(chain("Mul", "Relu", inputs={0: ["k"]}, weights={"k": np.float32(2)}))
    with pytest.raises(GraphError, match=message):
        cut(proto, stages)


def test_a_side_input_that_does_not_exist_is_refused():
    with pytest.raises(GraphError, match="no input 'mask' to be a side input; it has x"):
        cut(private(chain("Relu")), (Stage(body=("v0",)),), side_inputs=["mask"])


def test_a_graph_that_is_not_in_order_is_refused():
    proto = chain("Relu", "Exp")
    proto.graph.node.insert(0, proto.graph.node.pop())
    with pytest.raises(GraphError, match=r"'v1' \(Exp\) reads 'v0', which no node before it makes"):
        cut(parse_model(proto.SerializeToString()), (Stage(body=("v1",)),))


def test_a_value_that_is_made_twice_is_refused():
    proto = chain("Relu", "Exp")
    proto.graph.node[1].output[0] = "v0"
    with pytest.raises(GraphError, match="makes 'v0', which exists already"):
        cut(parse_model(proto.SerializeToString()), (Stage(body=("v0",)),))


def test_weights_that_are_graph_inputs_too_are_no_inputs_of_a_piece():
    proto = chain("Mul", inputs={0: ["k"]}, weights={"k": np.float32(2)})
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, []))
    piece = cut(private(proto), (Stage(body=("v0",)),)).segments[0]
    assert piece.inputs == ("x",)
    assert piece.model.ir_version == 4
