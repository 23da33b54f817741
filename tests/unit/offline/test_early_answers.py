import numpy as np

from edgeexit.exits.threshold import Threshold
from edgeexit.offline.early_answers import early_agreement
from edgeexit.offline.replay import replay
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload

SURE, OTHER, UNSURE = [9.0, 0.0], [0.0, 9.0], [0.1, 0.0]
LOGITS = [[SURE, SURE], [SURE, OTHER], [UNSURE, OTHER], [OTHER, OTHER]]
"""Four samples, two exits: three exit early, and for two of them the full network says the same."""


def test_early_answers_are_compared_with_the_full_network():
    trace = Trace(np.float32(LOGITS), np.array([0, 0, 0, 0]))
    work = Workload((10, 10), (1, 1), (0, 1))
    assert early_agreement(replay(Threshold(2, threshold=0.9), trace, work), trace) == {"exited": 3, "agreed": 2}
