"""What heads read: averages over windows, computed by ONNX nodes of any opset."""

import numpy as np
import onnx
import pytest
from graphs import model, newest_opset, node, normal, run
from onnx import TensorProto, helper

from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.graph.cut_candidates import CutCandidate
from edgeexit.offline.heads.nodes import Nodes
from edgeexit.offline.heads.pooling import Pooling, adaptive_windows, append_pooling, pooling_of

TOLERANCE = {"rtol": 0, "atol": 1e-6}


def candidate(kind, shape, mask=None):
    return CutCandidate(("x",), 0, 0, "x", kind, shape, mask)


def pooled(array, pooling, *, opset=17, dtype=TensorProto.FLOAT, mask=None):
    """Run the pooling nodes on an array of any batch."""
    inputs = {"raw": ["N", *[None] * (array.ndim - 1)]}
    proto = model([node("Identity", ["raw"], ["x"])], inputs, {}, opset=opset, dtype=dtype)
    feeds = {"raw": array}
    if mask is not None:
        element = helper.np_dtype_to_tensor_dtype(mask.dtype)
        proto.graph.input.append(helper.make_tensor_value_info("mask", element, [None] * mask.ndim))
        feeds["mask"] = mask
    output = append_pooling(Nodes(proto, "head"), pooling, element_type=dtype)
    proto.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, None]))
    onnx.checker.check_model(proto)
    return run(proto, feeds)[output]


def averages(maps, rows, columns):
    """(N, C, H, W) -> (N, C * windows), by the definition."""
    parts = [maps[:, :, a:b, c:d].mean(axis=(2, 3)) for a, b in rows for c, d in columns]
    return np.stack(parts, axis=2).reshape(len(maps), -1)


def test_windows_are_those_of_adaptive_average_pooling():
    assert adaptive_windows(6, 2) == ((0, 3), (3, 6))
    assert adaptive_windows(7, 2) == ((0, 4), (3, 7))
    assert adaptive_windows(8, 3) == ((0, 3), (2, 6), (5, 8))


def test_there_are_no_more_windows_than_places():
    assert adaptive_windows(1, 2) == ((0, 1),)


@pytest.mark.parametrize("opset", [9, 11, 13, 18, newest_opset()])
@pytest.mark.parametrize("grid", [1, 2, 3])
def test_a_map_is_averaged_over_windows(opset, grid):
    maps = normal(2, 3, 8, 7)
    found = pooled(maps, pooling_of(candidate("map_nchw", (3, 8, 7)), grid), opset=opset)
    rows, columns = adaptive_windows(8, grid), adaptive_windows(7, grid)
    np.testing.assert_allclose(found, averages(maps, rows, columns), **TOLERANCE)


@pytest.mark.parametrize("opset", [9, 17, 18])
def test_a_map_with_its_channels_last_is_averaged_likewise(opset):
    maps = normal(2, 3, 5, 6)
    found = pooled(maps.transpose(0, 2, 3, 1), pooling_of(candidate("map_nhwc", (5, 6, 3))), opset=opset)
    expected = averages(maps, ((0, 3), (2, 5)), ((0, 3), (3, 6))).reshape(2, 3, 4).transpose(0, 2, 1).reshape(2, 12)
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_a_sequence_has_as_many_windows_as_a_map():
    signal = normal(2, 3, 10)
    found = pooled(signal, pooling_of(candidate("sequence_ncl", (3, 10))))
    assert found.shape == (2, 12)
    windows = [signal[:, :, a:b].mean(axis=2) for a, b in ((0, 3), (2, 5), (5, 8), (7, 10))]
    np.testing.assert_allclose(found, np.stack(windows, axis=2).reshape(2, 12), **TOLERANCE)


def test_a_map_of_unknown_size_is_averaged_as_a_whole():
    maps = normal(2, 3, 5, 6)
    found = pooled(maps, pooling_of(candidate("map_nchw", (3, None, None))))
    np.testing.assert_allclose(found, maps.mean(axis=(2, 3)), **TOLERANCE)


def test_windows_stay_on_the_axis_whose_size_is_known():
    maps = normal(2, 3, 4, 6)
    found = pooled(maps, pooling_of(candidate("map_nchw", (3, None, 6))))
    np.testing.assert_allclose(found, averages(maps, ((0, 4),), ((0, 3), (3, 6))), **TOLERANCE)


def test_a_vector_is_taken_as_it_is():
    vectors = normal(2, 5)
    np.testing.assert_array_equal(pooled(vectors, pooling_of(candidate("vector", (5,)))), vectors)


@pytest.mark.parametrize("opset", [9, 12, 18])
def test_tokens_give_their_mean_and_the_first_one(opset):
    tokens = normal(2, 4, 3)
    found = pooled(tokens, pooling_of(candidate("tokens_nlc", (4, 3))), opset=opset)
    np.testing.assert_allclose(found, np.concatenate([tokens.mean(axis=1), tokens[:, 0]], axis=1), **TOLERANCE)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.bool_])
@pytest.mark.parametrize("shape", [(2, 4), (2, 1, 1, 4)])
def test_padding_does_not_count_for_the_mean(dtype, shape):
    tokens, mask = normal(2, 4, 3), np.array([[1, 1, 1, 0], [1, 0, 0, 0]]).astype(dtype)
    found = pooled(tokens, pooling_of(candidate("tokens_nlc", (None, 3), "mask")), mask=mask.reshape(shape))
    means = np.stack([tokens[0, :3].mean(axis=0), tokens[1, 0]])
    np.testing.assert_allclose(found, np.concatenate([means, tokens[:, 0]], axis=1), **TOLERANCE)


def test_a_text_of_padding_alone_has_the_mean_zero():
    found = pooled(
        normal(1, 2, 3), pooling_of(candidate("tokens_nlc", (2, 3), "mask")), mask=np.zeros((1, 2), np.int64)
    )
    np.testing.assert_array_equal(found[0, :3], 0.0)


def test_half_precision_becomes_single_before_it_is_averaged():
    maps = np.full((1, 1, 2, 2), 60000, np.float16)  # their sum is beyond the largest float16
    assert pooled(maps, pooling_of(candidate("map_nchw", (1, 2, 2)), 1), dtype=TensorProto.FLOAT16) == 60000


def test_a_tensor_of_whole_numbers_cannot_be_read():
    with pytest.raises(GraphError, match="tensor 'x' holds UINT8; a head reads floats"):
        append_pooling(Nodes(model([], {}, {}), "head"), Pooling("x", "vector"), element_type=TensorProto.UINT8)


def test_an_unknown_kind_of_tensor_is_refused():
    with pytest.raises(GraphError, match="'x' is of the kind 'voxels', which no head can read"):
        pooling_of(candidate("voxels", (1, 2, 2, 2)))


@pytest.mark.parametrize("grid", [0, 9])
def test_a_grid_of_no_or_too_many_windows_is_refused(grid):
    with pytest.raises(OptionError, match="1 to 8 windows"):
        pooling_of(candidate("map_nchw", (3, 8, 8)), grid)


def test_a_model_with_heads_already_is_refused():
    proto = model([node("Identity", ["x"], ["head0/features"])], {"x": [1]}, {"head0/features": [1]})
    with pytest.raises(GraphError, match=r"values called head0/\.\.\. already"):
        Nodes(proto, "head0")
