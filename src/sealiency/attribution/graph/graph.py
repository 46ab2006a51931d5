"""The graph of a network's operations, in the order of its forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sealiency.attribution.graph.operations.operation import Operation, Part, Shape
from sealiency.attribution.graph.operations.pointwise import Activation, Scale
from sealiency.attribution.graph.windows import Window


@dataclass(frozen=True)
class Node:
    """An operation and the values that it works on."""

    operation: Operation
    parents: tuple[int, ...]
    """Numbers of the values; 0 is the network's input, n the output of node n."""
    layer: str
    """The layer of the network that it stands for."""


@dataclass
class Graph:
    """Operations and the values between them; value 0 is the input, value n what node n gives."""

    input: Shape
    nodes: dict[int, Node] = field(init=False, default_factory=dict)
    shapes: list[Shape] = field(init=False)
    """Of every value."""
    output: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.shapes = [self.input]

    def add(self, operation: Operation, parents: list[int], layer: str) -> int:
        """Append an operation and return the number of its output."""
        self.shapes.append(operation.output)
        number = len(self.shapes) - 1
        self.nodes[number] = Node(operation, tuple(parents), layer)
        return number

    def finish(self, output: int) -> None:
        """Drop what the output does not depend on, and join products with constants to the activations after them."""
        self.output = output
        needed = {output}
        for number in sorted(self.nodes, reverse=True):
            if number in needed:
                needed.update(self.nodes[number].parents)
        self.nodes = {number: node for number, node in self.nodes.items() if number in needed}
        uses = self.count_uses()
        for number, node in list(self.nodes.items()):
            operation, before = node.operation, self.nodes.get(node.parents[0])
            if not isinstance(operation, Activation) or before is None or uses[node.parents[0]] > 1:
                continue
            if isinstance(before.operation, Scale):
                operation.before = before.operation
                self.nodes[number] = Node(operation, before.parents, node.layer)
                del self.nodes[node.parents[0]]

    def count_uses(self) -> dict[int, int]:
        """Return how often each value is used."""
        uses: dict[int, int] = {self.output: 1}
        for node in self.nodes.values():
            for parent in node.parents:
                uses[parent] = uses.get(parent, 0) + 1
        return uses

    @property
    def activations(self) -> list[int]:
        """Numbers of the nodes that are activations, in the order of the forward pass."""
        return [number for number, node in self.nodes.items() if isinstance(node.operation, Activation)]

    def run(self, fields: Tensor, windows: Mapping[int, Window] | None = None) -> tuple[list[Tensor], Tensor | None]:
        """Return what every activation is given, and the network's output.

        Parameters
        ----------
        fields
            Inputs of shape (sample, lag, row, column), whole.
        windows
            The window in which each value is wanted, the input's among them; None for whole grids.
        """
        uses, seen = self.count_uses(), []
        values = {0: fields if windows is None else windows[0].cut(fields)}
        for number, node in self.nodes.items():
            operation, given = node.operation, [values[parent] for parent in node.parents]
            if windows is None:
                if isinstance(operation, Activation):
                    seen.append(operation.observe(given[0]))
                    given = seen[-1:]
                values[number] = operation.forward(*given)
            else:
                parts = [Part(value, windows[parent]) for value, parent in zip(given, node.parents, strict=True)]
                if isinstance(operation, Activation):
                    seen.append(operation.observe_part(windows[number], parts[0]))
                    parts = [Part(seen[-1], windows[number])]
                values[number] = operation.forward_part(windows[number], *parts)
            for parent in node.parents:
                uses[parent] -= 1
                if not uses[parent]:
                    del values[parent]
        return seen, values.get(self.output)

    def find_reach(self, box: Tensor) -> Tensor:
        """Return the cells of the output that can depend on cells of the input, whatever the weights are.

        Parameters
        ----------
        box
            Cells of the input, bool of shape (row, column); in which months makes no difference.
        """
        with torch.no_grad():
            reached = {0: box}
            for number, node in self.nodes.items():
                reached[number] = node.operation.spread(*(reached[parent] for parent in node.parents))
        return reached[self.output]
