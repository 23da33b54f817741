"""Say why a network cannot be cut, or why an exit there would save next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from edgeexit.bundle.graph.dataflow import describe
from edgeexit.offline.graph.crossings import Crossings

WORTHWHILE: Final = (0.1, 0.9)
"""Shares of the MACs between which there has to be a cut: before, there is little to read; behind, little to save."""
_MOST: Final = 0.5
"""Share of the MACs in one layer that is worth telling."""
_SHOWN: Final = 4
MOST_TENSORS: Final = 3
"""Tensors that may cross a cut where no single one exists."""


def explain(
    crossings: Crossings, macs_before: Sequence[int], node_macs: Mapping[int, int], has_rows: Callable[[str], bool]
) -> str:
    """Return why nothing or too little can be cut, in a sentence or two; an empty text where an exit can save work.

    Args:
        crossings: Of the whole network.
        macs_before: Of the cuts that were found, from the input to the output.
        node_macs: Index of each node that the output needs -> its multiply-accumulates.
        has_rows: Tells if a value is an input or has a row for each sample of a batch.
    """
    whole = sum(node_macs.values())
    if not whole:
        return "the network has no convolution or matrix product whose work an exit could save"
    if not macs_before:
        reason = _nothing(crossings, node_macs, has_rows)
    elif any(WORTHWHILE[0] * whole <= macs <= WORTHWHILE[1] * whole for macs in macs_before):
        return ""
    else:
        shares = ", ".join(f"{100 * macs / whole:.0f} %" for macs in macs_before)
        reason = f"the places to cut have {shares} of the multiply-accumulates before them, none is in between"
    heaviest = max(node_macs, key=node_macs.__getitem__)
    if node_macs[heaviest] <= _MOST * whole:
        return reason
    share, layer = 100 * node_macs[heaviest] / whole, describe(crossings.flow.nodes[heaviest])
    return f"{reason}; {share:.0f} % of the multiply-accumulates lie in one layer, {layer}"


def _nothing(crossings: Crossings, node_macs: Mapping[int, int], has_rows: Callable[[str], bool]) -> str:
    places = list(_places(crossings, node_macs))
    if not places:
        return "all multiply-accumulates lie in one layer: there is nothing between two layers to cut"
    usable = [names for names in places if all(map(has_rows, names))]
    blocked = next((v for names in places for v in names if not has_rows(v)), None)
    reasons = [] if not usable else [_few_or_many(min(usable, key=len))]
    if blocked is not None:
        reasons.append(
            f"{blocked!r} crosses places and has no row for each sample, so those of a batch could not be told apart "
            "(if it is made of a shape, export the model with fixed shapes)"
        )
    return "; ".join(reasons)


def _few_or_many(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    if len(names) > MOST_TENSORS:
        return f"{len(names)} or more tensors cross every place between its layers ({shown})"
    return f"of what crosses alone ({shown}), no layer reads floats with the batch first and 2 to 4 axes"


def _places(crossings: Crossings, node_macs: Mapping[int, int]) -> Iterator[tuple[str, ...]]:
    """Yield what crosses each level that has some of the work before it, and some behind it."""
    whole = sum(node_macs.values())
    for part in crossings.levels():
        if 0 < sum(node_macs[i] for i in part) < whole:
            yield crossings.crossing(part)
