"""Times of the pieces between cuts and of heads: how many there are, and that each is one."""

import numpy as np
import pytest
from graphs import normal
from nets_of_each_kind import encoder, one_dimensional_net, text

from edgeexit.errors import DataError, GraphError
from edgeexit.offline.graph.cut_candidates import find_cuts
from edgeexit.offline.graph.piece_times import measure_segments, time_heads
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.heads.pooling import pooling_of

SIGNAL = {"signal": normal(4, 2, 32)}


def head_for(candidate, features):
    return LinearHead(normal(features, 3), np.zeros(3, np.float32), pooling_of(candidate), penalty=0.0, loss=0.0)


def test_there_is_a_time_for_each_piece_between_cuts():
    proto = one_dimensional_net()
    candidates = find_cuts(proto).candidates
    times = measure_segments(proto, candidates, SIGNAL)
    assert len(times) == len(candidates) + 1 == 3
    assert all(0 < seconds < 1 for seconds in times)
    assert len(measure_segments(proto, (), SIGNAL)) == 1


def test_side_inputs_are_found_again():
    proto = encoder()
    single = [c for c in find_cuts(proto).candidates if len(c.tensors) == 1]
    assert len(measure_segments(proto, single, text())) == len(single) + 1


def test_there_is_a_time_for_each_head():
    """Sequences of 4 channels in 2 x 2 = 4 windows: 16 features."""
    proto = one_dimensional_net()
    candidates = find_cuts(proto).candidates
    times = time_heads(proto, candidates, [head_for(c, 16) for c in candidates], SIGNAL)
    assert len(times) == 2
    assert all(0 < seconds < 1 for seconds in times)


def test_what_cannot_be_measured_is_refused():
    proto = one_dimensional_net()
    candidates = find_cuts(proto).candidates
    with pytest.raises(DataError, match="one sample is needed to measure with, and there is none"):
        measure_segments(proto, candidates, {"signal": normal(0, 2, 32)})
    with pytest.raises(GraphError, match="adds nothing: cuts go from the input to the output"):
        measure_segments(proto, candidates[::-1], SIGNAL)
