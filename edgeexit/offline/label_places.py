"""Where the labels of a picture's points may stand, so that none covers another: plain geometry, in pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]
    Frame = tuple[float, float, float, float]

_DIRECTIONS: Final = ((1, 0), (-1, 0), *((x, y) for x in (0.1, -0.1, 0.5, -0.5, 1, -1) for y in (1, -1)))
"""To the right and up, the preferred first."""
_DISTANCES: Final = (0.9, *np.arange(1.5, 22.0, 0.8).tolist())
"""From a point, in widths of a point."""
_CROSSING: Final = 2.8
"""How much further away a place counts, in widths of a point, for a label that the line to it crosses."""
_ALONG: Final = np.arange(1, 25)[:, np.newaxis] / 25.0


def place_labels(points: ArrayLike, sizes: ArrayLike, frame: Frame, *, spot: float, obstacles: ArrayLike = ()) -> Array:
    """Find a place for a label beside each point.

    A label begins, or ends, or has its middle at its anchor, as `alignment` says; a line leads from the point to the
    anchor. Points are served one by one from below and the left, each with the nearest place where its label covers no
    point, label or line before it. What its line would cross makes a place count as further away: a label once, a point
    twice. Where no place is free the anchor is the point itself.

    Args:
        points: (N, 2) to the right and up.
        sizes: (N, 2) width and height of the labels.
        frame: Left, bottom, right and top of what no label may leave.
        spot: Width of a point.
        obstacles: (K, 4) left, bottom, right and top of what else no label may cover.

    Returns:
        (N, 2) anchors, seen from their points.
    """
    points, sizes = np.asarray(points, dtype=float), np.asarray(sizes, dtype=float)
    spots = np.hstack([points - spot / 2.0, points + spot / 2.0])
    labels: Array = np.empty((0, 4))
    lines: Array = np.asarray(obstacles, dtype=float).reshape(-1, 4)
    anchors = np.zeros_like(points)
    for index in np.lexsort((points[:, 0], points[:, 1])):
        point, size = points[index], sizes[index]
        anchors[index] = _nearest(point, size, frame, spots, labels, lines, spot)
        line = point + _ALONG * anchors[index]
        labels = np.vstack([labels, label_box(point + anchors[index], size, anchors[index])])
        lines = np.vstack([lines, np.hstack([line - 1.0, line + 1.0])])
    return anchors


def line_boxes(points: ArrayLike, width: float) -> Array:
    """Return (K, 4) boxes, no longer than about `width`, that hold a line through points (N, 2)."""
    points = np.asarray(points, dtype=float)
    boxes: list[Array] = [np.empty((0, 4))]
    for start, end in pairwise(points):
        steps = max(1, int(np.ceil(np.abs(end - start).max() / width)))
        stops = np.linspace(start, end, steps + 1)
        lowest, highest = np.minimum(stops[:-1], stops[1:]), np.maximum(stops[:-1], stops[1:])
        boxes.append(np.hstack([lowest - 1.0, highest + 1.0]))
    return np.vstack(boxes)


def alignment(anchor: Array) -> tuple[int, int]:
    """Return on which side of its anchor a label stands: 1 to the right or above, -1 to the left or below, 0 around."""
    return int(np.sign(anchor[0])), int(np.sign(anchor[1]))


def label_box(place: Array, size: Array, anchor: Array) -> Array:
    """Return left, bottom, right and top of a label.

    Args:
        place: Where its anchor is.
        size: Its width and height.
        anchor: The anchor seen from the point, for the alignment.
    """
    corner = place - size * (1.0 - np.asarray(alignment(anchor))) / 2.0
    return np.concatenate([corner, corner + size])


def _nearest(
    point: Array,
    size: Array,
    frame: Frame,
    spots: Array,
    labels: Array,
    lines: Array,
    spot: float,
) -> Array:
    covered = np.vstack([spots, labels, lines])
    crossings = np.vstack([spots, spots, labels])
    crossings = crossings[~_contain(crossings, point[np.newaxis])[0]]
    best: Array = np.zeros(2)
    best_cost = np.inf
    for distance in _DISTANCES:
        for direction in _DIRECTIONS:
            steps = float(np.hypot(*direction)) * distance
            anchor = np.asarray(direction) * distance * spot
            box = label_box(point + anchor, size, anchor)
            if steps >= best_cost or not _inside(box, frame) or _overlap(covered, box).any():
                continue
            line = point + _ALONG * anchor
            line = line[np.abs(line - point).max(axis=1) > spot / 2.0]
            cost = steps + _CROSSING * int(_contain(crossings, line).any(axis=0).sum())
            if cost < best_cost:
                best, best_cost = anchor, cost
    return best


def _inside(box: Array, frame: Frame) -> bool:
    return bool(frame[0] < box[0] and frame[1] < box[1] and box[2] < frame[2] and box[3] < frame[3])


def _overlap(boxes: Array, box: Array) -> Array:
    """Return (K,) which of the boxes (K, 4) share some area with a box (4,)."""
    across = (boxes[:, 0] < box[2]) & (box[0] < boxes[:, 2])
    return np.asarray(across & (boxes[:, 1] < box[3]) & (box[1] < boxes[:, 3]))


def _contain(boxes: Array, points: Array) -> Array:
    """Return (P, K) which of the boxes (K, 4) hold which of the points (P, 2)."""
    x, y = points[:, :1], points[:, 1:]
    return np.asarray((boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3]))
