"""Smaller and faster networks without a training framework.

* `models`: `compress_model`, steps on a network before it gets its exits, and `find_order`; `bundles`:
  `quantise_bundle`, int8 for a bundle's segments where it gains;
* `steps`: the kinds of step; `order`: in which order they are done, and the search for a better one;
* `opset`: a newer operator set where quantisation needs it;
* `quantise`: int8 by ONNX Runtime's quantiser; `segments`: int8 variants of a bundle's segments; `precisions`: which of
  them are used;
* `prune`: channels that are taken out; `channels`: which can be; `distil`: the last layer fitted to the logits of the
  network as it was; `refit`: least squares for one layer; `layers`: its weights, in float or quantised;
* `report`: what was kept, what was undone and why; `judge`, `timing`: what it is measured by.
"""

from __future__ import annotations

from edgeexit.offline.compress.bundles import QuantisedBundle, quantise_bundle
from edgeexit.offline.compress.models import CompressionOptions, compress_model, find_order
from edgeexit.offline.compress.opset import with_newer_opset
from edgeexit.offline.compress.order import OrderSearch, check_order, default_order
from edgeexit.offline.compress.report import CompressionReport, Figures, Outcome
from edgeexit.offline.compress.steps import Step

__all__ = [
    "CompressionOptions",
    "CompressionReport",
    "Figures",
    "OrderSearch",
    "Outcome",
    "QuantisedBundle",
    "Step",
    "check_order",
    "compress_model",
    "default_order",
    "find_order",
    "quantise_bundle",
    "with_newer_opset",
]
