"""What crosses from one part of a graph to the rest: the closed cuts of one or more tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.offline.graph.cuts import LAYERS

_JOINS: Final = frozenset({"Add", "Concat", "Sum"})
Part = frozenset[int]
"""Indices of data nodes, with each all that it depends on: what runs before a cut."""


class Crossings:
    """The nodes that an output needs, and what crosses between parts of them.

    Args:
        flow: Of the whole graph.
        output: The network's own output.
    """

    def __init__(self, flow: Dataflow, output: str) -> None:
        self.flow = flow
        self.needed: Part = frozenset(flow.ancestors((output,)))
        self._readers: dict[str, list[int]] = {}
        for index in sorted(self.needed):
            for value in filter(flow.is_data, flow.uses[index]):
                self._readers.setdefault(value, []).append(index)

    @property
    def values(self) -> tuple[str, ...]:
        """The data values that needed nodes read and that a node makes, in the order in which they are made."""
        return tuple(v for i in sorted(self.needed) for v in self.flow.nodes[i].output if v in self._readers)

    def readers(self, value: str) -> list[int]:
        """Return the needed nodes that read `value`."""
        return self._readers.get(value, [])

    def is_read_by_layer(self, value: str) -> bool:
        """Tell if a layer (`cuts.LAYERS`) reads a value, as it is or transposed."""
        nodes = [self.flow.nodes[i] for i in self.readers(value)]
        turned = (node.output[0] for node in nodes if node.op_type == "Transpose")
        return any(node.op_type in LAYERS for node in nodes) or any(map(self.is_read_by_layer, turned))

    def is_join(self, value: str) -> bool:
        """Tell if a value is a sum or a concatenation of several that several nodes read, as a residual stream is."""
        node = self.flow.nodes[self.flow.maker[value]]
        joins = node.op_type in _JOINS and sum(map(self.flow.is_data, node.input)) > 1
        return joins and len(self.readers(value)) > 1

    def crossing(self, before: Collection[int]) -> tuple[str, ...]:
        """Return all values that nodes behind `before` read and no node behind it makes; graph inputs first."""
        found = [v for v in self.flow.data_inputs if self._is_read_outside(v, before)]
        found.sort(key=self.flow.inputs.index)
        made = (v for i in sorted(before) for v in self.flow.nodes[i].output)
        return (*found, *(v for v in made if self._is_read_outside(v, before)))

    def earliest(self, value: str) -> Part:
        """Return the least that can run before a cut that `value` crosses: what it depends on."""
        return frozenset(self.flow.ancestors((value,)))

    def levels(self) -> Iterator[Part]:
        """Yield the parts of all nodes whose longest way from an input has no more than 1, 2, 3, ... nodes."""
        depth: dict[int, int] = {}
        for index in sorted(self.needed):
            makers = (self.flow.maker.get(v) for v in self.flow.uses[index])
            depth[index] = 1 + max((depth[i] for i in makers if i is not None and i in depth), default=0)
        for level in range(1, max(depth.values(), default=0)):
            yield frozenset(i for i in depth if depth[i] <= level)

    def _is_read_outside(self, value: str, before: Collection[int]) -> bool:
        return any(i not in before for i in self.readers(value))
