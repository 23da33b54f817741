from threading import Event

import numpy as np
import pytest
from models import doubling_chain, transposed_chain

import edgeexit
from edgeexit.errors import InferenceCancelled, InputError
from edgeexit.exits.fixed import Fixed
from edgeexit.exits.last import Last
from edgeexit.exits.threshold import Threshold
from edgeexit.protocols import Decision, EnergySource, Verdict

SURE = np.array([[0.0, 0.0, 9.0]], dtype=np.float32)
"""Exit 0 says 18: certain."""
UNSURE = np.array([[0.0, 0.4, 0.0]], dtype=np.float32)
"""Logits .8, 1.6, 3.2: probabilities of b .53, .71, .92."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return doubling_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def host():
    with edgeexit.open_device("host") as device:
        yield device


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=1e9) as device:
        yield device


class Jump:
    """Looks at exit 0, then at exit 2."""

    name = "jump"
    looks_at_every_exit = False

    def judge(self, evidence):
        return Verdict(False, 2 if evidence.looks else 0)


class OnlyTo:
    """A governor that forbids the exits behind one."""

    name = "only-to"

    def __init__(self, deepest):
        self.deepest = deepest

    def decide(self, observation):
        return Decision({}, max_exit=self.deepest, reason="a test")


def test_a_sure_sample_stops_at_the_first_exit(chain, host):
    with edgeexit.Session(chain, host, exit_rule=Threshold(3, threshold=0.9)) as session:
        result = session.infer(SURE)
    assert (result.label, result.class_name, result.exit_index) == (2, "c", 0)
    assert result.exits_looked_at == (0,)
    assert result.reason == "exit rule"


def test_an_unsure_sample_goes_to_the_last_exit(chain, host):
    with edgeexit.Session(chain, host, exit_rule=Threshold(3, threshold=0.9)) as session:
        result = session.infer(UNSURE)
    assert result.exits_looked_at == (0, 1, 2)
    assert result.exit_index == 2
    assert result.reason == "last exit"


def test_no_head_runs_between_two_looks(chain, host):
    with edgeexit.Session(chain, host, exit_rule=Jump()) as session:
        result = session.infer(UNSURE)
    assert result.exits_looked_at == (0, 2)


def test_a_bundle_without_calibration_runs_the_whole_network(chain, host):
    with edgeexit.Session(chain, host) as session:
        assert session.infer(SURE).exits_looked_at == (2,)


def test_the_result_owns_its_probabilities(chain, host):
    with edgeexit.Session(chain, host, exit_rule=Last(3)) as session:
        first = session.infer(SURE)
        session.infer(UNSURE)
    assert first.probabilities[2] > 0.99


def test_without_a_meter_energy_is_not_known(chain, host):
    with edgeexit.Session(chain, host) as session:
        result = session.infer(SURE)
    assert result.energy_j is None
    assert result.energy_source is None
    assert result.clocks == {}
    assert result.deadline_met is None
    assert result.latency_s > 0.0


def test_a_simulated_board_says_that_its_energy_is_simulated(board):
    bundle = edgeexit.load_bundle("fashion-resnet")
    image = np.zeros((1, 1, 28, 28), dtype=np.float32)
    with edgeexit.Session(bundle, board, edgeexit.load_governor("performance"), exit_rule=Last(6)) as session:
        result = session.infer(image, latency_budget_s=1e9)
    assert result.energy_source is EnergySource.SIMULATED
    assert result.energy_j > 0.0
    assert result.clocks == {"gpu": 1_300_500_000}
    assert result.deadline_met is True


def test_latency_and_energy_on_a_simulated_board_are_those_of_its_cost_table():
    bundle = edgeexit.load_bundle("fashion-resnet")
    image = np.zeros((1, 1, 28, 28), dtype=np.float32)
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=2000.0) as device:
        table = device.modelled_costs(bundle.workload)
        with edgeexit.Session(
            bundle, device, edgeexit.load_governor("performance"), exit_rule=Fixed(6, exit_index=3)
        ) as s:
            result = s.infer(image)
    work = table.work(len(table.points) - 1, 0, 3)
    assert result.latency_s == pytest.approx(work.latency_s + table.switch_latency_s, rel=1e-12)
    assert result.energy_j == pytest.approx(work.energy_j + table.switch_energy_j, rel=1e-12)


def test_clocks_are_given_back_at_the_end(chain, board):
    before = board.domains["gpu"].read_hz()
    with edgeexit.Session(chain, board, edgeexit.load_governor("performance")) as session:
        session.infer(SURE)
        assert board.domains["gpu"].read_hz() == 1_300_500_000
    assert board.domains["gpu"].read_hz() == before


def test_a_governor_can_forbid_deep_exits(chain, board):
    with edgeexit.Session(chain, board, OnlyTo(1), exit_rule=Threshold(3, threshold=0.99)) as session:
        result = session.infer(UNSURE)
    assert result.exit_index == 1
    assert result.reason == "deepest exit allowed"


def test_a_deadline_that_has_passed_is_answered_by_the_best_exit_so_far(chain, host):
    with edgeexit.Session(chain, host, exit_rule=Last(3)) as session:
        result = session.infer(UNSURE, latency_budget_s=1e-12)
    assert result.exit_index == 0
    assert result.exits_looked_at == (0,)
    assert result.reason == "deadline"
    assert result.deadline_met is False


def test_without_anytime_a_deadline_is_missed_and_counted(chain, host):
    with edgeexit.Session(chain, host, exit_rule=Last(3), anytime=False) as session:
        result = session.infer(UNSURE, latency_budget_s=1e-12)
    assert result.exit_index == 2
    assert result.deadline_met is False


def test_a_simulated_deadline_stops_before_the_segment_that_would_miss_it():
    bundle = edgeexit.load_bundle("fashion-resnet")
    image = np.zeros((1, 1, 28, 28), dtype=np.float32)
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=2000.0) as device:
        table = device.modelled_costs(bundle.workload)
        budget_s = table.switch_latency_s + table.work(12, 0, 4, first_head=4).latency_s
        with edgeexit.Session(bundle, device, edgeexit.load_governor("performance"), exit_rule=Last(6)) as session:
            result = session.infer(image, latency_budget_s=budget_s)
    assert result.exit_index == 4
    assert result.deadline_met is True
    assert result.reason == "deadline"


def test_a_deadline_leaves_time_for_the_head_that_has_to_answer():
    bundle = edgeexit.load_bundle("fashion-vgg")
    image = np.zeros((1, 1, 28, 28), dtype=np.float32)
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=3562.0) as device:
        table = device.modelled_costs(bundle.workload)
        least_s = table.switch_latency_s + table.work(12, 0, 0).latency_s
        with edgeexit.Session(bundle, device, edgeexit.load_governor("performance"), exit_rule=Jump()) as session:
            results = [session.infer(image, latency_budget_s=least_s * factor) for factor in (1.01, 1.2, 1.7, 2.5, 4.0)]
    assert all(result.deadline_met for result in results)


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(chain, host, budget_s):
    with edgeexit.Session(chain, host) as session, pytest.raises(InputError, match="latency_budget_s"):
        session.infer(SURE, latency_budget_s=budget_s)


def test_a_cancelled_inference_answers_with_the_best_exit_so_far(chain, host):
    cancel = Event()

    class CancelAfterFirstLook(Jump):
        def judge(self, evidence):
            if evidence.looks:
                cancel.set()
            return super().judge(evidence)

    with edgeexit.Session(chain, host, exit_rule=CancelAfterFirstLook()) as session:
        result = session.infer(UNSURE, cancel=cancel)
    assert result.exit_index == 0
    assert result.reason == "cancelled"


@pytest.mark.parametrize("call", ["infer", "infer_batch"])
def test_cancelled_before_the_first_segment_there_is_no_answer(chain, host, call):
    cancel = Event()
    cancel.set()
    with edgeexit.Session(chain, host) as session, pytest.raises(InferenceCancelled):
        getattr(session, call)(SURE, cancel=cancel)


def test_a_session_works_after_an_error(chain, host):
    with edgeexit.Session(chain, host) as session:
        with pytest.raises(InputError):
            session.infer(np.zeros((1, 4), dtype=np.float32))
        assert session.infer(SURE).label == 2


# --- Inputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 4), np.float32), r"shape \(N, 3\), not \(1, 4\)"),
        (np.zeros(3, np.float32), r"shape \(N, 3\), not \(3,\)"),
        (np.zeros((2, 3), np.float32), "use infer_batch"),
        (np.zeros((0, 3), np.float32), "1 sample"),
        (np.zeros((1, 3), np.uint8), "must be float32, not uint8"),
        (np.array([["a", "b", "c"]]), "must be float32"),
        (np.array([[0.0, np.nan, 1.0]], np.float32), "not finite"),
        (np.array([[0.0, -np.inf, 1.0]], np.float32), "not finite"),
        ({"picture": SURE}, "has the inputs image"),
        ({}, "has the inputs image"),
    ],
)
def test_a_bad_input_is_a_clear_error(chain, host, array, message):
    with edgeexit.Session(chain, host) as session, pytest.raises(InputError, match=message):
        session.infer(array)


def test_large_finite_values_are_accepted(chain, host):
    with edgeexit.Session(chain, host) as session:
        assert session.infer(np.array([[1e30, 0.0, 0.0]], np.float32)).label == 0


def test_doubles_are_converted(chain, host):
    with edgeexit.Session(chain, host) as session:
        assert session.infer(SURE.astype(np.float64)).label == 2


def test_the_input_is_not_changed_and_may_be_a_view(chain, host):
    wide = np.zeros((1, 6), np.float32)
    wide[0, 4] = 5.0
    with edgeexit.Session(chain, host) as session:
        assert session.infer(wide[:, ::2]).label == 2


# --- Batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Threshold(3, threshold=0.9), Jump(), Last(3), Fixed(3, exit_index=1)])
def test_a_batch_gives_the_single_answers_in_input_order(chain, host, rule):
    images = np.concatenate([UNSURE, SURE, UNSURE, SURE, SURE])
    with edgeexit.Session(chain, host, exit_rule=rule) as session:
        batch = session.infer_batch(images)
        single = [session.infer(images[i : i + 1]) for i in range(5)]
    for one, other in zip(batch, single, strict=True):
        assert (one.label, one.exit_index, one.exits_looked_at, one.reason) == (
            other.label,
            other.exit_index,
            other.exits_looked_at,
            other.reason,
        )
        np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-6)


def test_samples_that_exited_cost_nothing_further():
    bundle = edgeexit.load_bundle("fashion-resnet")
    done = []

    class Stop:
        name = "stop"
        looks_at_every_exit = True

        def judge(self, evidence):
            if evidence.looks and int(1e4 * evidence.looks[-1].confidence) % 3 == 0:
                return Verdict(True, evidence.looks[-1].exit_index)
            return Verdict(False, len(evidence.looks))

    images = np.random.default_rng(0).random((16, 1, 28, 28), dtype=np.float32)
    with edgeexit.open_device("simulated:jetson-tx2") as device:
        device.work_done = done.append
        with edgeexit.Session(bundle, device, exit_rule=Stop()) as session:
            results = session.infer_batch(images)
    work = bundle.workload
    expected = sum(
        sum(work.segment_macs[: r.exit_index + 1]) + sum(work.head_macs[: r.exit_index + 1]) for r in results
    )
    assert len({r.exit_index for r in results}) > 1
    assert sum(done) == expected


def test_an_empty_batch_gives_no_results(chain, host):
    with edgeexit.Session(chain, host) as session:
        assert session.infer_batch(np.zeros((0, 3), np.float32)) == []


def test_a_batch_axis_that_is_not_the_first_is_found(tmp_path, host):
    bundle = transposed_chain(tmp_path)
    images = np.concatenate([SURE, UNSURE, SURE])
    with edgeexit.Session(bundle, host, exit_rule=Threshold(2, threshold=0.9)) as session:
        assert [r.exit_index for r in session.infer_batch(images)] == [0, 1, 0]


def test_a_model_of_a_fixed_batch_runs_a_batch_one_by_one(tmp_path, host):
    bundle = doubling_chain(tmp_path, batch=1)
    with edgeexit.Session(bundle, host, exit_rule=Threshold(3, threshold=0.9)) as session:
        results = session.infer_batch(np.concatenate([SURE, UNSURE]))
    assert [r.exit_index for r in results] == [0, 2]


def test_a_batch_past_its_deadline_is_answered_by_the_best_exit_so_far(chain, host):
    images = np.concatenate([SURE, UNSURE])
    with edgeexit.Session(chain, host, exit_rule=Last(3)) as session:
        session.infer_batch(images)
        results = session.infer_batch(images, latency_budget_s=1e-12)
    assert [r.exit_index for r in results] == [0, 0]
    assert [r.reason for r in results] == ["deadline", "deadline"]
