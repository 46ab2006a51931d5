"""How far a box reaches by the network's structure, held against forward-mode derivatives."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp

from sealiency.attribution.graph.reach import find_reach
from sealiency.config.networks import DenseNetwork
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.errors import SealiencyError

PAPER = {"stem_channels": 6, "growth_rate": 3, "dense_layers": (3, 6, 3)}


def awaken(network: DenseNet) -> DenseNet:
    """Keep most channels above zero, so that whatever the structure lets through does come through."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.fill_(2)
    return network


def make_box(grid: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    box = np.zeros(grid, bool)
    box[rows, columns] = True
    return box


def derive(network: DenseNet, box: np.ndarray, history: int) -> np.ndarray:
    """Return the change of every output cell for a random change of the box, to first order."""
    random = torch.Generator().manual_seed(1)
    x, change = (torch.randn(1, history, *box.shape, generator=random, dtype=torch.float64) for _ in range(2))
    weights = {name: values.detach() for name, values in network.state_dict().items()}
    _, derivative = jvp(lambda field: functional_call(network, weights, field), (x,), (change * torch.from_numpy(box),))
    return derivative[0, 0].numpy()


# PyTorch's own forward mode compiles what it would rather not.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("skip", ["none", "persistence", "convolution"])
@pytest.mark.parametrize("upsampling", ["nearest", "bicubic"])
@pytest.mark.parametrize(
    ("grid", "rows", "columns"),
    [
        ((70, 125), slice(45, 52), slice(55, 65)),
        ((23, 131), slice(0, 1), slice(0, 1)),
        ((117, 9), slice(112, 117), slice(4, 6)),
    ],
)
def test_reach_is_where_the_derivative_can_be_other_than_zero(build_network, grid, rows, columns, upsampling, skip):
    settings = {**PAPER, "upsampling": upsampling, "skip": skip, "skip_kernel": 5}
    network = awaken(build_network(grid=grid, history=2, **settings))
    box = make_box(grid, rows, columns)
    reach, derivative = find_reach(network, 2, box), derive(network, box, history=2)
    assert reach.shape == grid
    assert reach.dtype == bool
    assert (derivative[~reach] == 0).all()
    assert (~reach).mean() > 0.1
    assert (derivative[reach] != 0).mean() > 0.99


def test_reach_of_a_shallow_network_is_smaller(build_network):
    box = make_box((40, 60), slice(20, 22), slice(10, 12))
    deep, shallow = (
        find_reach(build_network(grid=(40, 60), dense_layers=layers), 4, box) for layers in ((2, 3, 2), (1, 1, 1))
    )
    assert (shallow <= deep).all()
    assert shallow.sum() < deep.sum()


def test_a_linear_bottleneck_reaches_everything(build_network):
    box = make_box((70, 40), slice(0, 2), slice(0, 2))
    with_it, without = (build_network(grid=(70, 40), linear_bottleneck=wanted) for wanted in (True, False))
    assert find_reach(with_it, 4, box).all()
    assert not find_reach(without, 4, box).all()


@pytest.mark.parametrize("skip", ["none", "persistence", "convolution"])
def test_weights_make_no_difference(skip):
    settings = DenseNetwork(stem_channels=4, growth_rate=2, dense_layers=(1, 1, 1), skip=skip)
    network = DenseNet(settings, 3, (30, 50)).eval()
    box = make_box((30, 50), slice(3, 5), slice(7, 9))
    before = find_reach(network, 3, box)
    for values in network.parameters():
        values.data.zero_()
    np.testing.assert_array_equal(find_reach(network, 3, box), before)
    assert before[box].all()


def test_a_layer_of_unknown_reach_is_refused(build_network):
    network = build_network()
    network.layers.dense_block_1[1].relu = nn.MaxPool2d(3, 1, 1).eval()
    with pytest.raises(SealiencyError, match=r"layer layers\.dense_block_1\.1\.relu \(MaxPool2d\): max pooling"):
        find_reach(network, 4, np.ones((12, 14), bool))
