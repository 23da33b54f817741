"""Samples in parts that are disjoint, so that what is chosen on one can be judged on another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.data.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]


def split_samples(samples: Samples, shares: Mapping[str, float], *, seed: int, at_least: int = 1) -> dict[str, Samples]:
    """Split samples at random into disjoint parts, in each of which every class has nearly its share.

    Identical samples come into the same part, whatever their labels. The order within a part is that of `samples`.

    Args:
        samples: To be split.
        shares: Part -> share of the samples, above 0; they add up to 1.
        seed: Another seed gives another split; the same seed and samples give the same one.
        at_least: Samples that each part must have.

    Raises:
        OptionError: If the shares are not above 0 or do not add up to 1.
        DataError: If there are too few samples.
    """
    if not shares or min(shares.values()) <= 0.0 or not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9):
        raise OptionError(f"shares of a split must be above 0 and add up to 1, not {dict(shares)}")
    needed = math.ceil(at_least / min(shares.values()) - 1e-9)
    if len(samples) < needed:
        raise DataError(
            f"{len(samples)} samples are too few: {', '.join(shares)} need {at_least} or more each, {needed} in all"
        )
    chosen = _deal(_groups_in_order(samples, seed), tuple(shares.values()))
    parts = {name: samples.take(np.sort(indices)) for name, indices in zip(shares, chosen, strict=True)}
    for name, part in parts.items():
        if len(part) < at_least:
            raise DataError(
                f"{len(samples)} samples are too few: the part {name!r} has {len(part)}, {at_least} are needed; "
                f"{len(samples) - len(set(samples.digests))} samples are copies of others"
            )
    return parts


def limit_samples(samples: Samples, limit: int | None, *, seed: int) -> Samples:
    """Return at most `limit` samples, chosen at random, of every class nearly its share; the order stays.

    Raises:
        OptionError: If the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"limit must be 1 sample or more, not {limit}")
    if limit is None or limit >= len(samples):
        return samples
    singles = [np.array([index]) for index in _shuffled_by_class(samples, seed).tolist()]
    chosen, _ = _deal(singles, (limit / len(samples), 1.0 - limit / len(samples)))
    return samples.take(np.sort(chosen[:limit]))


def check_disjoint(parts: Mapping[str, Samples]) -> None:
    """Check that no sample, and no copy of one, lies in two parts.

    Raises:
        DataError: If one does; the message names it and the parts.
    """
    owner: dict[bytes, tuple[str, int]] = {}
    for name, part in parts.items():
        for index, digest in enumerate(part.digests):
            other, position = owner.setdefault(digest, (name, index))
            if other != name:
                raise DataError(
                    f"{part.name(index)} in {name!r} is the same sample as {parts[other].name(position)} in "
                    f"{other!r}: what is chosen on one part must be judged on another"
                )


def _shuffled_by_class(samples: Samples, seed: int) -> IntArray:
    """Return all indices, class by class, at random within a class."""
    order = np.random.default_rng(seed).permutation(len(samples))
    if samples.labels is None:
        return order
    labels: NDArray[Any] = samples.labels[order]
    keys = labels.T[::-1] if labels.ndim == 2 else (labels,)
    return np.asarray(order[np.lexsort(keys)])


def _groups_in_order(samples: Samples, seed: int) -> list[IntArray]:
    """Return the indices of copies of one sample together, in the order of the first of each."""
    groups: dict[bytes, list[int]] = {}
    for index in _shuffled_by_class(samples, seed).tolist():
        groups.setdefault(samples.digests[index], []).append(index)
    return [np.array(group, np.int64) for group in groups.values()]


def _deal(groups: Sequence[IntArray], shares: Sequence[float]) -> list[IntArray]:
    """Give each group to the part that is then furthest behind its share of what has been dealt.

    So every stretch of the groups, and with it every class, is dealt out nearly in proportion.
    """
    hands: list[list[IntArray]] = [[] for _ in shares]
    behind = [0.0] * len(shares)
    for group in groups:
        behind = [lack + share * len(group) for lack, share in zip(behind, shares, strict=True)]
        part = max(range(len(shares)), key=behind.__getitem__)
        behind[part] -= len(group)
        hands[part].append(group)
    return [np.array(list(chain.from_iterable(hand)), np.int64) for hand in hands]
