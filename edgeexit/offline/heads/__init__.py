"""Heads for a network that has none; linear ones need no training framework.

* `pooling`: what a head reads of a tensor, and the ONNX nodes that compute it;
* `recording`: one pass over the samples, which records pooled features at all places and the network's own logits;
* `fitting`: linear heads by scikit-learn, fitted to labels or to the network's own probabilities;
* `maps`, `conv_head`, `conv_plan`: heads with layers of their own, what they read, and how large they are;
  `conv_training` trains them, and it alone needs PyTorch;
* `attach`: writes the heads into the network's graph, ready for `split_model`.
"""

from edgeexit.offline.heads.attach import attach_heads, output_names
from edgeexit.offline.heads.conv_head import ConvHead, Head
from edgeexit.offline.heads.features import Features, trace_of
from edgeexit.offline.heads.fitting import fit_heads
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.heads.pooling import Pooling, pooling_of
from edgeexit.offline.heads.recording import record_features

__all__ = [
    "ConvHead",
    "Features",
    "Head",
    "LinearHead",
    "Pooling",
    "attach_heads",
    "fit_heads",
    "output_names",
    "pooling_of",
    "record_features",
    "trace_of",
]
