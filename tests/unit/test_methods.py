import itertools
import warnings
from collections.abc import Iterable
from contextlib import suppress

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sealiency.attribution.attributor import FlatOutput, Method, Tile
from sealiency.attribution.completeness import measure_completeness
from sealiency.attribution.engine import Engine
from sealiency.attribution.methods import METHODS, build_method
from sealiency.config.attribution import WITHOUT_BASELINE, WITHOUT_COMPLETENESS
from sealiency.errors import SealiencyError
from small_world import HISTORY as HISTORY_OF_RECORD

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


def build(name: str, network: nn.Module, baselines: Tensor, steps: int = 8, **settings) -> Method:
    precision = "float64" if baselines.dtype == torch.float64 else "float32"
    defaults = {"memory": 1e9, "steps": steps, "precision": precision, "occlusion_window": (2, 5, 5)}
    return build_method(name, network, baselines, **(defaults | settings))


def spread(tiles: Iterable[Tile], inputs: Tensor) -> Tensor:
    """Attributions on the whole grid, of shape (pixel, sample, lag, lat, lon), each sample and pixel given once."""
    values = torch.zeros((len(FLAT), *inputs.shape), dtype=torch.float64)
    given = torch.zeros(len(FLAT), len(inputs), dtype=torch.int64)
    for tile in tiles:
        for number, pixel in enumerate(tile.pixels):
            # In the order of samples.
            assert given[pixel, : tile.samples.start].all()
            given[pixel, tile.samples] += 1
            tile.window.cut(values[pixel, tile.samples]).copy_(tile.attributions[:, number])
    assert (given == 1).all()
    return values


def collect(name: str, network: nn.Module, inputs: Tensor, baselines: Tensor | None = None, **settings) -> Tensor:
    """Attributions of all samples and pixels, of shape (pixel, sample, lag, lat, lon)."""
    if baselines is None:
        baselines = torch.zeros(1, *inputs.shape[1:], dtype=inputs.dtype)
    method = build(name, network, baselines, **settings)
    # Several batches, the last one shorter.
    method.at_once = 2
    return spread(method.tiles(inputs, FLAT), inputs)


def explain_by_captum(network: nn.Module, inputs: Tensor, baselines: Tensor) -> Tensor:
    """Attributions by Captum, one pixel after the other, of shape (pixel, sample, lag, lat, lon)."""

    kind = captum.attr.DeepLift if len(baselines) == 1 else captum.attr.DeepLiftShap
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = [
            kind(FlatOutput(network)).attribute(inputs, baselines=baselines, target=pixel).detach() for pixel in FLAT
        ]
    return torch.stack(values)


def assert_close(values: Tensor, expected: Tensor, share: float = 1e-10) -> None:
    assert (values - expected).abs().max() <= share * expected.abs().max()
    assert expected.abs().max() > 0


# --- DeepLIFT ---


@pytest.mark.parametrize(
    "settings",
    [{}, {"skip": "persistence"}, {"upsampling": "bicubic"}, {"dense_layers": (1, 1, 1)}],
    ids=["plain", "persistence", "bicubic", "shallow"],
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
    # The last month, which a skip passes on as it is, would hide the rest.
    difference = (gradient * inputs - values[3])[:, :-1].abs().max()
    assert difference > 0.05 * values[3][:, :-1].abs().max()


@pytest.mark.parametrize("skip", ["none", "persistence"])
def test_deeplift_sums_to_the_change_of_the_forecast(build_network, skip):
    network = build_network(GRID, HISTORY, seed=5, skip=skip)
    inputs = draw(5)
    method = build("deeplift", network, torch.zeros(1, HISTORY, *GRID).double())
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
    assert_close(values, expected, share=1e-5)
    # It is float32 that was asked for.
    assert (values - expected).abs().max() > 1e-9 * expected.abs().max()


def test_deeplift_in_bfloat16_is_near(build_network):
    network = build_network(GRID, HISTORY)
    expected = collect("deeplift", network, draw(2))
    values = collect("deeplift", network.float(), draw(2).float(), precision="bfloat16")
    assert_close(values, expected, share=0.05)
    assert (values - expected).abs().max() > 1e-4 * expected.abs().max()


@pytest.mark.parametrize("baselines", [1, 3])
@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(
    "settings", [{}, {"skip": "persistence"}, {"upsampling": "bicubic"}], ids=["plain", "persistence", "bicubic"]
)
def test_engine_agrees_with_captum(build_network, settings, dtype, share, baselines):
    network = build_network(GRID, HISTORY, seed=3, **settings).to(dtype)
    inputs, fields = draw(3).to(dtype), draw(baselines, seed=9).to(dtype)
    name = "deeplift" if baselines == 1 else "deeplift_shap"
    assert_close(collect(name, network, inputs, fields), explain_by_captum(network, inputs, fields).double(), share)


def test_engine_agrees_with_captum_on_trained_weights(emulator, record):
    network = emulator.network.double()
    rows, columns = record.ocean.shape
    pixels = [0, columns - 1, 3 * columns + 4, 4 * columns + 5, rows * columns - 1]
    inputs = torch.stack([record.anomaly[k - HISTORY_OF_RECORD : k] for k in (6, 20)]).double()
    method = build("deeplift", network, inputs[:1] * 0)
    for tile in method.tiles(inputs, pixels):
        for number, pixel in enumerate(tile.pixels):
            given = torch.zeros_like(inputs)
            tile.window.cut(given).copy_(tile.attributions[:, number])
            for sample in range(2):
                expected = explain_slowly(network, inputs[sample], inputs[0] * 0, divmod(pixels[pixel], columns))
                assert_close(given[sample], expected)


def test_input_almost_at_its_baseline_loses_no_digits(build_network):
    # Finite differences of 1e-7 have none left in float32; a ReLU that both leave active has multiplier 1 all the same.
    network = build_network(GRID, HISTORY)
    baseline = draw(1, seed=9).float()
    inputs = baseline * (1 + 1e-6)
    inputs.requires_grad_(True)
    for at, (row, column) in enumerate(PIXELS):
        (gradient,) = torch.autograd.grad(network(inputs.double())[0, 0, row, column], inputs)
        expected = gradient.double() * (inputs.double() - baseline.double())
        values = collect("deeplift", network.float(), inputs.detach(), baseline)[at]
        network.double()
        assert_close(values.detach(), expected.detach(), share=1e-4)


@pytest.mark.parametrize(("precision", "passes"), [("float32", False), ("float64", True)])
def test_forecasts_that_hardly_differ_pass_the_gate_in_float64_only(build_network, precision, passes):
    # The difference of two float32 forecasts has lost its digits, and the gate holds the attributions against it.
    dtype = getattr(torch, precision)
    network, inputs = build_network(GRID, HISTORY).to(dtype), (3e-2 * draw(3)).to(dtype)
    method = build("deeplift", network, inputs[:1] * 0)
    values, expected = spread(method.tiles(inputs, FLAT), inputs), method.output_difference(inputs)[:, FLAT].T
    axes = (2, 3, 4)
    errors = measure_completeness(values.sum(axes).numpy(), values.abs().sum(axes).numpy(), expected.double().numpy())
    assert (errors.max() <= method.tolerance) == passes


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
    method = build("deeplift_shap", network, baselines)
    assert method.baseline_name == "4 training samples"
    difference = method.output_difference(inputs)[:, FLAT].T
    torch.testing.assert_close(values.sum((2, 3, 4)), difference, rtol=1e-10, atol=1e-12)


# --- gradients ---


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
    method = build("integrated_gradients", network, torch.zeros(1, HISTORY, *GRID).double(), 64)
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


def difference_quotient(network: nn.Module, x: Tensor, pixel: tuple[int, int], cell: tuple[int, int, int]) -> float:
    """The slope of the forecast in one cell of the input, without autograd."""
    step = torch.zeros_like(x)
    step[cell] = 1e-6
    return (forecast(network, x + step, pixel) - forecast(network, x - step, pixel)) / 2e-6


def test_saliency_is_the_slope_with_its_sign_and_times_the_input_input_x_gradient(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(2)
    slopes, products = (collect(name, network, inputs) for name in ("saliency", "input_x_gradient"))
    cells = [(lag, *place) for lag in (0, HISTORY - 1) for place in ((1, 2), (4, 9), (6, 7), (10, 13))]
    found = []
    for (at, pixel), sample, cell in itertools.product(enumerate(PIXELS), range(2), cells):
        slope = difference_quotient(network, inputs[sample], pixel, cell)
        size = slopes[at, sample].abs().max().item()
        assert slopes[at, sample][cell].item() == pytest.approx(slope, abs=1e-6 * size)
        expected = slope * inputs[sample][cell].item()
        assert products[at, sample][cell].item() == pytest.approx(expected, abs=1e-6 * size)
        found.append(slope)
    assert min(found) < 0 < max(found)
    # Land has a slope, but times an input of zero it has no part in the forecast.
    assert slopes[..., 3:6, 8:11].any()
    assert not products[..., 3:6, 8:11].any()


def test_input_x_gradient_sums_to_the_change_only_without_the_shifts_of_batch_norm(build_network):
    network = build_network(GRID, HISTORY)
    inputs = draw(3)

    def error() -> Tensor:
        values = collect("input_x_gradient", network, inputs)
        change = build("input_x_gradient", network, 0 * inputs[:1]).output_difference(inputs)[:, FLAT].T
        return (values.sum((2, 3, 4)) - change).abs() / values.abs().sum((2, 3, 4))

    assert error().max() > 0.01
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.zeros_(norm.bias)
        norm.running_mean.zero_()
    assert error().max() < 1e-12


# --- what methods claim ---


def test_methods_without_completeness_and_without_baseline_are_those_of_the_configuration(build_network):
    network = build_network(GRID, HISTORY)
    methods = {name: build(name, network, torch.zeros(1, HISTORY, *GRID).double()) for name in METHODS}
    bounds = {name: method.tolerance for name, method in methods.items() if name not in WITHOUT_COMPLETENESS}
    assert bounds == {"deeplift": 1e-12, "deeplift_shap": 1e-12, "integrated_gradients": 1e-2}
    assert all(methods[name].tolerance is None for name in WITHOUT_COMPLETENESS)
    assert {name for name, method in methods.items() if method.baseline_name == "none"} == set(WITHOUT_BASELINE)
    assert {method.baseline_name for method in methods.values()} == {"none", "zero"}


@pytest.mark.parametrize("name", METHODS)
def test_only_methods_with_a_baseline_look_at_it(build_network, name):
    network, inputs = build_network(GRID, HISTORY), draw(1)
    zero, other = (collect(name, network, inputs, baseline) for baseline in (0 * inputs, draw(1, seed=9)))
    assert torch.equal(zero, other) == (name in WITHOUT_BASELINE)


# --- batches ---


@pytest.mark.parametrize("name", METHODS)
def test_batches_do_not_change_an_attribution(build_network, name):
    network = build_network(GRID, HISTORY)
    inputs = draw(5)
    zero = torch.zeros(1, HISTORY, *GRID).double()
    results = []
    for batch_size in (1, 3, 5):
        method = build(name, network, zero, 4)
        method.at_once = batch_size
        results.append(spread(method.tiles(inputs, FLAT), inputs))
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


def test_memory_decides_how_many_samples_are_attributed_at_once(build_network):
    network, zero = build_network(GRID, HISTORY), torch.zeros(1, HISTORY, *GRID).double()
    inputs = draw(5)

    def count_at_once(name: str, memory: float) -> int:
        tiles = build(name, network, zero, 2, memory=memory).tiles(inputs, FLAT)
        return max(len(tile.attributions) for tile in tiles)

    # Occlusion has windows at once, integrated gradients the places on a path.
    for name in METHODS.keys() - {"occlusion", "integrated_gradients"}:
        memory, lengths = 1e3, []
        # Doubled until one sample fits, so that two do not.
        while not lengths:
            with suppress(SealiencyError):
                lengths.append(count_at_once(name, memory))
            memory *= 2
        lengths.append(count_at_once(name, 1e12))
        assert lengths == [1, 5], name


@pytest.mark.parametrize("name", METHODS)
def test_memory_that_one_sample_exceeds_is_refused(build_network, name):
    zero = torch.zeros(1, HISTORY, *GRID).double()
    with pytest.raises(SealiencyError, match=r"attribution\.memory_gb is too low: .* GB, .*; set \S+ or more"):
        next(build(name, build_network(GRID, HISTORY), zero, memory=1e4).tiles(draw(1), FLAT))


def test_deeplift_takes_one_baseline(build_network):
    with pytest.raises(ValueError, match="one baseline, not 3"):
        next(build("deeplift", build_network(GRID, HISTORY), draw(3)).tiles(draw(3), FLAT))


def test_more_baselines_than_fit_into_memory_are_refused(build_network):
    with pytest.raises(
        SealiencyError, match=r"attribution\.baseline_samples = 6: .* GB, .*; lower it, or set memory_gb"
    ):
        build("deeplift_shap", build_network(GRID, HISTORY), draw(6), memory=1e5)


def test_memory_is_that_of_the_pixels_that_see_most(build_network):
    # A corner sees less of the sea than the middle of it.
    grid = (40, 60)
    network, zero = build_network(grid, HISTORY), torch.zeros(1, HISTORY, *grid).double()
    corner, middle = ([grid[1] * row + column for row in rows for column in rows] for rows in (range(4), range(20, 24)))
    engine = build("deeplift", network, zero).engine
    assert engine.measure_memory(corner) < engine.measure_memory(middle)
    method = build("deeplift", network, zero, memory=2.5 * engine.measure_memory(middle))
    next(method.tiles(torch.randn(9, HISTORY, *grid, dtype=torch.float64), corner + middle))
    assert method.at_once == 2


@pytest.mark.parametrize("name", ["deeplift", "deeplift_shap"])
def test_batch_is_halved_when_the_gpu_has_no_more_memory(build_network, monkeypatch, name):
    network, inputs = build_network(GRID, HISTORY), draw(7)
    baselines = torch.zeros(1, HISTORY, *GRID).double() if name == "deeplift" else draw(6, seed=9)
    expected = collect(name, network, inputs, baselines)
    room, sizes = {"attribute": 3, "linearise": 4}, []
    for step, most in room.items():
        original = getattr(Engine, step)

        def fail(self, first, *others, original=original, most=most, step=step):
            sizes.append((step, len(first)))
            if len(first if step == "attribute" else others[0] if len(first) == 1 else first) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return original(self, first, *others)

        monkeypatch.setattr(Engine, step, fail)
    method = build(name, network, baselines)
    method.at_once = 7
    assert_close(spread(method.tiles(inputs, FLAT), inputs), expected, share=1e-13)
    assert method.at_once == 3
    room.update(attribute=0)
    monkeypatch.setattr(Engine, "attribute", lambda *given: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(SealiencyError, match="too little memory to attribute one sample at a time"):
        list(method.tiles(inputs, FLAT))


def test_methods_without_the_engine_fall_back_to_float32(build_network):
    network, zero = build_network(GRID, HISTORY).float(), torch.zeros(1, HISTORY, *GRID)
    used = {name: build(name, network, zero, precision="bfloat16").precision for name in METHODS}
    assert used == dict.fromkeys(METHODS, "float32") | {"deeplift": "bfloat16", "deeplift_shap": "bfloat16"}


# --- what is refused ---


def test_network_in_training_mode_is_refused(build_network):
    network = build_network(GRID, HISTORY)
    network.train()
    with pytest.raises(SealiencyError, match="layer network is in training mode"):
        build("deeplift", network, torch.zeros(1, HISTORY, *GRID).double())
    # One forgotten layer is enough to be wrong.
    network.eval()
    network.layers.dense_block_1[0].norm.train()
    for name in METHODS:
        with pytest.raises(SealiencyError, match=r"layer layers.dense_block_1.0.norm is in training mode"):
            build(name, network, torch.zeros(1, HISTORY, *GRID).double())
