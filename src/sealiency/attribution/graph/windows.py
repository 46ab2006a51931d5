"""Boxes of a grid, and what lies in them."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

GridShape = tuple[int, int]


class Span(NamedTuple):
    """Rows, or columns, from start up to and without stop."""

    start: int
    stop: int

    def clip(self, size: int) -> "Span":
        """Return the part within an axis, or its nearest cell where none is."""
        start = min(max(self.start, 0), size - 1)
        return Span(start, max(min(self.stop, size), start + 1))


class Window(NamedTuple):
    """A box of a layer's grid."""

    rows: Span
    columns: Span

    @property
    def shape(self) -> GridShape:
        """Number of rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def cut(self, field: Tensor) -> Tensor:
        """Return the part of a field of shape (..., row, column) that lies in the window, as a view."""
        return field[..., slice(*self.rows), slice(*self.columns)]

    def within(self, outer: "Window") -> "Window":
        """Return the window as counted from the corner of another one."""
        return Window(
            *(Span(span.start - of.start, span.stop - of.start) for span, of in zip(self, outer, strict=True))
        )

    def shift(self, origin: "Window") -> "Window":
        """Return a window that is counted from the corner of another one as counted from where that one's is."""
        return Window(
            *(Span(span.start + of.start, span.stop + of.start) for span, of in zip(self, origin, strict=True))
        )

    def join(self, other: "Window") -> "Window":
        """Return the smallest window that holds both."""
        return Window(*(Span(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(self, other, strict=True)))


def whole(grid: GridShape) -> Window:
    """Return the window of a whole grid."""
    return Window(*(Span(0, size) for size in grid))


def surround(places: Iterable[GridShape]) -> Window:
    """Return the smallest window that holds all places, each a row and a column."""
    return Window(*(Span(min(axis), max(axis) + 1) for axis in zip(*places, strict=True)))


def move(rows: Tensor, window: Window, target: Window) -> Tensor:
    """Return values that are known in one window, and zero outside, on another window."""
    if window == target:
        return rows
    (top, bottom), (left, right) = (
        (of.start - to.start, to.stop - of.stop) for of, to in zip(window, target, strict=True)
    )
    if max(top, bottom, left, right) <= 0:
        return target.within(window).cut(rows)
    return functional.pad(rows, [left, right, top, bottom])
