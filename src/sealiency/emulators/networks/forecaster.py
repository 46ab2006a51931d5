"""What every network of an emulator is: a forecast, or a change that is added to a linear skip."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sealiency.config.networks import BuiltNetwork, Network
from sealiency.emulators.networks.skip import build_skip
from sealiency.emulators.networks.whitening import Whitening
from sealiency.errors import SealiencyError


class Forecaster(nn.Module, ABC):
    """A network that maps the preceding months to one field.

    Parameters
    ----------
    settings
        The network's settings.
    history
        Months of input.
    grid
        Rows and columns of the region.
    """

    def __init__(self, settings: Network, history: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.skip = build_skip(settings, history, grid)
        built = settings if isinstance(settings, BuiltNetwork) else BuiltNetwork(kind="")
        self.months = min(history, built.months or history)
        self.whitening = Whitening(self.months) if built.whiten else None

    def forecast_skip(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to what the skip forecasts, (sample, lat, lon); zeros where there is none."""
        return torch.zeros_like(x[:, 0]) if self.skip is None else self.skip(x)[:, 0]

    @abstractmethod
    def compute(self, x: Tensor) -> Tensor:
        """Map months, whitened or not, (sample, channel, lat, lon), to what the layers give, (sample, 1, lat, lon)."""

    def change(self, x: Tensor) -> Tensor:
        """Map standardised anomalies, (sample, lag, lat, lon), to what is added to the skip, (sample, 1, lat, lon)."""
        if self.months < x.shape[1]:
            x = x[:, -self.months :]
        return self.compute(x if self.whitening is None else self.whitening(x))

    @property
    def output(self) -> nn.Conv2d | nn.ConvTranspose2d | nn.Linear:
        """The layer that gives the output: the last one that has weights."""
        return [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)][-1]

    def take_part(self, part: str) -> nn.Module:
        """Return a network of its own that forecasts a part: `skip`, `network` for what the layers give, or `all`.

        Attributions of the two parts sum to those of all.
        """
        if part == "skip" and self.skip is None:
            raise SealiencyError("part skip: the network has no skip; set network.skip, or ask for all")
        modules = {"all": self, "skip": self.skip, "network": _Change(self)}
        if (found := modules.get(part)) is None:
            raise SealiencyError(f"part {part!r} is not one of {', '.join(modules)}")
        return found.eval()

    def begin_at_skip(self) -> None:
        """Let a network with a skip forecast what the skip does before it is trained."""
        if self.skip is not None:
            for parameter in self.output.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Forecast standardised anomalies.

        Parameters
        ----------
        x
            Standardised anomalies of shape (sample, lag, lat, lon), oldest month first, 0 on land.

        Returns
        -------
        Tensor
            Forecast of shape (sample, 1, lat, lon), not masked.
        """
        change = self.change(x)
        return change if self.skip is None else self.skip(x) + change


class _Change(nn.Module):
    """What the layers of a network give, as a network of its own."""

    def __init__(self, network: Forecaster) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.change(x)


class LinearBottleneck(nn.Module):
    """A linear layer over all cells, shared by the channels, whose output is added to its input."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        cells = grid[0] * grid[1]
        self.linear = nn.Linear(cells, cells, bias=False)
        # Training starts from the network without it, and takes from afar only what serves.
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to the same shape."""
        return x + self.linear(x.flatten(2)).unflatten(2, x.shape[2:])


def reset(network: nn.Module) -> None:
    """Draw every weight anew, from PyTorch's global generator, in the order of the layers."""
    # As training begins: drawn at random they would look everywhere, and make every other network look local.
    zeroed = [module.linear for module in network.modules() if isinstance(module, LinearBottleneck)]
    for linear in zeroed:
        nn.init.zeros_(linear.weight)
    for module in network.modules():
        if callable(draw := getattr(module, "reset_parameters", None)) and module not in zeroed:
            draw()
