"""Learn-then-Test: a path is tested from safe to cheap, and the last setting before the first failure is certified."""

import numpy as np
import pytest
from synthetic_traces import make_workload

from edgeexit.bundle.certificates import parameters_sha256
from edgeexit.errors import DataError, OptionError
from edgeexit.offline.guarantee.certified_rules import certify_rules, check_certify_rule
from edgeexit.offline.guarantee.certify import Certified, NotEnough, certify, check_apart
from edgeexit.offline.guarantee.counts import Counts, against, count_setting
from edgeexit.offline.guarantee.paths import (
    Bound,
    SettingPath,
    Step,
    _safe_to_cheap,
    cheapest_settings,
    find_path,
    make_path,
)
from edgeexit.offline.traces import Trace

WORKLOAD = make_workload(2, segment_macs=1000, head_macs=0)
CONFIDENCES = (0.99, 0.9, 0.8, 0.7)
NETWORK = "0" * 64


def two_exits(*groups, seed=0):
    """Return a trace of two exits and two classes, where the last exit is always right.

    Each group is (samples, confidence of exit 0, how many of them exit 0 gets wrong).
    """
    logits, generator = [], np.random.default_rng(seed)
    for samples, confidence, wrong in groups:
        first = np.tile([np.log(confidence / (1 - confidence)), 0.0], (samples, 1))
        first[:wrong] = first[:wrong, ::-1]
        last = np.array([5.0, 0.0]) + generator.random((samples, 2))  # no two samples are the same
        logits.append(np.stack([first, last], axis=1))
    stacked = np.concatenate(logits).astype(np.float32)
    return Trace(stacked, np.zeros(len(stacked), dtype=np.int64))


def path_of(*thresholds):
    """Return a path whose figures on the split it was chosen on are not known."""
    steps = tuple(Step({"threshold": threshold}, Counts(1, 0, 0, 1.0)) for threshold in thresholds)
    return SettingPath("threshold", "threshold", steps, None, WORKLOAD)


# 1,000 samples exit at 0.99 and 5 of them are lost; 1,000 more at 0.9 with 10 lost; 1,000 at 0.8 with 100 lost
TRACE = two_exits((1000, 0.99, 5), (1000, 0.9, 10), (1000, 0.8, 100), (1000, 0.7, 0))


def test_the_cheapest_setting_before_the_first_failure_is_certified():
    found = certify(
        path_of(0.985, 0.89, 0.79, 0.69),
        TRACE,
        max_drop=1.0,
        confidence=0.95,
        network_sha256=NETWORK,
        date="2026-01-31",
    )
    assert isinstance(found, Certified)
    assert found.step == 1
    assert [test.lost for test in found.tests] == [5, 15, 115]
    assert found.parameters == {"threshold": 0.89}
    certificate = found.certificate
    assert (certificate.lost, certificate.gained, certificate.samples) == (15, 0, 4000)
    assert certificate.observed_points == pytest.approx(0.375)
    assert certificate.p_value <= 0.05
    assert (certificate.setting, certificate.allowed_drop, certificate.rule) == ("certified", 1.0, "threshold")
    assert certificate.parameters_sha256 == parameters_sha256({"threshold": 0.89}, None)
    assert certificate.date == "2026-01-31"
    assert certificate.macs_share == pytest.approx(0.75)  # half of the samples stop at half of the work


def test_nothing_behind_a_failure_is_tested_however_good():
    found = certify(path_of(0.79, 0.985), TRACE, max_drop=1.0, confidence=0.95, network_sha256=NETWORK)
    assert isinstance(found, NotEnough)
    assert found.tested.lost == 115
    assert found.samples_needed is None
    assert "No setting can be certified for drop 1 points at confidence 0.95" in found.message
    assert "the safest one lost 2.88 points on 4000 samples" in found.message


def test_too_few_samples_say_how_many_are_needed():
    found = certify(path_of(0.985), TRACE.take(np.arange(500)), max_drop=0.5, confidence=0.95, network_sha256=NETWORK)
    assert isinstance(found, NotEnough)
    assert found.message == (
        "Too few samples to certify with: 500 in the part that is kept for it, at least 604 needed for drop 0.5 points "
        "at confidence 0.95"
    )


def test_too_few_samples_are_counted_in_all_and_in_the_part_to_certify_with():
    found = certify(
        path_of(0.985), TRACE.take(np.arange(500)), max_drop=0.5, confidence=0.95, network_sha256=NETWORK, whole=1250
    )
    assert found.whole_needed == 1510
    assert found.message == (
        "Too few samples: 1250 given, of which 500 are kept to certify with; at least 1510 needed, of which 604 to "
        "certify with, for drop 0.5 points at confidence 0.95"
    )


def test_too_few_samples_for_the_safest_setting_of_some_rules_are_counted_in_all_too():
    lossy = two_exits((700, 0.99, 2), (300, 0.7, 0))
    rules = {"settings": {"threshold": {"rule": "threshold", "parameters": {"0": {"threshold": 0.98}}}}}
    done = certify_rules(
        rules, None, {"select": SELECT, "certify": lossy}, WORKLOAD, [Bound(0.3, 0.95, "labels")],
        network_sha256=NETWORK, data_sha256="0" * 64, whole=2500,
    )  # fmt: skip
    message = done.proofs[0].found.message
    assert message.startswith("Too few samples: 2500 given, of which 1000 are kept to certify with; at least ")


def test_samples_that_would_be_enough_for_a_perfect_setting_may_not_be_for_this_one():
    trace = two_exits((700, 0.99, 2))
    found = certify(path_of(0.985), trace, max_drop=0.5, confidence=0.95, network_sha256=NETWORK)
    assert isinstance(found, NotEnough)
    assert found.samples_needed > 1000
    enough = two_exits((found.samples_needed, 0.99, round(found.samples_needed * 2 / 700)))
    assert isinstance(certify(path_of(0.985), enough, max_drop=0.5, confidence=0.95, network_sha256=NETWORK), Certified)


def test_gains_count_against_labels_but_not_against_the_full_network():
    trace = two_exits((2000, 0.99, 40))
    labels = trace.labels.copy()
    labels[:40] = 1  # exit 0 is right where it differs from the last
    relabelled = Trace(trace.logits, labels)
    assert count_setting("threshold", {"threshold": 0.9}, None, relabelled, WORKLOAD)[:3] == (2000, 0, 40)
    agreeing = against(relabelled, "full")
    assert count_setting("threshold", {"threshold": 0.9}, None, agreeing, WORKLOAD)[:3] == (2000, 40, 0)
    path = path_of(0.9)
    assert isinstance(certify(path, relabelled, max_drop=0.5, confidence=0.95, network_sha256=NETWORK), Certified)
    found = certify(path, relabelled, max_drop=0.5, confidence=0.95, risk="full", network_sha256=NETWORK)
    assert isinstance(found, NotEnough)
    found = certify(path, relabelled, max_drop=3.0, confidence=0.95, risk="full", network_sha256=NETWORK)
    assert (found.certificate.setting, found.certificate.lost) == ("certified-agreement", 40)


@pytest.mark.parametrize(("drop", "confidence"), [(0.0, 0.95), (100.0, 0.95), (0.5, 0.4), (0.5, 1.0)])
def test_bounds_that_mean_nothing_are_refused(drop, confidence):
    with pytest.raises(OptionError):
        certify(path_of(0.9), TRACE, max_drop=drop, confidence=confidence, network_sha256=NETWORK)


def test_samples_that_chose_the_settings_cannot_certify_them():
    with pytest.raises(DataError, match="3 of the 10 samples to certify on were used to choose"):
        check_apart(TRACE.take(np.arange(100)), TRACE.take(np.arange(97, 107)))
    check_apart(TRACE.take(np.arange(100)), TRACE.take(np.arange(100, 200)))


RULES = {
    "format": 1,
    "recommended": "threshold",
    "settings": {
        "last-one": {
            "rule": "fixed",
            "parameters": {"0": {"exit_index": 1}},
            "chosen_on": {"0": {"macs_share": 1.0}},
        },
        "threshold": {
            "rule": "threshold",
            "parameters": {
                "0": {"threshold": 0.98, "prior": [0.3, 0.7]},
                "1": {"threshold": 0.85, "prior": [0.5, 0.5]},
                "4": {"threshold": 0.75, "prior": [0.8, 0.2]},
            },
            "chosen_on": {"0": {"macs_share": 0.9}, "1": {"macs_share": 0.75}, "4": {"macs_share": 0.6}},
        },
    },
}
SELECT = two_exits((400, 0.99, 2), (400, 0.9, 4), (400, 0.8, 40), (400, 0.7, 0), seed=1)
BOUND = Bound(1.0, 0.95, "labels")


def test_the_cheapest_settings_come_first():
    assert cheapest_settings(RULES, 1.0) == ["threshold", "last-one"]
    assert cheapest_settings({"settings": {"b": {}, "a": {"chosen_on": {"2": {"macs_share": 0.1}}}}}, 1.0) == ["b", "a"]


def test_a_path_goes_from_safe_to_cheap():
    path = make_path("threshold", RULES["settings"]["threshold"], None, SELECT, WORKLOAD, BOUND)
    p_values = [BOUND.p_value(step.on_select) for step in path.steps]
    costs = [step.on_select.macs_share for step in path.steps]
    assert len(path.steps) >= 2
    assert p_values == sorted(p_values)
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)
    assert all("prior" not in step.parameters for step in path.steps)


def stepping(*counts):
    """Return what each of some settings did on 1,750 samples: (lost, gained, share of the work)."""
    return [Step({"threshold": n}, Counts(1750, *seen)) for n, seen in enumerate(counts)]


def order_of(steps, bound=BOUND):
    return [step.parameters["threshold"] for step in _safe_to_cheap(steps, bound, 0.5)]


def test_of_settings_that_lose_nothing_the_one_that_does_most_work_is_tested_first():
    assert order_of(stepping((0, 0, 0.5), (0, 0, 0.9), (0, 0, 0.7), (2, 0, 0.4))) == [1, 2, 0, 3]


def test_gains_by_luck_do_not_put_a_cheap_setting_in_front_of_the_safest():
    assert order_of(stepping((0, 9, 0.5), (0, 0, 0.9), (3, 12, 0.4))) == [1, 0, 2]


def test_settings_that_a_cheaper_one_beats_are_left_out():
    assert order_of(stepping((5, 0, 0.9), (3, 0, 0.8), (3, 1, 0.8), (6, 0, 0.5))) == [2, 3]
    assert order_of(stepping((0, 0, 0.9), (16, 0, 0.6), (17, 9, 0.5))) == [0, 2]  # the second does not show the bound


def test_a_certificate_is_found_where_the_cheapest_setting_without_a_loss_was_only_lucky():
    lucky = two_exits((1000, 0.99, 0), (500, 0.9, 0), (500, 0.7, 0), seed=5)
    usual = two_exits((1000, 0.99, 0), (500, 0.9, 40), (500, 0.7, 0), seed=6)
    setting = {"rule": "threshold", "parameters": {"0": {"threshold": 0.85}}}
    path = make_path("threshold", setting, None, lucky, WORKLOAD, BOUND)
    assert [step.on_select.lost for step in path.steps] == [0] * len(path.steps)
    found = certify(path, usual, max_drop=1.0, confidence=0.95, network_sha256=NETWORK)
    assert isinstance(found, Certified)
    assert found.tests[-1].lost == 40
    assert (found.certificate.lost, found.certificate.macs_share) == (0, 0.75)


def test_a_path_ends_where_there_is_no_hope():
    path = make_path("threshold", RULES["settings"]["threshold"], None, SELECT, WORKLOAD, BOUND)
    assert all(BOUND.p_value(step.on_select) <= 0.5 for step in path.steps[1:])


def test_thresholds_that_always_stop_or_are_left_out_stay_so():
    setting = {"rule": "threshold", "parameters": {"0": {"threshold": (None, 0.0)}}}
    path = make_path("x", setting, None, SELECT, WORKLOAD, BOUND)
    assert [step.parameters for step in path.steps] == [{"threshold": [None, 0.0]}]


def test_the_path_that_may_be_expected_to_be_cheapest_is_taken():
    assert find_path(RULES, None, SELECT, WORKLOAD, BOUND, test_samples=4000).name == "threshold"
    assert find_path(RULES, None, SELECT, WORKLOAD, BOUND, test_samples=4000, names=["last-one"]).name == "last-one"


def test_the_user_names_the_setting_that_is_certified():
    done = certify_rules(
        RULES, None, {"select": SELECT, "certify": TRACE}, WORKLOAD, [BOUND], network_sha256=NETWORK,
        certify_rule="last-one",
    )  # fmt: skip
    assert done.proofs[0].path.name == "last-one"


def test_a_setting_that_is_not_there_cannot_be_certified():
    with pytest.raises(OptionError, match="there is no setting 'gate' to certify; there are: last-one, threshold"):
        certify_rules(
            RULES, None, {"select": SELECT, "certify": TRACE}, WORKLOAD, [BOUND], network_sha256=NETWORK,
            certify_rule="gate",
        )  # fmt: skip


def test_an_ensemble_cannot_be_certified_for_sets_of_labels():
    check_certify_rule("ensemble", "classes")
    with pytest.raises(OptionError, match="there is no setting 'ensemble' to certify here; there are: check-and-cap,"):
        check_certify_rule("ensemble", "labels")


def test_a_certified_setting_is_added_to_the_rules_with_what_it_forecasts_with():
    done = certify_rules(
        RULES, None, {"select": SELECT, "certify": TRACE}, WORKLOAD, [BOUND, Bound(5.0, 0.9, "labels")],
        network_sha256=NETWORK,
    )  # fmt: skip
    added = done.rules["settings"]["certified"]
    assert added["rule"] == "threshold"
    assert set(added["parameters"]) == set(added["chosen_on"]) == {"1", "5"}
    assert sum(added["parameters"]["1"]["prior"]) == pytest.approx(1.0)
    for certificate in done.certificates:
        parameters = added["parameters"][f"{certificate.allowed_drop:g}"]
        assert certificate.parameters_sha256 == parameters_sha256(parameters, None)
    assert done.rules["settings"]["threshold"] == RULES["settings"]["threshold"]
    assert "certified" not in RULES["settings"]
    assert added["chosen_on"]["5"]["macs_share"] < added["chosen_on"]["1"]["macs_share"]


def test_a_certified_setting_says_how_often_early_answers_agree_with_the_full_network():
    done = certify_rules(
        RULES, None, {"select": SELECT, "certify": TRACE}, WORKLOAD, [BOUND], network_sha256=NETWORK
    )  # fmt: skip
    seen = done.rules["settings"]["certified"]["chosen_on"]["1"]
    assert (seen["samples"], seen["exited"], seen["agreed"]) == (1600, 800, 794)  # 400 with 2 lost, 400 with 4 lost


def test_rules_are_not_certified_on_the_samples_that_chose_them():
    with pytest.raises(DataError, match="keep the two apart"):
        certify_rules(
            RULES, None, {"select": TRACE, "certify": TRACE}, WORKLOAD, [BOUND], network_sha256=NETWORK
        )  # fmt: skip
    with pytest.raises(DataError, match="needs the splits 'select' and 'certify', there are"):
        certify_rules(RULES, None, {"select": TRACE}, WORKLOAD, [BOUND], network_sha256=NETWORK)


def test_sets_of_labels_are_certified_as_classes_are():
    generator = np.random.default_rng(3)
    last = np.where(generator.random((1000, 3)) < 0.5, 4.0, -4.0) + 0.1 * generator.random((1000, 3))
    first = last.copy()
    first[:7] = -first[:7]
    trace = Trace(np.stack([first, last], axis=1).astype(np.float32), last > 0, "labels")
    found = certify(path_of(0.9), trace, max_drop=2.0, confidence=0.95, risk="full", network_sha256=NETWORK)
    assert isinstance(found, Certified)
    assert (found.certificate.lost, found.certificate.samples) == (7, 1000)


def test_a_path_without_settings_is_refused():
    with pytest.raises(OptionError, match="has no parameters"):
        certify(path_of(), TRACE, max_drop=1.0, confidence=0.95, network_sha256=NETWORK)
