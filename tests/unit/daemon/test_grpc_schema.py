"""Our table of the protocol's messages against NVIDIA's own descriptors."""

from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

from edgeexit.daemon import grpc
from edgeexit.daemon.grpc.methods import Methods
from edgeexit.daemon.grpc.schema import DATA_TYPES, MESSAGES, SERVICE, message_class


def theirs(name):
    return service_pb2.DESCRIPTOR.pool.FindMessageTypeByName(f"inference.{name}")


def told(field):
    kind = field.message_type or field.enum_type
    repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
    choice = field.containing_oneof and field.containing_oneof.name
    return field.name, field.type, repeated, kind and kind.full_name, choice


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_has_the_number_and_type_that_it_has_there(name):
    there = {field.number: told(field) for field in theirs(name).fields}
    ours = {field.number: told(field) for field in message_class(name).DESCRIPTOR.fields}
    alone_there = {"ModelVersionPolicy": "policy_choice"}.get(name)  # with one alternative it makes no difference
    for number, field in ours.items():
        expected = there[number]
        if alone_there:
            expected = (*expected[:-1], None)
        assert field == expected


def test_datatypes_have_the_numbers_that_they_have_there():
    values = model_config_pb2.DataType.items()
    assert [(f"TYPE_{name}", number) for number, name in enumerate(DATA_TYPES.split())] == values


def test_every_method_is_one_of_the_service():
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    methods = {method.name: method for method in service.methods}
    assert service.full_name == SERVICE
    for method in Methods(None, None, None, None).all():
        assert methods[method.name].input_type.name == f"{method.name}Request"
        assert methods[method.name].output_type.name == f"{method.name}Response"


def test_what_one_library_writes_the_other_reads():
    message = message_class("ModelInferRequest")(model_name="a", id="b", raw_input_contents=[b"c"])
    message.parameters["d"].double_param = 0.5
    message.inputs.add(name="e", datatype="INT64", shape=[2]).contents.int64_contents.extend([-1, 2**62])
    read = service_pb2.ModelInferRequest.FromString(message.SerializeToString())
    assert (read.model_name, read.id, list(read.raw_input_contents)) == ("a", "b", [b"c"])
    assert read.parameters["d"].double_param == 0.5
    assert list(read.inputs[0].contents.int64_contents) == [-1, 2**62]
    assert message_class("ModelInferRequest").FromString(read.SerializeToString()) == message


def test_nothing_here_needs_the_http_server():
    for path in Path(grpc.__file__).parent.glob("*.py"):
        assert "edgeexit.daemon.http" not in path.read_text(encoding="utf-8"), path.name
