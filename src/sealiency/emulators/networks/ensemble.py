"""Networks of one kind, trained side by side, whose mean is the forecast (Hansen & Salamon 1990, IEEE TPAMI 12)."""

from typing import cast

import torch
from torch import Tensor, nn

from sealiency.config.networks import Network
from sealiency.emulators.networks.forecaster import Forecaster


class Ensemble(Forecaster):
    """Forecast the mean of some networks, which share their skip and the whitening of the months.

    Parameters
    ----------
    settings
        Settings of the ensemble.
    members
        Its networks, without a skip or whitening of their own.
    history
        Months of input.
    grid
        Rows and columns of the region.
    """

    def __init__(self, settings: Network, members: list[Forecaster], history: int, grid: tuple[int, int]) -> None:
        super().__init__(settings, history, grid)
        self.members = nn.ModuleList(members)
        self.begin_at_skip()

    @property
    def output_layers(self) -> list[nn.Module]:
        """The layers that give the output, one a member."""
        return [layer for member in self._list() for layer in member.output_layers]

    def _list(self) -> list[Forecaster]:
        return [cast("Forecaster", member) for member in self.members]

    def compute_members(self, x: Tensor) -> list[Tensor]:
        """Map months, whitened or not, to what the layers of each member give."""
        return [member.compute(x) for member in self._list()]

    def compute(self, x: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to (sample, output, lat, lon), the mean over members."""
        members = self.compute_members(x)
        total = members[0]
        for other in members[1:]:
            total = torch.add(total, other)
        return total / len(members)
