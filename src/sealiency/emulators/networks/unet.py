"""A U-Net: Ronneberger, O., Fischer, P. & Brox, T. (2015), with batch normalisation and strided convolutions for pooling."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sealiency.config.networks import UNetwork
from sealiency.emulators.networks.forecaster import Forecaster, LinearBottleneck

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


def _block(channels_in: int, channels_out: int, activation: str, dropout: float, stride: int = 1) -> nn.Sequential:
    """Return two 3 x 3 convolutions, each before batch normalisation and activation."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        ACTIVATIONS[activation](),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        ACTIVATIONS[activation](),
        nn.Dropout2d(dropout),
    )


class UNet(Forecaster):
    """Forecast one SST anomaly field from the preceding months.

    Parameters
    ----------
    settings
        Widths, levels and activation.
    history
        Months of input, the channels of the first convolution.
    grid
        Rows and columns of the region; each level halves them, rounded up.
    dropout
        Probability of dropping a whole channel after each level.
    """

    def __init__(self, settings: UNetwork, history: int, grid: tuple[int, int], dropout: float = 0.0) -> None:
        super().__init__(settings, history, grid)
        widths = [settings.channels * 2**level for level in range(settings.levels)]
        coarsest = tuple(-(-size // 2 ** (settings.levels - 1)) for size in grid)
        self.enter = _block(self.months, widths[0], settings.activation, dropout)
        self.down = nn.ModuleList(
            _block(fine, coarse, settings.activation, dropout, stride=2) for fine, coarse in pairwise(widths)
        )
        self.bottleneck = LinearBottleneck((coarsest[0], coarsest[1])) if settings.linear_bottleneck else nn.Identity()
        self.up = nn.ModuleList(
            _block(coarse + fine, fine, settings.activation, dropout)
            for fine, coarse in reversed(list(pairwise(widths)))
        )
        self.leave = nn.Conv2d(widths[0], self.outputs, 1)
        self.begin_at_skip()

    def compute(self, x: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to (sample, output, lat, lon)."""
        levels = [self.enter(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        y = self.bottleneck(levels.pop())
        for up in self.up:
            skip = levels.pop()
            y = functional.interpolate(y, size=skip.shape[2:], mode="bilinear")
            y = up(torch.cat([skip, y], dim=1))
        return self.leave(y)
