"""Every exit rule that is installed keeps the contract, whatever its parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeexit.exits.gate import FEATURES as GATE_FEATURES
from edgeexit.exits.predictor import FEATURES
from edgeexit.protocols import Verdict
from edgeexit.registry import list_exit_rules, load_exit_rule
from edgeexit.testing.exit_rules import check_exit_rule

CLASSES = 4
PROBABILITY = st.floats(0, 1)


def exit_index(exits, least=0):
    return st.integers(least, exits - 1)


def per_exit(exits, values):
    return st.lists(values, min_size=exits, max_size=exits)


def priors(exits):
    return st.none() | per_exit(exits, PROBABILITY)


def predictors(exits):
    return st.integers(0, 2**32 - 1).map(lambda seed: random_predictor(exits, np.random.default_rng(seed)))


def random_predictor(exits, generator):
    entries = [
        {
            "weights": generator.normal(size=(exits - e, len(FEATURES))).tolist(),
            "bias": generator.normal(size=exits - e).tolist(),
        }
        for e in range(exits - 1)
    ]
    return {"format": 1, "exit_count": exits, "exits": entries}


def threshold(exits):
    each = per_exit(exits, st.none() | PROBABILITY)
    return st.fixed_dictionaries({"threshold": PROBABILITY | each, "prior": priors(exits)})


def margin(exits):
    each = PROBABILITY | per_exit(exits, PROBABILITY)
    return st.fixed_dictionaries({"threshold": each, "start": exit_index(exits), "prior": priors(exits)})


def patience(exits):
    return st.fixed_dictionaries(
        {"patience": st.integers(1, exits + 1), "start": exit_index(exits), "prior": priors(exits)}
    )


def check_and_cap(exits):
    bounds = exit_index(exits).flatmap(lambda cap: st.tuples(st.integers(0, cap), st.just(cap)))
    return st.builds(
        lambda bounds, **rest: {**rest, "start": bounds[0], "cap": bounds[1]},
        bounds,
        threshold=PROBABILITY,
        prior=priors(exits),
    )


def predictive_exit(exits):
    return st.fixed_dictionaries(
        {
            "beta": st.floats(0, 100),
            "activations": per_exit(exits, st.floats(0.01, 10)),
            "start": exit_index(exits),
            "rounds": st.integers(1, 8),
            "prior": priors(exits),
        }
    )


def forecast(exits):
    return st.builds(
        lambda bounded, **rest: {**rest, "start": bounded["start"], "cap": bounded["cap"]},
        check_and_cap(exits),
        predictor=predictors(exits),
        stop=PROBABILITY | per_exit(exits, st.none() | PROBABILITY),
        reach=PROBABILITY,
        abstain=PROBABILITY,
        prior=priors(exits),
    )


def gate(exits):
    weights = st.lists(
        st.floats(-5, 5), min_size=len(GATE_FEATURES) + CLASSES + 1, max_size=len(GATE_FEATURES) + CLASSES + 1
    )
    return st.fixed_dictionaries(
        {"gates": per_exit(exits, st.none() | weights), "stop": PROBABILITY, "prior": priors(exits)}
    )


def ensemble(exits):
    rows = [per_exit(e + 1, st.floats(0, 3)) for e in range(exits)]
    each = per_exit(exits, st.none() | PROBABILITY)
    return st.fixed_dictionaries({"threshold": PROBABILITY | each, "weights": st.tuples(*rows), "prior": priors(exits)})


PARAMETERS = {
    "gate": gate,
    "ensemble": ensemble,
    "last": lambda exits: st.just({}),
    "fixed": lambda exits: st.fixed_dictionaries({"exit_index": exit_index(exits)}),
    "threshold": threshold,
    "margin": margin,
    "entropy": margin,
    "patience": patience,
    "check-and-cap": check_and_cap,
    "predictive-exit": predictive_exit,
    "forecast": forecast,
}


def test_every_installed_rule_is_checked_here():
    assert set(list_exit_rules()) == set(PARAMETERS)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
@given(data=st.data(), exits=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_keeps_the_contract_with_any_parameters(name, data, exits, seed):
    parameters = data.draw(PARAMETERS[name](exits))
    check_exit_rule(load_exit_rule(name, exits, **parameters), exits, class_count=CLASSES, samples=6, seed=seed)


def test_the_check_accepts_what_makes_a_rule():
    check_exit_rule(lambda exits: load_exit_rule("threshold", exits, threshold=0.9), 4)


class Rule:
    """A rule that breaks the contract in one way."""

    name = "wrong"
    looks_at_every_exit = False

    def __init__(self, answer):
        self.answer = answer

    def judge(self, evidence):
        return self.answer(evidence.looks[-1].exit_index if evidence.looks else -1, evidence)


def remembering():
    asked = []

    def answer(newest, evidence):
        asked.append(newest)
        return Verdict(stop=newest >= 0 and len(asked) % 7 == 0, next_exit=max(newest, 0) if newest >= 0 else 0)

    return answer


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda newest, _: Verdict(True, newest), "stops before it has looked"),
        (lambda newest, _: Verdict(False, max(newest, 0)), "not deeper"),
        (lambda newest, _: Verdict(False, newest + 5), "not deeper"),
        (lambda newest, _: Verdict(newest >= 0, 0), "stops at 1 and names 0"),
        (lambda newest, _: Verdict(newest >= 0, max(newest, 0), (0.5, 0.6, 0.0, 0.0)), "sum to"),
        (lambda newest, _: Verdict(newest >= 0, max(newest, 0), (1.0,)), "forecasts 1 exits of 4"),
        (lambda newest, _: Verdict(newest >= 0, max(newest, 0), (1.0, 0.0, 0.0, 0.0)), "exits that have passed"),
        (lambda newest, _: Verdict(newest >= 0, max(newest, 0), (0.0, 0.0, 0.0, 1.0)), "called that impossible"),
        (lambda newest, _: (newest >= 0, 0), "not a Verdict"),
    ],
)
def test_the_check_finds_what_is_wrong(answer, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_exit_rule(Rule(answer), 4)


def test_the_check_finds_a_rule_that_skips_exits_and_denies_it():
    rule = Rule(lambda newest, _: Verdict(newest >= 2, newest if newest >= 2 else newest + 2))
    rule.looks_at_every_exit = True
    with pytest.raises(AssertionError, match="says that it looks at every exit"):
        check_exit_rule(rule, 4)


def test_the_check_finds_a_rule_that_changes_the_evidence():
    def answer(newest, evidence):
        if evidence.looks:
            evidence.looks[-1].logits[:] = 0
        return Verdict(newest >= 0, max(newest, 0))

    with pytest.raises(AssertionError, match="changes the evidence"):
        check_exit_rule(Rule(answer), 4)


def test_the_check_finds_a_rule_with_a_memory():
    count = iter(range(10**6))
    rule = Rule(lambda newest, _: Verdict(newest >= 0 and next(count) > 50, max(newest, -1) + (next(count) <= 51)))
    with pytest.raises(AssertionError):
        check_exit_rule(rule, 4)
