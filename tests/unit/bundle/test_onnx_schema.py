"""The private schema is a true subset of ONNX's and loses nothing that it does not know."""

import onnx
import pytest
from google.protobuf import descriptor_pool
from graphs import normal, residual_net
from onnx import helper

from edgeexit.bundle.graph.schema import message_class, parse_model
from edgeexit.errors import GraphError

ONNX_MESSAGES = {
    "ModelProto": onnx.ModelProto,
    "OperatorSetIdProto": onnx.OperatorSetIdProto,
    "StringStringEntryProto": onnx.StringStringEntryProto,
    "FunctionProto": onnx.FunctionProto,
    "GraphProto": onnx.GraphProto,
    "TensorAnnotation": onnx.TensorAnnotation,
    "NodeProto": onnx.NodeProto,
    "AttributeProto": onnx.AttributeProto,
    "TensorProto": onnx.TensorProto,
    "SparseTensorProto": onnx.SparseTensorProto,
    "ValueInfoProto": onnx.ValueInfoProto,
    "TypeProto": onnx.TypeProto,
    "TensorType": onnx.TypeProto.Tensor,
    "TensorShapeProto": onnx.TensorShapeProto,
    "Dimension": onnx.TensorShapeProto.Dimension,
}


@pytest.mark.parametrize("name", ONNX_MESSAGES)
def test_every_field_has_the_number_and_type_that_onnx_gives_it(name):
    theirs = {f.name: f for f in ONNX_MESSAGES[name].DESCRIPTOR.fields}
    for field in message_class(name).DESCRIPTOR.fields:
        other = theirs[field.name]
        assert field.number == other.number
        # An enum is declared as int32, which is the same on the wire.
        assert field.type == (field.TYPE_INT32 if other.type == other.TYPE_ENUM else other.type)


def test_fields_it_does_not_know_are_written_again():
    model = residual_net()
    model.doc_string = "kept"
    model.graph.node[0].doc_string = "kept too"
    model.graph.node.append(helper.make_node("LRN", ["r1"], ["lrn"], alpha=0.5, size=3))
    again = onnx.load_from_string(parse_model(model.SerializeToString()).SerializeToString())
    assert again == model


def test_it_stays_out_of_the_pool_that_the_onnx_package_uses():
    message_class("ModelProto")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("edgeexit.onnx.ModelProto")


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"", residual_net().SerializeToString()[:-7]])
def test_what_is_no_model_is_refused_by_name(data):
    with pytest.raises(GraphError, match=r"segment0\.onnx is no ONNX model"):
        parse_model(data, name="segment0.onnx")


def test_tensors_keep_their_bytes():
    model = residual_net()
    weight = parse_model(model.SerializeToString()).graph.initializer[0]
    assert weight.raw_data == normal(4, 2, 3, 3).tobytes()
