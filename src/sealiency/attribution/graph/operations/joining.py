"""What joins values, takes channels of one, or lays channels out in space."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sealiency.attribution.graph.call import Call, Signal
from sealiency.attribution.graph.operations.operation import (
    Addition,
    CellwiseOperation,
    Identity,
    LinearOperation,
    Rows,
    Shape,
)
from sealiency.attribution.graph.operations.pointwise import Scale
from sealiency.attribution.graph.operations.separable import Separable
from sealiency.attribution.graph.windows import Span, Window, move


class Concatenation(CellwiseOperation, LinearOperation):
    """Values side by side as channels: each is given its own channels of a row."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__(shapes, Shape(sum(shape.channels for shape in shapes), shapes[0].grid))

    def forward(self, *fields: Tensor) -> Tensor:
        return torch.cat(fields, 1)

    def pull(self, rows: Rows) -> list[Rows]:
        parts = rows.fill(self.output.channels).values.split([shape.channels for shape in self.inputs], 1)
        return [Rows(part, rows.window, own=False) for part in parts]


class Channels(CellwiseOperation, LinearOperation):
    """Some consecutive channels."""

    def __init__(self, shape: Shape, first: int, stop: int) -> None:
        super().__init__([shape], Shape(stop - first, shape.grid))
        self.first, self.stop = first, stop

    def forward(self, *fields: Tensor) -> Tensor:
        return fields[0][:, self.first : self.stop]

    def pull(self, rows: Rows) -> list[Rows]:
        return [Rows(rows.values, rows.window, rows.first + self.first, rows.own)]


class PixelShuffle(LinearOperation):
    """Channels laid out in space (Shi et al. 2016)."""

    def __init__(self, shape: Shape, factor: int) -> None:
        grid = (shape.grid[0] * factor, shape.grid[1] * factor)
        super().__init__([shape], Shape(shape.channels // factor**2, grid))
        self.factor = factor

    def forward(self, *fields: Tensor) -> Tensor:
        return functional.pixel_shuffle(fields[0], self.factor)

    def see(self, window: Window) -> Window:
        return Window(*(Span(span.start // self.factor, -(-span.stop // self.factor)) for span in window))

    def pull(self, rows: Rows) -> list[Rows]:
        rows = rows.fill(self.output.channels)
        seen = self.see(rows.window)
        aligned = Window(*(Span(span.start * self.factor, span.stop * self.factor) for span in seen))
        return [Rows(functional.pixel_unshuffle(move(rows.values, rows.window, aligned), self.factor), seen)]

    def spread(self, *reached: Tensor) -> Tensor:
        return reached[0].repeat_interleave(self.factor, 0).repeat_interleave(self.factor, 1)


class PixelUnshuffle(LinearOperation):
    """Cells laid out as channels."""

    def __init__(self, shape: Shape, factor: int) -> None:
        grid = (shape.grid[0] // factor, shape.grid[1] // factor)
        super().__init__([shape], Shape(shape.channels * factor**2, grid))
        self.factor = factor

    def forward(self, *fields: Tensor) -> Tensor:
        return functional.pixel_unshuffle(fields[0], self.factor)

    def see(self, window: Window) -> Window:
        return Window(*(Span(span.start * self.factor, span.stop * self.factor) for span in window))

    def pull(self, rows: Rows) -> list[Rows]:
        rows = rows.fill(self.output.channels)
        return [Rows(functional.pixel_shuffle(rows.values, self.factor), self.see(rows.window))]

    def spread(self, *reached: Tensor) -> Tensor:
        cells = functional.pixel_unshuffle(reached[0].double()[None, None], self.factor)
        return cells[0].sum(0) > 0


def read_sum(call: Call) -> Signal:
    one, other, alpha = call.given["self"], call.given["other"], call.given.get("alpha", 1)
    alpha = 1 if alpha is None else alpha
    if call.name == "rsub":
        one, other = other, one
    factor = -alpha if call.name in ("sub", "rsub") else alpha
    if isinstance(one, Signal) and isinstance(other, Signal):
        if one.axes != other.axes:
            raise call.unknown("a sum of values that are laid out differently")
        one, other = _widen(call, one, call.shape(other)), _widen(call, other, call.shape(one))
        if call.shape(one) != call.shape(other):
            raise call.unknown("a sum of values of different shapes")
        return call.add(Addition([call.shape(one), call.shape(other)], (1.0, float(factor))), one, other)
    if isinstance(one, Signal):
        constant = call.lay_out(other, one)
        return call.add(Identity(call.shape(one), constant, factor), one)
    constant = call.lay_out(one, other)
    if factor != 1:
        scale = call.lay_out(float(factor), other)
        other = call.add(Scale(call.shape(other), scale, lambda x: x * scale), other)
    return call.add(Identity(call.shape(other), constant), other)


def _widen(call: Call, signal: Signal, wanted: Shape) -> Signal:
    """Repeat a value that is one cell wide over the grid of another."""
    channels, grid = call.shape(signal)
    if (
        channels != wanted.channels
        or grid == wanted.grid
        or any(few not in (1, many) for few, many in zip(grid, wanted.grid, strict=True))
    ):
        return signal

    def along(line: Tensor, axis: int) -> Tensor:
        if grid[axis] == wanted.grid[axis]:
            return line
        return line.expand(-1, -1, *((wanted.grid[0], 1) if axis == 0 else (1, wanted.grid[1])))

    def compute(x: Tensor) -> Tensor:
        return x.expand(-1, -1, *wanted.grid)

    return call.add(Separable(call.shape(signal), wanted.grid, compute, along, call.like), signal)


def read_concatenation(call: Call) -> Signal:
    parts, dim = call.given["tensors"], call.given["dim"]
    first = next(part for part in parts if isinstance(part, Signal))
    if dim % len(first.axes) != 1 or first.axes[1] != "channel":
        raise call.unknown("a concatenation of places")
    if not all(isinstance(part, Signal) and part.axes == first.axes for part in parts):
        raise call.unknown("a concatenation with a constant, or of values that are laid out differently")
    return call.add(Concatenation([call.shape(part) for part in parts]), *parts)


def read_shuffle(call: Call) -> Signal:
    signal = call.signal("self")
    if call.name == "pixel_shuffle":
        return call.add(PixelShuffle(call.shape(signal), call.given["upscale_factor"]), signal)
    return call.add(PixelUnshuffle(call.shape(signal), call.given["downscale_factor"]), signal)
