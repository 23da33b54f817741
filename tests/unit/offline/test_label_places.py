import itertools

import numpy as np
import pytest

from edgeexit.offline.label_places import alignment, label_box, line_boxes, place_labels

FRAME = (0.0, 0.0, 1000.0, 600.0)
SPOT = 10.0


def boxes(points, sizes, anchors):
    return [label_box(np.add(*pair), size, pair[1]) for *pair, size in zip(points, anchors, sizes, strict=True)]


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_label_alone_stands_close_to_the_right_of_its_point():
    (anchor,) = place_labels([(500, 300)], [(200, 20)], FRAME, spot=SPOT)
    assert anchor.tolist() == [9.0, 0.0]
    assert alignment(anchor) == (1, 0)
    assert label_box(np.array([509.0, 300.0]), np.array([200.0, 20.0]), anchor).tolist() == [509.0, 290.0, 709.0, 310.0]


def test_at_the_right_edge_it_stands_to_the_left():
    (anchor,) = place_labels([(950, 300)], [(200, 20)], FRAME, spot=SPOT)
    assert alignment(anchor) == (-1, 0)


def test_a_line_does_not_lead_over_another_point_where_there_is_room():
    # The label of the left point does not fit between the two: it goes above or below, not beyond the other.
    anchors = place_labels([(500, 300), (520, 300)], [(200, 20)] * 2, FRAME, spot=SPOT)
    assert alignment(anchors[0]) == (-1, 0)
    assert alignment(anchors[1]) == (1, 0)


@pytest.mark.parametrize(
    "points",
    [
        [(100 + 60 * index, 300) for index in range(12)],
        [(500, 300)] * 12,
        [(400 + 7 * index, 300 + 3 * index) for index in range(12)],
    ],
    ids=["in a row", "all in one place", "in a heap"],
)
def test_no_label_covers_another_or_a_point_or_leaves_the_frame(points):
    sizes = [(150 + 5 * index, 18) for index in range(12)]
    placed = boxes(points, sizes, place_labels(points, sizes, FRAME, spot=SPOT))
    spots = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    assert not any(overlap(one, other) for one, other in itertools.combinations(placed, 2))
    assert not any(overlap(one, other) for one, other in itertools.product(placed, spots))
    assert all(box[0] > 0 and box[1] > 0 and box[2] < 1000 and box[3] < 600 for box in placed)


def test_no_label_covers_an_obstacle():
    obstacle = (600, 295, 610, 305)
    (anchor,) = place_labels([(500, 300)], [(200, 20)], FRAME, spot=SPOT, obstacles=[obstacle])
    assert alignment(anchor) == (-1, 0)
    assert not overlap(boxes([(500, 300)], [(200, 20)], [anchor])[0], obstacle)


def test_the_boxes_of_a_line_hold_it_and_little_more():
    assert line_boxes([(0, 0), (20, 10), (20, 0)], 10.0).tolist() == [
        [-1.0, -1.0, 11.0, 6.0],
        [9.0, 4.0, 21.0, 11.0],
        [19.0, -1.0, 21.0, 11.0],
    ]


def test_one_point_makes_no_line():
    assert line_boxes([(0, 0)], 10.0).shape == (0, 4)


def test_a_label_without_any_room_stays_on_its_point():
    assert place_labels([(5, 5)], [(200, 20)], (0.0, 0.0, 10.0, 10.0), spot=SPOT).tolist() == [[0.0, 0.0]]
