"""Heads with layers of their own (extra `train`): where they can be, and where they do better than linear ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from edgeexit.errors import MissingExtra
from edgeexit.offline.heads import trace_of
from edgeexit.offline.heads.conv_head import ConvHead, pack_head, unpack_head
from edgeexit.offline.heads.conv_plan import ConvPlan, HeadRecipe, NoConvHead, plan_head
from edgeexit.offline.placement import place_exits
from edgeexit.offline.preparing.building import head_targets
from edgeexit.offline.preparing.options import CONV

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.offline.graph.cut_candidates import CutCandidate, CutSearch
    from edgeexit.offline.heads import Features, Head, LinearHead
    from edgeexit.offline.preparing.bench import Bench
    from edgeexit.offline.preparing.sources import Network


def load_trainer() -> Callable[..., ConvHead]:
    """Return `train_conv_head`, which needs PyTorch.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        from edgeexit.offline.heads.conv_training import train_conv_head  # noqa: PLC0415  loads PyTorch
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise MissingExtra(
            f"prepare needs {package} for heads with layers of their own (head conv): pip install 'edgeexit[train]'"
        ) from error
    return train_conv_head


def plan_heads(
    search: CutSearch, tried: Sequence[CutCandidate], network: Network, bench: Bench
) -> tuple[ConvPlan | None, ...]:
    """Plan a head with layers of its own at each place, if they are asked for; tell where there can be none and why.

    Args:
        search: Where the network can be cut.
        tried: The places that are tried.
        network: The network.
        bench: What every step works with.
    """
    if bench.options.head != CONV:
        return (None,) * len(tried)
    plans = [plan_head(place, search.whole_macs, network.class_count) for place in tried]
    refused: dict[str, list[str]] = defaultdict(list)
    for place, plan in zip(tried, plans, strict=True):
        if isinstance(plan, NoConvHead):
            refused[plan.why].append(place.feature)
    for why, tensors in refused.items():
        bench.tell(f"no head with layers of its own, but a linear one, at {', '.join(tensors)}: {why}")
    return tuple(None if isinstance(plan, NoConvHead) else plan for plan in plans)


def train_heads(
    network: Network, features: Features, plans: Sequence[ConvPlan | None], bench: Bench
) -> tuple[ConvHead | None, ...]:
    """Train a head at every place that has a plan, one after the other; each that is finished is kept.

    Args:
        network: The network.
        features: Of the part "heads", with maps.
        plans: Size of the head at each place.
        bench: What every step works with.
    """
    targets = head_targets(features, bench.material)
    bar = tqdm(
        enumerate(plans),
        total=len(plans),
        desc="trained heads",
        unit="head",
        disable=not any(plans) or not bench.progress,
    )
    return tuple(p and _train_head(network, features.keep([i]), p, targets, bench) for i, p in bar)


def _train_head(network: Network, features: Features, plan: ConvPlan, targets: NDArray[Any], bench: Bench) -> ConvHead:
    (maps,) = features.maps
    recipe = HeadRecipe(distillation=_share(bench), seed=bench.options.seed)

    def train() -> Mapping[str, NDArray[Any]]:
        head = load_trainer()(maps, targets, features.logits, plan, recipe, task=bench.material.task)
        return pack_head(head)

    key = bench.key(network.digest, str(plan), str(recipe), bench.material.against)
    return unpack_head(bench.work.keep_arrays("conv-head", key, train), plan.pooling)


def _share(bench: Bench) -> float:
    """Return the share of distillation: all of it where the network's own answers are right."""
    labelled = bench.material.by_labels and bench.material.parts["heads"].labels is not None
    return HeadRecipe().distillation if labelled else 1.0


def better_heads(
    search: CutSearch,
    tried: Sequence[CutCandidate],
    linear: Sequence[LinearHead],
    trained: Sequence[ConvHead | None],
    features: Features,
    bench: Bench,
) -> tuple[Head, ...]:
    """Take of two heads at a place the one with which the expected work is less, if it alone had an exit.

    Args:
        search: Where the network can be cut.
        tried: The places that are tried.
        linear: The linear head at each.
        trained: The head with layers of its own at each, None where there is none.
        features: Of the part "fit".
        bench: What every step works with.
    """
    heads: list[Head] = list(linear)
    for index, head in enumerate(trained):
        if head is not None:
            here, rest = tried[index].macs_before, search.whole_macs - tried[index].macs_before
            costs = [_cost(h, (here, rest), features.keep([index]), bench) for h in (head, linear[index])]
            heads[index] = head if costs[0] < costs[1] else linear[index]
    cheaper = [h.pooling.tensor for h, c in zip(heads, trained, strict=True) if c is not None and h is not c]
    if cheaper:
        bench.tell(f"a linear head does better than one with layers of its own, work counted, at {', '.join(cheaper)}")
    return tuple(heads)


def _cost(head: Head, segments: tuple[int, int], features: Features, bench: Bench) -> tuple[float, float]:
    """Return the expected work of a network with this exit alone; of equals (no sample leaves) the loss decides."""
    material = bench.material
    trace = trace_of(features, [head], material.right_answers("fit"), task=material.task)
    found = place_exits(trace, segments, (head.macs, 0), allowed_drop=bench.options.max_accuracy_drop, least_gain=0.0)
    return found.cost, head.loss
