"""One operation of a traced network, as its reader sees it: arguments by name, values as signals, constants as tensors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sealiency.attribution.graph.operations.operation import Operation, Shape

if TYPE_CHECKING:
    from sealiency.attribution.graph.graph import Graph

# Two samples are traced: a single one could be squeezed away.
SAMPLES = 2
FIELD = ("sample", "channel", "row", "column")
CELLS = ("sample", "channel", "cell")
# In the words of those who built the network.
KNOWN_AS = {
    "max_pool2d": "max pooling",
    "adaptive_max_pool2d": "max pooling",
    "group_norm": "group norm",
    "layer_norm": "layer norm",
    "instance_norm": "instance norm",
    "scaled_dot_product_attention": "attention",
    "softmax": "softmax, as in attention",
    "matmul": "a product of two signals, as in attention",
    "bmm": "a product of two signals, as in attention",
    "mul": "a product of two signals",
    "div": "a quotient of two signals",
}


@dataclass(frozen=True)
class Signal:
    """A value that depends on the input."""

    number: int
    """Its node in the graph; 0 is the input."""
    axes: tuple[str, ...] = FIELD


class Unknown(Exception):
    """An operation without a rule, in words."""


class Call:
    """One operation of the traced network, with its arguments by name.

    Parameters
    ----------
    graph
        The graph as far as it is read.
    like
        A tensor on the network's device and in its precision.
    node, target
        The node of PyTorch's graph and its operation.
    layer
        The layer that it belongs to, for errors.
    args, kwargs
        Arguments, with signals and constants in place of nodes.
    """

    def __init__(
        self,
        graph: "Graph",
        like: Tensor,
        node: Any,
        name: str,
        target: Any,
        layer: str,
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> None:
        self.graph, self.like, self.node, self.target, self.layer = graph, like, node, target, layer
        self.name = name.rstrip("_") if not name.startswith("_") else name
        if name != self.name:
            # The same operation, not in place.
            packet = getattr(torch.ops.aten, self.name)
            self.target = getattr(packet, target._overloadname, packet)
        self.given: dict[str, Any] = {}
        for at, argument in enumerate(target._schema.arguments):
            default = argument.default_value if argument.has_default_value() else None
            self.given[argument.name] = args[at] if at < len(args) else kwargs.get(argument.name, default)

    def unknown(self, why: str = "") -> Unknown:
        """Return the error that says what has no rule."""
        return Unknown(why or KNOWN_AS.get(self.name, f"operation {self.name}"))

    def signal(self, name: str = "input", axes: tuple[str, ...] | None = FIELD) -> Signal:
        """Return an argument that must depend on the input, laid out as it must be; None for any layout."""
        found = self.given.get(name, self.given.get("self"))
        if not isinstance(found, Signal):
            raise self.unknown(f"operation {self.name} whose {name} does not depend on the input")
        if axes is not None and found.axes != axes:
            raise self.unknown(f"operation {self.name} on a value of ({', '.join(found.axes)})")
        return found

    def shape(self, signal: Signal) -> Shape:
        """Return channels and grid of a value."""
        return self.graph.shapes[signal.number]

    def add(self, operation: Operation, *signals: Signal) -> Signal:
        """Append an operation to the graph and return what it gives, laid out as the first of its inputs."""
        number = self.graph.add(operation, [one.number for one in signals], self.layer)
        return Signal(number, signals[0].axes)

    def sizes(self, signal: Signal) -> list[int]:
        """Return the sizes of a value as the network has it laid out."""
        channels, (rows, columns) = self.shape(signal)
        sizes = {"sample": SAMPLES, "channel": channels, "row": rows, "column": columns, "cell": rows * columns}
        return [sizes[axis] for axis in signal.axes]

    def lay_out(self, constant: Any, signal: Signal) -> Tensor:
        """Return a constant that meets a value, in a shape that broadcasts to (channel, row, column)."""
        if isinstance(constant, bool) or getattr(constant, "dtype", None) == torch.bool:
            constant = torch.as_tensor(constant, device=self.like.device)
        else:
            # A plain number would become float32, and a whole one a quotient in float32.
            constant = torch.as_tensor(constant, dtype=self.like.dtype, device=self.like.device)
        if constant.numel() == 1:
            return constant.reshape(1, 1, 1)
        constant = constant.reshape([1] * (len(signal.axes) - constant.ndim) + list(constant.shape))
        if constant.ndim > len(signal.axes) or any(
            few not in (1, many) for few, many in zip(constant.shape, self.sizes(signal), strict=True)
        ):
            raise self.unknown(f"operation {self.name} with a constant that widens the value")
        if constant.shape[0] > 1:
            if not bool((constant == constant[:1]).all()):
                raise self.unknown(f"operation {self.name} with a constant that differs between samples")
            constant = constant[:1]
        _, grid = self.shape(signal)
        constant = constant[0]
        axes = signal.axes[1:]
        if "cell" in axes:
            at = axes.index("cell")
            constant = constant.unflatten(at, grid if constant.shape[at] > 1 else (1, 1))
            axes = (*axes[:at], "row", "column", *axes[at + 1 :])
        if "channel" not in axes:
            constant, axes = constant[None], ("channel", *axes)
        return constant.permute([axes.index(axis) for axis in FIELD[1:]])


def pair(value: Any) -> tuple[int, int]:
    """Return one number or two as two, for rows and for columns."""
    values = [value, value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])
