"""How far a network's structure lets an input reach, whatever its weights are."""

import numpy as np
import torch
from torch import nn

from sealiency.attribution.graph.tracing import trace


def find_reach(network: nn.Module, history: int, box: np.ndarray) -> np.ndarray:
    """Return the cells whose forecast can depend on a part of the input.

    A mask is passed through the operations in place of values: a cell is reached where any of the cells that it is computed
    from is. Only kernel sizes, strides, padding and interpolation sizes count, so nothing cancels or underflows, and
    weights that happen to be zero, as those of the last convolution beside a skip are at first, are no obstacle.

    Parameters
    ----------
    network
        The network, in evaluation mode.
    history
        Months of input.
    box
        Cells of the input, bool of shape (lat, lon); in which months makes no difference.

    Returns
    -------
    numpy.ndarray
        Bool of shape (lat, lon).

    Raises
    ------
    SealiencyError
        If the network has an operation of which it is not known what it reads; operation and layer are named.
    """
    rows, columns = box.shape
    reached = torch.from_numpy(np.ascontiguousarray(box, dtype=bool))
    return trace(network, history, (rows, columns)).find_reach(reached).numpy()
