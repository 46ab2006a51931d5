"""Convolutions, transposed convolutions and linear layers over all cells: what has weights."""

import torch
from torch import Tensor
from torch.nn import functional

from sealiency.attribution.graph.call import CELLS, Call, Signal, pair
from sealiency.attribution.graph.operations.operation import LinearOperation, Part, Rows, Shape
from sealiency.attribution.graph.windows import GridShape, Span, Window, move, whole

Pair = tuple[int, int]


class Convolution(LinearOperation):
    """A convolution with any kernel, stride, padding of zeros, dilation and groups: a row is pulled by its transpose."""

    def __init__(
        self,
        shape: Shape,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair = (1, 1),
        padding: Pair | str = (0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> None:
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self.arguments = (stride, padding, dilation, groups)
        kernel = (int(weight.shape[2]), int(weight.shape[3]))
        self.reach = [dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)]
        self.kernel, self.stride, self.dilation, self.groups = kernel, stride, dilation, groups
        if padding == "same":
            # As PyTorch divides an odd number of cells: the smaller half before.
            self.before, after = zip(*((few // 2, few - few // 2) for few in (n - 1 for n in self.reach)), strict=True)
        else:
            self.before = after = (0, 0) if isinstance(padding, str) else padding
        grid = tuple(
            (size + first + last - reach) // step + 1
            for size, first, last, reach, step in zip(shape.grid, self.before, after, self.reach, stride, strict=True)
        )
        super().__init__([shape], Shape(int(weight.shape[0]), (grid[0], grid[1])))

    def prepare(self, precision: torch.dtype) -> None:
        self.pulling = self.weight.to(precision).contiguous(memory_format=torch.channels_last)

    def forward(self, *fields: Tensor) -> Tensor:
        stride, padding, dilation, groups = self.arguments
        return functional.conv2d(fields[0], self.weight, self.bias, stride, padding, dilation, groups)

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        field = move(parts[0].values, parts[0].window, self._reach(window))
        return functional.conv2d(field, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _reach(self, window: Window) -> Window:
        spans = []
        for axis, span in enumerate(window):
            start = span.start * self.stride[axis] - self.before[axis]
            spans.append(Span(start, start + (span.stop - span.start - 1) * self.stride[axis] + self.reach[axis]))
        return Window(*spans)

    def see(self, window: Window) -> Window:
        # What lies in the padding is no cell.
        reached = zip(self._reach(window), self.inputs[0].grid, strict=True)
        return Window(*(span.clip(size) for span, size in reached))

    def pull(self, rows: Rows) -> list[Rows]:
        rows = rows.fill(self.output.channels)
        seen, reached = self.see(rows.window), self._reach(rows.window)
        # What both sides have too much is left out of the convolution, the rest is cut off.
        spare = [
            max(0, min(part.start - full.start, full.stop - part.stop))
            for part, full in zip(seen, reached, strict=True)
        ]
        pulled = functional.conv_transpose2d(
            rows.values, self.pulling, None, self.stride, spare, 0, self.groups, self.dilation
        )
        left = Window(*(Span(full.start + few, full.stop - few) for full, few in zip(reached, spare, strict=True)))
        return [Rows(move(pulled, left, seen), seen)]

    def count(self, window: Window) -> int:
        taps = 1
        for axis, (span, size) in enumerate(zip(window, self.inputs[0].grid, strict=True)):
            taps *= sum(
                0 <= at * self.stride[axis] - self.before[axis] + tap * self.dilation[axis] < size
                for at in range(*span)
                for tap in range(self.kernel[axis])
            )
        return taps * self.inputs[0].channels * self.output.channels // self.groups

    @property
    def multiplications(self) -> int:
        return self.output.size * self.kernel[0] * self.kernel[1] * self.inputs[0].channels // self.groups

    def spread(self, *reached: Tensor) -> Tensor:
        # Counts of cells, exact in float64; every channel is taken to read all channels.
        ones = torch.ones(1, 1, *self.kernel, dtype=torch.float64)
        stride, padding, dilation, _ = self.arguments
        counts = functional.conv2d(reached[0].double()[None, None], ones, None, stride, padding, dilation)
        return counts[0, 0] > 0


class TransposedConvolution(LinearOperation):
    """A transposed convolution: a row is pulled by the convolution that it is the transpose of."""

    def __init__(
        self,
        shape: Shape,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        extra: Pair,
        dilation: Pair,
        groups: int,
    ) -> None:
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self.stride, self.padding, self.extra, self.dilation, self.groups = stride, padding, extra, dilation, groups
        self.kernel = (int(weight.shape[2]), int(weight.shape[3]))
        self.reach = [dilation[axis] * (self.kernel[axis] - 1) + 1 for axis in (0, 1)]
        grid = tuple(
            (shape.grid[axis] - 1) * stride[axis] - 2 * padding[axis] + self.reach[axis] + extra[axis]
            for axis in (0, 1)
        )
        super().__init__([shape], Shape(int(weight.shape[1]) * groups, (grid[0], grid[1])))

    def prepare(self, precision: torch.dtype) -> None:
        self.pulling = self.weight.to(precision).contiguous(memory_format=torch.channels_last)

    def forward(self, *fields: Tensor) -> Tensor:
        return functional.conv_transpose2d(
            fields[0], self.weight, self.bias, self.stride, self.padding, self.extra, self.groups, self.dilation
        )

    def see(self, window: Window) -> Window:
        spans = []
        for axis, span in enumerate(window):
            first = -(-(span.start + self.padding[axis] - self.reach[axis] + 1) // self.stride[axis])
            last = (span.stop - 1 + self.padding[axis]) // self.stride[axis]
            spans.append(Span(first, last + 1).clip(self.inputs[0].grid[axis]))
        return Window(*spans)

    def pull(self, rows: Rows) -> list[Rows]:
        rows = rows.fill(self.output.channels)
        seen = self.see(rows.window)
        read = []
        for axis, span in enumerate(seen):
            start = span.start * self.stride[axis] - self.padding[axis]
            read.append(Span(start, start + (span.stop - span.start - 1) * self.stride[axis] + self.reach[axis]))
        values = move(rows.values, rows.window, Window(*read))
        return [Rows(functional.conv2d(values, self.pulling, None, self.stride, 0, self.dilation, self.groups), seen)]

    def count(self, window: Window) -> int:
        cells = 1
        for span in self.see(window):
            cells *= span.stop - span.start
        return cells * self.multiplications // (self.inputs[0].grid[0] * self.inputs[0].grid[1])

    @property
    def multiplications(self) -> int:
        return self.inputs[0].size * self.kernel[0] * self.kernel[1] * self.output.channels // self.groups

    def spread(self, *reached: Tensor) -> Tensor:
        ones = torch.ones(1, 1, *self.kernel, dtype=torch.float64)
        mask = reached[0].double()[None, None]
        counts = functional.conv_transpose2d(mask, ones, None, self.stride, self.padding, self.extra, 1, self.dilation)
        return counts[0, 0] > 0


class LinearOverCells(LinearOperation):
    """A linear layer over all cells, shared by the channels: every cell is seen."""

    def __init__(self, shape: Shape, weight: Tensor, bias: Tensor | None, grid: GridShape) -> None:
        super().__init__([shape], Shape(shape.channels, grid))
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()

    def prepare(self, precision: torch.dtype) -> None:
        self.pulling = self.weight.to(precision)

    def forward(self, *fields: Tensor) -> Tensor:
        return functional.linear(fields[0].flatten(2), self.weight, self.bias).unflatten(2, self.output.grid)

    def see(self, window: Window) -> Window:
        return whole(self.inputs[0].grid)

    def pull(self, rows: Rows) -> list[Rows]:
        used = rows.window.cut(self.pulling.T.unflatten(1, self.output.grid)).flatten(1)
        pulled = functional.linear(rows.values.flatten(2), used).unflatten(2, self.inputs[0].grid)
        return [Rows(pulled.contiguous(memory_format=torch.channels_last), self.see(rows.window), rows.first)]

    def count(self, window: Window) -> int:
        return window.shape[0] * window.shape[1] * int(self.weight.shape[1]) * self.inputs[0].channels

    @property
    def multiplications(self) -> int:
        return self.output.size * int(self.weight.shape[1])

    def spread(self, *reached: Tensor) -> Tensor:
        return reached[0].any().expand(self.output.grid)


def read_convolution(call: Call) -> Signal:
    signal = call.signal()
    padding = call.given["padding"]
    return call.add(
        Convolution(
            call.shape(signal),
            constant_weight(call, "weight"),
            call.given["bias"],
            pair(call.given["stride"]),
            padding if isinstance(padding, str) else pair(padding),
            pair(call.given["dilation"]),
            call.given["groups"],
        ),
        signal,
    )


def constant_weight(call: Call, name: str) -> Tensor:
    value = call.given[name]
    if not isinstance(value, Tensor):
        raise call.unknown(f"operation {call.name} with a {name} that depends on the input")
    return value


def read_transposed_convolution(call: Call) -> Signal:
    signal, given = call.signal(), call.given
    stride, padding, extra, dilation = (
        pair(given[name]) for name in ("stride", "padding", "output_padding", "dilation")
    )
    weight = constant_weight(call, "weight")
    operation = TransposedConvolution(
        call.shape(signal), weight, given["bias"], stride, padding, extra, dilation, given["groups"]
    )
    return call.add(operation, signal)


def read_linear(call: Call) -> Signal:
    signal = call.signal(axes=None)
    shape, weight, bias = call.shape(signal), constant_weight(call, "weight"), call.given["bias"]
    if signal.axes[-1] == "channel":
        # Shared by the cells, it is a convolution of one cell.
        return call.add(Convolution(shape, weight[:, :, None, None], bias), signal)
    if signal.axes == CELLS:
        return call.add(LinearOverCells(shape, weight, bias, _find_grid(call, int(weight.shape[0]))), signal)
    raise call.unknown(f"a linear layer over {signal.axes[-1]}s")


def _find_grid(call: Call, cells: int) -> GridShape:
    """Return the grid that cells in one line are laid out on afterwards, or one row where they are others by then."""
    ahead = [call.node]
    while ahead:
        node = ahead.pop(0)
        size = list(node.meta["val"].shape) if isinstance(node.meta.get("val"), Tensor) else []
        if len(size) == 4:
            rows, columns = int(size[2]), int(size[3])
            return (rows, columns) if rows * columns == cells else (1, cells)
        ahead += [user for user in node.users if user.op == "call_function"]
    raise call.unknown("a linear layer over cells that are never laid out on a grid")
