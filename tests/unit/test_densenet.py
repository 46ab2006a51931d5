import math

import pytest
import torch
from torch import nn

from sealiency.config.networks import DenseNetwork
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.errors import SealiencyError

PAPER = (36, (70, 125))
# Table 1 of Xu et al. (2021): row, channels and size of its output, parameters.
TABLE = [
    ("convolution", (144, 35, 63), 129_600),
    ("dense_block_1", (192, 35, 63), 70_080),
    ("downsampling", (96, 18, 32), 101_952),
    ("dense_block_2", (192, 18, 32), 119_136),
    ("upsampling_1", (96, 36, 64), 101_952),
    ("dense_block_3", (144, 36, 64), 49_056),
    ("upsampling_2", (1, 70, 125), 34_524),
]


def build(history=36, grid=(70, 125), dropout=0.0, **settings) -> DenseNet:
    torch.manual_seed(0)
    return DenseNet(DenseNetwork(**settings), history, grid, dropout).eval()


def record_shapes(network: DenseNet, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, stage in network.layers.named_children():
        stage.register_forward_hook(
            lambda module, given, output, name=name: shapes.__setitem__(name, tuple(output.shape[1:]))
        )
    with torch.no_grad():
        network(x)
    return shapes


def count(module: nn.Module) -> int:
    return sum(values.numel() for values in module.parameters())


# --- Table 1 ---


@pytest.fixture(scope="module")
def paper() -> DenseNet:
    return build(*PAPER)


@pytest.fixture(scope="module")
def paper_shapes(paper) -> dict[str, tuple[int, ...]]:
    return record_shapes(paper, torch.zeros(1, 36, 70, 125))


@pytest.mark.parametrize(("row", "shape", "parameters"), TABLE)
def test_row_of_table_1(paper, paper_shapes, row, shape, parameters):
    assert count(getattr(paper.layers, row)) == parameters
    assert paper_shapes[row] == shape


def test_parameters_and_convolutions_of_table_1(paper):
    assert count(paper) == 606_300 == sum(parameters for _, _, parameters in TABLE)
    convolutions = [module for module in paper.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 20
    assert all(convolution.bias is None for convolution in convolutions)
    assert [name for name, _ in paper.layers.named_children()] == [row for row, _, _ in TABLE]


def test_every_convolution_but_the_first_follows_batchnorm_and_relu(paper):
    order = [
        type(module).__name__ for module in paper.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU)
    ]
    assert order == ["Conv2d"] + ["BatchNorm2d", "ReLU", "Conv2d"] * 19
    # Each ReLU its own, as attribution needs.
    assert len({id(module) for module in paper.modules() if isinstance(module, nn.ReLU)}) == 19


def test_receptive_field_is_89_pixels_wide():
    # Positive weights on an awake network: whatever can reach a pixel does.
    network = build(1, (140, 140), stem_channels=4, growth_rate=2).double()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.fill_(0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.fill_(1)
    x = torch.zeros(1, 1, 140, 140, dtype=torch.float64, requires_grad=True)
    network(x)[0, 0, 68, 72].backward()
    rows, columns = (x.grad[0, 0] != 0).nonzero().T
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (89, 89)


# --- other grids and settings ---


@pytest.mark.parametrize("grid", [(8, 10), (35, 63), (71, 126), (9, 5), (33, 62), (7, 13)])
@pytest.mark.parametrize("upsampling", ["nearest", "bicubic"])
def test_stages_fit_any_grid(grid, upsampling):
    network = build(3, grid, stem_channels=8, growth_rate=2, upsampling=upsampling)
    shapes = record_shapes(network, torch.zeros(1, 3, *grid))
    half = tuple(math.ceil(n / 2) for n in grid)
    quarter = tuple(math.ceil(n / 4) for n in grid)
    twice = tuple(2 * n for n in quarter)
    assert [shape[1:] for shape in shapes.values()] == [half, half, quarter, quarter, twice, twice, grid]
    assert [shape[0] for shape in shapes.values()] == [8, 14, 7, 19, 9, 15, 1]


def test_bicubic_is_another_network_of_the_same_size():
    nearest, bicubic = (build(3, (9, 11), stem_channels=8, growth_rate=2, upsampling=u) for u in ("nearest", "bicubic"))
    assert count(nearest) == count(bicubic)
    bicubic.load_state_dict(nearest.state_dict())
    x = torch.randn(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (nearest(x) - bicubic(x)).abs().max() > 1e-3 * nearest(x).abs().max()


def test_dense_layer_keeps_its_input():
    block = build(3, (9, 11), stem_channels=8, growth_rate=2).layers.dense_block_1
    x = torch.randn(1, 8, 5, 6)
    with torch.no_grad():
        assert torch.equal(block(x)[:, :8], x)


@pytest.mark.parametrize("training", [True, False])
def test_network_with_a_skip_starts_at_it(training):
    network = build(5, (12, 14), stem_channels=8, growth_rate=2, skip="persistence", dropout=0.3)
    network.train(training)
    x = torch.randn(2, 5, 12, 14)
    assert torch.equal(network(x), x[:, -1:])
    # And can leave it: the gradient reaches the last convolution.
    network(x).square().sum().backward()
    assert network.layers.upsampling_2[-1].conv.weight.grad.abs().max() > 0


def test_plain_network_does_not_start_at_persistence():
    network = build(5, (12, 14), stem_channels=8, growth_rate=2)
    x = torch.randn(2, 5, 12, 14)
    with torch.no_grad():
        assert (network(x) - x[:, -1:]).abs().max() > 0.1


def test_dropout_drops_whole_new_channels_in_training_only():
    network = build(3, (9, 11), dropout=0.5, stem_channels=8, growth_rate=16)
    layer = network.layers.dense_block_1[0]
    x = torch.randn(1, 8, 5, 6)
    network.train()
    torch.manual_seed(0)
    new = layer(x)[0, 8:]
    dropped = (new == 0).flatten(1).all(1)
    assert 0 < dropped.sum() < 16
    assert (new[~dropped] != 0).any(dim=(1, 2)).all()
    network.eval()
    with torch.no_grad():
        assert torch.equal(layer(x), layer(x))
        assert (layer(x)[0, 8:].flatten(1) != 0).any(1).all()


@pytest.mark.parametrize("columns", [194, 230])
def test_grid_on_which_the_nearest_cell_is_ambiguous_is_refused(columns):
    with pytest.raises(
        SealiencyError, match=rf"data\.region: nearest upsampling from \d+ to {columns} cells is ambiguous"
    ):
        build(3, (8, columns), stem_channels=4, growth_rate=2)
    build(3, (8, columns + 1), stem_channels=4, growth_rate=2)
    build(3, (8, columns), stem_channels=4, growth_rate=2, upsampling="bicubic")
