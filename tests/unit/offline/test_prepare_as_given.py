"""What compression and exits together cost, against the model as the user gave it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from tiny_bundle import images, make_bundle, network_input

from edgeexit.bundle.manifest import INT8
from edgeexit.offline.data import samples_of_arrays
from edgeexit.offline.preparing.as_given import compare_as_given, in_other_precision
from edgeexit.offline.traces import Trace


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("tiny"))


def compressed_trace(labels):
    """The nine images by exits that compression has changed.

    Exit 0 is sure of the first three and gets number 1 wrong, exit 1 is never sure, and the last gets number 3 wrong.
    """
    said = np.tile(np.arange(9) % 3, (3, 1)).T
    said[1, 0] = said[3, 2] = 2
    logits = np.zeros((9, 3, 3), np.float32)
    np.put_along_axis(logits, said[:, :, None], np.float32([[[9], [0.1], [9]]]), axis=2)
    logits[3:, 0] *= 0.01
    return Trace(logits, labels)


def compare(bundle, folder, *, by_labels):
    _, labels = images()  # the network as it was given is right for all but number 0
    work = SimpleNamespace(folder=lambda _step, _key: folder)
    parts = {"certify": samples_of_arrays({"image": network_input()}, labels)}
    material = SimpleNamespace(by_labels=by_labels, parts=parts, task="classes")
    bench = SimpleNamespace(material=material, work=work, progress=False, key=lambda *_: "")
    network = SimpleNamespace(model=onnx.load(bundle.path.parent / "tiny.onnx"), digest="0")
    trace = compressed_trace(labels if by_labels else np.arange(9) % 3)
    return compare_as_given(network, bundle, trace, "threshold", 0.0, bench)


def test_accuracy_is_counted_by_the_labels(tiny, tmp_path):
    found = compare(tiny, tmp_path, by_labels=True)
    assert (found.given, found.full, found.setting) == pytest.approx((8 / 9, 7 / 9, 6 / 9))


def test_agreement_is_counted_with_what_the_model_as_given_says(tiny, tmp_path):
    found = compare(tiny, tmp_path, by_labels=False)
    assert found.given is None
    assert (found.full, found.setting) == pytest.approx((8 / 9, 7 / 9))


def test_a_segment_in_int8_makes_another_network(tiny):
    assert not in_other_precision(tiny)
    segments = (replace(tiny.segments[0], precision=INT8), *tiny.segments[1:])
    assert in_other_precision(SimpleNamespace(segments=segments))
