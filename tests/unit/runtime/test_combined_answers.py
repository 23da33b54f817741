"""A rule whose answer is made of several looks: the session answers with what they say together, whatever ends it."""

from threading import Event

import numpy as np
import pytest
from tiny_bundle import make_bundle, network_input

import edgeexit
from edgeexit.exits.ensemble import Ensemble
from edgeexit.exits.last import Last
from edgeexit.offline.record import record_trace
from edgeexit.offline.replay import replay
from edgeexit.protocols import Decision
from edgeexit.runtime import Session

WEIGHTS = [[1.0], [1.0, 1.0], [1.0, 1.0, 0.0]]
"""At the last exit only the first two count: unlike what the newest look says."""


def ensemble(threshold=1.0):
    return Ensemble(3, threshold=threshold, weights=WEIGHTS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2") as device:
        yield device


def alone(bundle, board, image, exits):
    """Return what the ensemble makes of the logits that these exits say, worked out from single exits."""
    logits = np.zeros(3)
    for exit_index in exits:
        rule = edgeexit.load_exit_rule("fixed", 3, exit_index=exit_index)
        with Session(bundle, board, exit_rule=rule) as session:
            logits += np.log(session.infer(image).probabilities.astype(np.float64))
    powers = np.exp(logits)
    return powers / powers.sum()


def test_the_answer_of_the_last_exit_is_what_the_looks_say_together(bundle, board):
    image = network_input()[7:8]
    with Session(bundle, board, exit_rule=ensemble()) as session:
        result = session.infer(image)
    assert (result.exit_index, result.exits_looked_at) == (2, (0, 1, 2))
    assert result.probabilities == pytest.approx(alone(bundle, board, image, [0, 1]), abs=1e-6)
    with Session(bundle, board, exit_rule=Last(3)) as session:
        assert session.infer(image).probabilities != pytest.approx(result.probabilities, abs=1e-3)


def test_the_answer_where_the_rule_stops_is_what_the_looks_say_together(bundle, board):
    image = network_input()[7:8]
    with Session(bundle, board, exit_rule=ensemble([1.0, 0.5, 0.0])) as session:
        result = session.infer(image)
    assert (result.exit_index, result.reason) == (1, "exit rule")
    assert result.probabilities == pytest.approx(alone(bundle, board, image, [0, 1]), abs=1e-6)


def test_the_answer_where_a_governor_allows_no_deeper_exit_is_what_the_looks_say_together(bundle, board):
    class Shallow:
        name = "shallow"

        def decide(self, observation):
            return Decision({}, max_exit=1)

    image = network_input()[7:8]
    with Session(bundle, board, Shallow(), exit_rule=ensemble()) as session:
        result = session.infer(image)
    assert (result.exit_index, result.reason) == (1, "deepest exit allowed")
    assert result.probabilities == pytest.approx(alone(bundle, board, image, [0, 1]), abs=1e-6)


def test_the_answer_of_a_cancelled_inference_is_what_the_looks_say_together(bundle, board):
    cancel = Event()

    class Cancelling(Ensemble):
        def judge(self, evidence):
            if len(evidence.looks) == 2:
                cancel.set()
            return super().judge(evidence)

    image = network_input()[7:8]
    rule = Cancelling(3, threshold=1.0, weights=WEIGHTS)
    with Session(bundle, board, exit_rule=rule) as session:
        result = session.infer(image, cancel=cancel)
    assert (result.exit_index, result.reason) == (1, "cancelled")
    assert result.probabilities == pytest.approx(alone(bundle, board, image, [0, 1]), abs=1e-6)


def test_a_batch_answers_as_its_samples_do_one_by_one(bundle, board):
    images = network_input()
    with Session(bundle, board, exit_rule=ensemble([0.9, 0.7, 0.0])) as session:
        together = session.infer_batch(images)
        single = [session.infer(image[np.newaxis]) for image in images]
    assert [each.label for each in together] == [each.label for each in single]
    assert [each.exit_index for each in together] == [each.exit_index for each in single]
    for one, other in zip(together, single, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_a_replay_answers_as_the_session_does(bundle, board):
    images = network_input()
    rule = ensemble([0.9, 0.7, 0.0])
    run = replay(rule, record_trace(bundle, images, np.arange(9) % 3), bundle.workload)
    with Session(bundle, board, exit_rule=rule) as session:
        results = [session.infer(image[np.newaxis]) for image in images]
    assert run.label.tolist() == [result.label for result in results]
    assert run.exit_index.tolist() == [result.exit_index for result in results]
