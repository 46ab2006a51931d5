import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sealiency.attribution.engine import Engine
from sealiency.config.attribution import Attribution
from sealiency.data.places import list_block_pixels

GRID, HISTORY = (21, 30), 4


@pytest.fixture(params=[{}, {"upsampling": "bicubic"}], ids=["nearest", "bicubic"])
def engine(build_network, request) -> Engine:
    return Engine(build_network(GRID, HISTORY, **request.param), HISTORY, GRID, torch.float64)


@pytest.mark.parametrize("place", [(0, 0), (20, 29), (10, 14), (3, 29)])
def test_operations_are_those_of_the_cells_that_a_pixel_sees(build_network, place):
    # Without ReLUs, what a pixel sees of each convolution's output is where its gradient is not zero.
    network = build_network(GRID, HISTORY)
    outputs: list[tuple[nn.Conv2d, torch.Tensor, torch.Size]] = []

    def keep(layer, inputs, output):
        output.retain_grad()
        outputs.append((layer, output, inputs[0].shape))

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(keep)
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda layer, inputs, output: inputs[0])
    fields = torch.randn(1, HISTORY, *GRID, dtype=torch.float64, requires_grad=True)
    network(fields)[0, 0, place[0], place[1]].backward()
    expected = 0
    for layer, output, shape in outputs:
        seen = output.grad[0].abs().sum(0) > 0
        # How many cells of its input each cell of the output is made of.
        ones = torch.ones(1, 1, *shape[2:])
        taps = functional.conv2d(ones, torch.ones(1, 1, *layer.kernel_size), stride=layer.stride, padding=layer.padding)
        expected += int(taps[0, 0][seen].sum()) * layer.in_channels * layer.out_channels
    assert len(outputs) == 15
    engine = Engine(build_network(GRID, HISTORY), HISTORY, GRID, torch.float64)
    assert engine.count_operations(place[0] * GRID[1] + place[1]) == expected


def test_groups_are_of_neighbours_and_hold_every_pixel_once(engine):
    pixels = list(range(0, GRID[0] * GRID[1], 2))
    groups = engine.group(pixels)
    assert sorted(at for group in groups for at in group) == list(range(len(pixels)))
    assert len(groups) == 6 * 8
    for group in groups:
        rows, columns = zip(*(divmod(pixels[at], GRID[1]) for at in group), strict=True)
        assert max(rows) - min(rows) < 4
        assert max(columns) - min(columns) < 4


def test_blocks_of_pixels_cut_groups_only_at_their_ends(build_network):
    # The order of all pixels is chosen before there is a network.
    ocean = np.ones(GRID, bool)
    settings = Attribution(pixels="all", pixel_blocks=1)
    pixels = list_block_pixels(settings, "0000", ocean, np.arange(GRID[0]), np.arange(GRID[1]))
    engine = Engine(build_network(GRID, HISTORY), HISTORY, GRID, torch.float64)
    groups = engine.group([row * GRID[1] + column for _, row, column in pixels])
    assert all(group == list(range(group[0], group[-1] + 1)) for group in groups)


@pytest.mark.parametrize("columns", [241, 357])
def test_bicubic_on_wide_grids_agrees_with_the_network(build_network, columns):
    network = build_network((5, columns), HISTORY, upsampling="bicubic").float()
    engine = Engine(network, HISTORY, (5, columns), torch.float32)
    fields = torch.randn(1, HISTORY, 5, columns)
    baseline = 0 * fields
    linearisation = engine.linearise(fields, baseline, engine.observe(baseline))
    with torch.no_grad():
        difference = (network(fields) - network(baseline))[0, 0].flatten()
    for pixel in (0, 2 * columns + 100, 4 * columns + columns - 3):
        values, _ = engine.attribute(linearisation, [pixel])
        assert abs(values.double().sum() - difference[pixel]) < 1e-6 * values.abs().double().sum()


def test_attribution_does_not_depend_on_the_pixels_beside_it(engine):
    inputs = torch.randn(2, HISTORY, *GRID, dtype=torch.float64)
    baseline = torch.zeros(1, HISTORY, *GRID, dtype=torch.float64)
    linearisation = engine.linearise(inputs, baseline, engine.observe(baseline))
    pixels = [GRID[1] * row + column for row, column in ((8, 12), (8, 13), (11, 15))]
    together, wide = engine.attribute(linearisation, pixels)
    for number, pixel in enumerate(pixels):
        alone, window = engine.attribute(linearisation, [pixel])
        whole = torch.zeros_like(together[:, number])
        window.within(wide).cut(whole).copy_(alone[:, 0])
        torch.testing.assert_close(together[:, number], whole, rtol=0, atol=1e-14 * whole.abs().max().item())
        assert alone.abs().max() > 0


def test_window_is_no_wider_than_what_the_pixel_sees(build_network):
    engine = Engine(build_network(GRID, HISTORY), HISTORY, GRID, torch.float64)
    baseline = torch.zeros(1, HISTORY, *GRID, dtype=torch.float64)
    linearisation = engine.linearise(baseline + 1, baseline, engine.observe(baseline))
    values, window = engine.attribute(linearisation, [0])
    assert window.rows.start == window.columns.start == 0
    assert window.columns.stop < GRID[1]
    assert values.shape == (1, 1, HISTORY, *window.shape)
    assert values[..., -1].any()


def test_taking_samples_is_taking_their_attributions(engine):
    inputs = torch.randn(5, HISTORY, *GRID, dtype=torch.float64)
    linearisation = engine.linearise(inputs, inputs[:1] * 0, engine.observe(inputs[:1] * 0))
    whole, _ = engine.attribute(linearisation, [100])
    part, _ = engine.attribute(linearisation.take(slice(1, 3)), [100])
    assert len(linearisation.take(slice(1, 3))) == 2
    torch.testing.assert_close(part, whole[1:3], rtol=0, atol=1e-14 * whole.abs().max().item())
