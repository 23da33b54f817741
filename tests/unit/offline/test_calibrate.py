import json

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.cli.sample_options import CERTIFIABLE
from edgeexit.errors import DataError
from edgeexit.exits.settings import make_rule
from edgeexit.offline.calibrate import (
    IN_TURN,
    _choose_each,
    _Chosen,
    _measure,
    _recommended,
    calibrate,
    choose,
    fit_and_calibrate,
    setting_names,
)
from edgeexit.offline.candidates import Candidate
from edgeexit.offline.replay import replay
from edgeexit.offline.rightness import Truth, weigh_truth
from edgeexit.offline.traces import Trace, join_traces
from edgeexit.testing.exit_rules import check_exit_rule

EXITS = 4
WORKLOAD = make_workload(EXITS)
FIT, SELECT = (make_trace(samples=500, exits=EXITS, seed=seed) for seed in (1, 2))
ALL = {
    "fixed", "threshold", "thresholds", "entropy", "margin", "patience", "check-and-cap", "predictive-exit", "forecast",
    IN_TURN, "gate", "ensemble",
}  # fmt: skip


@pytest.fixture(scope="module")
def calibrated():
    predictor, rules = fit_and_calibrate({"fit": FIT, "select": SELECT}, WORKLOAD, drops=(0.0, 2.0))
    return json.loads(json.dumps(predictor)), json.loads(json.dumps(rules))


def test_every_rule_has_a_setting_for_every_drop(calibrated):
    _, rules = calibrated
    assert set(rules["settings"]) == ALL
    assert all(set(setting["parameters"]) == {"0", "2"} for setting in rules["settings"].values())


def test_the_names_of_all_settings_are_known_before_calibration():
    assert set(setting_names("classes")) == ALL
    assert set(setting_names("labels")) == ALL - {"entropy", "ensemble"}


def test_the_command_line_lets_every_setting_be_certified_but_the_single_exit_and_the_control():
    assert set(CERTIFIABLE) == ALL - {"fixed", IN_TURN}


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("drop", [0.0, 2.0])
def test_the_rule_does_what_its_setting_says(calibrated, name, drop):
    predictor, rules = calibrated
    rule = make_rule(name, EXITS, rules, predictor, drop)
    run = replay(rule, SELECT, WORKLOAD)
    said = rules["settings"][name]["chosen_on"][f"{drop:g}"]
    assert said["samples"] == len(SELECT)
    assert said["accuracy"] == pytest.approx(run.correct.mean(), abs=1e-6)
    assert said["macs_share"] == pytest.approx(run.macs.mean() / run.full_macs, abs=1e-6)
    check_exit_rule(rule, EXITS, class_count=SELECT.class_count, samples=20)


@pytest.mark.parametrize("name", ["threshold", "entropy", "margin", "check-and-cap"])
def test_settings_of_few_numbers_may_be_expected_to_keep_the_allowed_accuracy(calibrated, name):
    predictor, rules = calibrated
    both = join_traces([FIT, SELECT])
    truth = weigh_truth(both)
    for drop in (0.0, 2.0):
        run = replay(make_rule(name, EXITS, rules, predictor, drop), both, WORKLOAD)
        expected = truth.expected[np.arange(len(both)), run.exit_index].mean()
        assert expected >= truth.accuracy - drop / 100 - 2e-9


def test_how_often_early_answers_agree_with_the_full_network_is_written_down(calibrated):
    predictor, rules = calibrated
    run = replay(make_rule("gate", EXITS, rules, predictor, 2.0), SELECT, WORKLOAD)
    said = rules["settings"]["gate"]["chosen_on"]["2"]
    early = run.exit_index < EXITS - 1
    assert said["exited"] == early.sum()
    assert said["agreed"] == (early & (run.label == SELECT.label[:, -1])).sum()


def test_sets_of_labels_have_no_settings_of_single_classes():
    few = SELECT.take(np.arange(200))
    sets = Trace(few.logits, few.label[:, -1] % 4, "labels")
    offered = set(calibrate(sets, WORKLOAD, drops=(2.0,))["settings"])
    assert offered == ALL - {"forecast", IN_TURN, "ensemble", "entropy"}


def test_more_allowed_drop_never_costs_more(calibrated):
    _, rules = calibrated
    for setting in rules["settings"].values():
        if setting["rule"] in {"threshold", "fixed", "check-and-cap"} and "None" not in str(setting):
            assert setting["chosen_on"]["2"]["macs_share"] <= setting["chosen_on"]["0"]["macs_share"] + 1e-9


def test_who_allows_more_gets_no_dearer_setting(calibrated):
    _, rules = calibrated
    for setting in rules["settings"].values():
        shares = [figures["macs_share"] for figures in setting["chosen_on"].values()]
        assert shares == sorted(shares, reverse=True)


def test_a_dearer_setting_for_a_larger_drop_is_replaced_by_that_of_the_smaller():
    chosen = _Chosen("fixed", {0.0: {"exit_index": 1}, 1.0: {"exit_index": 2}, 2.0: {"exit_index": 0}})
    parameters = _measure(chosen, None, SELECT, WORKLOAD)["parameters"]
    assert [parameters[drop]["exit_index"] for drop in ("0", "1", "2")] == [1, 1, 0]


def test_the_prior_is_how_often_each_exit_answered(calibrated):
    predictor, rules = calibrated
    run = replay(make_rule("check-and-cap", EXITS, rules, predictor, 2.0), SELECT, WORKLOAD)
    prior = rules["settings"]["check-and-cap"]["parameters"]["2"]["prior"]
    assert prior == pytest.approx(np.bincount(run.exit_index, minlength=EXITS) / len(SELECT), abs=1e-6)


def test_what_the_forecast_says_beats_the_prior(calibrated):
    predictor, rules = calibrated
    run = replay(make_rule("forecast", EXITS, rules, predictor, 0.0), SELECT, WORKLOAD)
    prior = np.array(rules["settings"]["forecast"]["parameters"]["0"]["prior"])
    assert np.log(run.foretold).mean() > np.log(prior[run.exit_index]).mean()


def test_the_recommended_setting_is_the_cheapest(calibrated):
    _, rules = calibrated
    shares = {name: setting["chosen_on"]["0"]["macs_share"] for name, setting in rules["settings"].items()}
    assert shares[rules["recommended"]] == min(shares.values())


def test_without_a_predictor_there_is_no_forecast():
    assert set(calibrate(SELECT, WORKLOAD, drops=(1.0,))["settings"]) == ALL - {"forecast", IN_TURN}


def test_the_cheapest_accurate_enough_is_chosen():
    offered = [Candidate({"n": 1}, 0.90, 0.2), Candidate({"n": 2}, 0.93, 0.4), Candidate({"n": 3}, 0.95, 0.9)]
    assert choose(offered, 0.93) == {"n": 2}


def test_the_most_accurate_is_chosen_where_none_is_accurate_enough():
    offered = [Candidate({"n": 1}, 0.90, 0.2), Candidate({"n": 2}, 0.93, 0.4)]
    assert choose(offered, 0.99) == {"n": 2}


def test_drops_that_no_candidate_keeps_are_written_down():
    offered = [Candidate({"n": 1}, 0.90, 0.2), Candidate({"n": 2}, 0.93, 0.4)]
    share = np.full((1, 1), 0.94)
    chosen = _choose_each("margin", offered, Truth(share, share), (0.0, 0.5, 2.0))
    assert chosen.missed == {0.0, 0.5}
    assert chosen.parameters == {0.0: {"n": 2}, 0.5: {"n": 2}, 2.0: {"n": 2}}


def test_a_setting_says_which_drops_it_misses(calibrated):
    _, rules = calibrated
    missed = {name for name, setting in rules["settings"].items() if "missed" in setting["chosen_on"]["2"]}
    assert not missed & {"fixed", "threshold", "thresholds", "entropy", "margin", "check-and-cap"}


def test_missing_splits_are_named():
    with pytest.raises(DataError, match=r"needs the splits 'fit' and 'select', there are \['select'\]"):
        fit_and_calibrate({"select": SELECT}, WORKLOAD)


def test_a_workload_of_another_network_is_refused():
    with pytest.raises(DataError, match="the workload has 3 exits, the trace has 4"):
        calibrate(SELECT, make_workload(3))


def test_a_setting_that_loses_more_than_is_allowed_is_not_recommended():
    full = 0.90
    cheap = {"chosen_on": {"0": {"accuracy": 0.85, "macs_share": 0.2}}}
    good = {"chosen_on": {"0": {"accuracy": 0.8995, "macs_share": 0.6}}}
    safe = {"chosen_on": {"0": {"accuracy": 0.90, "macs_share": 0.9}}}
    assert _recommended({"cheap": cheap, "good": good, "safe": safe}, 0.0, full) == "good"
    assert _recommended({"cheap": cheap}, 0.0, full) == "cheap"
