"""Of a linear head and one with layers of its own, that is taken with which the expected work is less."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgeexit.offline.graph.cut_candidates import CutCandidate
from edgeexit.offline.heads import ConvHead, Features, LinearHead, Pooling
from edgeexit.offline.heads.conv_head import SeparableWeights
from edgeexit.offline.heads.maps import MapPooling, RecordedMaps
from edgeexit.offline.preparing.conv_heads import better_heads

POOLING = Pooling("x", "map_nchw")
MAP = MapPooling("x", "map_nchw", (3, 4, 4))
CLASSES = np.arange(300) % 3
"""Of 300 samples; the channel of a sample's class is 1 everywhere, the others are 0."""


def recorded():
    rows = np.eye(3, dtype=np.float32)[CLASSES]
    maps = RecordedMaps(lambda: np.repeat(rows, 16, axis=1), 0, np.arange(300), MAP)
    return Features((rows,), 20 * rows, (POOLING,), (maps,))


def conv_head(sure=20.0, loss=0.1):
    """A head that hands each channel on: its average over the map, times `sure`, is the logit of its class."""
    centre = np.zeros((3, 1, 3, 3), np.float32)
    centre[:, 0, 1, 1] = 1
    zeros, same = np.zeros(3, np.float32), np.eye(3, dtype=np.float32)
    layer = SeparableWeights(centre, zeros, same[:, :, np.newaxis, np.newaxis], zeros, 1)
    return ConvHead(MAP, (layer,), np.repeat(same, 4, axis=0) * np.float32(sure / 4), zeros, loss)


def linear_head(sure=20.0, loss=0.1):
    return LinearHead(np.eye(3, dtype=np.float32) * np.float32(sure), np.zeros(3, np.float32), POOLING, 1.0, loss)


def choose(linear, conv, *, whole_macs=1_000_000):
    told = []
    bench = SimpleNamespace(
        material=SimpleNamespace(right_answers=lambda _part: CLASSES, task="classes"),
        options=SimpleNamespace(max_accuracy_drop=0.5),
        tell=told.append,
    )
    search = SimpleNamespace(whole_macs=whole_macs)
    tried = [CutCandidate(("x",), whole_macs // 10, 192, "x", "map_nchw", (3, 4, 4))]
    (taken,) = better_heads(search, tried, [linear], [conv], recorded(), bench)
    return taken, told


def test_a_head_with_layers_that_is_right_is_taken_before_a_linear_one_that_is_not():
    conv = conv_head()
    taken, told = choose(linear_head(sure=-20.0), conv)
    assert taken is conv
    assert told == []


def test_of_two_heads_that_are_right_the_cheaper_is_taken():
    """9 MACs against 3 x 16 x (9 + 3) + 36."""
    linear = linear_head()
    taken, told = choose(linear, conv_head(loss=0.0))
    assert taken is linear
    assert told == ["a linear head does better than one with layers of its own, work counted, at x"]


@pytest.mark.parametrize(("loss", "kind"), [(0.2, ConvHead), (0.4, LinearHead)])
def test_where_neither_lets_a_sample_out_that_of_less_loss_is_taken(loss, kind):
    taken, _ = choose(linear_head(sure=-20.0, loss=0.3), conv_head(sure=-20.0, loss=loss))
    assert isinstance(taken, kind)


def test_a_place_without_a_trained_head_keeps_its_linear_one():
    linear = linear_head()
    taken, told = choose(linear, None)
    assert taken is linear
    assert told == []
