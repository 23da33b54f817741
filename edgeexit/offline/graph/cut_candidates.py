"""Find the places of a network where an exit could be: legal cuts, and what a head could read there."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from onnx import TensorProto, helper

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.errors import GraphError, OptionError
from edgeexit.offline.graph.crossings import Crossings, Part
from edgeexit.offline.graph.cuts import find_single_tensor_cuts
from edgeexit.offline.graph.layouts import Kind, kind_of
from edgeexit.offline.graph.macs import node_macs
from edgeexit.offline.graph.shapes import Value, infer_values
from edgeexit.offline.graph.side_inputs import choose_side_inputs, find_mask
from edgeexit.offline.graph.why_not import MOST_TENSORS, explain

WIDE_GAP: Final = 0.15
"""Share of the MACs between two single-tensor cuts from which on cuts of several tensors are looked for."""
MOST_BEFORE: Final = 0.98
"""Share of the MACs before a cut from which on none is looked for: a head would cost what it saves."""
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


@dataclass(frozen=True, slots=True)
class CutCandidate:
    """A place where a network can be cut, and what a head there reads.

    Attributes:
        tensors: Names of all that crosses, side inputs aside: what `split_model(cuts=...)` takes.
        macs_before: Multiply-accumulates for one sample of all that runs before the cut.
        boundary_bytes: Size of what crosses, for one sample, graph inputs aside; open sizes count 1.
        feature: The one of `tensors` that a head reads; floats, batch first.
        kind: What the feature's axes mean: "map_nchw", "map_nhwc", "sequence_ncl", "tokens_nlc" or "vector".
        shape: Of the feature for one sample; None for a size that is known at run time alone.
        mask: Name of the graph input (N, L) that tells real tokens from padding, for tokens (N, L, C); else None.
    """

    tensors: tuple[str, ...]
    macs_before: int
    boundary_bytes: int
    feature: str
    kind: Kind
    shape: tuple[int | None, ...]
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class CutSearch:
    """What the search for cuts has found.

    Attributes:
        candidates: From the input to the output; any choice of them, in that order, can be cut at.
        side_inputs: Graph inputs that every segment reads; `split_model` must be given the same.
        why: Why nothing or too little can be cut; empty where an exit can save work.
        whole_macs: Multiply-accumulates of the whole network for one sample.
        output: Name of the network's own output.
    """

    candidates: tuple[CutCandidate, ...]
    side_inputs: tuple[str, ...]
    why: str
    whole_macs: int
    output: str


def find_cuts(model: Any, *, side_inputs: Sequence[str] | None = None) -> CutSearch:
    """Find the places where an exit could be.

    They lie where a layer reads a tensor (`cuts.LAYERS`, also through a Transpose), or where a residual sum or a
    concatenation is read by several nodes: an optimiser fuses what comes between two layers, so a cut there would
    cost time. Where single tensors leave a seventh of the work without a cut, up to three tensors together are taken.

    Args:
        model: onnx.ModelProto with one output, or whose last output is the network's own; it is not changed. Weights
            may lie in other files.
        side_inputs: Graph inputs that every segment may read; None looks for such, for instance an attention mask.

    Raises:
        GraphError: If the graph is not valid or a side input is unknown.
    """
    values = infer_values(model, batch=1)
    if side_inputs is None:
        side_inputs = choose_side_inputs(model, values)
    network = _Network(model, values, tuple(side_inputs))
    candidates = network.candidates()
    why = explain(network.crossings, [c.macs_before for c in candidates], network.macs, network.has_rows)
    return CutSearch(candidates, tuple(side_inputs), why, network.whole_macs, network.output)


def candidate_at(model: Any, feature: str, *, side_inputs: Sequence[str] = ()) -> CutCandidate:
    """Return the place where a head would read `feature`, whether `find_cuts` proposes it or not.

    Args:
        model: onnx.ModelProto, as for `find_cuts`.
        feature: Name of a tensor. What else crosses there is added to the cut, however many tensors that are.
        side_inputs: As `find_cuts` returned them.

    Raises:
        GraphError: If there is no such tensor, nothing is to be cut there, or no head could read it.
    """
    return _Network(model, infer_values(model, batch=1), tuple(side_inputs)).candidate_at(feature)


def shortlist(candidates: Sequence[CutCandidate], whole_macs: int, limit: int) -> tuple[CutCandidate, ...]:
    """Choose at most `limit` candidates that are spread over the work and have small boundaries.

    First those go that have one near them (within a quarter of the mean distance) with less than half the boundary,
    or one with the same work before it and a boundary no larger. Of the rest, the one farthest from all that are
    chosen, the input and the output is chosen again and again.

    Args:
        candidates: From `find_cuts`.
        whole_macs: Multiply-accumulates of the whole network.
        limit: How many are wanted, 1 or more.

    Raises:
        OptionError: If `limit` is less than 1.
    """
    if limit < 1:
        raise OptionError(f"a shortlist of {limit} cuts was asked for; ask for 1 or more")
    near = whole_macs / (4 * (limit + 1))
    left = [c for i, c in enumerate(candidates) if not any(_is_better(o, c, near) for o in candidates[i + 1 :])]
    left = [c for i, c in enumerate(left) if not any(_is_better(o, c, near) for o in left[:i])]
    chosen: list[CutCandidate] = []
    while left and len(chosen) < limit:
        ends = [0, whole_macs, *(c.macs_before for c in chosen)]
        best = max(left, key=lambda c: min(abs(c.macs_before - end) for end in ends))
        chosen.append(best)
        left.remove(best)
    return tuple(c for c in candidates if c in chosen)


def _is_better(other: CutCandidate, candidate: CutCandidate, near: float) -> bool:
    if other.macs_before == candidate.macs_before:
        return other.boundary_bytes <= candidate.boundary_bytes
    close = abs(other.macs_before - candidate.macs_before) <= near
    return close and 2 * other.boundary_bytes < candidate.boundary_bytes


class _Found(NamedTuple):
    """A cut: the part before it, its tensors, and the one that a head reads."""

    before: Part
    tensors: tuple[str, ...]
    feature: str
    macs: int


class _Network:
    """A model with the figures by which its cuts are judged."""

    def __init__(self, model: Any, values: Mapping[str, Value], side_inputs: tuple[str, ...]) -> None:
        self.model = model
        self.values = values
        self.side_inputs = side_inputs
        self.output = str(model.graph.output[-1].name)
        self.flow = Dataflow(model.graph, side_inputs)
        self.crossings = Crossings(self.flow, self.output)
        self._batches = _Batches(self.flow, values, infer_values(model, batch=2))
        scale = self._batches.batch
        self.macs = {i: node_macs(self.flow.nodes[i], values) // scale for i in sorted(self.crossings.needed)}
        self.whole_macs = sum(self.macs.values())

    def has_rows(self, name: str) -> bool:
        """Tell if a value is an input, or has a row for each sample of a batch, so that samples can be taken out."""
        return name in self.flow.data_inputs or self._batches.is_first(name)

    def feature_names(self) -> list[str]:
        """Return the values that a layer reads or that several nodes take up after a join, in order."""
        places = self.crossings
        return [v for v in places.values if v != self.output and (places.is_read_by_layer(v) or places.is_join(v))]

    def candidates(self) -> tuple[CutCandidate, ...]:
        features = [v for v in self.feature_names() if self._kind(v) is not None]
        alone = set(find_single_tensor_cuts(self.model, self.side_inputs))
        single = [self._found(self.crossings.earliest(v), v) for v in features if v in alone]
        single = [c for c in single if self._is_inside(c)]
        single = [c for c in single if self.crossings.is_read_by_layer(c.feature) or not self._is_matched(c, single)]
        found = [*single, *self._in_gaps(single, [v for v in features if v not in alone])]
        found.sort(key=lambda c: (len(c.before), c.macs))
        return tuple(self._candidate(c) for c in found)

    def candidate_at(self, feature: str) -> CutCandidate:
        found = self._found(self.crossings.earliest(feature), feature)
        if feature not in found.tensors or feature not in self.flow.maker or feature == self.output:
            raise GraphError(
                f"{feature!r} is no tensor between the layers on the way to {self.output!r}: cut elsewhere"
            )
        if self._kind(feature) is None:
            raise GraphError(
                f"no head can read {feature!r}: floats with the batch first, 2 to 4 axes and known channels are needed"
            )
        return self._candidate(found)

    def _is_inside(self, found: _Found) -> bool:
        """Tell if an exit there would save work, and has work before it or tokens to read."""
        has_input = found.macs > 0 or self._kind(found.feature) == "tokens_nlc"
        return has_input and found.macs < MOST_BEFORE * self.whole_macs

    def _is_matched(self, join: _Found, others: Sequence[_Found]) -> bool:
        return any(o.macs == join.macs and self.crossings.is_read_by_layer(o.feature) for o in others)

    def _in_gaps(self, single: Sequence[_Found], features: Sequence[str]) -> list[_Found]:
        """Find chains of cuts with several tensors where single ones leave much of the work without a cut."""
        ends = [0, *(c.macs for c in single), self.whole_macs]
        wide = WIDE_GAP * self.whole_macs
        gaps = [(a + (b - a) / 4, b - (b - a) / 4) for a, b in pairwise(ends) if b - a > wide]
        options = [self._found(self.crossings.earliest(v), v) for v in features] if gaps else []
        options = [c for c in options if len(c.tensors) <= MOST_TENSORS and all(map(self.has_rows, c.tensors))]
        chain: list[_Found] = []
        for option in sorted(options, key=lambda c: (len(c.tensors), self._bytes(c.tensors), len(c.before))):
            inside = any(a <= option.macs <= b for a, b in gaps)
            if inside and _fits(option, (*single, *chain)) and option.macs not in {c.macs for c in chain}:
                chain.append(option)
        return chain

    def _found(self, before: Part, feature: str) -> _Found:
        return _Found(before, self.crossings.crossing(before), feature, sum(self.macs[i] for i in before))

    def _kind(self, name: str) -> Kind | None:
        value = self.values.get(name)
        if value is None or value.element_type not in _FLOATS or not self._batches.is_first(name):
            return None
        return kind_of(self.flow, name, self.values)

    def _bytes(self, names: Collection[str]) -> int:
        return sum(_size(self.values.get(v)) // self._batches.batch for v in names if v not in self.flow.data_inputs)

    def _candidate(self, found: _Found) -> CutCandidate:
        kind, shape = self._kind(found.feature), self._batches.sample_shape(found.feature)
        assert kind is not None, "features have a kind"
        mask = find_mask(self.flow, self.values, shape[0]) if kind == "tokens_nlc" else None
        return CutCandidate(found.tensors, found.macs, self._bytes(found.tensors), found.feature, kind, shape, mask)


class _Batches:
    """Tells the batch from the other axes by the shapes at two sizes of it."""

    def __init__(self, flow: Dataflow, one: Mapping[str, Value], two: Mapping[str, Value]) -> None:
        self._one, self._two = one, two
        name = next((v for v in flow.inputs if v in flow.data_inputs), "")
        self.batch = self._first(one, name)
        self._batch_of_two = self._first(two, name)

    def is_first(self, name: str) -> bool:
        """Tell if a value has a batch of rows, as far as can be told."""
        shapes = [self._shape(values, name) for values in (self._one, self._two)]
        if any(not shape or len(shape) < 2 for shape in shapes):
            return False
        firsts = [shape[0] for shape in shapes if shape]
        return all(
            found == wanted or not isinstance(found, int)
            for found, wanted in zip(firsts, (self.batch, self._batch_of_two), strict=True)
        )

    def sample_shape(self, name: str) -> tuple[int | None, ...]:
        """Return the shape of one sample; None for a size that is open or grows with the batch."""
        one, two = self._shape(self._one, name), self._shape(self._two, name)
        return tuple(a if a == b and isinstance(a, int) else None for a, b in zip(one[1:], two[1:], strict=False))

    @staticmethod
    def _first(values: Mapping[str, Value], name: str) -> int:
        shape = values[name].shape if name in values else None
        return shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else 1

    @staticmethod
    def _shape(values: Mapping[str, Value], name: str) -> tuple[Any, ...]:
        value = values.get(name)
        return () if value is None or value.shape is None else value.shape


def _fits(option: _Found, others: Sequence[_Found]) -> bool:
    """Tell if a cut lies wholly before or behind each of the others."""
    return all(option.before < o.before or option.before > o.before for o in others)


def _size(value: Value | None) -> int:
    """Return the bytes of a value; 0 where its shape is unknown."""
    if value is None or value.shape is None or not value.element_type:
        return 0
    count = math.prod(d if isinstance(d, int) else 1 for d in value.shape)
    return count * int(helper.tensor_dtype_to_np_dtype(value.element_type).itemsize)
