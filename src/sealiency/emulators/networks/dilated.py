"""A residual network of dilated convolutions on the region's own grid."""

from torch import Tensor, nn
from torch.nn import functional

from sealiency.config.networks import DilatedNetwork
from sealiency.emulators.networks.attention import FeatureAttention
from sealiency.emulators.networks.forecaster import Forecaster, LinearBottleneck
from sealiency.emulators.networks.geography import Geography, Modulation
from sealiency.emulators.networks.unet import ACTIVATIONS

PLACE_FEATURES = 32
# Cells along each side that share one cell of the linear bottleneck.
COARSENING = 4
# Dilations from here on read means: the blocks before and after fill the gaps between nearer taps.
SMOOTHED = 4


class DilatedNet(Forecaster):
    """Forecast one SST anomaly field from the preceding months, without ever leaving the region's grid.

    Every layer treats all cells alike but for what it knows of their place, so that attributions show no grid of the
    network's own, as strides and upsampling do. Each block is batch normalisation, modulation by place, activation and a 3 x 3
    convolution whose taps lie `dilation` cells apart (Yu & Koltun 2016, ICLR), added to its input (He et al. 2016, CVPR). Taps far
    apart read means of the cells about them, or attributions would lie on a lattice (Wang & Ji 2018, KDD).

    Parameters
    ----------
    settings
        Channels, dilations and activation.
    history
        Months of input.
    grid
        Rows and columns of the region.
    dropout
        Probability of dropping a whole channel after each block.
    """

    def __init__(self, settings: DilatedNetwork, history: int, grid: tuple[int, int], dropout: float = 0.0) -> None:
        super().__init__(settings, history, grid)
        channels = settings.channels
        self.geography = Geography(grid, PLACE_FEATURES)
        self.enter = nn.Conv2d(self.months, channels, 1)
        self.blocks = nn.ModuleList(
            _Block(channels, dilation, settings.activation, dropout) for dilation in settings.dilations
        )
        self.attention = FeatureAttention(channels) if settings.attention else None
        self.everywhere = _Everywhere(grid) if settings.linear_bottleneck else None
        self.leave = _Composition(channels, settings.activation, nn.Conv2d(channels, self.outputs, 1))
        self.begin_at_skip()

    def find_features(self, x: Tensor, place: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to the features that the forecast is made of, (sample, feature, lat, lon)."""
        y = self.enter(x)
        for block in self.blocks:
            y = block(y, place)
        return y if self.everywhere is None else self.everywhere(y)

    def compose(self, features: Tensor, place: Tensor) -> Tensor:
        """Map features to (sample, output, lat, lon)."""
        return self.leave(features if self.attention is None else self.attention(features), place)

    def compute(self, x: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to (sample, output, lat, lon)."""
        place = self.geography()
        return self.compose(self.find_features(x, place), place)


class _Composition(nn.Module):
    """Batch normalisation, modulation by place, activation and a convolution."""

    def __init__(self, channels: int, activation: str, convolution: nn.Module) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.modulation = Modulation(PLACE_FEATURES, channels)
        self.activation = ACTIVATIONS[activation]()
        self.convolution = convolution

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        return self.convolution(self.activation(self.modulation(self.norm(x), place)))


class _Mean(nn.Module):
    """The mean over a square of cells; land and what lies beyond the edge count as 0."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        reach = self.side // 2
        # One axis after the other: a fifth of the additions.
        x = functional.avg_pool2d(x, (self.side, 1), 1, (reach, 0))
        return functional.avg_pool2d(x, (1, self.side), 1, (0, reach))


class _Block(nn.Module):
    """What is added to the channels."""

    def __init__(self, channels: int, dilation: int, activation: str, dropout: float) -> None:
        super().__init__()
        convolution: nn.Module = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        if dilation >= SMOOTHED:
            convolution = nn.Sequential(_Mean(2 * (dilation // 2) + 1), convolution)
        self.change = _Composition(channels, activation, convolution)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        return x + self.dropout(self.change(x, place))


class _Everywhere(LinearBottleneck):
    """A linear layer over all cells, coarsened, whose output is added to its input."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self.coarse = (-(-grid[0] // COARSENING), -(-grid[1] // COARSENING))
        super().__init__(self.coarse)

    def forward(self, x: Tensor) -> Tensor:
        coarse = functional.adaptive_avg_pool2d(x, self.coarse)
        added = self.linear(coarse.flatten(2)).unflatten(2, self.coarse)
        return x + functional.interpolate(added, size=x.shape[2:], mode="bilinear")
