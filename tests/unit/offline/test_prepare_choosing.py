"""Where a user may have the network cut, by the names that a dry run shows."""

from types import SimpleNamespace

import pytest

from edgeexit.errors import OptionError
from edgeexit.offline.graph.cut_candidates import CutCandidate, CutSearch
from edgeexit.offline.preparing.choosing import find_places
from edgeexit.offline.preparing.options import PrepareOptions


def place(macs, *tensors):
    return CutCandidate(tensors, macs, 4, tensors[0], "vector", (1,))


ONE, PAIR, OTHER = place(10, "a"), place(20, "b", "skip"), place(30, "c", "skip")


@pytest.fixture
def named(monkeypatch):
    """Returns the places that are tried for the cuts that a user names, in a network with three places."""
    search = CutSearch((ONE, PAIR, OTHER), (), "", 100, "scores")
    monkeypatch.setattr("edgeexit.offline.preparing.choosing.find_cuts", lambda _model: search)
    return lambda *cuts: find_places(SimpleNamespace(model=None), PrepareOptions(cuts=cuts))[1]


def test_a_place_is_named_by_a_tensor(named):
    assert named("b", "a") == (ONE, PAIR)


def test_a_place_of_several_tensors_is_named_as_it_is_shown(named):
    assert named("b + skip") == (PAIR,)
    assert named("c + skip", "a") == (ONE, OTHER)


def test_a_tensor_of_two_places_does_not_name_one(named):
    with pytest.raises(OptionError, match=r"'skip' crosses at 2 places: .* shows it: b \+ skip, c \+ skip"):
        named("skip")


def test_a_place_that_is_none_is_refused_with_the_nearest_names(named):
    with pytest.raises(OptionError, match=r"cut at 'b \+ slip'; of 3 places the nearest names are b \+ skip,"):
        named("b + slip")
