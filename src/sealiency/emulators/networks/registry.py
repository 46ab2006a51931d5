"""Which class builds which kind of network."""

from sealiency.config.networks import BuiltNetwork, DenseNetwork, DilatedNetwork, Network, OwnNetwork, UNetwork
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.emulators.networks.dilated import DilatedNet
from sealiency.emulators.networks.ensemble import Ensemble
from sealiency.emulators.networks.forecaster import Forecaster
from sealiency.emulators.networks.own import Own
from sealiency.emulators.networks.unet import UNet

# A kind more is a line more.
CLASSES = {DenseNetwork: DenseNet, UNetwork: UNet, DilatedNetwork: DilatedNet, OwnNetwork: Own}


def build_network(settings: Network, history: int, grid: tuple[int, int], dropout: float = 0.0) -> Forecaster:
    """Build a network with new weights.

    Parameters
    ----------
    settings
        The network's settings.
    history
        Months of input.
    grid
        Rows and columns of the region.
    dropout
        Probability of dropping a whole channel, where the network does.

    Raises
    ------
    SealiencyError
        If it cannot be built on this grid; see the kind.
    """
    kind = CLASSES[type(settings)]
    if not isinstance(settings, BuiltNetwork) or settings.members == 1:
        return kind(settings, history, grid, dropout)
    alone = settings.model_copy(update={"members": 1, "skip": "none", "whiten": False, "level": True})
    members = [kind(alone, history, grid, dropout) for _ in range(settings.members)]
    return Ensemble(settings, members, history, grid)
