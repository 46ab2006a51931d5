"""The linear skip: what a network's output is added to. Each is linear, so that its attributions are weight times anomaly."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sealiency.config.networks import Network


class Persistence(nn.Module):
    """The last month."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, 1, lat, lon)."""
        return x[:, -1:]


class PixelRidgeSkip(nn.Module):
    """A ridge regression on each pixel's own months; its weights are fitted before training, and not trained."""

    weights: Tensor
    """Shape (lag, lat, lon)."""
    offset: Tensor
    """Shape (1, lat, lon)."""
    summing: Tensor

    def __init__(self, history: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(history, *grid))
        self.register_buffer("offset", torch.zeros(1, *grid))
        self.register_buffer("summing", torch.ones(1, history, 1, 1), persistent=False)

    def take(self, weights: Tensor, offset: Tensor, ocean: Tensor) -> None:
        """Take fitted weights, of shape (cell, lag), and offsets, of shape (cell,), of the ocean cells; land forecasts 0."""
        self.weights[:, ocean] = weights.T.to(self.weights)
        self.offset[0, ocean] = offset.to(self.offset)

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, 1, lat, lon)."""
        # A sum over months, written as the convolution that it is.
        return functional.conv2d(x * self.weights, self.summing) + self.offset


class TrainedConvolution(nn.Conv2d):
    """A convolution over all months, trained with the network, which begins at persistence."""

    def __init__(self, history: int, kernel: int) -> None:
        super().__init__(history, 1, kernel, padding=kernel // 2)

    def reset_parameters(self) -> None:
        """Begin at persistence."""
        nn.init.zeros_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.weight[0, -1, self.kernel_size[0] // 2, self.kernel_size[1] // 2] = 1


Skip = Persistence | PixelRidgeSkip | TrainedConvolution


def build_skip(settings: Network, history: int, grid: tuple[int, int]) -> Skip | None:
    """Return the skip that a network's settings ask for, None for none.

    Parameters
    ----------
    settings
        The network's settings.
    history
        Months of input.
    grid
        Rows and columns of the region.
    """
    if settings.skip == "persistence":
        return Persistence()
    if settings.skip == "ridge":
        return PixelRidgeSkip(history, grid)
    if settings.skip == "convolution":
        return TrainedConvolution(history, settings.skip_kernel)
    return None
