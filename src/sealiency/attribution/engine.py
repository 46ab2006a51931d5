"""Attributions of many output pixels of many samples at once, exactly, for any network whose operations are known.

The idea:

1. For one sample and one baseline, the rescale rule replaces each activation by a fixed multiplier, and so does a gradient;
   every other operation is linear. So the network is one linear map, and the attribution of output pixel p is row p of it
   times (x - baseline).
2. The multipliers do not depend on the pixel: they are computed once a sample, the baseline's activations once a model.
3. A row is pulled from the output back to the input, operation by operation. It is zero outside what the pixel sees, a
   window that grows from one cell to most of the grid, so only that window is worked on.
   Where the pixels of a job see only a part of the grid, the forward pass too is confined to it.
4. Neighbouring pixels, those over one cell of the coarsest layer, see nearly the same cells. They share their windows
   and are pulled together, for several samples at a time: one convolution serves all, and multipliers are plain slices.

Shrikumar, A., Greenside, P. & Kundaje, A. (2019). Learning important features through propagating activation
differences, section 3.5.1.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sealiency.attribution.graph.operations.operation import LinearOperation, Part, Rows, add_rows
from sealiency.attribution.graph.operations.pointwise import Activation
from sealiency.attribution.graph.tracing import find_like, trace
from sealiency.attribution.graph.windows import GridShape, Window, surround, whole
from sealiency.errors import SealiencyError

# The surroundings of some pixels are cut out where a forward pass over them takes less than this share of the work.
MUCH_LESS = 0.5


@dataclass(frozen=True)
class Linearisation:
    """A network as a linear map, for some samples against their baselines."""

    multipliers: list[Part]
    """Of each activation in the order of the forward pass."""
    change: Tensor
    """x - baseline, of shape (sample, lag, row, column)."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.change)

    def take(self, samples: slice) -> "Linearisation":
        """Return some of the samples, as views."""
        parts = [Part(values[samples], window) for values, window in self.multipliers]
        return Linearisation(parts, self.change[samples])


class Engine:
    """The network as a graph, pulled from output pixels back to the input.

    Parameters
    ----------
    network
        Network on its device and in evaluation mode, in float32 or float64, that maps (sample, lag, row, column) to
        (sample, 1, row, column).
    history
        Months of input.
    grid
        Rows and columns of its input.
    precision
        Arithmetic of the rows: the network's own, or bfloat16. Multipliers are computed in the network's.
    guided
        Whether negative parts of rows are dropped at every ReLU, as guided backpropagation does.

    Raises
    ------
    SealiencyError
        If an operation of the network has no exact rule; operation and layer are named.
    """

    def __init__(
        self, network: nn.Module, history: int, grid: GridShape, precision: torch.dtype, guided: bool = False
    ) -> None:
        self.graph = trace(network, history, grid)
        self.grid, self.precision, self.guided = grid, precision, guided
        self.item_size = find_like(network).element_size()
        self.place = {number: at for at, number in enumerate(self.graph.activations)}
        for node in self.graph.nodes.values():
            if isinstance(node.operation, LinearOperation):
                node.operation.prepare(precision)
            if guided and isinstance(node.operation, Activation) and node.operation.name != "relu":
                raise SealiencyError(
                    f"layer {node.layer}: guided backpropagation is defined for ReLU, not for {node.operation.name}; take "
                    "another method"
                )

    @property
    def activations(self) -> list[Activation]:
        """The activations in the order of the forward pass."""
        return [self._activation(number) for number in self.graph.activations]

    def _activation(self, number: int) -> Activation:
        operation = self.graph.nodes[number].operation
        assert isinstance(operation, Activation)
        return operation

    def surround(self, pixels: Sequence[int]) -> dict[int, Window] | None:
        """Return the window of each value on which some pixels rest, or None where that is not much less than whole grids.

        Parameters
        ----------
        pixels
            Output pixels, as positions in the flattened grid.
        """
        windows = self._follow(pixels)
        whole_work = work = 0.0
        for number, node in self.graph.nodes.items():
            rows, columns = node.operation.output.grid
            height, width = windows[number].shape
            whole_work += node.operation.multiplications
            work += node.operation.multiplications * height * width / (rows * columns)
        return windows if work < MUCH_LESS * whole_work else None

    @torch.no_grad()
    def observe(self, fields: Tensor, windows: Mapping[int, Window] | None = None) -> list[Tensor]:
        """Return what every activation is given, in the order of the forward pass.

        Parameters
        ----------
        fields
            Inputs or baselines of shape (sample, lag, row, column).
        windows
            Where, from `surround`; None for everywhere.
        """
        return self.graph.run(fields.contiguous(memory_format=torch.channels_last), windows)[0]

    def _list_windows(self, windows: Mapping[int, Window] | None) -> list[Window]:
        """Return the windows of the activations."""
        if windows is None:
            return [whole(one.output.grid) for one in self.activations]
        return [windows[number] for number in self.graph.activations]

    @torch.no_grad()
    def linearise(
        self,
        inputs: Tensor,
        baselines: Tensor,
        observed: list[Tensor],
        windows: Mapping[int, Window] | None = None,
    ) -> Linearisation:
        """Return the network as the linear map that it is to the rescale rule, for each sample against its baseline.

        Parameters
        ----------
        inputs, baselines
            Of shape (sample, lag, row, column); one of the two may hold a single field.
        observed
            What `observe` gave for the baselines, everywhere.
        windows
            Where, from `surround`, if no other pixels are asked for; None for everywhere.
        """
        places = self._list_windows(windows)
        given = zip(self.activations, self.observe(inputs, windows), observed, places, strict=True)
        multipliers = [
            Part(one.scale(one.rescale(a, place.cut(a0)), place, self.precision), place) for one, a, a0, place in given
        ]
        return Linearisation(multipliers, (inputs - baselines).contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def differentiate(
        self, inputs: Tensor, change: Tensor, windows: Mapping[int, Window] | None = None
    ) -> Linearisation:
        """Return the network's derivative at some inputs.

        Parameters
        ----------
        inputs
            Where, of shape (sample, lag, row, column).
        change
            What its rows are multiplied by, of that shape or a single field.
        windows
            As for `linearise`.
        """
        given = zip(self.activations, self.observe(inputs, windows), self._list_windows(windows), strict=True)
        multipliers = [Part(one.scale(one.differentiate(a), place, self.precision), place) for one, a, place in given]
        return Linearisation(multipliers, change.expand_as(inputs).contiguous(memory_format=torch.channels_last))

    def group(self, pixels: Sequence[int]) -> list[list[int]]:
        """Return the positions of pixels, those over one cell of the coarsest layer together.

        Parameters
        ----------
        pixels
            Output pixels, as positions in the flattened grid.
        """
        grids = [node.operation.output.grid for node in self.graph.nodes.values()]
        # A layer of one cell, such as a mean over the globe, would put all pixels together.
        coarse = min((grid for grid in grids if min(grid) > 1), default=self.grid)
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
            The samples, from `linearise` or `differentiate`.
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
        window = surround(places)
        samples, change = len(linearisation), linearisation.change
        unit = torch.zeros(len(pixels), 1, *window.shape, dtype=self.precision, device=change.device)
        for number, (row, column) in enumerate(places):
            unit[number, 0, row - window.rows.start, column - window.columns.start] = 1
        rows = unit.repeat(samples, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        waiting: dict[int, Rows] = {self.graph.output: Rows(rows, window)}
        arrived: list[Rows] = []
        for number in sorted(self.graph.nodes, reverse=True):
            node = self.graph.nodes[number]
            here = waiting.pop(number)
            operation = node.operation
            if isinstance(operation, Activation):
                here = operation.multiply(here, linearisation.multipliers[self.place[number]], self.guided)
                back = [here]
            else:
                assert isinstance(operation, LinearOperation)
                back = operation.pull(here)
            for parent, part in zip(node.parents, back, strict=True):
                if parent == 0:
                    # Not yet added up, because a row of an identity would lose the others' digits in bfloat16.
                    arrived.append(part)
                elif parent in waiting:
                    waiting[parent] = add_rows(waiting[parent], part, self.graph.shapes[parent].channels)
                else:
                    waiting[parent] = part
        return self._multiply(arrived, change, len(pixels))

    def _multiply(self, arrived: list[Rows], change: Tensor, pixels: int) -> tuple[Tensor, Window]:
        """Return the rows that came back to the input, each times what the input changed by, added up."""
        window = arrived[0].window
        for rows in arrived[1:]:
            window = window.join(rows.window)
        lags = change.shape[1]
        # The one that fills the window is written to, the others are added.
        full = next((rows for rows in arrived if rows.own and rows.is_whole(lags, window)), None)
        if full is None:
            shape = (len(change), pixels, lags, *window.shape)
            total = torch.zeros(shape, dtype=change.dtype, device=change.device)
        else:
            total = full.values.to(change.dtype).unflatten(0, (len(change), pixels))
            total = total.mul_(window.cut(change)[:, None])
        for rows in arrived:
            if rows is not full:
                channels = slice(rows.first, rows.first + rows.values.shape[1])
                values = rows.values.to(change.dtype).unflatten(0, (len(change), pixels))
                values = values * rows.window.cut(change)[:, None, channels]
                rows.window.within(window).cut(total[:, :, channels]).add_(values)
        return total, window

    def _follow(self, pixels: Sequence[int]) -> dict[int, Window]:
        """Return the window of every node's output that some pixels see, in the order of pulling."""
        windows = {self.graph.output: surround([divmod(pixel, self.grid[1]) for pixel in pixels])}
        for number in sorted(self.graph.nodes, reverse=True):
            node = self.graph.nodes[number]
            seen = node.operation.see(windows[number])
            for parent in node.parents:
                windows[parent] = windows[parent].join(seen) if parent in windows else seen
        return windows

    def count_operations(self, pixel: int) -> int:
        """Return the multiplications with additions that the row of one pixel needs, were it pulled alone."""
        windows = self._follow([pixel])
        return sum(node.operation.count(windows[number]) for number, node in self.graph.nodes.items())

    def measure_memory(self, pixels: Sequence[int]) -> int:
        """Return about how many bytes a sample takes while some pixels are attributed."""
        windows = self._follow(pixels)
        sizes = {
            number: self.graph.shapes[number].channels * window.shape[0] * window.shape[1]
            for number, window in windows.items()
        }
        # Rows wait at a value until the last of its uses has given its part.
        last_use: dict[int, int] = {}
        for number, node in self.graph.nodes.items():
            for parent in node.parents:
                last_use[parent] = max(last_use.get(parent, 0), number)
        most = 0
        for number, node in self.graph.nodes.items():
            waiting = sum(
                sizes[value] for value, last in last_use.items() if value < number < last and value not in node.parents
            )
            # Rows as they are given, as they are pulled, and the convolution's own copy, which is not in bfloat16.
            most = max(most, waiting + sizes[number] + 2 * max(sizes[parent] for parent in node.parents))
        return len(pixels) * most * self.item_size + self.measure_linearisation()

    def measure_linearisation(self) -> int:
        """Return how many bytes the activations and multipliers of one sample take."""
        return 2 * sum(activation.output.size for activation in self.activations) * self.item_size
