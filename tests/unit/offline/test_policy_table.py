import json

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.errors import DataError
from edgeexit.offline.bootstrap import Resamples
from edgeexit.offline.calibrate import fit_and_calibrate
from edgeexit.offline.comparison import least_work
from edgeexit.offline.forecast_quality import constant_quality, engine_quality, forecast_quality, predictor_quality
from edgeexit.offline.net_alone import NetAlone
from edgeexit.offline.policy_table import policy_table
from edgeexit.offline.policy_text import render

EXITS = 4
WORKLOAD = make_workload(EXITS)
FIT, SELECT, TEST = (make_trace(samples=400, exits=EXITS, seed=seed) for seed in (1, 2, 3))


@pytest.fixture(scope="module")
def calibrated():
    return fit_and_calibrate({"fit": FIT, "select": SELECT}, WORKLOAD, drops=(0.0, 1.0, 2.0))


@pytest.fixture(scope="module")
def table(calibrated):
    predictor, rules = calibrated
    times = {"forecast": {"1": 0.0125}, "full network": {"": 0.02}}
    return policy_table("made-up", SELECT, TEST, WORKLOAD, rules, predictor, wall_times_s=times, drops=(0.0, 1.0))


def rows(table, name):
    return {row.allowed_drop: row for row in table.rows if row.name == name}


def test_the_full_network_is_the_measure(table):
    row = rows(table, "full network")[None]
    assert row.macs_share.value == 1.0
    assert row.accuracy.value == pytest.approx(TEST.accuracies[-1])
    assert row.wall_time_s == 0.02


def test_bounds_and_every_rule_stand_in_one_table(table, calibrated):
    assert {row.name for row in table.rows} == set(calibrated[1]["settings"]) | {
        "full network",
        "oracle: first exit that agrees with it",
        "oracle: first exit that is right",
    }


def test_only_the_drops_asked_for_are_shown(table):
    assert set(rows(table, "forecast")) == {0.0, 1.0}
    assert {comparison.allowed_drop for comparison in table.comparisons} == {0.0, 1.0}


def test_the_oracle_is_as_accurate_as_the_full_network_with_one_look(table):
    oracle = rows(table, "oracle: first exit that agrees with it")[None]
    assert oracle.accuracy.value == pytest.approx(TEST.accuracies[-1])
    assert oracle.looks == 1.0


def test_a_measured_time_goes_where_it_belongs(table):
    assert rows(table, "forecast")[1.0].wall_time_s == 0.0125
    assert rows(table, "forecast")[0.0].wall_time_s is None


def test_intervals_hold_their_figures(table):
    for row in table.rows:
        for figure in (row.accuracy, row.macs_share):
            assert figure.low - 1e-6 <= figure.value <= figure.high + 1e-6


def test_the_table_survives_json(table):
    assert json.loads(json.dumps(table.as_json()))["samples"] == 400


def test_the_text_names_every_rule_and_ends_with_a_verdict(table):
    text = render(table)
    assert "check-and-cap" in text
    assert "oracle" in text
    assert "Verdict: forecast and gate against their controls" in text
    assert "12.500" in text  # milliseconds


def test_a_net_without_exits_stands_beside_them(calibrated):
    predictor, rules = calibrated
    alone = {"plain": NetAlone(TEST.correct[:, 1], 1000)}
    table = policy_table("made-up", SELECT, TEST, WORKLOAD, rules, predictor, alone=alone, drops=())
    row = rows(table, "plain")[None]
    assert row.accuracy.value == pytest.approx(TEST.accuracies[1])
    assert row.macs_share.value == pytest.approx(0.25)


def test_no_settings_are_no_table(calibrated):
    with pytest.raises(DataError, match="calibrate the bundle first"):
        policy_table("made-up", SELECT, TEST, WORKLOAD, {}, None)


def test_resamples_vary_as_a_share_should():
    figure = Resamples(10_000, seed=0).estimate(np.arange(10_000) < 2_500)
    assert figure.value == 0.25
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * 0.00433, rel=0.15)  # 1.96 sqrt(p (1 - p) / n)


def test_least_work_is_on_the_line_between_two_points():
    accuracies, work = np.array([[0.8, 0.9, 0.9]]), np.array([[0.1, 0.5, 0.4]])
    assert least_work(np.array([0.85]), accuracies, work) == pytest.approx([0.25])
    assert least_work(np.array([0.9]), accuracies, work) == pytest.approx([0.4])
    assert least_work(np.array([0.7]), accuracies, work) == pytest.approx([0.1])
    assert least_work(np.array([0.95]), accuracies, work) == pytest.approx([0.4])


def test_forecast_quality_by_hand():
    quality = forecast_quality(np.array([0, 2, 3, 1]), np.array([0, 1, 3, 3]))
    assert quality.exact == 0.5
    assert quality.mean_absolute_error == 0.75
    assert quality.overshoot == 0.25
    assert quality.undershoot == 0.25


def test_the_tuned_engine_is_no_worse_than_the_commonest_exit_where_it_was_tuned():
    assert engine_quality(SELECT, SELECT, 0).exact >= constant_quality(SELECT, SELECT, 0).exact


def test_the_predictor_knows_more_than_the_prior(calibrated):
    _, distribution = predictor_quality(calibrated[0], SELECT, TEST, 0)
    assert distribution.surprise < distribution.prior_surprise
