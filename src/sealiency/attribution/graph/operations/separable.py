"""Interpolation, average pooling and other maps that work on rows and on columns by themselves."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sealiency.attribution.graph.call import FIELD, Call, Signal, pair
from sealiency.attribution.graph.operations.operation import LinearOperation, Part, Rows, Shape, ZeroPadding
from sealiency.attribution.graph.windows import GridShape, Span, Window


class Separable(LinearOperation):
    """A separable linear map of the grid: two small matrices say what each row and column is made of.

    Parameters
    ----------
    shape
        Shape of its input.
    grid
        Grid of its output.
    compute
        The operation on fields of shape (sample, channel, row, column).
    along
        The operation along one axis, 0 or 1, of fields that are one cell wide along the other.
    like
        A tensor on the network's device and in its precision.
    """

    def __init__(
        self,
        shape: Shape,
        grid: GridShape,
        compute: Callable[[Tensor], Tensor],
        along: Callable[[Tensor, int], Tensor],
        like: Tensor,
    ) -> None:
        super().__init__([shape], Shape(shape.channels, grid))
        self.compute = compute
        self.weights, self.used = [], []
        for axis, (coarse, fine) in enumerate(zip(shape.grid, grid, strict=True)):
            matrices = []
            # In the network's own arithmetic, which rounds the places that bicubic interpolation looks at.
            for dtype in (like.dtype, torch.float32, torch.float64):
                unit = torch.eye(coarse, dtype=dtype)[:, None].unsqueeze(3 - axis)
                matrices.append(along(unit, axis).reshape(coarse, fine).T)
            self.weights.append(matrices[0].to(like.device))
            # Each arithmetic rounds in its own way. On the processor's side, because windows are.
            self.used.append(torch.stack([matrix != 0 for matrix in matrices]).any(0))
        self.seen = [(weights != 0).cpu() for weights in self.weights]

    def prepare(self, precision: torch.dtype) -> None:
        self.pulling = [weights.to(precision) for weights in self.weights]

    def forward(self, *fields: Tensor) -> Tensor:
        return self.compute(fields[0])

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        field = parts[0].cut(self.see(window))
        return torch.einsum("nchw,ih,jw->ncij", field, *self._cut(self.weights, window))

    def _cut(self, matrices: Sequence[Tensor], window: Window) -> list[Tensor]:
        spans = zip(matrices, window, self.see(window), strict=True)
        return [weights[slice(*fine), slice(*coarse)] for weights, fine, coarse in spans]

    def see(self, window: Window) -> Window:
        spans = []
        for span, seen in zip(window, self.seen, strict=True):
            cells = seen[slice(*span)].any(0).nonzero().flatten().tolist() or [0]
            spans.append(Span(cells[0], cells[-1] + 1))
        return Window(*spans)

    def pull(self, rows: Rows) -> list[Rows]:
        seen = self.see(rows.window)
        parts = self._cut(self.pulling, rows.window)
        # What interpolation multiplies is not counted as work.
        return [Rows(torch.einsum("nchw,hi,wj->ncij", rows.values, *parts), seen, rows.first)]

    def spread(self, *reached: Tensor) -> Tensor:
        rows, columns = (used.double() for used in self.used)
        return rows @ reached[0].double() @ columns.T > 0


def read_interpolation(call: Call) -> Signal:
    signal, given, target = call.signal(), call.given, call.target
    size, factors = given.get("output_size"), given.get("scale_factors")
    rest = {k: v for k, v in given.items() if k not in ("input", "output_size", "scale_factors")}
    grid = tuple(int(few) for few in call.node.meta["val"].shape[2:])

    def compute(x: Tensor) -> Tensor:
        return target(x, output_size=size, scale_factors=factors, **rest)

    def along(line: Tensor, axis: int) -> Tensor:
        sizes = [grid[0], 1] if axis == 0 else [1, grid[1]]
        scales = None if factors is None else ([factors[0], 1.0] if axis == 0 else [1.0, factors[1]])
        return target(line, output_size=None if size is None else sizes, scale_factors=scales, **rest)

    return call.add(Separable(call.shape(signal), (grid[0], grid[1]), compute, along, call.like), signal)


def read_pooling(call: Call) -> Signal:
    signal, given, target = call.signal("self"), call.given, call.target
    grid = tuple(int(few) for few in call.node.meta["val"].shape[2:])
    rest = {k: v for k, v in given.items() if k != "self"}
    if call.name == "adaptive_avg_pool2d":

        def along(line: Tensor, axis: int) -> Tensor:
            return target(line, [grid[0], 1] if axis == 0 else [1, grid[1]])
    else:
        kernel = pair(given["kernel_size"])
        stride = pair(given["stride"]) if given["stride"] else kernel
        padding, divisor = pair(given["padding"]), given["divisor_override"]

        def along(line: Tensor, axis: int) -> Tensor:
            def one(pair: tuple[int, int], other: int) -> list[int]:
                return [pair[0], other] if axis == 0 else [other, pair[1]]

            # The sum over both axes is divided once.
            own = None if divisor is None else (divisor if axis == 0 else 1)
            return target(
                line,
                one(kernel, 1),
                one(stride, 1),
                one(padding, 0),
                given["ceil_mode"],
                given["count_include_pad"],
                own,
            )

    return call.add(
        Separable(call.shape(signal), (grid[0], grid[1]), lambda x: target(x, **rest), along, call.like), signal
    )


def read_mean(call: Call) -> Signal:
    signal = call.signal("self")
    dims = sorted(dim % 4 for dim in call.given["dim"] or [0])
    if not call.given["keepdim"] or not set(dims) <= {2, 3}:
        raise call.unknown("a mean over other axes than rows and columns, or one that drops them")
    grid = call.shape(signal).grid
    after = tuple(1 if axis + 2 in dims else size for axis, size in enumerate(grid))

    def along(line: Tensor, axis: int) -> Tensor:
        return line.mean(axis + 2, keepdim=True) if axis + 2 in dims else line

    return call.add(
        Separable(call.shape(signal), (after[0], after[1]), lambda x: x.mean(dims, keepdim=True), along, call.like),
        signal,
    )


def read_padding(call: Call) -> Signal:
    signal, given = call.signal("self", axes=None), call.given
    mode = given.get("mode") or "constant"
    if signal.axes != FIELD:
        raise call.unknown(f"padding of a value of ({', '.join(signal.axes)})")
    pads = [int(few) for few in given["pad"]] + [0] * 8
    left, right, top, bottom = pads[:4]
    shape = call.shape(signal)
    if any(pads[4:]):
        raise call.unknown("padding of channels")
    if mode == "constant":
        rows, columns = shape.grid
        grown = Window(Span(-top, rows + bottom), Span(-left, columns + right))
        return call.add(ZeroPadding(shape, grown, float(given.get("value") or 0.0)), signal)

    def along(line: Tensor, axis: int) -> Tensor:
        pad = [0, 0, top, bottom] if axis == 0 else [left, right, 0, 0]
        return torch.nn.functional.pad(line, pad, mode)

    grid = (shape.grid[0] + top + bottom, shape.grid[1] + left + right)
    return call.add(
        Separable(
            shape, grid, lambda x: torch.nn.functional.pad(x, [left, right, top, bottom], mode), along, call.like
        ),
        signal,
    )


def read_shift(call: Call) -> Signal:
    signal = call.signal("self")
    shifts, dims = call.given.get("shifts") or [0] * 4, [dim % 4 for dim in call.given["dims"]]
    if not set(dims) <= {2, 3}:
        raise call.unknown("a shift of other axes than rows and columns")

    def turn(x: Tensor, axes: Sequence[int]) -> Tensor:
        for shift, dim in zip(shifts, dims, strict=False):
            if dim in axes:
                x = x.flip(dim) if call.name == "flip" else x.roll(shift, dim)
        return x

    shape = call.shape(signal)
    return call.add(
        Separable(shape, shape.grid, lambda x: turn(x, (2, 3)), lambda line, axis: turn(line, (axis + 2,)), call.like),
        signal,
    )
