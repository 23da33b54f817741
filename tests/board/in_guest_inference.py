"""Runs in a guest, and here: a reference bundle over some images, with a governor that changes the clocks."""

from importlib.resources import files

import numpy as np
from board.clock_files import AT_BOOT, GPU_AT_BOOT, differences, read_files, set_state, settle

import edgeexit
from edgeexit.device.sysfs import Tree
from edgeexit.protocols import Decision
from edgeexit.runtime.samples import pixels_to_input


class Stepping:
    """A governor that goes through the operating points of every domain, one at each decision."""

    name = "stepping"

    def decide(self, observation):
        step = observation.segments_done + int(observation.now_s * 1000)
        clocks = {name: points[step % len(points)] for name, points in observation.operating_points.items()}
        return Decision(clocks, reason="next step")


WAITS = {"stepping": False}
"""Whether an inference waits for its clocks; otherwise a thread of its own sets them."""
GOVERNORS = {
    "powersave": lambda: edgeexit.load_governor("powersave"),
    "performance": lambda: edgeexit.load_governor("performance"),
    "stepping": Stepping,
}


def main(count, governors):
    """Return the answers to `count` images with each governor, on this machine's own clocks."""
    tree, found = Tree(), {}
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    for name in governors:
        before = read_files(tree)
        with edgeexit.open_device("host") as device:
            found[name] = answers(device, GOVERNORS[name](), count, WAITS.get(name, True))
        settle()
        found[name]["not_restored"] = differences(before, read_files(tree))
    return found


def answers(device, governor, count, waits=True):
    bundle = edgeexit.load_bundle("fashion-resnet")
    images = read_images(bundle)[:count]
    with edgeexit.Session(bundle, device, governor, wait_for_clocks=waits) as session:
        results = [session.infer(image[None]) for image in images]
        switches = session.switch_count
    return {
        "answers": [[result.label, result.exit_index, result.probabilities.tolist()] for result in results],
        "clocks": [dict(result.clocks) for result in results],
        "switches": switches,
    }


def read_images(bundle):
    """Return the packaged images as the bundle takes them: (N, 1, 28, 28) float32."""
    with np.load(files("edgeexit.reference") / "fashion-images.npz") as archive:
        return pixels_to_input(bundle, archive["images"])
