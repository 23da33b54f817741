import time

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.replay import (
    answer_shares,
    best_static_exit,
    first_right_exit,
    replay,
    replay_known_exits,
    summarise,
)
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Verdict, Workload
from edgeexit.registry import load_exit_rule

WORKLOAD = Workload(segment_macs=(100, 200, 300, 400), head_macs=(1, 2, 3, 4), exit_segments=(0, 1, 3))
"""Three exits behind the first, second and fourth of four segments; the full network is 1003 MACs."""


def three_samples():
    """Confidences of about 0.88 where the logit is 2.77, 0.5 where it is 1; two classes more than the label's."""
    weak, sure = 0.8, 3.0
    logits = np.zeros((3, 3, 3), dtype=np.float32)
    logits[0, :, 0] = (sure, sure, sure)
    logits[1, 0, 1], logits[1, 1, 0], logits[1, 2, 0] = weak, sure, sure
    logits[2, 0, 1], logits[2, 1, 2], logits[2, 2, 2] = weak, weak, sure
    return Trace(logits, np.zeros(3, dtype=np.int64))


def test_work_is_the_segments_up_to_the_exit_and_the_heads_looked_at():
    workload = WORKLOAD._replace(head_macs=(1, 2, 3))
    run = replay(load_exit_rule("threshold", 3, threshold=0.8), three_samples(), workload)
    assert run.exit_index.tolist() == [0, 1, 2]
    assert run.looks.tolist() == [1, 2, 3]
    assert run.macs.tolist() == [101, 303, 1006]
    assert run.correct.tolist() == [True, True, False]
    assert run.full_macs == 1003


def test_skipped_heads_cost_nothing():
    workload = WORKLOAD._replace(head_macs=(1, 2, 3))
    run = replay(load_exit_rule("threshold", 3, threshold=[0.8, None, 0]), three_samples(), workload)
    assert run.macs.tolist() == [101, 1004, 1004]


def test_the_summary_is_the_mean():
    workload = WORKLOAD._replace(head_macs=(1, 2, 3))
    summary = summarise(replay(load_exit_rule("threshold", 3, threshold=0.8), three_samples(), workload))
    assert summary.accuracy == pytest.approx(2 / 3)
    assert summary.macs == pytest.approx(470)
    assert summary.macs_share == pytest.approx(470 / 1003)
    assert summary.exit_index == 1.0
    assert summary.looks == 2.0


def test_the_first_forecast_is_what_the_rule_did_after_its_first_look():
    run = replay(load_exit_rule("threshold", 3, threshold=[0.8, None, 0]), three_samples(), make_workload(3))
    assert run.next_forecast.tolist() == [0, 2, 2]
    assert run.mode_forecast.tolist() == [-1, -1, -1]


def test_a_distribution_says_how_likely_the_answer_was():
    rule = load_exit_rule("threshold", 3, threshold=0.8, prior=[0.2, 0.2, 0.6])
    run = replay(rule, three_samples(), make_workload(3))
    assert run.mode_forecast.tolist() == [0, 2, 2]
    assert run.foretold == pytest.approx(np.array([1.0, 0.25, 0.75]))


def test_the_last_exit_answers_unasked():
    class Endless:
        name = "endless"
        looks_at_every_exit = True

        def judge(self, evidence):
            return Verdict(False, len(evidence.looks))

    assert replay(Endless(), three_samples(), make_workload(3)).exit_index.tolist() == [2, 2, 2]


def test_a_rule_that_does_not_go_deeper_is_refused():
    class Circling:
        name = "circling"
        looks_at_every_exit = False

        def judge(self, evidence):
            return Verdict(False, 0)

    with pytest.raises(OptionError, match="'circling' goes from exit 0 to 0: not deeper"):
        replay(Circling(), three_samples(), make_workload(3))


def test_a_workload_of_another_network_is_refused():
    with pytest.raises(DataError, match="the workload has 4 exits, the trace has 3"):
        replay(load_exit_rule("last", 3), three_samples(), make_workload(4))


def test_known_exits_cost_one_head():
    workload = WORKLOAD._replace(head_macs=(1, 2, 3))
    trace = three_samples()
    run = replay_known_exits(trace.first_agreeing_exit, trace, workload)
    assert run.exit_index.tolist() == [0, 1, 1]
    assert run.macs.tolist() == [101, 302, 302]


def test_where_no_exit_is_right_the_cheapest_is_as_good():
    assert first_right_exit(three_samples()).tolist() == [0, 1, 0]


def test_the_best_static_exit_is_the_cheapest_that_keeps_the_accuracy():
    trace = three_samples()
    assert trace.accuracies == pytest.approx(np.array([1 / 3, 2 / 3, 2 / 3]))
    assert best_static_exit(trace, make_workload(3), 0.0) == 1
    assert best_static_exit(trace, make_workload(3), 34.0) == 0


def test_answer_shares_are_how_often_each_exit_answered():
    run = replay(load_exit_rule("threshold", 3, threshold=[0.8, None, 0]), three_samples(), make_workload(3))
    assert answer_shares(run, 3) == pytest.approx(np.array([1 / 3, 0, 2 / 3]))


def test_ten_thousand_samples_take_a_moment():
    trace, workload = make_trace(samples=10_000, exits=8, classes=10), make_workload(8)
    rule = load_exit_rule("threshold", 8, threshold=0.9)
    replay(rule, trace.take(np.arange(10)), workload)
    start = time.process_time()
    replay(rule, trace, workload)
    assert time.process_time() - start < 2.0  # 0.2 s on an idle core; slow machines need not fail
