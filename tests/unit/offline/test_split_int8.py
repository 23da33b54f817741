"""Quantised networks are split like others."""

import numpy as np
import onnx
import pytest
from graphs import normal, residual_net, run, run_bundle, saved
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgeexit.offline.graph.split import split_model

IMAGE = normal(2, 2, 6, 6, seed=9)


class Images(CalibrationDataReader):
    def __init__(self):
        self._feeds = iter([{"image": normal(4, 2, 6, 6, seed=seed)} for seed in range(3)])

    def get_next(self):
        return next(self._feeds, None)


@pytest.fixture(scope="module", params=["QDQ", "QOperator"])
def quantised(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    source = saved(folder, residual_net(), "float.onnx")
    path = folder / "int8.onnx"
    quantize_static(
        source,
        path,
        Images(),
        quant_format=QuantFormat[request.param],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path, split_model(path, folder / "net", name="net")


def test_the_pieces_give_what_the_whole_gives(quantised):
    path, bundle = quantised
    got, want = run_bundle(bundle, {"image": IMAGE}), run(path.read_bytes(), {"image": IMAGE})
    for name in ("early", "logits"):
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=1e-5)


def test_what_crosses_is_quantised_or_was_just_dequantised(quantised):
    _, bundle = quantised
    (boundary,) = bundle.segments[0].outputs
    assert bundle.tensors[boundary].dtype in ("uint8", "float32")
    assert bundle.tensors[boundary].shape == ("N", 4, 6, 6)


def test_weights_are_in_the_pieces_that_use_them_and_do_not_cross(quantised):
    _, bundle = quantised
    assert [s.inputs for s in bundle.segments] == [("image",), bundle.segments[0].outputs]
    held = [{w.name for w in onnx.load(bundle.path / s.file).graph.initializer} for s in bundle.segments]
    assert [any(name.startswith(w) for name in held[i]) for i, w in enumerate(("w0", "w1"))] == [True, True]
    assert not any(name.startswith("w1") for name in held[0])


def test_the_work_is_that_of_the_float_network(quantised):
    _, bundle = quantised
    assert bundle.workload.segment_macs == (2592, 5196)
    assert bundle.workload.head_macs == (12, 0)
