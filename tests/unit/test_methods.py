import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sealiency.attribution.methods import METHODS, DeepLift, build_method, check_network
from sealiency.config.emulator import Network
from sealiency.errors import SealiencyError
from sealiency.models.densenet import DenseNet

GRID = (12, 14)
HISTORY = 4
PIXELS = [(0, 0), (0, 7), (11, 13), (6, 7), (5, 2)]
FLAT = [row * GRID[1] + column for row, column in PIXELS]


def draw(samples: int, seed: int = 0) -> Tensor:
    """Inputs with a patch of land, where they equal the zero baseline."""
    fields = torch.randn(samples, HISTORY, *GRID, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    fields[..., 3:6, 8:11] = 0
    return fields


class ReplaceReLU:
    """Within this context every ReLU of a network computes something else."""

    def __init__(self, network: nn.Module, function) -> None:
        self.network, self.function = network, function

    def __enter__(self) -> None:
        layers = [module for module in self.network.modules() if isinstance(module, nn.ReLU)]
        self.hooks = [layer.register_forward_hook(self._replace(n)) for n, layer in enumerate(layers)]

    def _replace(self, number: int):
        return lambda module, inputs, output: self.function(number, inputs[0])

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()


def explain_slowly(network: nn.Module, x: Tensor, baseline: Tensor, pixel: tuple[int, int]) -> Tensor:
    """The rescale rule as it is written: one sample, one pixel, each ReLU a line through its two points."""
    recorded: list[list[Tensor]] = []
    for field in (baseline, x):
        values: list[Tensor] = []
        with torch.no_grad(), ReplaceReLU(network, lambda n, a, values=values: (values.append(a), a.relu())[1]):
            network(field[None])
        recorded.append(values)

    def line(number: int, a: Tensor) -> Tensor:
        start, end = recorded[0][number], recorded[1][number]
        moved = end - start
        slope = torch.where(
            moved == 0, (end > 0).double(), (end.relu() - start.relu()) / moved.where(moved != 0, torch.ones(()))
        )
        return start.relu() + slope * (a - start)

    inputs = x[None].clone().requires_grad_(True)
    with ReplaceReLU(network, line):
        output = network(inputs)[0, 0, pixel[0], pixel[1]]
        assert output.item() == pytest.approx(forecast(network, x, pixel), rel=1e-9)
        (multipliers,) = torch.autograd.grad(output, inputs)
    return multipliers[0] * (x - baseline)


def forecast(network: nn.Module, x: Tensor, pixel: tuple[int, int]) -> float:
    with torch.no_grad():
        return network(x[None])[0, 0, pixel[0], pixel[1]].item()


def collect(name: str, network: nn.Module, inputs: Tensor, baselines: Tensor | None = None, steps: int = 64) -> Tensor:
    """Attributions of all samples and pixels, of shape (pixel, sample, lag, lat, lon)."""
    if baselines is None:
        baselines = torch.zeros(1, *inputs.shape[1:], dtype=inputs.dtype)
    method = build_method(name, network, baselines, batch_size=2, steps=steps)
    values = torch.full((len(FLAT), *inputs.shape), torch.nan, dtype=inputs.dtype)
    for tile in method.tiles(inputs, FLAT):
        assert values[tile.pixel, tile.samples].isnan().all()
        values[tile.pixel, tile.samples] = tile.attributions
    return values


def assert_close(values: Tensor, expected: Tensor, share: float = 1e-10) -> None:
    assert (values - expected).abs().max() <= share * expected.abs().max()
    assert expected.abs().max() > 0


# --- DeepLIFT ---


@pytest.mark.parametrize(
    "settings",
    [{}, {"residual": True}, {"upsampling": "bicubic"}, {"dense_layers": (1, 1, 1)}],
    ids=["plain", "residual", "bicubic", "shallow"],
)
def test_deeplift_is_the_rescale_rule(build_network, settings):
    network = build_network(GRID, HISTORY, **settings)
    inputs = draw(3)
    values = collect("deeplift", network, inputs)
    for (at, pixel), sample in itertools.product(enumerate(PIXELS), range(3)):
        expected = explain_slowly(network, inputs[sample], torch.zeros_like(inputs[0]), pixel)
        assert_close(values[at, sample], expected)
    # A network of these weights is far from linear, else gradient x input would pass as well.
    inputs.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(inputs)[:, 0, 6, 7].sum(), inputs)
    # The last month, which a residual network passes on as it is, would hide the rest.
    difference = (gradient * inputs - values[3])[:, :-1].abs().max()
    assert difference > 0.05 * values[3][:, :-1].abs().max()


@pytest.mark.parametrize("residual", [False, True])
def test_deeplift_sums_to_the_change_of_the_forecast(build_network, residual):
    network = build_network(GRID, HISTORY, seed=5, residual=residual)
    inputs = draw(5)
    method = build_method("deeplift", network, torch.zeros(1, HISTORY, *GRID).double(), 2, 8)
    difference = method.output_difference(inputs)
    for (at, pixel), sample in itertools.product(enumerate(PIXELS), range(5)):
        expected = forecast(network, inputs[sample], pixel) - forecast(network, 0 * inputs[sample], pixel)
        assert difference[sample, FLAT[at]].item() == pytest.approx(expected, rel=1e-12)
    values = collect("deeplift", network, inputs)
    error = (values.sum((2, 3, 4)) - difference[:, FLAT].T).abs() / values.abs().sum((2, 3, 4))
    assert error.max() < method.tolerance


def test_deeplift_gives_land_nothing(build_network):
    values = collect("deeplift", build_network(GRID, HISTORY), draw(2))
    assert (values[..., 3:6, 8:11] == 0).all()


def test_deeplift_in_float32_agrees(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(2).float()
    values = collect("deeplift", network.float(), inputs)
    network.double()
    expected = collect("deeplift", network, inputs.double())
    assert_close(values.double(), expected, share=1e-5)


# --- DeepLiftShap ---


def test_deeplift_shap_with_the_zero_baseline_is_deeplift(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(3)
    assert_close(collect("deeplift_shap", network, inputs), collect("deeplift", network, inputs), share=1e-13)


def test_deeplift_shap_is_the_mean_over_baselines(build_network):
    network = build_network(GRID, HISTORY)
    inputs, baselines = draw(3), draw(4, seed=9)
    values = collect("deeplift_shap", network, inputs, baselines)
    for (at, pixel), sample in itertools.product(enumerate(PIXELS[2:4], start=2), range(3)):
        expected = sum(explain_slowly(network, inputs[sample], baseline, pixel) for baseline in baselines) / 4
        assert_close(values[at, sample], expected)
    method = build_method("deeplift_shap", network, baselines, 2, 8)
    assert method.baseline_name == "4 training samples"
    difference = method.output_difference(inputs)[:, FLAT].T
    torch.testing.assert_close(values.sum((2, 3, 4)), difference, rtol=1e-10, atol=1e-12)


# --- the other two ---


def test_integrated_gradients_is_the_quadrature_of_the_gradient(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(3)
    values = collect("integrated_gradients", network, inputs, steps=10)
    nodes, weights = np.polynomial.legendre.leggauss(10)
    for (at, (row, column)), sample in itertools.product(enumerate(PIXELS), range(3)):
        mean = torch.zeros_like(inputs[sample])
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            x = (inputs[sample] * node)[None].requires_grad_(True)
            mean += weight * torch.autograd.grad(network(x)[0, 0, row, column], x)[0][0]
        # Captum keeps the weights of the quadrature in float32.
        assert_close(values[at, sample], inputs[sample] * mean, share=1e-6)


def test_integrated_gradients_sums_to_the_change_within_its_bound(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(3)
    method = build_method("integrated_gradients", network, torch.zeros(1, HISTORY, *GRID).double(), 2, 64)
    values = collect("integrated_gradients", network, inputs, steps=64)
    error = values.sum((2, 3, 4)) - method.output_difference(inputs)[:, FLAT].T
    relative = error.abs() / values.abs().sum((2, 3, 4))
    assert relative.max() < method.tolerance
    # Fewer steps are worse, so the bound is about the quadrature.
    coarse = collect("integrated_gradients", network, inputs, steps=2).sum((2, 3, 4))
    assert (coarse - method.output_difference(inputs)[:, FLAT].T).abs().mean() > 3 * error.abs().mean()


class GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(context, a):
        context.save_for_backward(a)
        return a.relu()

    @staticmethod
    def backward(context, gradient):
        (a,) = context.saved_tensors
        return gradient.relu() * (a > 0)


def test_guided_backprop_passes_positive_gradients_only(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(3)
    values = collect("guided_backprop", network, inputs)
    for at, (row, column) in enumerate(PIXELS):
        x = inputs.clone().requires_grad_(True)
        with ReplaceReLU(network, lambda number, a: GuidedReLU.apply(a)):
            (expected,) = torch.autograd.grad(network(x)[:, 0, row, column].sum(), x)
        assert_close(values[at], expected)


def test_only_guided_backprop_claims_no_completeness(build_network):
    network = build_network(GRID, HISTORY)
    zero = torch.zeros(1, HISTORY, *GRID).double()
    bounds = {name: build_method(name, network, zero, 2, 8).tolerance for name in METHODS}
    assert bounds == {"deeplift": 1e-12, "deeplift_shap": 1e-12, "integrated_gradients": 1e-2, "guided_backprop": None}


# --- batches ---


@pytest.mark.parametrize("name", METHODS)
def test_batches_do_not_change_an_attribution(build_network, name):
    network = build_network(GRID, HISTORY)
    inputs = draw(5)
    zero = torch.zeros(1, HISTORY, *GRID).double()
    results = []
    for batch_size in (1, 3, 5):
        tiles = list(build_method(name, network, zero, batch_size, 4).tiles(inputs, FLAT[:2]))
        assert [tile.pixel for tile in tiles] == sorted(tile.pixel for tile in tiles)
        for pixel in range(2):
            covered = [n for tile in tiles if tile.pixel == pixel for n in range(tile.samples.start, tile.samples.stop)]
            assert covered == list(range(5))
        results.append(torch.stack([torch.cat([t.attributions for t in tiles if t.pixel == p]) for p in range(2)]))
    assert_close(results[1], results[0], share=1e-12)
    assert_close(results[2], results[0], share=1e-12)


def test_a_method_leaves_the_network_as_it_was(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(1)
    with torch.no_grad():
        before = network(inputs)
        for name in METHODS:
            collect(name, network, inputs, steps=2)
        assert torch.equal(network(inputs), before)
    hooks = [hook for module in network.modules() for hook in (*module._forward_hooks, *module._backward_hooks)]
    assert not hooks


# --- what is refused ---


class Shifted(nn.ReLU):
    """A subclass, which Captum takes for a layer without a rule."""


def test_network_of_the_project_is_accepted():
    check_network(DenseNet(Network(stem_channels=4, growth_rate=2), HISTORY, GRID, dropout=0.5).eval())


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.GELU(), "GELU"),
        (nn.SiLU(), "SiLU"),
        (Shifted(), "Shifted"),
        (nn.MaxPool2d(2), "MaxPool2d"),
        (nn.LeakyReLU(), "LeakyReLU"),
        (nn.GroupNorm(1, 6), "GroupNorm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("method", METHODS)
def test_layer_without_an_exact_rule_is_refused_by_name(layer, kind, method):
    network = nn.Sequential(nn.Conv2d(HISTORY, 6, 3), nn.Sequential(nn.ReLU(), layer), nn.Conv2d(6, 1, 3)).eval()
    with pytest.raises(SealiencyError, match=rf"layer 1\.1 is a {kind}, for which no attribution rule is exact"):
        build_method(method, network, torch.zeros(1, HISTORY, *GRID), 2, 8)


def test_network_in_training_mode_is_refused(build_network):
    network = build_network(GRID, HISTORY)
    network.train()
    with pytest.raises(SealiencyError, match="layer network is in training mode"):
        check_network(network)
    # One forgotten layer is enough to be wrong.
    network.eval()
    network.layers.dense_block_1[0].norm.train()
    with pytest.raises(SealiencyError, match=r"layer layers.dense_block_1.0.norm is in training mode"):
        DeepLift(network, torch.zeros(1, HISTORY, *GRID).double(), 2, 8)


def test_one_relu_used_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(HISTORY, 6, 3, padding=1), nn.Conv2d(6, 1, 3, padding=1)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.second(self.relu(self.first(x))))

    network = Twice().double().eval()
    with pytest.raises(Exception, match=r"(?i)module|relu|twice|more than once"):
        collect("deeplift", network, draw(1))
