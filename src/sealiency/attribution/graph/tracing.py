"""Reading a network's operations off its own forward pass, by `torch.export`; nothing is known of its classes.

A value of the network is (sample, channel, row, column). Where the network lays it out otherwise for a while, such as cells
in one line, only the names of the axes are kept, and the operations work on the usual layout.
"""

import itertools
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn

from sealiency.attribution.graph.call import FIELD, SAMPLES, Call, Signal, Unknown
from sealiency.attribution.graph.graph import Graph
from sealiency.attribution.graph.operations.operation import Identity, Shape
from sealiency.attribution.graph.operations.registry import READERS
from sealiency.attribution.graph.windows import GridShape
from sealiency.errors import SealiencyError

# What shares its memory with another value.
VIEWS = frozenset(
    [
        "slice",
        "narrow",
        "select",
        "split",
        "split_with_sizes",
        "chunk",
        "permute",
        "transpose",
        "unsqueeze",
        "squeeze",
        "flatten",
        "unflatten",
        "view",
        "reshape",
        "alias",
        "detach",
        "contiguous",
    ]
)
MEND = (
    "use convolutions, transposed convolutions, linear layers over cells or channels, batch norm, elementwise activations, "
    "concatenation, addition, interpolation, average pooling, padding and pixel shuffle"
)


def trace(network: nn.Module, history: int, grid: GridShape) -> Graph:
    """Return the graph of a network.

    Parameters
    ----------
    network
        Network in evaluation mode that maps (sample, lag, row, column) to (sample, 1, row, column).
    history
        Months of input.
    grid
        Rows and columns.

    Raises
    ------
    SealiencyError
        If a layer is in training mode, an operation has no exact rule, the forward pass branches on the input's values, or
        the output has another shape; operation and layer are named.
    """
    refuse_training(network)
    like = find_like(network)
    program = _export(network, like.new_zeros(SAMPLES, history, *grid))
    return _Tracer(network, program, Shape(history, grid), like.detach()).read()


def find_like(network: nn.Module) -> Tensor:
    """Return a tensor on the network's device and in its precision: of its numbers, or in float32 where it has none."""
    numbers = itertools.chain(network.parameters(), network.buffers())
    return next((values for values in numbers if values.is_floating_point()), torch.zeros(()))


def refuse_training(network: nn.Module) -> None:
    """Refuse a network of which a layer is in training mode.

    Raises
    ------
    SealiencyError
        If there is one; it is named.
    """
    for name, module in network.named_modules():
        if module.training:
            raise SealiencyError(f"layer {name or 'network'} is in training mode; call eval() before attribution")


def _export(network: nn.Module, field: Tensor) -> Any:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(network, (field,), strict=False)
    except Exception as error:
        text = str(error).strip()
        kind = type(network).__name__
        if "data-dependent" in text or "DataDependent" in type(error).__name__ or "is_nonzero" in text:
            raise SealiencyError(
                f"network: the forward pass of {kind} branches on the values of its input, which no attribution rule allows "
                "for; let it depend on shapes alone"
            ) from None
        first = (text.splitlines() or [type(error).__name__])[0]
        raise SealiencyError(
            f"network: the forward pass of {kind} on {tuple(field.shape)} cannot be followed by torch.export ({first}); it "
            "must map one tensor (sample, lag, row, column) to (sample, 1, row, column)"
        ) from None


class _Tracer:
    def __init__(self, network: nn.Module, program: Any, shape: Shape, like: Tensor) -> None:
        self.network, self.program, self.like = network, program, like
        self.graph = Graph(shape)
        self.known: dict[Any, Any] = {}
        self.views: set[int] = set()

    def read(self) -> Graph:
        signature = self.program.graph_signature
        stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        constants = dict(signature.inputs_to_lifted_tensor_constants)
        state = dict(self.network.named_parameters(remove_duplicate=False)) | dict(
            self.network.named_buffers(remove_duplicate=False)
        )
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                if node.name in stored:
                    self.known[node] = state[stored[node.name]].detach()
                elif node.name in constants:
                    self.known[node] = self.program.constants[constants[node.name]]
                else:
                    self.known[node] = Signal(0)
            elif node.op == "call_function":
                self.known[node] = self._call(node)
            elif node.op == "output":
                return self._finish(node)
        raise AssertionError("a graph without output")

    def _finish(self, node: Any) -> Graph:
        # What the forward pass changed in place, if anything, comes first.
        result = self.known[node.args[0][-1]]
        if not isinstance(result, Signal):
            raise SealiencyError("network: its output does not depend on its input")
        shape = self.graph.shapes[result.number]
        wanted = Shape(1, self.graph.shapes[0].grid)
        if result.axes != FIELD or shape != wanted:
            found = shape.channels, *shape.grid
            raise SealiencyError(
                f"network: an output of (sample, {', '.join(map(str, found))}) where (sample, 1, {wanted.grid[0]}, "
                f"{wanted.grid[1]}) is wanted"
            )
        number = result.number
        if number == 0:
            # A network that gives its input back has no operation at all.
            number = self.graph.add(Identity(shape), [0], "network")
        self.graph.finish(number)
        return self.graph

    def _call(self, node: Any) -> Any:
        def look(value: Any) -> Any:
            return self.known[value] if isinstance(value, fx.Node) else value

        args: list[Any] = [
            [look(one) for one in value] if isinstance(value, (list, tuple)) else look(value) for value in node.args
        ]
        kwargs = {key: look(value) for key, value in node.kwargs.items()}
        target: Any = node.target
        name = getattr(target, "overloadpacket", target).__name__
        if name == "getitem":
            return args[0][args[1]]
        flat = [one for value in (*args, *kwargs.values()) for one in (value if isinstance(value, list) else [value])]
        layer = self._name_layer(node)
        writes = name.endswith("_")
        if writes and not isinstance(self.known.get(node.args[0]), Signal):
            raise SealiencyError(f"layer {layer}: writes into a parameter, buffer or constant; let it make a new value")
        if not any(isinstance(one, Signal) for one in flat):
            return target(*args, **kwargs)
        call = Call(self.graph, self.like, node, name, target, layer, args, kwargs)
        try:
            if call.name not in READERS:
                raise call.unknown()
            result = READERS[call.name](call)
        except Unknown as error:
            raise SealiencyError(f"layer {layer}: {error}, for which no attribution rule is exact; {MEND}") from None
        if name in VIEWS:
            parts = result if isinstance(result, list) else [result]
            self.views.update(one.number for one in (*parts, *flat) if isinstance(one, Signal))
        if writes:
            self._write(node.args[0], result, layer)
        return result

    def _name_layer(self, node: Any) -> str:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", type(self.network).__name__)
        return f"{path or 'network'} ({str(kind).rsplit('.', 1)[-1]})"

    def _write(self, changed: Any, result: Signal, layer: str) -> None:
        """From here on a value that was written to is the new one."""
        old = self.known[changed]
        if old.number in self.views:
            raise SealiencyError(
                f"layer {layer}: writes into a value of which another is a part; write to a copy of it"
            )
        for node, value in self.known.items():
            if isinstance(value, Signal) and value == old:
                self.known[node] = result
