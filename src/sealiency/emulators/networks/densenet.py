"""The DenseNet encoder-decoder of Xu et al. (2021), Table 1."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from sealiency.config.networks import DenseNetwork
from sealiency.emulators.networks.forecaster import Forecaster, LinearBottleneck
from sealiency.errors import SealiencyError

BLOCK_KERNEL = 3


class DenseLayer(nn.Module):
    """BatchNorm - ReLU - 3 x 3 convolution, whose output is concatenated to its input."""

    def __init__(self, channels: int, growth_rate: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, growth_rate, BLOCK_KERNEL, padding=1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, lat, lon) to (batch, channels + growth_rate, lat, lon)."""
        return torch.cat([x, self.dropout(self.conv(self.relu(self.norm(x))))], dim=1)


class Composition(nn.Module):
    """BatchNorm - ReLU - convolution, the paper's composite function."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels_in)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, lat, lon) to (batch, channels_out, lat / stride, lon / stride)."""
        return self.conv(self.relu(self.norm(x)))


class UpsamplingComposition(Composition):
    """BatchNorm - ReLU - interpolation - convolution."""

    def __init__(self, channels_in: int, channels_out: int, size: tuple[int, int], mode: str) -> None:
        super().__init__(channels_in, channels_out, BLOCK_KERNEL)
        self.size = size
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, any, any) to (batch, channels_out, *size)."""
        # Linear in x, so an attribution passes through it exactly; a module would add nothing.
        return self.conv(functional.interpolate(self.relu(self.norm(x)), size=self.size, mode=self.mode))


def _dense_block(channels: int, layers: int, growth_rate: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(*(DenseLayer(channels + n * growth_rate, growth_rate, dropout) for n in range(layers)))


def _check_nearest(coarse: int, fine: int) -> None:
    """Refuse sizes at which PyTorch's nearest cell depends on the arithmetic, so that a float64 copy is another network."""
    cells = torch.arange(fine, device="cpu") * coarse // fine
    for dtype in (torch.float32, torch.float64):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            line = torch.arange(coarse, dtype=dtype, device="cpu").reshape(1, 1, coarse, 1).repeat(1, 4, 1, 1)
            line = line.contiguous(memory_format=memory_format)
            if not torch.equal(functional.interpolate(line, size=(fine, 1), mode="nearest")[0, 0, :, 0].long(), cells):
                raise SealiencyError(
                    f"data.region: nearest upsampling from {coarse} to {fine} cells is ambiguous in PyTorch; make the "
                    "region one cell wider or narrower there, or set network.upsampling: bicubic"
                )


class DenseNet(Forecaster):
    """Forecast one SST anomaly field from the preceding months.

    Parameters
    ----------
    settings
        Widths and depths; the defaults give 606,300 parameters and 20 convolutions, as Table 1.
    history
        Months of input, the channels of the first convolution.
    grid
        Rows and columns of the region; the two upsampling sizes follow from it.
    dropout
        Probability of dropping a whole channel after each dense layer.

    Raises
    ------
    SealiencyError
        If the nearest cell is ambiguous on this grid.
    """

    def __init__(self, settings: DenseNetwork, history: int, grid: tuple[int, int], dropout: float = 0.0) -> None:
        super().__init__(settings, history, grid)
        rows, columns = grid
        growth, (first, middle, last) = settings.growth_rate, settings.dense_layers
        halved = settings.stem_channels + first * growth
        bottleneck = halved // 2 + middle * growth
        decoder = bottleneck // 2 + last * growth
        # Two convolutions of stride 2 take n to ceil(n / 4); the first upsampling doubles that.
        halfway = (2 * math.ceil(rows / 4), 2 * math.ceil(columns / 4))
        if settings.upsampling == "nearest":
            for middle_size, size in zip(halfway, grid, strict=True):
                _check_nearest(middle_size // 2, middle_size)
                _check_nearest(middle_size, size)
        # Drawn first, as before there were other kinds: a seed gives the weights that it gave.
        output = Composition(decoder // 4, self.outputs, BLOCK_KERNEL)
        coarsest = (halfway[0] // 2, halfway[1] // 2)
        self.layers = nn.Sequential(
            OrderedDict(
                convolution=nn.Conv2d(self.months, settings.stem_channels, 5, stride=2, padding=2, bias=False),
                dense_block_1=_dense_block(settings.stem_channels, first, growth, dropout),
                downsampling=nn.Sequential(
                    Composition(halved, halved // 2, 1),
                    Composition(halved // 2, halved // 2, BLOCK_KERNEL, stride=2),
                    *([LinearBottleneck(coarsest)] if settings.linear_bottleneck else []),
                ),
                dense_block_2=_dense_block(halved // 2, middle, growth, dropout),
                upsampling_1=nn.Sequential(
                    Composition(bottleneck, bottleneck // 2, 1),
                    UpsamplingComposition(bottleneck // 2, bottleneck // 2, halfway, settings.upsampling),
                ),
                dense_block_3=_dense_block(bottleneck // 2, last, growth, dropout),
                upsampling_2=nn.Sequential(
                    Composition(decoder, decoder // 2, 1),
                    UpsamplingComposition(decoder // 2, decoder // 4, grid, settings.upsampling),
                    output,
                ),
            )
        )
        self.begin_at_skip()

    def compute(self, x: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to (sample, output, lat, lon)."""
        return self.layers(x)
