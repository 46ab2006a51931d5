"""Networks that know nothing of the sea, for comparison with trained ones."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sealiency.emulators.networks.densenet import DenseNet, LinearBottleneck


def randomise(network: DenseNet, batches: Callable[[], Iterator[Tensor]], ocean: Tensor, rms: float) -> None:
    """Draw every weight anew, fit the statistics of batch normalisation, and scale the output.

    Without the scale, how much a residual network adds to persistence would be an accident of the weights' size, and with
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
        Root mean square, over samples and ocean cells, that the output is given; of a residual network the part that it
        adds to persistence. Counted from its output for inputs of zeros.
    """
    norms = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, LinearBottleneck):
            # As training begins: drawn at random it would look everywhere, and make every other network look local.
            nn.init.zeros_(module.linear.weight)
        if isinstance(module, nn.BatchNorm2d):
            norms.append(module)
            # A plain mean over all batches.
            module.momentum = None
    network.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for batch in batches():
            network(batch)
        network.eval()
        squared, count = 0.0, 0
        for batch in batches():
            change = (network.layers(batch) - network.layers(torch.zeros_like(batch[:1])))[:, 0][:, ocean]
            squared += float((change.double() ** 2).sum())
            count += change.numel()
        output = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
        output.weight *= rms / math.sqrt(squared / count)
