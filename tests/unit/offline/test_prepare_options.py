import pytest

from edgeexit.errors import OptionError
from edgeexit.offline.preparing.options import SHARES, PrepareOptions


def test_the_parts_share_all_samples():
    assert sum(SHARES.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"head": "svm"}, "head must be one of ridge, logistic, conv, not 'svm'"),
        ({"place": "best"}, "place must be one of dp, paper, all, not 'best'"),
        ({"cost": "joules"}, "cost must be one of macs, time, not 'joules'"),
        ({"against": "truth"}, "against must be one of labels, full, not 'truth'"),
        ({"max_accuracy_drop": -0.1}, "max_accuracy_drop must be from 0 to below 100 points, not -0.1"),
        ({"max_accuracy_drop": float("nan")}, "max_accuracy_drop must be from 0 to below 100 points, not nan"),
        ({"confidence": 1.0}, "confidence must be from 0.5 to below 1, not 1.0"),
        ({"prune": 1.0}, "prune must be a share between 0 and 1, not 1.0"),
        ({"exits": 0}, "exits must be 1 or more, not 0"),
        ({"limit": 0}, "limit must be 1 or more, not 0"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"exits": 2, "cuts": ("a",)}, "exits and cuts contradict each other: every named cut gets an exit"),
        ({"cuts": ("a", "b", "a")}, "the cuts a, b, a name one tensor twice"),
        ({"search_order": True}, "to search the order of compression steps there must be some: quantise or prune"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_makes_no_sense_is_refused(asked, answer):
    with pytest.raises(OptionError) as error:
        PrepareOptions(**asked)
    assert str(error.value) == answer
