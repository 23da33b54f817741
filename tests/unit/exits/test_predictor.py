import copy
import math

import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.predictor import FEATURES, Predictor
from edgeexit.protocols import Look

NOTHING = [0.0] * len(FEATURES)


def form():
    """Three exits. Whatever is seen, the odds are 1 : 3 : 4 from exit 0 and 9 : 1 from exit 1."""
    return {
        "format": 1,
        "exit_count": 3,
        "exits": [
            {"weights": [NOTHING] * 3, "bias": [0.0, math.log(3), math.log(4)]},
            {"weights": [NOTHING] * 2, "bias": [math.log(9), 0.0]},
        ],
    }


def with_weight(feature, weight):
    """Give one feature a weight for the outcome "settled at exit 0"."""
    changed = form()
    changed["exits"][0]["bias"] = [0.0, 0.0, 0.0]
    changed["exits"][0]["weights"] = [[weight if f == feature else 0.0 for f in FEATURES], NOTHING, NOTHING]
    return Predictor(changed)


def look(exit_index, label=0, confidence=0.5, margin=0.25):
    return Look(exit_index, label, confidence, margin, None, None)


def test_probabilities_are_the_softmax_of_the_scores():
    assert Predictor(form()).forecast([look(0)]) == pytest.approx((1 / 8, 3 / 8, 4 / 8))


def test_each_exit_has_a_regression_of_its_own():
    assert Predictor(form()).forecast([look(1)]) == pytest.approx((0.9, 0.1))


def test_the_last_exit_is_certain():
    assert Predictor(form()).forecast([look(2)]) == (1.0,)


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        ("confidence", 0.5),
        ("second probability", 0.25),
        ("ln confidence", math.log(0.5)),
        ("ln (1 - confidence)", math.log(0.5)),
        ("1 if there is a look before", 0.0),
        ("its confidence", 0.0),
    ],
)
def test_features_of_a_single_look(feature, value):
    odds = with_weight(feature, 1.0).shares([look(0)])
    assert math.log(odds[0] / odds[1]) == pytest.approx(value)


def with_history(feature, before, newest):
    changed = form()
    changed["exits"][1] = {
        "weights": [[1.0 if f == feature else 0.0 for f in FEATURES], NOTHING],
        "bias": [0.0, 0.0],
    }
    odds = Predictor(changed).shares([before, newest])
    return math.log(odds[0] / odds[1])


def test_features_of_an_agreeing_look_before():
    before, newest = look(0, label=1, confidence=0.75), look(1, label=1)
    assert with_history("1 if there is a look before", before, newest) == pytest.approx(1.0)
    assert with_history("1 if its label is the same (agreement)", before, newest) == pytest.approx(1.0)
    assert with_history("its confidence", before, newest) == pytest.approx(0.75)
    assert with_history("agreement times its confidence", before, newest) == pytest.approx(0.75)
    assert with_history("agreement times ln (1 - confidence)", before, newest) == pytest.approx(math.log(0.5))
    assert with_history("exits from it to this one, as a share of all", before, newest) == pytest.approx(1 / 3)


def test_features_of_a_look_before_that_differs():
    before, newest = look(0, label=0, confidence=0.75), look(1, label=1)
    assert with_history("1 if its label is the same (agreement)", before, newest) == 0.0
    assert with_history("its confidence", before, newest) == pytest.approx(0.75)
    assert with_history("agreement times its confidence", before, newest) == 0.0


def test_a_certain_exit_has_finite_features():
    shares = with_weight("ln (1 - confidence)", 1.0).shares([look(0, confidence=1.0, margin=1.0)])
    assert math.log(shares[0] / shares[1]) == pytest.approx(math.log(1e-6))


def broken(**changes):
    return {**form(), **changes}


def broken_exit(**changes):
    changed = copy.deepcopy(form())
    changed["exits"][0].update(changes)
    return changed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "predictor must be a mapping"),
        (broken(format=2), "format 2, this version reads format 1"),
        (broken(extra=1), r"unknown \['extra'\]"),
        ({k: v for k, v in form().items() if k != "exits"}, r"missing \['exits'\]"),
        (broken(exit_count=4), "predictor exits must be a list of 3"),
        (broken_exit(bias=[0.0]), r"exits\[0\] bias must be finite numbers of shape \(3,\)"),
        (broken_exit(bias=[0.0, math.nan, 0.0]), "finite"),
        (broken_exit(bias=["a", 0.0, 0.0]), "must be numbers"),
        (broken_exit(weights=[[0.0]] * 3), r"of shape \(3, 10\)"),
        (broken_exit(label_bias=None), r"unknown \['label_bias'\]"),
        (broken_exit(bias=[400.0, 0.0, 0.0]), "could score 400, above 300"),
    ],
)
def test_a_wrong_form_is_refused_with_the_place(wrong, message):
    with pytest.raises(OptionError, match=message):
        Predictor(wrong)
