"""The bundles that ship do what the documents say of them, on the 10,000 test images of Fashion-MNIST."""

from pathlib import Path

import numpy as np
import pytest

import edgeexit
from edgeexit.exits.settings import make_rule
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, as_input, load_fashion_mnist
from edgeexit.offline.record import record_trace
from edgeexit.offline.replay import replay
from edgeexit.offline.wall_time import measure_wall_times

needs_images = pytest.mark.skipif(
    not DEFAULT_FOLDER.is_dir(), reason="needs the images: apt-get install dataset-fashion-mnist"
)
CHOSEN_ON = 10_000
"""Samples that settings were chosen on: what they lose there has the error of so many."""
SHIPPED = Path(edgeexit.__file__).parent / "reference"


@pytest.fixture(scope="module")
def images():
    return load_fashion_mnist().test


@pytest.fixture(scope="module", params=["fashion-resnet", "fashion-vgg"])
def recorded(request, images):
    bundle = edgeexit.load_bundle(request.param)
    return bundle, record_trace(bundle, as_input(images.images), images.labels)


@needs_images
def test_the_full_network_is_right_for_nine_in_ten(recorded):
    bundle, trace = recorded
    assert trace.accuracies[-1] >= 0.90
    assert bundle.exit_count == {"fashion-resnet": 6, "fashion-vgg": 8}[bundle.name]


def test_coarse_exits_cost_less_than_the_second_layer_of_fashion_vgg():
    work = edgeexit.load_bundle("fashion-vgg").workload
    assert work.whole_macs == 5_512_224
    assert sum(work.segment_macs[:4]) + sum(work.head_macs[:4]) < 0.23 * work.whole_macs


@needs_images
@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
def test_every_setting_keeps_about_the_accuracy_it_was_chosen_for(recorded, drop):
    bundle, trace = recorded
    rules, predictor = bundle.read_rules(), bundle.read_predictor()
    for name in rules["settings"]:
        run = replay(make_rule(name, bundle.exit_count, rules, predictor, drop), trace, bundle.workload)
        lost = float(trace.accuracies[-1] - run.correct.mean())
        changed = float((run.correct != trace.correct[:, -1]).mean())
        chance = 3.0 * np.sqrt(changed * (1 / len(trace) + 1 / CHOSEN_ON))
        assert lost <= drop / 100 + chance, f"{name} loses {100 * lost:.2f} points, chance may add {100 * chance:.2f}"


@needs_images
def test_live_sessions_do_what_the_replay_says(recorded, images):
    bundle, trace = recorded
    some = np.arange(500)
    names = list(bundle.read_rules()["settings"])
    measured = measure_wall_times(
        bundle, as_input(images.images[:500]), trace.take(some), names, [0.5], rounds=1, show_progress=False
    )
    assert measured.differing <= 1, "a rounding at a threshold may differ once, not more"


@needs_images
def test_the_demo_images_are_the_first_test_images(images):
    with np.load(SHIPPED / "fashion-images.npz") as file:
        assert np.array_equal(file["images"], images.images[:300])
        assert np.array_equal(file["labels"], images.labels[:300])


@pytest.mark.parametrize("name", ["fashion-resnet", "fashion-vgg"])
def test_a_shipped_bundle_is_calibrated(name):
    rules = edgeexit.load_bundle(name).read_rules()
    assert {"threshold", "thresholds", "check-and-cap", "predictive-exit", "forecast"} <= set(rules["settings"])
    for setting in rules["settings"].values():
        assert {"0", "0.5", "1"} <= set(setting["parameters"])
