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
        self.whitening = Whitening(self.months, built.level) if built.whiten else None
        self.uncertainty = Uncertainty() if built.uncertainty else None
        self.outputs = 2 if built.uncertainty else 1

    def forecast_skip(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to what the skip forecasts, (sample, lat, lon); zeros where there is none."""
        return torch.zeros_like(x[:, 0]) if self.skip is None else self.skip(x)[:, 0]

    @abstractmethod
    def compute(self, x: Tensor) -> Tensor:
        """Map months, whitened or not, (sample, channel, lat, lon), to what the layers give, (sample, output, lat, lon).

        The outputs are the anomaly and, of a network with uncertainty, the logarithm of its variance.
        """

    def take_months(self, x: Tensor) -> Tensor:
        """Return what the layers read of standardised anomalies: the last months, whitened where asked for."""
        if self.months < x.shape[1]:
            x = x[:, -self.months :]
        return x if self.whitening is None else self.whitening(x)

    def change(self, x: Tensor) -> Tensor:
        """Map standardised anomalies, (sample, lag, lat, lon), to what is added to the skip, (sample, 1, lat, lon)."""
        found = self.compute(self.take_months(x))
        return found if self.uncertainty is None else found[:, :1]

    def forecast_both(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Forecast anomalies and the logarithm of the variance of their error, both (sample, 1, lat, lon).

        The second is None of a network without uncertainty.
        """
        return self._add_skip(x, self.compute(self.take_months(x)))

    def forecast_members(self, x: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Forecast as each member does; see `forecast_both`."""
        return [self._add_skip(x, found) for found in self.compute_members(self.take_months(x))]

    def _add_skip(self, x: Tensor, found: Tensor) -> tuple[Tensor, Tensor | None]:
        forecast = found[:, :1] if self.skip is None else self.skip(x) + found[:, :1]
        return forecast, None if self.uncertainty is None else self.uncertainty(found[:, 1:])

    def log_variance(self, x: Tensor) -> Tensor:
        """Map standardised anomalies, (sample, lag, lat, lon), to the logarithm of the error's variance, (sample, 1, lat, lon)."""
        assert self.uncertainty is not None
        return self.uncertainty(self.compute(self.take_months(x))[:, 1:])

    @property
    def output_layers(self) -> list[nn.Module]:
        """The layers that give the output, one a member: the last that has weights."""
        weighted: list[nn.Module] = [
            module for module in self.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        ]
        return weighted[-1:]

    def compute_members(self, x: Tensor) -> list[Tensor]:
        """Map months, whitened or not, to what the layers of each member give; there is one but of an ensemble."""
        return [self.compute(x)]

    def take_part(self, part: str) -> nn.Module:
        """Return a network of its own that forecasts a part: `skip`, `network` for what the layers give, `all`, or `variance`.

        Attributions of the first two sum to those of all. The variance is the logarithm of that of the error.
        """
        if part == "skip" and self.skip is None:
            raise SealiencyError("part skip: the network has no skip; set network.skip, or ask for all")
        if part == "variance" and self.uncertainty is None:
            raise SealiencyError("part variance: the network has no uncertainty; set network.uncertainty: true")
        modules = {
            "all": self,
            "skip": self.skip,
            "network": _Part(self, "change"),
            "variance": _Part(self, "log_variance"),
        }
        if (found := modules.get(part)) is None:
            raise SealiencyError(f"part {part!r} is not one of {', '.join(modules)}")
        return found.eval()

    def begin_at_skip(self) -> None:
        """Let a network with a skip forecast what the skip does before it is trained."""
        if self.skip is not None:
            for layer in self.output_layers:
                for parameter in layer.parameters():
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


class _Part(nn.Module):
    """A part of a network's forecast, as a network of its own."""

    def __init__(self, network: Forecaster, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = getattr(self.network, self.name)(x)
        return found


class Uncertainty(nn.Module):
    """What is added to the logarithm of the variance that the layers give: one number, fitted and not trained."""

    offset: Tensor
    """Float32, a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, 1, lat, lon) to the same shape."""
        return x + self.offset


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
