"""Exit rules that know the depth before the network runs, from the image alone (HashEE, arXiv 2203.01670; RAEE).

No exit but the one that answers is looked at. What the look-up costs is time, not MACs of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
from exit_rule_recording import Recorded
from exit_rules_on_answers import NEIGHBOURS, PRICES, Fit, FloatArray, Run, once
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from edgeexit.offline.replay import Costs
from edgeexit.offline.rightness import estimate_rightness
from edgeexit.offline.vectorised import Outcomes

Float32 = NDArray[np.float32]
LookUp = Callable[[Float32], FloatArray]
"""From (S, F) keys to (S, E) how probably each exit is right."""
Store = Callable[[Float32, FloatArray], LookUp]

BITS = 8
CLUSTERS = 64
DIRECTIONS = 32
SHRINKAGE = 20
"""Samples that a cell of its own counts for against all others."""


def one_cell(keys: Float32, right: FloatArray) -> LookUp:
    """Know nothing of the image: the same exit for all."""
    mean = right.mean(axis=0)
    return lambda other: np.broadcast_to(mean, (len(other), len(mean)))


def hashed(keys: Float32, right: FloatArray) -> LookUp:
    """Hash the image by the sides of random planes on which it lies."""
    planes = np.random.default_rng(0).normal(size=(keys.shape[1], BITS)).astype(np.float32)
    middle = keys.mean(axis=0)

    def cell(keys: Float32) -> NDArray[np.int64]:
        return np.asarray(((keys - middle) @ planes > 0) @ (1 << np.arange(BITS)))

    return _by_cell(cell, 1 << BITS, keys, right)


def clustered(keys: Float32, right: FloatArray) -> LookUp:
    """Hash the image by the nearest of the centres of clusters."""
    centres = KMeans(CLUSTERS, n_init=1, random_state=0).fit(keys).cluster_centers_.astype(np.float32)
    lengths = (centres**2).sum(axis=1)
    return _by_cell(lambda keys: (lengths - 2 * keys @ centres.T).argmin(axis=1), CLUSTERS, keys, right)


def remembered(keys: Float32, right: FloatArray) -> LookUp:
    """Look up the nearest images seen (RAEE, arXiv 2405.15198)."""
    lengths = (keys**2).sum(axis=1)

    def look_up(other: Float32) -> FloatArray:
        distances = lengths - 2 * other @ keys.T
        return np.asarray(right[np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]].mean(axis=1))

    return look_up


def coarse(_trace: Recorded) -> Callable[[Recorded], Float32]:
    """Take the image at a quarter of its side."""
    return lambda trace: trace.coarse


def directions(trace: Recorded) -> Callable[[Recorded], Float32]:
    """Take the directions in which images differ most."""
    fitted = PCA(DIRECTIONS, random_state=0).fit(trace.pixels.reshape(len(trace), -1))
    weights, middle = fitted.components_.T.astype(np.float32), fitted.mean_.astype(np.float32)
    return lambda trace: (trace.pixels.reshape(len(trace), -1) - middle) @ weights


def first_features(trace: Recorded) -> Callable[[Recorded], Float32]:
    """Take the features behind the first segment, standardised."""
    known = trace.features[0].reshape(len(trace), -1)
    middle, spread = known.mean(axis=0), known.std(axis=0) + 1e-6
    return lambda trace: (trace.features[0].reshape(len(trace), -1) - middle) / spread


Keys = Callable[[Recorded], Callable[[Recorded], Float32]]


def known_depth(make_keys: Keys, store: Store) -> Fit:
    """Return the rule that answers at the exit which is worth most by what a look-up says."""

    def fit(trace: Recorded, costs: Costs) -> list[Run]:
        keys = make_keys(trace)
        look_up = store(keys(trace), estimate_rightness(trace))
        found = once(lambda other: look_up(keys(other)))
        cost = (costs.depth + costs.head) / costs.full

        def run(price: float, other: Recorded) -> Outcomes:
            answer = (found(other) - cost / price).argmax(axis=1)
            return Outcomes(other.correct[np.arange(len(other)), answer].astype(np.float64), cost[answer])

        return [partial(run, price) for price in PRICES]

    return fit


LOOK_UPS: dict[str, tuple[Keys, Store]] = {
    "one exit for all": (coarse, one_cell),
    "hash of the image": (coarse, hashed),
    "clusters of images": (directions, clustered),
    "neighbours of the image": (directions, remembered),
    "neighbours, first features": (first_features, remembered),
}
BEFORE_RUN: dict[str, Fit] = {name: known_depth(keys, store) for name, (keys, store) in LOOK_UPS.items()}


def look_up_times(trace: Recorded, rounds: int = 300) -> dict[str, float]:
    """Return the median time in seconds of the look-up of one image, by its name."""
    right = estimate_rightness(trace)
    times = {}
    for name, (make_keys, store) in LOOK_UPS.items():
        keys = make_keys(trace)
        look_up = store(keys(trace), right)
        single = [trace.take(np.array([i])) for i in range(rounds)]
        spent = []
        for one in single:
            begin_s = perf_counter()
            look_up(keys(one))
            spent.append(perf_counter() - begin_s)
        times[name] = float(np.median(spent))
    return times


def _by_cell(cell: Callable[[Float32], NDArray[np.int64]], count: int, keys: Float32, right: FloatArray) -> LookUp:
    own = cell(keys)
    sums = np.stack([np.bincount(own, column, count) for column in right.T], axis=1)
    counts = np.bincount(own, minlength=count)[:, np.newaxis]
    expected = (sums + SHRINKAGE * right.mean(axis=0)) / (counts + SHRINKAGE)
    return lambda other: np.asarray(expected[cell(other)])
