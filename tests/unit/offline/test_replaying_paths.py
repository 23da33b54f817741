"""Paths of many samples at once are those of the rule's own judge, sample by sample."""

import json

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.bundle import load_bundle
from edgeexit.errors import OptionError
from edgeexit.exits.settings import make_rule
from edgeexit.offline.answers import count_answers
from edgeexit.offline.demo_images import load_demo_images
from edgeexit.offline.ensembles import EnsembleTable
from edgeexit.offline.fit import fit_predictor
from edgeexit.offline.gates import fit_gates
from edgeexit.offline.record import record_trace
from edgeexit.offline.replay import Costs, follow, replay
from edgeexit.offline.replaying.paths import trace_paths
from edgeexit.offline.rightness import estimate_rightness
from edgeexit.offline.traces import Trace
from edgeexit.protocols import CombinesLooks, Evidence, Verdict
from edgeexit.registry import load_exit_rule

EXITS = 5
TRACE = make_trace(samples=400, exits=EXITS)
PRIOR = [0.3, 0.2, 0.2, 0.2, 0.1]


def logits_for(*confidences):
    """Return the logits of a sample whose exits say class 0 with these probabilities, of two classes."""
    return [[np.log(p / (1 - p)), 0.0] for p in confidences]


def combine(rule, exit_count, looks):
    return rule.combine(Evidence(exit_count, looks)) if isinstance(rule, CombinesLooks) else looks[-1]


def assert_same_as_judge(rule, trace):
    paths = trace_paths(rule, trace)
    first, look_at = rule.judge(Evidence(trace.exit_count, ())), trace.make_look()
    for sample in range(len(trace)):
        looks, verdicts = follow(rule, lambda e, s=sample: look_at(s, e), first.next_exit, trace.exit_count)
        asks = paths.asks[sample]
        assert asks == len(looks)
        assert paths.next_exit[sample, :asks].tolist() == [look.exit_index for look in looks]
        assert paths.look_label[sample, :asks].tolist() == [look.label for look in looks]
        assert [paths.verdicts[number] for number in paths.verdict[sample, :asks]] == [first, *verdicts[:-1]]
        assert (paths.next_exit[sample, asks:] == -1).all()
        assert paths.exit_index[sample] == looks[-1].exit_index
        assert paths.label[sample] == combine(rule, trace.exit_count, looks).label


@pytest.fixture(scope="module", params=["fashion-resnet", "fashion-vgg"])
def reference(request):
    bundle = load_bundle(request.param)
    images, labels = load_demo_images(bundle, count=300)
    return bundle, record_trace(bundle, images, labels)


def test_every_calibrated_setting_of_the_reference_bundles_goes_where_its_judge_sends_it(reference):
    bundle, trace = reference
    rules, predictor = bundle.read_rules(), bundle.read_predictor()
    for name, setting in rules["settings"].items():
        for drop in setting["parameters"]:
            assert_same_as_judge(make_rule(name, bundle.exit_count, rules, predictor, float(drop)), trace)


@pytest.mark.parametrize("prior", [None, PRIOR])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("threshold", {"threshold": 0.9}),
        ("threshold", {"threshold": [None, 0.8, None, 0.7, 0.0]}),
        ("margin", {"threshold": 0.6, "start": 1}),
        ("entropy", {"threshold": 0.4}),
        ("patience", {"patience": 1, "start": 1}),
        ("patience", {"patience": 2}),
        ("check-and-cap", {"threshold": 0.9, "cap": 2}),
        ("predictive-exit", {"beta": 1.1, "activations": [2.0, 3.0, 4.0, 5.0, 6.0], "rounds": 2}),
    ],
)
def test_rules_with_and_without_forecast_go_where_their_judge_sends_them(name, parameters, prior):
    assert_same_as_judge(load_exit_rule(name, EXITS, prior=prior, **parameters), TRACE)


@pytest.mark.parametrize("name", ["last", "fixed"])
def test_rules_with_one_look_make_one_look(name):
    assert_same_as_judge(load_exit_rule(name, EXITS, **({"exit_index": 2} if name == "fixed" else {})), TRACE)


@pytest.mark.parametrize("reach", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("abstain", [0.0, 0.5])
@pytest.mark.parametrize("answers", [None, []])
def test_forecast_goes_where_its_judge_sends_it(reach, abstain, answers):
    form = json.loads(json.dumps(fit_predictor(make_trace(samples=600, exits=EXITS, seed=1))))
    stop = (0.9, None, 0.8, 0.7, 0.0)
    rule = load_exit_rule(
        "forecast", EXITS, predictor=form, stop=stop, reach=reach, abstain=abstain, prior=PRIOR, answers=answers
    )
    assert_same_as_judge(rule, TRACE)


@pytest.mark.parametrize("exits", [(0, 1, 2, 3, 4), (0, 2, 4)])
@pytest.mark.parametrize("counted", [False, True])
def test_gate_goes_where_its_judge_sends_it(exits, counted):
    gates = fit_gates(TRACE, estimate_rightness(TRACE), Costs(make_workload(EXITS)), [exits], [20.0])[0]
    parameters = {"gates": gates.as_lists(), "stop": 0.6}
    if counted:
        parameters |= {"prior": PRIOR, "answers": count_answers(parameters, PRIOR, TRACE)}
        assert parameters["answers"]
    assert_same_as_judge(load_exit_rule("gate", EXITS, **parameters), TRACE)


def test_a_rule_that_combines_looks_answers_with_what_they_say_together():
    table = EnsembleTable(TRACE)
    weights = table.weights((0, 1, 2, 3, 4))
    rule = load_exit_rule("ensemble", EXITS, threshold=0.9, weights=weights)
    paths, look_at = trace_paths(rule, TRACE), TRACE.make_look()
    assert paths.label.tolist() == replay(rule, TRACE, make_workload(EXITS)).label.tolist()
    cut = np.flatnonzero(paths.exit_index > 0)
    first = [rule.combine(Evidence(EXITS, [look_at(sample, 0)])).label == TRACE.labels[sample] for sample in cut]
    assert paths.correct_at(cut, np.zeros_like(cut)).tolist() == first
    assert paths.correct_at(cut, paths.exit_index[cut]).tolist() == paths.correct[cut].tolist()


def test_a_figure_that_equals_its_threshold_is_judged_by_the_rule_itself():
    entropy = float(TRACE.entropy[7, 0])
    for threshold in np.nextafter(entropy, (0.0, 9.0)):
        assert_same_as_judge(load_exit_rule("entropy", EXITS, threshold=float(threshold)), TRACE)


def test_a_rule_of_somebody_else_is_asked_sample_by_sample():
    class EveryOther:
        name = "every-other"
        looks_at_every_exit = False

        def judge(self, evidence):
            looks = evidence.looks
            stop = bool(looks) and looks[-1].label == 1
            return Verdict(stop, looks[-1].exit_index if stop else min(2 * len(looks), evidence.exit_count - 1))

    assert_same_as_judge(EveryOther(), TRACE)


def test_a_rule_that_does_not_go_deeper_is_refused():
    class Circling:
        name = "circling"
        looks_at_every_exit = False

        def judge(self, evidence):
            return Verdict(False, 0)

    with pytest.raises(OptionError, match="'circling' goes from exit 0 to 0: not deeper"):
        trace_paths(Circling(), TRACE)


def test_paths_worked_by_hand():
    trace = Trace(np.array([logits_for(0.95, 0.6), logits_for(0.6, 0.7)], dtype=np.float32), np.array([0, 1]))
    paths = trace_paths(load_exit_rule("threshold", 2, threshold=0.9), trace)
    assert paths.asks.tolist() == [1, 2]
    assert paths.next_exit.tolist() == [[0, -1], [0, 1]]
    assert paths.exit_index.tolist() == [0, 1]
    assert paths.correct.tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("threshold", {"threshold": 0.9, "prior": PRIOR}),
        ("threshold", {"threshold": 0.9}),
        ("last", {}),
        ("fixed", {"exit_index": 1}),
        ("predictive-exit", {"beta": 1.1, "activations": [2.0, 3.0, 4.0, 5.0, 6.0]}),
    ],
)
def test_paths_cost_what_the_replay_of_the_rule_alone_says(name, parameters):
    workload = make_workload(EXITS)
    rule = load_exit_rule(name, EXITS, **parameters)
    one_by_one, together = replay(rule, TRACE, workload), trace_paths(rule, TRACE).as_replay(workload)
    for field in ("exit_index", "label", "correct", "looks", "macs", "next_forecast", "mode_forecast", "foretold"):
        expected, found = getattr(one_by_one, field), getattr(together, field)
        assert found == pytest.approx(expected.astype(float), nan_ok=True), field
    assert (together.first_exit, together.full_macs) == (one_by_one.first_exit, one_by_one.full_macs)
