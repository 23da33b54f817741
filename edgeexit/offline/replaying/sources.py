"""Where a replay's samples are from: recorded traces, images of one's own, or Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.errors import DataError, OptionError
from edgeexit.exits.last import Last
from edgeexit.offline.demo_images import load_demo_images
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, as_input, load_fashion_mnist
from edgeexit.offline.record import record_trace
from edgeexit.offline.traces import Trace, load_traces

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle

DEFAULT_GOVERNORS = (
    "stock",
    "performance",
    "best-fixed",
    "race-to-idle",
    "predictive-exit",
    "deadline",
    "plan-population",
    "plan",
)


def default_rules(bundle: Bundle) -> tuple[str, ...]:
    """Return the settings that are compared if nobody says which: the full network, thresholds, the recommended."""
    rules = bundle.read_rules()
    thresholds = [name for name in ("threshold", "thresholds") if name in rules.get("settings", {})]
    return tuple(dict.fromkeys([Last.name, *thresholds, str(rules.get("recommended", Last.name))]))


def read_trace(bundle: Bundle, *, traces: Path | None = None, split: str = "test", data: Path | None = None) -> Trace:
    """Return what every exit of a bundle says about every sample.

    Args:
        bundle: The network.
        traces: A file of recorded traces, from which `split` is taken.
        split: Name of the split.
        data: A ``.npz`` file with images and labels, which are run. Without both, the 10,000 test images of
            Fashion-MNIST are run if the Debian package dataset-fashion-mnist is installed, else those that ship.

    Raises:
        OptionError: If both files are given.
        DataError: If a file is damaged, or its samples do not fit the bundle.
        EngineError: If ONNX Runtime fails.
    """
    if traces is not None and data is not None:
        raise OptionError("give recorded traces or images to run, not both")
    if traces is not None:
        return _recorded(bundle, traces, split)
    if data is None and DEFAULT_FOLDER.is_dir():
        test = load_fashion_mnist().test
        return record_trace(bundle, as_input(test.images), test.labels)
    images, labels = load_demo_images(bundle, data)
    return record_trace(bundle, images, labels)


def _recorded(bundle: Bundle, path: Path, split: str) -> Trace:
    splits = load_traces(path)
    if split not in splits:
        raise DataError(f"{path} has no split {split!r}; there are: {', '.join(splits)}")
    trace = splits[split]
    if trace.exit_count != bundle.exit_count:
        raise DataError(
            f"{path} is of a network with {trace.exit_count} exits, {bundle.name!r} has {bundle.exit_count}"
        )
    return trace
