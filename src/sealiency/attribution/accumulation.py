"""What is kept of the attributions as they come: sums over space by distance and lag, and heatmaps on request."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sealiency.attribution.attributor import Tile
from sealiency.data.places import measure_distance


class Sums:
    """Sums of the attributions of some pixels over samples.

    Parameters
    ----------
    pixels
        Row and column of each pixel.
    lat, lon
        Cell centres, degrees, ascending.
    distance_edges
        Lower edges of the distance bins, km, ascending from 0; the last bin is open.
    lags
        Months of input.
    block_samples
        Number of samples in each bootstrap block, in order.
    heatmaps
        Whether to keep sums by cell as well.
    device
        Where the attributions are.

    Attributes
    ----------
    radial : Tensor
        Float64 of shape (sign, bootstrap_block, pixel, distance, lag), on the processor: sums over samples and cells of
        the positive parts, and of the absolute values of the negative parts.
    heatmap : Tensor or None
        Float64 of shape (sign, pixel, lag, lat, lon): sums over samples of the positive and of the negative parts.
    """

    def __init__(
        self,
        pixels: Sequence[tuple[int, int]],
        lat: np.ndarray,
        lon: np.ndarray,
        distance_edges: Sequence[float],
        lags: int,
        block_samples: Sequence[int],
        heatmaps: bool,
        device: torch.device,
    ) -> None:
        shape = (len(pixels), len(lat), len(lon))
        bins = np.empty(shape, np.int64)
        for at, (row, column) in enumerate(pixels):
            bins[at] = np.searchsorted(distance_edges, measure_distance(lat, lon, row, column), side="right") - 1
        self.bins = torch.from_numpy(bins).to(device, torch.int16)
        self.block = np.repeat(np.arange(len(block_samples)), block_samples)
        self.radial = torch.zeros(2, len(block_samples), len(pixels), len(distance_edges), lags, dtype=torch.float64)
        self.heatmap = (
            torch.zeros(2, len(pixels), lags, *shape[1:], dtype=torch.float64, device=device) if heatmaps else None
        )

    def add(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Add a tile; those of one pixel must come in the order of samples.

        Returns
        -------
        tuple of numpy.ndarray
            Sums of the tile's attributions and of their absolute values, float64 of shape (sample, pixel).
        """
        bins = tile.window.cut(self.bins[tile.pixels]).flatten(1).long()
        member = torch.nn.functional.one_hot(bins, self.radial.shape[3]).to(tile.attributions.dtype).mT
        sums = []
        # One sample after the other, so that the size of a batch adds no rounding of its own.
        for sample, block in zip(tile.attributions, self.block[tile.samples], strict=True):
            radial = torch.stack([self._sum(part, member, sign, tile) for sign, part in enumerate(_split(sample))])
            radial = radial.double().cpu().abs_()
            self.radial[:, block].index_add_(1, torch.tensor(tile.pixels), radial)
            sums.append(radial.sum((2, 3)))
        positive, negative = torch.stack(sums, 1).numpy()
        return positive - negative, positive + negative

    def _sum(self, part: Tensor, member: Tensor, sign: int, tile: Tile) -> Tensor:
        """Return the sums of one sample, of shape (pixel, distance, lag): a product with each cell's membership of a bin."""
        if self.heatmap is not None:
            for pixel, values in zip(tile.pixels, part, strict=True):
                tile.window.cut(self.heatmap[sign, pixel]).add_(values)
        return torch.bmm(member, part.flatten(2).mT)


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    return values.clamp(min=0), values.clamp(max=0)
