"""What a server needs of a session: settings for a single inference, others that wait, a shared hold on the clocks."""

from pathlib import Path

import numpy as np
import pytest

import edgeexit
from edgeexit.device.lease import Lease
from edgeexit.errors import InputError, OptionError
from edgeexit.protocols import Decision
from edgeexit.runtime.ways import MAX_ASKED_FOR

SCALE = 2000.0


@pytest.fixture(scope="module")
def bundle():
    return edgeexit.load_bundle("fashion-resnet")


@pytest.fixture(scope="module")
def images():
    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as file:
        return file["images"][:, None].astype(np.float32) / 255.0


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=SCALE) as device:
        yield device


class Cutting:
    """A governor that notes what it was asked, and would have every answer come from the first exit."""

    name = "cutting"

    def __init__(self):
        self.asked = []

    def decide(self, observation):
        self.asked.append(observation)
        return Decision({}, max_exit=0)


def test_one_inference_may_take_another_setting(bundle, board, images):
    with edgeexit.Session(bundle, board) as session:
        own = session.infer(images[:1])
        other = session.infer(images[:1], exit_rule="fixed", allowed_drop=0.0)
        again = session.infer(images[:1])
    assert (own.exit_index, other.exit_index, again.exit_index) == (0, 5, 0)


def test_an_accuracy_drop_alone_is_one_of_the_sessions_own_setting(bundle, board, images):
    with edgeexit.Session(bundle, board, exit_rule="margin") as session:
        asked = session.infer(images[:1], allowed_drop=1.0)
    assert asked.allowed_drop == 1.0


def test_a_batch_may_take_another_setting_too(bundle, board, images):
    with edgeexit.Session(bundle, board) as session:
        results = session.infer_batch(images[:3], exit_rule="fixed", allowed_drop=0.0)
    assert [result.exit_index for result in results] == [5, 5, 5]


def test_a_setting_that_the_bundle_has_not_is_refused(bundle, board, images):
    with edgeexit.Session(bundle, board) as session:
        with pytest.raises(OptionError, match="no-such"):
            session.infer(images[:1], exit_rule="no-such")
        assert session.infer(images[:1]).label == 9


def test_settings_asked_for_do_not_pile_up(bundle, board, images):
    names = ("margin", "entropy", "threshold")
    drops = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    with edgeexit.Session(bundle, board) as session:
        for name in names:
            for drop in drops:
                session.infer(images[:1], exit_rule=name, allowed_drop=drop)
        assert len(session._ways._asked_for) == MAX_ASKED_FOR < len(names) * len(drops)


def test_whoever_waits_hurries_the_clocks_but_cuts_no_answer(bundle, board, images):
    governor = Cutting()
    with edgeexit.Session(bundle, board, governor, exit_rule="last") as session:
        hurried = session.infer(images[:1], latency_budget_s=10.0, wanted_in_s=1.0)
        cut = session.infer(images[:1], latency_budget_s=10.0)
    assert (hurried.exit_index, cut.exit_index) == (5, 0)
    assert governor.asked[0].deadline_s - governor.asked[0].now_s == pytest.approx(1.0)
    assert governor.asked[0].floor_exit == 5


def test_a_deadline_before_others_want_it_done_stays_the_deadline(bundle, board, images):
    governor = Cutting()
    with edgeexit.Session(bundle, board, governor) as session:
        session.infer(images[:1], latency_budget_s=1.0, wanted_in_s=10.0)
    assert governor.asked[0].deadline_s - governor.asked[0].now_s == pytest.approx(1.0)
    assert governor.asked[0].floor_exit == 0


@pytest.mark.parametrize("wanted_in_s", [0.0, -1.0, float("inf"), float("nan")])
def test_others_cannot_want_it_done_in_no_time(bundle, board, images, wanted_in_s):
    with edgeexit.Session(bundle, board) as session, pytest.raises(InputError, match="wanted_in_s"):
        session.infer(images[:1], wanted_in_s=wanted_in_s)


def test_a_hold_that_others_use_is_left_open(bundle, board, images):
    before = board.domains["gpu"].read_hz()
    with Lease(board.domains, journal=board.journal, clock=board.clock) as hold:
        with edgeexit.Session(bundle, board, edgeexit.load_governor("performance"), lease=hold) as session:
            session.infer(images[:1])
        assert board.domains["gpu"].read_hz() == 1300500000
        with edgeexit.Session(bundle, board, edgeexit.load_governor("powersave"), lease=hold) as session:
            session.infer(images[:1])
        assert board.domains["gpu"].read_hz() == 114750000
    assert board.domains["gpu"].read_hz() == before


def test_another_governor_decides_from_the_next_inference_on(bundle, board, images):
    with edgeexit.Session(bundle, board, edgeexit.load_governor("powersave")) as session:
        slow = session.infer(images[:1])
        session.use_governor(edgeexit.load_governor("performance"))
        fast = session.infer(images[:1])
        session.use_governor(None)
        left = session.infer(images[:1])
    assert slow.clocks["gpu"] == 114750000
    assert fast.clocks["gpu"] == 1300500000
    assert left.clock_steps == ()


def test_a_result_holds_the_logits_of_the_exit_that_answered(bundle, board, images):
    with edgeexit.Session(bundle, board, exit_rule="last") as session:
        result = session.infer(images[:1])
    exponentials = np.exp(result.logits - result.logits.max())
    np.testing.assert_allclose(exponentials / exponentials.sum(), result.probabilities, atol=1e-6)


def test_inputs_can_be_checked_without_an_answer(bundle, board, images):
    with edgeexit.Session(bundle, board) as session:
        assert session.check(images[:7])["image"].shape == (7, 1, 28, 28)
        with pytest.raises(InputError, match="shape"):
            session.check(images[0, 0])


class Resting(Cutting):
    """Counts how often it was asked for clocks at rest."""

    def __init__(self):
        super().__init__()
        self.rests = 0

    def rest(self, observation):
        self.rests += 1
        return Decision({})


def test_the_rest_can_be_put_off_until_the_answer_has_been_given_away(bundle, board, images):
    governor = Resting()
    with edgeexit.Session(bundle, board, governor) as session:
        session.infer(images[:1], next_request_in_s=10.0, rest=False)
        assert governor.rests == 0
        session.rest()
        session.rest()
        assert governor.rests == 1
        session.infer_batch(images[:2], next_request_in_s=10.0)
        assert governor.rests == 2
