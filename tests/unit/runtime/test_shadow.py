import json
import threading
import time
import warnings

import numpy as np
import pytest
from models import save, transposed_chain
from onnx import helper
from tiny_bundle import make_bundle, network_input

import edgeexit
from edgeexit.bundle.write import replace_files
from edgeexit.errors import AnswersDrifted, EngineError, InputError, OptionError
from edgeexit.exits.fixed import Fixed
from edgeexit.exits.threshold import Threshold
from edgeexit.offline.graph.split import split_model
from edgeexit.runtime import Shadow
from edgeexit.runtime.shadow import is_chosen

FIRST = np.array([[9.0, 0.0, 0.0]], dtype=np.float32)
"""Sure at exit 0, and the full network agrees."""
THIRD = np.array([[0.0, 0.0, 9.0]], dtype=np.float32)
"""Sure at exit 0, and the full network says something else."""
UNSURE = np.array([[0.1, 0.0, 0.0]], dtype=np.float32)
RULE = Threshold(3, threshold=0.9)


def turning_bundle(folder):
    """Exit 0 says ``2 * image``, exit 1 ``4 * image``; the full network turns the third class's sign."""
    nodes = [
        helper.make_node("Mul", ["image", "two"], ["body0"]),
        helper.make_node("Mul", ["body0", "one"], ["exit0"]),
        helper.make_node("Mul", ["body0", "two"], ["body1"]),
        helper.make_node("Mul", ["body1", "one"], ["exit1"]),
        helper.make_node("Mul", ["body1", "turn"], ["logits"]),
    ]
    weights = {"two": np.float32(2), "one": np.float32(1), "turn": np.float32([1, 1, -1])}
    outputs = {name: ["N", 3] for name in ("exit0", "exit1", "logits")}
    path = save(folder / "turning.onnx", nodes, {"image": ["N", 3]}, outputs, weights)
    return split_model(path, folder / "turning", name="turning", labels=["a", "b", "c"])


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    return turning_bundle(tmp_path_factory.mktemp("turning"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2") as device:
        yield device


@pytest.fixture
def host():
    with edgeexit.open_device("host") as device:
        yield device


@pytest.fixture
def every(turning, board):
    """A session that checks every sample which exits early."""
    with edgeexit.Session(turning, board, exit_rule=RULE, shadow=1.0) as session:
        yield session


def test_early_answers_are_compared_with_the_full_network_in_idle_time(every):
    for image in (FIRST, THIRD, FIRST, FIRST):
        every.infer(image)
    assert every.shadow_report().checked == 0
    assert every.idle() == 4
    report = every.shadow_report()
    assert (report.exited, report.checked, report.agreed, report.agreement) == (4, 4, 3, 0.75)
    assert (report.waiting, report.dropped) == (0, 0)


def test_the_interval_is_exact(every):
    for _ in range(3):
        every.infer(FIRST)
    every.idle()
    report = every.shadow_report()
    assert report.low == pytest.approx(0.025 ** (1 / 3), abs=1e-9)
    assert report.high == 1.0


def test_a_sample_that_ran_to_the_end_is_not_checked(every):
    assert every.infer(UNSURE).exit_index == 2
    assert every.idle() == 0
    assert every.shadow_report().exited == 0


def test_what_a_later_inference_computes_does_not_touch_a_waiting_sample(every):
    every.infer(THIRD)
    every.infer(FIRST)
    every.infer(UNSURE)
    every.idle()
    report = every.shadow_report()
    assert (report.checked, report.agreed) == (2, 1)


def test_answers_are_the_same_with_and_without_shadow_runs(turning, board, every):
    images = [FIRST, THIRD, UNSURE, FIRST]
    with edgeexit.Session(turning, board, exit_rule=RULE) as plain:
        for image in images:
            expected, got = plain.infer(image), every.infer(image)
            every.idle()
            assert (got.label, got.exit_index, got.reason) == (expected.label, expected.exit_index, expected.reason)
            assert got.latency_s == pytest.approx(expected.latency_s)


def test_an_answer_that_the_deadline_forced_is_not_checked(turning, board):
    class Cut:
        name = "cut"

        def decide(self, observation):
            return edgeexit.Decision({}, max_exit=1)

    with edgeexit.Session(turning, board, Cut(), exit_rule=RULE, shadow=1.0) as session:
        assert session.infer(UNSURE).reason == "deepest exit allowed"
        assert session.shadow_report().exited == 0


def test_only_the_segments_behind_the_exit_are_run_and_counted_apart(tiny, board):
    """The white pixel answers at exit 1, behind segment 1; what is left is segment 2 with its 28 MACs."""
    table = board.modelled_costs(tiny.workload)
    with edgeexit.Session(tiny, board, exit_rule="threshold", shadow=1.0) as session:
        assert session.infer(network_input()[:1]).exit_index == 1
        start_s, start_j = board.clock.now_s(), board.meter.read_energy_j()
        session.idle()
        report = session.shadow_report()
    rest = table.work(0, 2, 2)
    assert report.busy_s == pytest.approx(rest.latency_s)
    assert report.energy_j == pytest.approx(rest.energy_j)
    assert board.clock.now_s() - start_s == pytest.approx(rest.latency_s)
    assert board.meter.read_energy_j() - start_j == pytest.approx(rest.energy_j)


def test_idle_time_that_is_too_short_for_a_segment_is_left_alone(tiny, board):
    segment_s = board.modelled_costs(tiny.workload).work(0, 2, 2).latency_s
    with edgeexit.Session(tiny, board, exit_rule="threshold", shadow=1.0) as session:
        session.infer(network_input()[:1])
        now_s = board.clock.now_s()
        assert session.idle(0.9 * segment_s) == 0
        assert board.clock.now_s() == now_s
        assert session.shadow_report().waiting == 1
        assert session.idle(1.1 * segment_s) == 1


def test_a_sample_goes_on_where_idle_time_ended(tiny, board):
    """From exit 0 there are two segments left, of 16 and 28 MACs; there is time for one, then for the other."""
    table = board.modelled_costs(tiny.workload)
    second, third = table.points[0].segment_latency_s[1:]
    with edgeexit.Session(tiny, board, exit_rule=Fixed(3, exit_index=0), shadow=1.0) as session:
        session.infer(network_input()[:1])
        assert session.idle(1.01 * (second + table.points[0].head_latency_s[1])) == 0
        assert session.shadow_report().busy_s == pytest.approx(second)
        assert session.idle(1.01 * third) == 1
        assert session.shadow_report().busy_s == pytest.approx(second + third)


def test_samples_beyond_the_most_that_may_wait_are_dropped_and_counted(turning, board):
    with edgeexit.Session(turning, board, exit_rule=RULE, shadow=Shadow(1.0, most_waiting=2)) as session:
        for _ in range(5):
            session.infer(FIRST)
        report = session.shadow_report()
        assert (report.exited, report.waiting, report.dropped) == (5, 2, 3)
        assert session.idle() == 2


def test_a_share_of_the_samples_is_chosen_the_same_each_time():
    chosen = [counter for counter in range(100_000) if is_chosen(0, counter, 0.01)]
    assert 900 < len(chosen) < 1100
    assert chosen == [counter for counter in range(100_000) if is_chosen(0, counter, 0.01)]
    assert chosen != [counter for counter in range(100_000) if is_chosen(1, counter, 0.01)]
    assert all(is_chosen(7, counter, 1.0) for counter in range(1000))


def test_the_choice_is_that_of_splitmix64():
    """Its first outputs from seed 0 are 0xE220A8397B1DCDAF and 0x6E789E6AA1B965F4: .883 and .432 of the whole."""
    assert [is_chosen(0, 0, share) for share in (0.883, 0.884)] == [False, True]
    assert [is_chosen(0, 1, share) for share in (0.431, 0.432)] == [False, True]


def test_a_batch_is_checked_too(every):
    results = every.infer_batch(np.concatenate([FIRST, UNSURE, THIRD, FIRST]))
    assert [result.exit_index for result in results] == [0, 2, 0, 0]
    assert every.idle() == 3
    report = every.shadow_report()
    assert (report.exited, report.agreed) == (3, 2)


def test_a_batch_that_runs_one_by_one_is_checked_too(tmp_path, board):
    bundle = transposed_chain(tmp_path)
    with edgeexit.Session(bundle, board, exit_rule=Fixed(2, exit_index=0), shadow=1.0) as session:
        session.infer_batch(np.concatenate([FIRST, THIRD]))
        assert session.idle() == 2
        assert session.shadow_report().agreed == 2


def with_expectation(folder, exited, agreed):
    chosen_on = {"samples": 1000, "exited": exited, "agreed": agreed}
    setting = {"rule": "threshold", "parameters": {"0": {"threshold": 0.9}}, "chosen_on": {"0": chosen_on}}
    rules = {"format": 1, "recommended": "threshold", "settings": {"threshold": setting}}
    return replace_files(turning_bundle(folder), {"rules.json": json.dumps(rules).encode()})


def test_the_agreement_in_calibration_stands_beside_it(tmp_path, board):
    bundle = with_expectation(tmp_path, exited=800, agreed=760)
    with edgeexit.Session(bundle, board, shadow=1.0) as session:
        session.infer(FIRST)
        session.idle()
        report = session.shadow_report()
    assert report.expected == 0.95
    assert (report.drift, report.since_s) == (False, None)


def test_answers_that_agree_less_often_than_in_calibration_are_a_drift(tmp_path, board):
    bundle = with_expectation(tmp_path, exited=800, agreed=760)
    with edgeexit.Session(bundle, board, shadow=Shadow(1.0, most_waiting=20)) as session:
        for _ in range(20):
            session.infer(THIRD)
        began_s = board.clock.now_s()
        with pytest.warns(AnswersDrifted, match=r"'turning' agree .* less often .* 95.0% then"):
            session.idle()
        report = session.shadow_report()
    assert report.drift
    assert report.since_s >= began_s


def test_without_a_figure_from_calibration_nothing_is_called_a_drift(every):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(8):
            every.infer(THIRD)
        every.idle()
    assert (every.shadow_report().expected, every.shadow_report().drift) == (None, False)


def test_without_shadow_there_is_no_report_and_nothing_to_do(turning, board):
    with edgeexit.Session(turning, board, exit_rule=RULE) as session:
        session.infer(FIRST)
        assert session.idle() == 0
        assert session.shadow_report() is None


def test_a_sample_that_cannot_be_run_is_dropped(every, monkeypatch):
    every.infer(FIRST)

    def fail(tensors):
        raise EngineError("out of memory")

    monkeypatch.setattr(every._engine, "segments", [SegmentThat(piece, fail) for piece in every._engine.segments])
    with pytest.raises(EngineError, match="out of memory"):
        every.idle()
    report = every.shadow_report()
    assert (report.waiting, report.dropped, report.checked) == (0, 1, 0)


class SegmentThat:
    def __init__(self, part, run):
        self.piece = part.piece
        self.run = run


@pytest.mark.parametrize("shadow", [0.0, -0.1, 1.5, float("nan"), True, "0.01"])
def test_a_share_that_is_none_is_refused(turning, board, shadow):
    with pytest.raises(OptionError, match="shadow is a share"):
        edgeexit.Session(turning, board, shadow=shadow)


@pytest.mark.parametrize("options", [{"most_waiting": 0}, {"quiet_s": -1.0}, {"quiet_s": float("inf")}])
def test_an_option_out_of_its_range_is_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        Shadow(**options)


@pytest.mark.parametrize("for_s", [-1.0, float("nan")])
def test_a_time_that_is_none_is_refused(every, for_s):
    with pytest.raises(InputError, match="for_s"):
        every.idle(for_s)


def test_on_a_real_board_a_thread_takes_idle_time_by_itself(turning, host):
    with edgeexit.Session(turning, host, exit_rule=RULE, shadow=Shadow(1.0, quiet_s=0.0)) as session:
        session.infer(FIRST)
        session.infer(THIRD)
        until_s = time.monotonic() + 60.0
        while session.shadow_report().checked < 2 and time.monotonic() < until_s:
            time.sleep(0.001)
        report = session.shadow_report()
    assert (report.checked, report.agreed) == (2, 1)
    assert "edgeexit-shadow" not in {thread.name for thread in threading.enumerate()}


def test_without_the_thread_only_idle_gives_time(turning, host):
    with edgeexit.Session(turning, host, exit_rule=RULE, shadow=Shadow(1.0, background=False)) as session:
        session.infer(FIRST)
        assert "edgeexit-shadow" not in {thread.name for thread in threading.enumerate()}
        assert session.idle() == 1


def test_a_session_with_the_thread_may_be_closed_twice(turning, host):
    session = edgeexit.Session(turning, host, exit_rule=RULE, shadow=1.0)
    session.infer(FIRST)
    session.close()
    session.close()
    assert session.shadow_report().exited == 1
