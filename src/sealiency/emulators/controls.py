"""Networks that know nothing of the sea, for comparison with trained ones."""

import logging
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sealiency.emulators.networks.forecaster import Forecaster, reset

LOGGER = logging.getLogger(__name__)


def randomise(network: Forecaster, batches: Callable[[], Iterator[Tensor]], ocean: Tensor, rms: float) -> None:
    """Draw every weight anew, fit the statistics of batch normalisation, and scale the output.

    Without the scale, how much a network adds to its skip would be an accident of the weights' size, and with
    it the share of the attributions that lies in the pixel's own last month. The model randomisation of Adebayo et al.
    (2018), "Sanity checks for saliency maps".

    Parameters
    ----------
    network
        Network to change in place; it is in evaluation mode afterwards. Weights come from PyTorch's global generator.
    batches
        Function that gives inputs of shape (sample, lag, lat, lon), the same ones at each call, on the network's device.
    ocean
        Bool of shape (lat, lon).
    rms
        Root mean square, over samples and ocean cells, that the output is given; of a network with a skip the part that it
        adds to it. Counted from its output for inputs of zeros. A network whose output is not proportional to the
        weights of its last layer keeps the weights as they are drawn.
    """
    reset(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        # A plain mean over all batches.
        norm.momentum = None
    network.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for batch in batches():
            network(batch)
        network.eval()
        weights = [
            parameter for layer in network.output_layers for parameter in layer.parameters() if parameter.ndim > 1
        ]
        drawn = [weight.clone() for weight in weights]
        scale = rms / _measure_rms(network, batches, ocean)
        for weight in weights:
            weight.mul_(scale)
        found = _measure_rms(network, batches, ocean)
        if not math.isclose(found, rms, rel_tol=0.01):
            # An own network may have its own way around its last layer.
            for weight, before in zip(weights, drawn, strict=True):
                weight.copy_(before)
            LOGGER.warning(
                "the last layer does not scale the output: random weights keep the size that they are drawn with"
            )


def _measure_rms(network: Forecaster, batches: Callable[[], Iterator[Tensor]], ocean: Tensor) -> float:
    """Return the root mean square of what the layers give, counted from what they give for zeros."""
    squared, count = 0.0, 0
    for batch in batches():
        change = (network.change(batch) - network.change(torch.zeros_like(batch[:1])))[:, 0][:, ocean]
        squared += float((change.double() ** 2).sum())
        count += change.numel()
    return math.sqrt(squared / count)
