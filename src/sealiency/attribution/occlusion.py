"""Occlusion: what the output loses when a part of the input is taken away."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sealiency.attribution.attributor import Method, Tile, count_fitting, measure_pass
from sealiency.attribution.graph.windows import whole
from sealiency.emulators.devices import arithmetic


class Occlusion(Method):
    """Occlusion (Zeiler & Fergus 2014): the drop of the output when one window of the input takes its baseline's values.

    Windows lie side by side and are cut off at the edges of the input. The cells of a window that differ from the baseline
    share its drop evenly, so that an attribution is that of a cell, as in the other methods; land and other cells that
    equal the baseline have none. The drops of all windows do not sum to f(x) - f(baseline).
    """

    name: ClassVar = "occlusion"

    def _prepare(self) -> None:
        self.at_once = count_fitting(self.memory, measure_pass(self.network, self.baselines[:1]), self.baselines.device)

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions sample by sample; a forecast with a window taken away serves every pixel."""
        inputs = inputs.to(self.baselines)
        windows = self._number_windows(inputs.shape[1:])
        lat, lon = inputs.shape[2:]
        window = whole((lat, lon))
        for number, sample in enumerate(inputs):
            changed = sample != self.baselines[0]
            cells = torch.bincount(windows[changed], minlength=int(windows.max()) + 1)
            # Where nothing changes there is no drop, and the cells that share it are none.
            shares = self._measure_drops(sample, windows, cells.nonzero().flatten(), pixels) / cells.clamp(min=1)
            for at_pixel, share in enumerate(shares):
                yield Tile(slice(number, number + 1), [at_pixel], window, (share[windows] * changed)[None, None])

    def _number_windows(self, shape: Sequence[int]) -> Tensor:
        """Return the number of the window that each cell of the input lies in, of shape (lag, row, column)."""
        device = self.baselines.device
        months, rows, columns = (
            torch.arange(size, device=device) // length
            for size, length in zip(shape, self.occlusion_window, strict=True)
        )
        windows = months[:, None, None] * (rows.max() + 1) + rows[:, None]
        return windows * (columns.max() + 1) + columns

    @torch.no_grad()
    def _measure_drops(self, sample: Tensor, windows: Tensor, occluded: Tensor, pixels: Sequence[int]) -> Tensor:
        """Return the drop of each pixel's output by window, of shape (pixel, window), zero where not occluded."""
        drops = sample.new_zeros(len(pixels), int(windows.max()) + 1)
        with arithmetic(self.precision):
            output = self.model(sample[None])[0, pixels]
            for batch in occluded.split(self.at_once):
                fields = torch.where(windows == batch[:, None, None, None], self.baselines[0], sample)
                drops[:, batch] = (output - self.model(fields)[:, pixels]).T
        return drops
