"""What a network may know of a place: where it lies. It differs by cell and never by sample, so attributions pass it exactly."""

import math

import torch
from torch import Tensor, nn

WAVES = 4


class Geography(nn.Module):
    """Features of each cell's place, learned from its position in the region.

    Parameters
    ----------
    grid
        Rows and columns of the region.
    features
        Features that are learned.
    """

    position: Tensor
    """Row and column from -1 to 1, and sines and cosines of them, float32 of shape (1, channel, lat, lon)."""

    def __init__(self, grid: tuple[int, int], features: int) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in grid), indexing="ij")
        waves = [
            wave(math.pi * number * axis)
            for number in range(1, WAVES + 1)
            for axis in (rows, columns)
            for wave in (torch.sin, torch.cos)
        ]
        self.register_buffer("position", torch.stack([rows, columns, *waves])[None], persistent=False)
        self.layers = nn.Sequential(
            nn.Conv2d(2 + 4 * WAVES, features, 1), nn.ReLU(), nn.Conv2d(features, features, 1), nn.ReLU()
        )

    def forward(self) -> Tensor:
        """Return the features, of shape (1, feature, lat, lon)."""
        return self.layers(self.position)


class Modulation(nn.Module):
    """Scales and shifts channels by place (feature-wise linear modulation: Perez et al. 2018, AAAI).

    Parameters
    ----------
    features
        Features of a place.
    channels
        Channels that are scaled and shifted; before training they stay as they are.
    """

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Conv2d(features, channels, 1)
        self.shift = nn.Conv2d(features, channels, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) and features, (1, feature, lat, lon), to (sample, channel, lat, lon)."""
        return x * (1 + self.scale(place)) + self.shift(place)
