"""Running a network without exits on images, to compare one with exits with."""

import numpy as np
from graphs import model, node, saved

from edgeexit.offline.fashion_mnist import LabelledImages
from edgeexit.offline.net_alone import run_alone


def test_a_net_alone_is_right_where_it_names_the_label_and_its_work_is_counted(tmp_path):
    weights = np.zeros((784, 10), np.float32)
    weights[3, 7] = 1.0  # a lit fourth pixel means class 7, nothing lit class 0
    net = model(
        [node("Flatten", ["image"], ["flat"]), node("MatMul", ["flat", "weights"], ["logits"])],
        {"image": ["N", 1, 28, 28]},
        {"logits": ["N", 10]},
        {"weights": weights},
    )
    images = np.zeros((3, 28, 28), np.uint8)
    images[:2, 0, 3] = 255
    alone = run_alone(saved(tmp_path, net), LabelledImages(images, np.array([7, 1, 0], np.uint8)))
    assert alone.correct.tolist() == [True, False, True]
    assert alone.macs == 7840
