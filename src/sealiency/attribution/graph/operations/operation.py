"""What every operation of a network knows: what it computes, and the way back through it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sealiency.attribution.graph.windows import GridShape, Window, move, whole


class Shape(NamedTuple):
    """What a value of the network is made of, besides samples."""

    channels: int
    grid: GridShape

    @property
    def size(self) -> int:
        """Number of values."""
        return self.channels * self.grid[0] * self.grid[1]


class Part(NamedTuple):
    """What a value of the network is in a window of its grid."""

    values: Tensor
    """Shape (sample, channel, row, column), the part in the window."""
    window: Window

    def cut(self, window: Window) -> Tensor:
        """Return what it is in a smaller window, as a view."""
        return window.within(self.window).cut(self.values)


@dataclass
class Rows:
    """Rows of the network's linear map, as they stand at one of its values: zero outside the window and other channels."""

    values: Tensor
    """Shape (row, channel, row of the grid, column), the part in the window."""
    window: Window
    first: int = 0
    """The first channel."""
    own: bool = True
    """Whether nobody else reads the tensor, so that it may be written to."""

    def is_whole(self, channels: int, window: Window) -> bool:
        """Tell whether the rows have all channels and all of a window."""
        return self.values.shape[1] == channels and self.window == window

    def fill(self, channels: int) -> "Rows":
        """Return the rows with every channel."""
        if self.values.shape[1] == channels:
            return self
        return add_rows(self, Rows(self.values[:, :0], self.window, 0), channels)


def add_rows(one: Rows, other: Rows, channels: int) -> Rows:
    """Add rows that came back along two ways, in the union of their windows; one of the two may be written to.

    Parameters
    ----------
    one, other
        The rows.
    channels
        Channels of the value where they meet.
    """
    window = one.window.join(other.window)
    base, rest = one, [other]
    if not (one.own and one.is_whole(channels, window)):
        base, rest = other, [one]
    if not (base.own and base.is_whole(channels, window)):
        shape = (len(one.values), channels, *window.shape)
        zeros = torch.zeros(shape, dtype=one.values.dtype, device=one.values.device)
        base, rest = Rows(zeros.contiguous(memory_format=torch.channels_last), window), [one, other]
    for part in rest:
        place = part.window.within(window).cut(base.values[:, part.first : part.first + part.values.shape[1]])
        place.add_(part.values)
    return base


class Operation(ABC):
    """An operation on one or more values of the network, each of shape (sample, channel, row, column).

    Attributes
    ----------
    inputs
        Shapes of the values that it works on.
    output
        Shape of what it gives.
    """

    inputs: tuple[Shape, ...]
    output: Shape

    def __init__(self, inputs: Sequence[Shape], output: Shape) -> None:
        self.inputs, self.output = tuple(inputs), output

    @abstractmethod
    def forward(self, *fields: Tensor) -> Tensor:
        """Compute the operation."""

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        """Compute a window of the output from parts of the inputs that hold all that it is made of.

        Here on the whole grid, where nothing else of it counts; an operation that does with less says so.
        """
        shapes = zip(parts, self.inputs, strict=True)
        return window.cut(self.forward(*(move(part.values, part.window, whole(shape.grid)) for part, shape in shapes)))

    def see(self, window: Window) -> Window:
        """Return the cells of its inputs that a window of its output is made of."""
        return window

    def count(self, window: Window) -> int:
        """Return the multiplications with additions that pulling one row takes."""
        return 0

    @property
    def multiplications(self) -> int:
        """Multiplications with additions of a forward pass of one sample."""
        return 0

    def spread(self, *reached: Tensor) -> Tensor:
        """Return the cells of its output that depend on cells of its inputs, masks of shape (row, column)."""
        mask = reached[0]
        for other in reached[1:]:
            mask = mask | other
        return mask


class CellwiseOperation(Operation):
    """An operation that makes each cell of the same cell of its inputs, and of nothing that differs from cell to cell."""

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        return self.forward(*(part.cut(window) for part in parts))


class LinearOperation(Operation):
    """An operation that is linear but for a constant, which explanations pass through by its transpose."""

    def prepare(self, precision: torch.dtype) -> None:
        """Get what pulling needs in the arithmetic of the rows; without weights that is nothing."""
        return

    @abstractmethod
    def pull(self, rows: Rows) -> list[Rows]:
        """Take rows at its output back to its inputs."""


class Identity(LinearOperation):
    """What changes nothing in evaluation, such as dropout, or adds a constant."""

    def __init__(self, shape: Shape, add: Tensor | None = None, factor: float = 1.0) -> None:
        super().__init__([shape], shape)
        self.add, self.factor = add, factor

    def forward(self, *fields: Tensor) -> Tensor:
        return fields[0] if self.add is None else torch.add(fields[0], self.add, alpha=self.factor)

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        return parts[0].cut(window) if self.add is None else super().forward_part(window, *parts)

    def pull(self, rows: Rows) -> list[Rows]:
        return [rows]


class Addition(CellwiseOperation, LinearOperation):
    """The sum of values, each times a number."""

    def __init__(self, shapes: Sequence[Shape], factors: Sequence[float]) -> None:
        super().__init__(shapes, shapes[0])
        self.factors = factors

    def forward(self, *fields: Tensor) -> Tensor:
        first, second = (
            field if factor == 1 else field * factor for field, factor in zip(fields, self.factors, strict=True)
        )
        return first + second

    def pull(self, rows: Rows) -> list[Rows]:
        return [
            Rows(rows.values, rows.window, rows.first, own=False)
            if factor == 1
            else Rows(rows.values * factor, rows.window, rows.first)
            for factor in self.factors
        ]


class Crop(LinearOperation):
    """A part of the grid."""

    def __init__(self, shape: Shape, part: Window) -> None:
        super().__init__([shape], Shape(shape.channels, part.shape))
        self.part = part

    def forward(self, *fields: Tensor) -> Tensor:
        return self.part.cut(fields[0])

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        return parts[0].cut(self.see(window))

    def see(self, window: Window) -> Window:
        return window.shift(self.part)

    def pull(self, rows: Rows) -> list[Rows]:
        return [Rows(rows.values, self.see(rows.window), rows.first, rows.own)]

    def spread(self, *reached: Tensor) -> Tensor:
        return self.part.cut(reached[0])


class ZeroPadding(LinearOperation):
    """Cells of one constant around the grid."""

    def __init__(self, shape: Shape, grown: Window, value: float) -> None:
        """Take the window of the output as counted from the corner of the input."""
        super().__init__([shape], Shape(shape.channels, grown.shape))
        self.grown, self.value = grown, value

    def forward(self, *fields: Tensor) -> Tensor:
        return torch.nn.functional.pad(fields[0], self._pads, value=self.value)

    @property
    def _pads(self) -> list[int]:
        (top, bottom), (left, right) = (
            (-span.start, span.stop - size) for span, size in zip(self.grown, self.inputs[0].grid, strict=True)
        )
        return [left, right, top, bottom]

    def see(self, window: Window) -> Window:
        shifted = window.shift(self.grown)
        return Window(*(span.clip(size) for span, size in zip(shifted, self.inputs[0].grid, strict=True)))

    def pull(self, rows: Rows) -> list[Rows]:
        seen = self.see(rows.window)
        return [Rows(move(rows.values, rows.window.shift(self.grown), seen), seen, rows.first, rows.own)]

    def spread(self, *reached: Tensor) -> Tensor:
        return torch.nn.functional.pad(reached[0], self._pads, value=False)
