"""Bundles: a network in segments and heads, ready for a device.

* `load`: `load_bundle` finds, reads and checks one; `Bundle` is what it returns;
* `manifest`: what manifest.json may say; `precision`: which variants of the segments are in use;
* `preprocess`: how an image becomes an input;
* `files`: reading files without leaving the bundle;
* `costs`: cost table files, what a bundle costs on one board;
* `write`: writing one in full or not at all;
* `whole`: all pieces as one graph again, for ONNX Runtime to optimise;
* `graph`: cutting and joining ONNX graphs.
"""

from __future__ import annotations

from edgeexit.bundle.load import Bundle, list_bundles, load_bundle
from edgeexit.bundle.manifest import Exit, Segment, Tensor
from edgeexit.bundle.preprocess import Preprocess

__all__ = ["Bundle", "Exit", "Preprocess", "Segment", "Tensor", "list_bundles", "load_bundle"]
