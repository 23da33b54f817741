"""Heads for a network that has none, without a training framework.

* `pooling`: what a head reads of a tensor, and the ONNX nodes that compute it;
* `recording`: one pass over the samples, which records pooled features at all places and the network's own logits;
* `fitting`: linear heads by scikit-learn, fitted to labels or to the network's own probabilities;
* `attach`: writes the heads into the network's graph, ready for `split_model`.
"""

from edgeexit.offline.heads.attach import attach_heads, output_names
from edgeexit.offline.heads.features import Features, trace_of
from edgeexit.offline.heads.fitting import fit_heads
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.heads.pooling import Pooling, pooling_of
from edgeexit.offline.heads.recording import record_features

__all__ = [
    "Features",
    "LinearHead",
    "Pooling",
    "attach_heads",
    "fit_heads",
    "output_names",
    "pooling_of",
    "record_features",
    "trace_of",
]
