import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.settings import drop_in_use, make_rule, missed_drops, missed_text, rule_parameters
from edgeexit.exits.threshold import Threshold
from edgeexit.protocols import Evidence, Look

RULES = {
    "format": 1,
    "recommended": "thresholds",
    "settings": {
        "thresholds": {
            "rule": "threshold",
            "parameters": {"0": {"threshold": [0.9, 0.8, 0]}, "0.5": {"threshold": [0.7, 0.6, 0]}},
        },
        "forecast": {"rule": "forecast", "parameters": {"0": {"predictor": "predictor.json", "stop": 0.9}}},
    },
}


def stops_at_once(rule, confidence):
    return rule.judge(Evidence(3, [Look(0, 0, confidence, 0.0, None, None)])).stop


def test_a_setting_names_its_rule_and_parameters():
    setting = rule_parameters(RULES, None, "thresholds", 0.5)
    assert setting.rule == "threshold"
    assert setting.parameters == {"threshold": [0.7, 0.6, 0]}


def test_the_predictor_takes_the_place_of_its_file_name():
    predictor = {"format": 1}
    assert rule_parameters(RULES, predictor, "forecast", 0).parameters == {"predictor": predictor, "stop": 0.9}


def test_the_bundles_rules_are_left_as_they_are():
    rule_parameters(RULES, {"format": 1}, "forecast", 0)
    assert RULES["settings"]["forecast"]["parameters"]["0"]["predictor"] == "predictor.json"


def test_a_missing_predictor_is_named():
    with pytest.raises(OptionError, match=r"'forecast' needs 'predictor\.json', which the bundle does not have"):
        rule_parameters(RULES, None, "forecast", 0)


def test_an_unknown_setting_is_answered_with_those_there_are():
    with pytest.raises(OptionError, match="no calibrated setting 'margin'; there are: forecast, thresholds"):
        rule_parameters(RULES, None, "margin", 0)


def test_an_unknown_drop_is_answered_with_those_there_are():
    with pytest.raises(OptionError, match=r"not calibrated for an accuracy drop of 2 points; there are: 0, 0\.5"):
        rule_parameters(RULES, None, "thresholds", 2.0)


@pytest.mark.parametrize(
    ("calibrated", "asked", "meant"),
    [(("0", "0.5"), None, 0.0), (("2", "0.5"), None, 0.5), (("0.5",), 2.0, 2.0), ((), None, 0.0)],
)
def test_without_a_drop_the_least_that_the_setting_is_calibrated_for_is_meant(calibrated, asked, meant):
    rules = {"settings": {"certified": {"parameters": {drop: {} for drop in calibrated}}}}
    assert drop_in_use(rules, "certified", asked) == meant
    assert drop_in_use({}, "last", None) == 0.0


def test_a_drop_that_a_setting_cannot_keep_is_told_with_the_nearest_that_it_can():
    chosen_on = {"0": {"missed": True}, "0.5": {}}
    rules = {"settings": {"gate": {"parameters": {"0": {}, "0.5": {}}, "chosen_on": chosen_on}}}
    assert missed_drops(rules, "gate") == (0.0,)
    assert missed_text(rules, "gate", 0.5) is None
    assert missed_text(rules, "gate", 0.0).endswith("the nearest drop that it keeps is 0.5; or take another setting")


def test_a_setting_that_keeps_no_drop_is_told():
    rules = {"settings": {"gate": {"parameters": {"0": {}}, "chosen_on": {"0": {"missed": True}}}}}
    assert missed_text(rules, "gate", 0.0) == (
        "setting 'gate' loses more than 0 points however it is set: it keeps none that is calibrated; or take another "
        "setting"
    )


def test_a_bundle_that_does_not_say_what_its_settings_miss_misses_nothing():
    assert missed_drops(RULES, "thresholds") == missed_drops({}, "thresholds") == ()
    assert missed_text(RULES, "last", 0.0) is None


@pytest.mark.parametrize("rules", [{}, {"format": 2, "settings": {}}])
def test_a_bundle_without_rules_says_what_to_do(rules):
    with pytest.raises(OptionError, match="calibrate it, or give the rule's parameters"):
        rule_parameters(rules, None, "thresholds", 0)


def test_none_makes_the_recommended_setting():
    rule = make_rule(None, 3, RULES, None, 0.5)
    assert stops_at_once(rule, 0.75)
    assert not stops_at_once(rule, 0.65)


def test_none_runs_the_whole_network_where_nothing_is_calibrated():
    assert make_rule(None, 3, {}, None, 0.0).judge(Evidence(3, [])).next_exit == 2


def test_last_needs_no_calibration():
    assert make_rule("last", 3, {}, None, 0.0).name == "last"


def test_a_rule_is_taken_as_it_is():
    rule = Threshold(3, threshold=0.5)
    assert make_rule(rule, 3, RULES, None, 0.0) is rule
