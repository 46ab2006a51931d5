"""DeepLIFT (rescale rule) for many output pixels of many samples at once, exactly.

The idea:

1. For one sample and one baseline, the rescale rule replaces each ReLU by a fixed multiplier; every other layer is
   linear. So the network is one linear map, and the attribution of output pixel p is row p of it times (x - baseline).
2. The multipliers do not depend on the pixel: they are computed once a sample, the baseline's activations once a model.
3. A row is pulled from the output back to the input, layer by layer. It is zero outside what the pixel sees, a window
   that grows from one cell to most of the grid, so only that window is worked on.
4. Neighbouring pixels, those over one cell of the coarsest layer, see nearly the same cells. They share their windows
   and are pulled together, for several samples at a time: one convolution serves all, and multipliers are plain slices.

Shrikumar, A., Greenside, P. & Kundaje, A. (2019). Learning important features through propagating activation
differences, section 3.5.1.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sealiency.emulators.networks.densenet import (
    Composition,
    DenseLayer,
    DenseNet,
    LinearBottleneck,
    UpsamplingComposition,
)
from sealiency.errors import SealiencyError


class Span(NamedTuple):
    """Rows, or columns, from start up to and without stop."""

    start: int
    stop: int


class Window(NamedTuple):
    """A box of a layer's grid."""

    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
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


@dataclass(frozen=True)
class Linearisation:
    """A network as the linear map that it is to the rescale rule, for some samples against their baselines."""

    multipliers: list[Tensor]
    """Of each activation in the order of the forward pass, of shape (sample, channel, row, column)."""
    change: Tensor
    """x - baseline, of shape (sample, lag, row, column)."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.change)

    def take(self, samples: slice) -> "Linearisation":
        """Return some of the samples, as views."""
        return Linearisation([values[samples] for values in self.multipliers], self.change[samples])


class _Convolution:
    """A convolution: a row is pulled by its transpose."""

    def __init__(self, conv: nn.Conv2d, grid: tuple[int, int], precision: torch.dtype) -> None:
        self.conv, self.grid = conv, grid
        self.kernel, self.stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        plain = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
        if plain != ((self.kernel,) * 2, (self.stride,) * 2, (padding,) * 2, (1, 1), 1, "zeros"):
            raise SealiencyError(
                f"{conv} has no exact rule in the attribution engine; use a square kernel, one stride, one padding of "
                "zeros, no dilation and no groups"
            )
        self.padding = int(padding)
        self.weight = conv.weight.detach().to(precision).contiguous(memory_format=torch.channels_last)
        self.output_grid = tuple((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in grid)
        self.channels = conv.in_channels

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        return self.conv(x)

    def _reach(self, span: Span) -> Span:
        start = span.start * self.stride - self.padding
        return Span(start, start + (span.stop - span.start - 1) * self.stride + self.kernel)

    def see(self, window: Window) -> Window:
        # What lies in the padding is no cell.
        reached = zip(map(self._reach, window), self.grid, strict=True)
        return Window(*(Span(max(span.start, 0), min(span.stop, size)) for span, size in reached))

    def pull(self, rows: Tensor, window: Window, multipliers: Iterator[Tensor]) -> Tensor:
        seen, reached = self.see(window), [self._reach(span) for span in window]
        # What both sides have too much is left out of the convolution, the rest is cut off.
        spare = [min(part.start - full.start, full.stop - part.stop) for part, full in zip(seen, reached, strict=True)]
        pulled = functional.conv_transpose2d(rows, self.weight, stride=self.stride, padding=spare)
        left = (Span(full.start + few, full.stop - few) for full, few in zip(reached, spare, strict=True))
        return seen.within(Window(*left)).cut(pulled)

    def count(self, window: Window) -> int:
        taps = 1
        for span, size in zip(window, self.grid, strict=True):
            reached = (self._reach(Span(at, at + 1)) for at in range(*span))
            taps *= sum(min(one.stop, size) - max(one.start, 0) for one in reached)
        return taps * self.conv.in_channels * self.conv.out_channels


class _Interpolation:
    """Nearest or bicubic interpolation: separable, so two small matrices say what each row and column is made of."""

    def __init__(self, layer: UpsamplingComposition, grid: tuple[int, int], precision: torch.dtype) -> None:
        self.output_grid, self.mode, self.grid, self.channels = layer.size, layer.mode, grid, layer.norm.num_features
        self.weights = []
        for axis, (coarse, fine) in enumerate(zip(grid, self.output_grid, strict=True)):
            # In the network's own arithmetic, which rounds the places that bicubic interpolation looks at.
            unit = torch.eye(coarse, dtype=layer.conv.weight.dtype)[:, None]
            line = unit.unsqueeze(3 - axis)
            wanted = (fine, 1) if axis == 0 else (1, fine)
            self.weights.append(
                functional.interpolate(line, size=wanted, mode=self.mode)
                .reshape(coarse, fine)
                .T.to(layer.conv.weight.device, precision)
            )
        # On the processor's side, because windows are.
        self.used = [(weights != 0).cpu() for weights in self.weights]

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        return functional.interpolate(x, size=self.output_grid, mode=self.mode)

    def see(self, window: Window) -> Window:
        spans = []
        for span, used in zip(window, self.used, strict=True):
            cells = used[slice(*span)].any(0).nonzero().flatten()
            spans.append(Span(int(cells[0]), int(cells[-1]) + 1))
        return Window(*spans)

    def pull(self, rows: Tensor, window: Window, multipliers: Iterator[Tensor]) -> Tensor:
        inside = zip(self.weights, window, self.see(window), strict=True)
        parts = [weights[slice(*fine), slice(*coarse)] for weights, fine, coarse in inside]
        return torch.einsum("nchw,hi,wj->ncij", rows, *parts)

    def count(self, window: Window) -> int:
        # Nearest interpolation multiplies nothing; what bicubic multiplies is not counted.
        return 0


class _Activation:
    """BatchNorm and ReLU: to the rescale rule, a multiplication by (relu(a) - relu(a0)) / (a - a0) times the norm's scale."""

    def __init__(self, norm: nn.BatchNorm2d, grid: tuple[int, int]) -> None:
        self.norm, self.output_grid, self.channels = norm, grid, norm.num_features
        # Batch norm in evaluation mode is linear in its input.
        assert norm.running_var is not None
        self.scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        seen.append(self.norm(x))
        return functional.relu(seen[-1])

    def linearise(self, a: Tensor, a0: Tensor, precision: torch.dtype) -> Tensor:
        change = a - a0
        # Where nothing changes the rule is the gradient. No threshold is needed: where both are active, relu(a) -
        # relu(a0) is a - a0 to the last bit.
        multiplier = torch.where(change == 0, (a > 0).to(a.dtype), (functional.relu(a) - functional.relu(a0)) / change)
        multiplier *= self.scale[:, None, None]
        return multiplier.to(precision).contiguous(memory_format=torch.channels_last)

    def see(self, window: Window) -> Window:
        return window

    def pull(self, rows: Tensor, window: Window, multipliers: Iterator[Tensor]) -> Tensor:
        multiplier = window.cut(next(multipliers))[:, None]
        # In place: what a convolution has just pulled belongs to nobody else.
        rows.unflatten(0, (len(multiplier), -1)).mul_(multiplier)
        return rows

    def count(self, window: Window) -> int:
        return 0


class _DenseLayer:
    """A layer whose output joins its input: what was passed on is pulled as it is, the new channels through the layer."""

    def __init__(self, layer: DenseLayer, grid: tuple[int, int], precision: torch.dtype) -> None:
        self.width = layer.norm.num_features
        self.activation, self.convolution = _Activation(layer.norm, grid), _Convolution(layer.conv, grid, precision)
        self.output_grid, self.channels = grid, self.width

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        return torch.cat([x, self.convolution.forward(self.activation.forward(x, seen), seen)], 1)

    def see(self, window: Window) -> Window:
        return self.convolution.see(window)

    def pull(self, rows: Tensor, window: Window, multipliers: Iterator[Tensor]) -> Tensor:
        wider = self.see(window)
        pulled = self.convolution.pull(rows[:, self.width :], window, multipliers)
        pulled = self.activation.pull(pulled, wider, multipliers)
        window.within(wider).cut(pulled).add_(rows[:, : self.width])
        return pulled

    def count(self, window: Window) -> int:
        return self.convolution.count(window)


class _LinearBottleneck:
    """A linear layer over all cells, shared by the channels and added to its input: every cell is seen."""

    def __init__(self, layer: LinearBottleneck, grid: tuple[int, int], precision: torch.dtype) -> None:
        self.layer, self.output_grid, self.channels = layer, grid, layer.channels
        self.weight = layer.linear.weight.detach().to(precision)
        self.whole = Window(*(Span(0, size) for size in grid))

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        return self.layer(x)

    def see(self, window: Window) -> Window:
        return self.whole

    def pull(self, rows: Tensor, window: Window, multipliers: Iterator[Tensor]) -> Tensor:
        used = window.cut(self.weight.T.unflatten(1, self.output_grid)).flatten(1)
        pulled = functional.linear(rows.flatten(2), used).unflatten(2, self.output_grid)
        pulled = pulled.contiguous(memory_format=torch.channels_last)
        window.cut(pulled).add_(rows)
        return pulled

    def count(self, window: Window) -> int:
        return window.shape[0] * window.shape[1] * self.weight.shape[1] * self.channels


_Step = _Convolution | _Interpolation | _Activation | _DenseLayer | _LinearBottleneck


def _build_steps(network: DenseNet, grid: tuple[int, int], precision: torch.dtype) -> list[_Step]:
    steps: list[_Step] = []

    def here() -> tuple[int, int]:
        rows, columns = steps[-1].output_grid if steps else grid
        return rows, columns

    for name, block in network.layers.named_children():
        inner = block.named_children() if type(block) is nn.Sequential else [("", block)]
        for place, layer in inner:
            if type(layer) is nn.Conv2d:
                steps.append(_Convolution(layer, here(), precision))
            elif type(layer) is DenseLayer:
                steps.append(_DenseLayer(layer, here(), precision))
            elif type(layer) is Composition:
                steps.append(_Activation(layer.norm, here()))
                steps.append(_Convolution(layer.conv, here(), precision))
            elif type(layer) is UpsamplingComposition:
                steps.append(_Activation(layer.norm, here()))
                steps.append(_Interpolation(layer, here(), precision))
                steps.append(_Convolution(layer.conv, here(), precision))
            elif type(layer) is LinearBottleneck:
                steps.append(_LinearBottleneck(layer, here(), precision))
            else:
                where = ".".join(filter(None, ("layers", name, place)))
                raise SealiencyError(
                    f"layer {where} is a {type(layer).__name__}, for which the attribution engine has no exact rule; "
                    "use the layers of sealiency.emulators.networks.densenet"
                )
    return steps


class Engine:
    """The rescale rule on a DenseNet, for many output pixels and samples at once.

    Parameters
    ----------
    network
        Network on its device, in float32 or float64, that `sealiency.attribution.methods.check_network` accepts.
    grid
        Rows and columns of its input.
    precision
        Arithmetic of the rows: the network's own, or bfloat16. Multipliers are computed in the network's.

    Raises
    ------
    SealiencyError
        If the network is no DenseNet, or a layer of it has no exact rule here; it is named.
    """

    def __init__(self, network: nn.Module, grid: tuple[int, int], precision: torch.dtype) -> None:
        if type(network) is not DenseNet:
            raise SealiencyError(
                f"network is a {type(network).__name__}, for which the attribution engine has no exact rule; use a DenseNet"
            )
        self.residual = network.residual
        self.grid = grid
        self.precision = precision
        self.item_size = next(network.parameters()).element_size()
        self.steps = _build_steps(network, grid, precision)
        self.activations = [
            part
            for step in self.steps
            for part in (step, getattr(step, "activation", None))
            if isinstance(part, _Activation)
        ]

    @torch.no_grad()
    def observe(self, fields: Tensor) -> list[Tensor]:
        """Return what every ReLU is given, in the order of the forward pass.

        Parameters
        ----------
        fields
            Inputs or baselines of shape (sample, lag, row, column).
        """
        seen: list[Tensor] = []
        x = fields.contiguous(memory_format=torch.channels_last)
        for step in self.steps:
            x = step.forward(x, seen)
        return seen

    @torch.no_grad()
    def linearise(self, inputs: Tensor, baselines: Tensor, observed: list[Tensor]) -> Linearisation:
        """Return the network as a linear map, for each sample against its baseline.

        Parameters
        ----------
        inputs, baselines
            Of shape (sample, lag, row, column); one of the two may hold a single field.
        observed
            What `observe` gave for the baselines.
        """
        given = zip(self.activations, self.observe(inputs), observed, strict=True)
        multipliers = [activation.linearise(a, a0, self.precision) for activation, a, a0 in given]
        return Linearisation(multipliers, (inputs - baselines).contiguous(memory_format=torch.channels_last))

    def group(self, pixels: Sequence[int]) -> list[list[int]]:
        """Return the positions of pixels, those over one cell of the coarsest layer together.

        Parameters
        ----------
        pixels
            Output pixels, as positions in the flattened grid.
        """
        coarse = min(step.output_grid for step in self.steps)
        groups = defaultdict(list)
        for position, pixel in enumerate(pixels):
            place = divmod(pixel, self.grid[1])
            groups[tuple(at * few // size for at, few, size in zip(place, coarse, self.grid, strict=True))].append(
                position
            )
        return list(groups.values())

    @torch.no_grad()
    def attribute(self, linearisation: Linearisation, pixels: Sequence[int]) -> tuple[Tensor, Window]:
        """Attribute some output pixels to the inputs of all samples.

        Parameters
        ----------
        linearisation
            The samples, from `linearise`.
        pixels
            Output pixels, as positions in the flattened grid; the closer, the faster.

        Returns
        -------
        Tensor
            Attributions in the network's precision, of shape (sample, pixel, lag, row, column): the part in the window;
            elsewhere they are zero.
        Window
            Rows and columns of the input that the pixels see.
        """
        places = [divmod(pixel, self.grid[1]) for pixel in pixels]
        window = _surround(places)
        samples, change = len(linearisation), linearisation.change
        unit = torch.zeros(len(pixels), 1, *window.shape, dtype=self.precision, device=change.device)
        for number, (row, column) in enumerate(places):
            unit[number, 0, row - window.rows.start, column - window.columns.start] = 1
        rows = unit.repeat(samples, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        multipliers = reversed(linearisation.multipliers)
        for step in reversed(self.steps):
            rows = step.pull(rows, window, multipliers)
            window = step.see(window)
        attributions = rows.to(change.dtype).unflatten(0, (samples, len(pixels))).mul_(window.cut(change)[:, None])
        if self.residual:
            # The last month is added to the output, so its row is that of the identity.
            for number, (row, column) in enumerate(places):
                at = attributions[:, number, -1, row - window.rows.start, column - window.columns.start]
                at += change[:, -1, row, column]
        return attributions, window

    def count_operations(self, pixel: int) -> int:
        """Return the multiplications with additions that the row of one pixel needs, were it pulled alone."""
        window, count = _surround([divmod(pixel, self.grid[1])]), 0
        for step in reversed(self.steps):
            count += step.count(window)
            window = step.see(window)
        return count

    def measure_memory(self, pixels: Sequence[int]) -> int:
        """Return about how many bytes a sample takes while some pixels are attributed."""
        window = _surround([divmod(pixel, self.grid[1]) for pixel in pixels])
        widest = 0
        for step in reversed(self.steps):
            window = step.see(window)
            widest = max(widest, step.channels * window.shape[0] * window.shape[1])
        # Rows as they are given, as they are pulled, and the convolution's own copy, the last of them not in bfloat16.
        return 3 * len(pixels) * widest * self.item_size + self.measure_linearisation()

    def measure_linearisation(self) -> int:
        """Return how many bytes the activations and multipliers of one sample take."""
        cells = sum(part.channels * part.output_grid[0] * part.output_grid[1] for part in self.activations)
        return 2 * cells * self.item_size


def _surround(places: Sequence[tuple[int, int]]) -> Window:
    return Window(*(Span(min(axis), max(axis) + 1) for axis in zip(*places, strict=True)))
