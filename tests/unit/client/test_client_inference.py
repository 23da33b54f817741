"""A question on its way out, and the answer on its way in."""

import numpy as np
import pytest

from edgeexit.client.answers import ModelMetadata, TensorMetadata
from edgeexit.client.calls import infer, settings_of
from edgeexit.client.exchange import Persistence
from edgeexit.client.inference import Question, read_answer
from edgeexit.errors import InputError, OptionError, ServeError
from edgeexit.open_inference import OutputTensor, decode_request, encode_response
from edgeexit.open_inference.framing import HEADER, json_length


def about(inputs=("image",), **parameters):
    return ModelMetadata(
        name="net",
        versions=("1",),
        platform="",
        inputs=tuple(TensorMetadata(name, "FP32", (-1, 2)) for name in inputs),
        outputs=(),
        parameters=parameters,
    )


def sent(question, left_s=None, metadata=None):
    headers, body = question.preparer(metadata or about())(left_s)
    return decode_request(body, json_length(headers.get(HEADER)))


def received(labels=(1, 0), parameters=None, metadata=None, outputs=None):
    own = [
        OutputTensor("probabilities", np.float32([[0.25, 0.75], [1.0, 0.0]]), True),
        OutputTensor("label", np.int64(labels), True),
        OutputTensor("exit_index", np.int64([0, 2]), True),
    ]
    frame = encode_response("net", "3", own if outputs is None else outputs, parameters=parameters or {})
    headers = {} if frame.json_length is None else {HEADER: str(frame.json_length)}
    return read_answer(headers, frame.body, metadata or about())


def test_one_array_goes_to_the_only_input():
    request = sent(Question(model="net", inputs=np.float32([[1, 2]])))
    assert request.inputs["image"].tolist() == [[1.0, 2.0]]


def test_one_array_for_a_model_of_two_inputs_is_refused():
    question = Question(model="net", inputs=np.float32([[1, 2]]))
    with pytest.raises(InputError, match="ids, mask"):
        sent(question, metadata=about(inputs=("ids", "mask")))


def test_a_mapping_is_sent_by_name():
    request = sent(Question(model="net", inputs={"a": np.int64([1]), "b": np.float32([2])}))
    assert {name: array.tolist() for name, array in request.inputs.items()} == {"a": [1], "b": [2.0]}


def test_an_array_that_the_protocol_has_no_datatype_for_is_refused():
    with pytest.raises(InputError, match="complex"):
        sent(Question(model="net", inputs=np.complex64([[1]])))


def test_options_that_were_not_given_are_not_sent():
    parameters = sent(Question(model="net", inputs=np.float32([[1, 2]]))).parameters
    assert (parameters.latency_budget_s, parameters.exit_rule, parameters.priority) == (None, None, None)


def test_options_are_sent_with_the_time_that_is_left():
    question = Question(
        model="net",
        inputs=np.float32([[1, 2]]),
        latency_budget_s=0.1,
        energy_budget_j=0.5,
        exit_rule="threshold",
        allowed_drop=0.5,
        priority=-1,
    )
    parameters = sent(question, left_s=0.07).parameters
    assert (parameters.latency_budget_s, parameters.energy_budget_j) == (0.07, 0.5)
    assert (parameters.exit_rule, parameters.allowed_drop, parameters.priority) == ("threshold", 0.5, -1)


def test_an_answer_has_labels_probabilities_and_exits():
    answer = received()
    assert (answer.model, answer.version) == ("net", "3")
    assert answer.labels.tolist() == [1, 0]
    assert answer.probabilities.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert answer.exit_index.tolist() == [0, 2]


def test_what_the_server_does_not_tell_is_not_known():
    answer = received()
    assert (answer.latency_s, answer.energy_j, answer.energy_source, answer.deadline_met) == (None, None, None, None)
    assert (answer.exits_looked_at, answer.clocks) == (None, {})


def test_an_answer_has_what_the_server_tells_of_it():
    told = {
        "exits_looked_at": "0,2",
        "reason": "exit rule",
        "latency_s": 0.002,
        "queue_s": 0,
        "energy_j": 0.25,
        "energy_source": "counter",
        "deadline_met": True,
        "clocks": "gpu=1300500000,cpu=2035200000",
    }
    answer = received(parameters=told)
    assert (answer.exits_looked_at, answer.reason) == ((0, 2), "exit rule")
    assert (answer.latency_s, answer.queue_s, answer.deadline_met) == (0.002, 0.0, True)
    assert (answer.energy_j, answer.energy_source) == (0.25, "counter")
    assert answer.clocks == {"gpu": 1_300_500_000, "cpu": 2_035_200_000}


def test_labels_have_the_names_of_the_model():
    assert received(metadata=about(labels=["cat", "dog"])).class_names == ("dog", "cat")


def test_a_set_of_labels_has_all_their_names():
    metadata = about(labels=["sun", "rain", "wind"], task="labels")
    assert received(labels=(5, 0), metadata=metadata).class_names == ("sun + wind", "none")


def test_without_names_there_are_none():
    assert received().class_names is None


def test_a_server_of_another_kind_is_told_from_ours():
    with pytest.raises(ServeError, match="no output 'label'"):
        received(outputs=[OutputTensor("logits", np.float32([[1.0]]), True)])


def test_an_answer_that_is_not_of_the_protocol_is_an_error_of_the_server():
    with pytest.raises(ServeError, match="cannot be read"):
        read_answer({}, b"<html>", about())


def test_only_settings_that_are_to_change_are_sent():
    assert settings_of("plan", None, no_deadline=False) == {"governor": "plan"}
    assert settings_of(None, 0.02, no_deadline=False) == {"latency_budget_s": 0.02}
    assert settings_of(None, None, no_deadline=True) == {"latency_budget_s": None}


@pytest.mark.parametrize(("budget_s", "no_deadline"), [(None, False), (0.02, True)])
def test_settings_that_say_nothing_or_contradict_are_refused(budget_s, no_deadline):
    with pytest.raises(OptionError):
        settings_of(None, budget_s, no_deadline=no_deadline)


def test_a_deadline_that_is_over_before_it_begins_is_refused_here():
    question = Question(model="net", inputs=np.zeros((1, 2), np.float32), latency_budget_s=-1.0)
    with pytest.raises(OptionError, match=r"above 0, not -1\.0"):
        next(infer(question, {}, Persistence()))
