import itertools
from collections.abc import Iterator

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from sealiency.attribution.attributor import FlatOutput
from sealiency.attribution.methods import build_method
from sealiency.attribution.occlusion import Occlusion

GRID = (12, 14)
HISTORY = 4
FLAT = [0, 6 * 14 + 7, 11 * 14 + 13]
LAND = (slice(None), slice(3, 6), slice(8, 12))


def draw(samples: int, seed: int = 0) -> Tensor:
    """Inputs with a patch of land, where they are zero."""
    fields = torch.randn(samples, HISTORY, *GRID, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    fields[:, *LAND] = 0
    return fields


def build(network: nn.Module, window: tuple[int, int, int], baselines: Tensor | None = None, **settings) -> Occlusion:
    zero = torch.zeros(1, HISTORY, *GRID).double()
    defaults = {"memory": 1e9, "steps": 2, "precision": "float64"}
    return build_method(
        "occlusion", network, zero if baselines is None else baselines, **(defaults | settings), occlusion_window=window
    )


def collect(method: Occlusion, inputs: Tensor) -> Tensor:
    """Attributions of shape (pixel, sample, lag, lat, lon)."""
    values = torch.full((len(FLAT), *inputs.shape), torch.nan, dtype=torch.float64)
    for tile in method.tiles(inputs, FLAT):
        for number, pixel in enumerate(tile.pixels):
            tile.window.cut(values[pixel, tile.samples]).copy_(tile.attributions[:, number])
    assert not values.isnan().any()
    return values


def cut(window: tuple[int, int, int]) -> Iterator[tuple[slice, ...]]:
    """The windows, side by side."""
    sizes = (HISTORY, *GRID)
    starts = (range(0, size, length) for size, length in zip(sizes, window, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + length) for start, length in zip(corner, window, strict=True))


@pytest.mark.parametrize("baseline", [0.0, 0.7])
@pytest.mark.parametrize("window", [(1, 3, 4), (3, 5, 5), (1, 1, 14), (99, 12, 14)], ids=str)
def test_drop_of_each_window_is_shared_by_the_cells_that_it_changes(build_network, window, baseline):
    network, inputs = build_network(GRID, HISTORY), draw(2)
    # Where the baseline is not zero, land changes too.
    field = torch.full((1, HISTORY, *GRID), baseline, dtype=torch.float64)
    values = collect(build(network, window, field), inputs)
    expected = torch.zeros_like(values)
    for sample, place in itertools.product(range(2), cut(window)):
        occluded = inputs[sample].clone()
        occluded[place] = baseline
        with torch.no_grad():
            drop = (network(inputs[sample][None]) - network(occluded[None])).flatten()[FLAT]
        moved = (inputs[sample][place] != baseline).double()
        for pixel in range(len(FLAT)):
            expected[pixel, sample][place] = drop[pixel] * moved / moved.sum().clamp(min=1)
    torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-14)
    assert expected.abs().max() > 1e-6
    assert values[..., 3:6, 8:12].any() == (baseline != 0)


def test_whole_windows_without_land_agree_with_captum(build_network):
    network, inputs = build_network(GRID, HISTORY), draw(2)
    values = collect(build(network, (2, 3, 4)), inputs)
    method = captum.attr.Occlusion(FlatOutput(network))
    for at, pixel in enumerate(FLAT):
        with torch.no_grad():
            whole = method.attribute(inputs, (2, 3, 4), strides=(2, 3, 4), target=pixel)
        # Captum gives each of the 24 cells the whole drop, and that in float32.
        drops, expected = 24 * values[at, ..., 6:, :12], whole[..., 6:, :12].double()
        torch.testing.assert_close(drops, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())
        assert expected.any()


def test_one_window_over_all_sums_to_the_change_of_the_forecast_and_many_do_not(build_network):
    network, inputs = build_network(GRID, HISTORY), draw(3)
    whole, parts = (build(network, window) for window in ((HISTORY, *GRID), (1, 3, 4)))
    change = whole.output_difference(inputs)[:, FLAT].T
    torch.testing.assert_close(collect(whole, inputs).sum((2, 3, 4)), change, rtol=1e-10, atol=1e-14)
    assert (collect(parts, inputs).sum((2, 3, 4)) - change).abs().max() > 0.01 * change.abs().max()


def test_each_window_with_ocean_is_one_forecast_for_all_pixels(build_network):
    network, inputs, forecasts = build_network(GRID, HISTORY), draw(2), []
    method = build(network, (1, 3, 4))
    network.register_forward_hook(lambda module, given, output: forecasts.append(len(output)))
    collect(method, inputs)
    # 4 months of 4 x 4 windows, of which 1 a month is all land; and the forecast of each sample itself.
    assert sum(forecasts) == 2 * (4 * (16 - 1) + 1)


@pytest.mark.parametrize(("share", "at_once"), [(1.5, 1), (3.5, 3), (1e6, 8)])
def test_memory_decides_how_many_windows_are_occluded_at_once(build_network, share, at_once):
    network, forecasts = build_network(GRID, HISTORY), []
    layers = [module for module in network.modules() if not list(module.children())]
    hooks = [layer.register_forward_hook(lambda _, __, output: forecasts.append(output.nbytes)) for layer in layers]
    with torch.no_grad():
        network(draw(1))
    for hook in hooks:
        hook.remove()
    # Six times what the layers put out, as for a pass through Captum.
    method = build(network, (1, 3, 4), memory=share * 6 * sum(forecasts))
    sizes = []
    network.register_forward_hook(lambda module, given, output: sizes.append(len(output)))
    collect(method, draw(1))
    assert max(sizes) == at_once
