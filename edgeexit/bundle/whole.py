"""All pieces of a bundle as one graph again: what a device optimises before it cuts anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgeexit.bundle.graph.cut import Stage, join
from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.bundle.graph.schema import Message, parse_model
from edgeexit.bundle.load import Bundle
from edgeexit.bundle.manifest import Segment
from edgeexit.errors import GraphError

LAYOUT_SUFFIX: Final = "_nchwc"


def bundle_stages(bundle: Bundle) -> tuple[Stage, ...]:
    """Return the stages that cut the whole graph of `bundle`, optimised or not, into its segments and heads."""
    exits = {e.segment: e.outputs for e in bundle.exits}
    last = len(bundle.segments) - 1
    return tuple(
        Stage(body=segment.outputs if index == last or index not in exits else (), exit=exits.get(index, ()))
        for index, segment in enumerate(bundle.segments)
    )


def join_pieces(bundle: Bundle, stages: Iterable[Stage]) -> Message:
    """Return the whole graph of `bundle` as a ModelProto.

    Args:
        bundle: The bundle.
        stages: From `bundle_stages`. What they name becomes the graph's outputs, so that an optimiser keeps it.

    Raises:
        BundleError: If a file was changed since the bundle was loaded.
    """
    models = []
    for index, segment in enumerate(bundle.segments):
        models.append(_read_segment(bundle, segment))
        models.extend(parse_model(bundle.read_file(e.file), name=e.file) for e in bundle.exits if e.segment == index)
    outputs = dict.fromkeys(v for stage in stages for v in (*stage.body, *stage.exit))
    return join(models, tuple(outputs))


def kept_stages(bundle: Bundle) -> tuple[Stage, ...]:
    """Return the stages without mere cuts: what an optimiser may not touch in any case.

    An optimiser that had to keep a cut's tensor could not make one operator of those on both sides of it.
    """
    stages = bundle_stages(bundle)
    return tuple(stage for index, stage in enumerate(stages) if stage.exit or index == len(stages) - 1)


def find_stages(bundle: Bundle, optimised: Message) -> tuple[Stage, ...]:
    """Return the stages of `bundle` in an optimised form of its whole graph, of which only `kept_stages` were kept.

    A mere cut is found again by what is left of the segments before it: a value that kept its name, or a node that is
    called after the value or the node it was made of (ONNX Runtime calls a node of its blocked layout after the value
    it makes, with "_nchwc" behind). What such nodes need belongs before the cut too, so the pieces are right whatever
    the names are; where an operator was fused across the cut, it runs behind it.

    Args:
        bundle: The bundle.
        optimised: ModelProto.

    Raises:
        BundleError: If a file was changed since the bundle was loaded.
        GraphError: If nothing is left of a segment.
    """
    stages = list(bundle_stages(bundle))
    flow = Dataflow(optimised.graph)
    before: set[str] = set()
    for index, segment in enumerate(bundle.segments):
        for node in _read_segment(bundle, segment).graph.node:
            before.update(filter(None, (node.name, *node.output)))
        if not stages[index].exit:
            stages[index] = Stage(body=_boundary(flow, before, segment.used.file))
    return tuple(stages)


def _read_segment(bundle: Bundle, segment: Segment) -> Message:
    file = segment.used.file
    return parse_model(bundle.read_file(file), name=file)


def _boundary(flow: Dataflow, names: set[str], file: str) -> tuple[str, ...]:
    """Name the values that cross from the nodes that stem from `names`, and those they need, to all others."""
    seeds = (value for node in flow.nodes if _stems_from(node, names) for value in node.output if value)
    inside = flow.ancestors(seeds)
    outside = (index for index in range(len(flow.nodes)) if index not in inside)
    crossing = {value for index in outside for value in flow.uses[index] if flow.maker.get(value) in inside}
    if not crossing:
        raise GraphError(f"nothing of {file} is left in the optimised graph")
    return tuple(sorted(crossing))


def _stems_from(node: Message, names: set[str]) -> bool:
    own = node.name.partition(LAYOUT_SUFFIX)[0]
    return own in names or any(value in names for value in node.output)
