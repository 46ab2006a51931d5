"""How far a network's structure lets an input reach, whatever its weights are."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sealiency.emulators.networks.densenet import (
    Composition,
    DenseLayer,
    DenseNet,
    LinearBottleneck,
    UpsamplingComposition,
)
from sealiency.errors import SealiencyError


def find_reach(network: DenseNet, box: np.ndarray) -> np.ndarray:
    """Return the cells whose forecast can depend on a part of the input.

    A mask is passed through the layers in place of values: a cell is reached where any of the cells that a layer computes
    it from is. Only kernel sizes, strides, padding and interpolation sizes count, so nothing cancels or underflows, and
    weights that happen to be zero, as those of a residual network's last convolution are at first, are no obstacle.

    Parameters
    ----------
    network
        The network.
    box
        Cells of the input, bool of shape (lat, lon); in which months makes no difference.

    Returns
    -------
    numpy.ndarray
        Bool of shape (lat, lon).

    Raises
    ------
    SealiencyError
        If the network has a layer of which it is not known what it reads; it is named.
    """
    reached = torch.from_numpy(np.ascontiguousarray(box, dtype=bool))
    through = _spread(network.layers, reached, "layers")
    return (through | reached if network.residual else through).numpy()


def _spread(layer: nn.Module, reached: Tensor, name: str) -> Tensor:
    """Return the mask of shape (row, column) that a layer makes of one; every channel is taken to read all channels."""
    # Exact types, because a subclass may read other cells.
    kind = type(layer)
    if isinstance(layer, nn.Sequential):
        for place, inner in layer.named_children():
            reached = _spread(inner, reached, f"{name}.{place}")
        return reached
    if isinstance(layer, nn.Conv2d) and kind is nn.Conv2d and layer.padding_mode == "zeros":
        # Counts of cells, exact in float64.
        counts = functional.conv2d(
            reached.double()[None, None],
            torch.ones(1, 1, *layer.kernel_size, dtype=torch.float64),
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
        )
        return counts[0, 0] > 0
    if isinstance(layer, LinearBottleneck) and kind is LinearBottleneck:
        return reached.any().expand(reached.shape)
    if isinstance(layer, DenseLayer) and kind is DenseLayer:
        return reached | _spread(layer.conv, reached, f"{name}.conv")
    if isinstance(layer, UpsamplingComposition) and kind is UpsamplingComposition:
        return _spread(layer.conv, _interpolate(reached, layer.size, layer.mode), f"{name}.conv")
    if isinstance(layer, Composition) and kind is Composition:
        return _spread(layer.conv, reached, f"{name}.conv")
    raise SealiencyError(
        f"layer {name} is a {kind.__name__}, of which it is not known how far it reaches; use the layers of "
        "sealiency.emulators.networks.densenet"
    )


def _interpolate(reached: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    # Interpolation is separable: rows by which of them each new row is made of, columns likewise.
    rows, columns = (_find_sources(coarse, fine, mode) for coarse, fine in zip(reached.shape, size, strict=True))
    return rows @ reached.double() @ columns.T > 0


def _find_sources(coarse: int, fine: int, mode: str) -> Tensor:
    """Return a matrix of shape (fine, coarse), 1 where a fine cell is made of a coarse one, else 0."""
    used = torch.zeros(fine, coarse, dtype=torch.bool)
    # Each arithmetic rounds the places that bicubic interpolation looks at in its own way.
    for dtype in (torch.float32, torch.float64):
        unit = torch.eye(coarse, dtype=dtype).reshape(coarse, 1, coarse, 1)
        used |= functional.interpolate(unit, size=(fine, 1), mode=mode)[:, 0, :, 0].T != 0
    return used.double()
