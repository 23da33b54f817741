import subprocess
import sys

import numpy as np
import pytest
from models import doubling_chain

from edgeexit.errors import OptionError
from edgeexit.runtime.engine import Engine

IMAGE = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return doubling_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(params=["separate", "fused"])
def program(chain, request):
    return Engine(chain, fuse_heads=request.param == "fused").program({"image": IMAGE})


def test_an_exit_can_be_looked_at_once_its_segment_has_run(program):
    program.run_segments(0, 1)
    look = program.look(0)
    assert look.exit_index == 0
    assert look.logits.tolist() == [2.0, 4.0, 8.0]
    assert look.label == 2
    assert look.confidence == pytest.approx(np.exp(8) / np.exp([2, 4, 8]).sum(), rel=1e-6)
    assert look.margin == pytest.approx((np.exp(8) - np.exp(4)) / np.exp([2, 4, 8]).sum(), rel=1e-6)


def test_a_head_may_be_left_out(chain):
    program = Engine(chain).program({"image": IMAGE})
    program.run_segments(0, 3)
    assert program.look(2).logits.tolist() == [8.0, 16.0, 32.0]


def test_a_new_input_goes_into_the_same_buffers(program):
    program.run_segments(0, 1)
    first = program.look(0)
    program.load({"image": 3 * IMAGE})
    program.run_segments(0, 1)
    assert program.look(0).logits.tolist() == [6.0, 12.0, 24.0]
    assert first.logits.tolist() == [6.0, 12.0, 24.0], "looks are views: valid until the next inference"


def test_every_piece_has_one_session(chain):
    separate, fused = Engine(chain), Engine(chain, fuse_heads=True)
    assert len(separate.segments) == len(fused.segments) == 3
    assert [head is None for head in separate.heads] == [False, False, True], "the last exit is always looked at"
    assert fused.heads == (None, None, None)


def test_an_unknown_provider_is_refused_with_those_there_are(chain):
    with pytest.raises(OptionError, match="CPUExecutionProvider"):
        Engine(chain, providers=["NoSuchProvider"])


def test_a_named_provider_runs_the_portable_pieces_unless_it_is_the_cpu_alone(chain):
    assert Engine(chain, providers=["CPUExecutionProvider"]).optimised
    assert not Engine(chain, optimise=False).optimised


def test_no_threads_are_refused(chain):
    with pytest.raises(OptionError, match="threads"):
        Engine(chain, threads=0)


@pytest.mark.parametrize("name", ["fashion-resnet", "fashion-vgg"])
@pytest.mark.parametrize("fuse_heads", [False, True])
def test_two_threads_give_the_answers_of_one(name, fuse_heads):
    code = f"""
import numpy as np, edgeexit
from edgeexit.runtime.engine import Engine
bundle = edgeexit.load_bundle({name!r})
image = np.random.default_rng(1).random((1, 1, 28, 28), dtype=np.float32)
answers = []
for threads in (1, 2, 1):
    program = Engine(bundle, fuse_heads={fuse_heads}, threads=threads).program({{"image": image}})
    program.run_segments(0, len(bundle.segments))
    answers.append(np.array(program.look(bundle.exit_count - 1).probabilities))
np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
np.testing.assert_allclose(answers[0], answers[2], atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # a global pool changes all sessions of its process
