"""The engine on any network of known operations, held against a slow oracle, Captum and completeness."""

import itertools
import warnings

import captum.attr
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from sealiency.attribution.attributor import FlatOutput
from sealiency.attribution.engine import Engine
from sealiency.attribution.graph.reach import find_reach
from sealiency.attribution.graph.tracing import trace
from sealiency.attribution.methods import build_method
from sealiency.config.networks import DilatedNetwork, UNetwork
from sealiency.emulators.networks.registry import build_network
from sealiency.errors import SealiencyError

HISTORY = 3


def disturb(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give weights and statistics that make activations cross zero, in float64."""
    random = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.3 * torch.randn(module.num_features, generator=random))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=random))
            module.weight.data.copy_(0.5 + torch.rand(module.num_features, generator=random))
            module.bias.data.copy_(0.3 * torch.randn(module.num_features, generator=random))
    return network


def draw(samples: int, grid: tuple[int, int], seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(samples, HISTORY, *grid, dtype=torch.float64, generator=random)


class Rescale(torch.autograd.Function):
    """An activation whose derivative, for a baseline and samples after it, is change over change."""

    @staticmethod
    def forward(context, a, function, derivative):
        y = function(a)
        change = a - a[:1]
        near = change.abs() < 1e-9
        slope = torch.where(near, derivative(a), (y - y[:1]) / torch.where(near, torch.ones_like(change), change))
        context.save_for_backward(slope)
        return y

    @staticmethod
    def backward(context, gradient):
        return gradient * context.saved_tensors[0], None, None


FUNCTIONS = {
    "relu": functional.relu,
    "leaky_relu": lambda a: functional.leaky_relu(a, 0.2),
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": functional.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "hardtanh": functional.hardtanh,
    "square": torch.square,
}
ORACLE = False


class Act(nn.Module):
    """An activation that the oracle can replace by its rescale rule."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.function = FUNCTIONS[name]

    def forward(self, a: Tensor) -> Tensor:
        if not ORACLE:
            return self.function(a)

        def derivative(at: Tensor) -> Tensor:
            with torch.enable_grad():
                at = at.detach().clone().requires_grad_(True)
                return torch.autograd.grad(self.function(at).sum(), at)[0]

        return Rescale.apply(a, self.function, derivative)


def explain_slowly(network: nn.Module, inputs: Tensor, baseline: Tensor, pixel: tuple[int, int]) -> Tensor:
    """The rescale rule by autograd, one sample after the other."""
    global ORACLE
    values = []
    ORACLE = True
    try:
        for x in inputs:
            fields = torch.cat([baseline, x[None]]).requires_grad_(True)
            output = network(fields)[1, 0, pixel[0], pixel[1]]
            (gradient,) = torch.autograd.grad(output, fields)
            values.append(gradient[1] * (x - baseline[0]))
    finally:
        ORACLE = False
    return torch.stack(values)


def explain(network: nn.Module, inputs: Tensor, baseline: Tensor, pixels: list[tuple[int, int]]) -> Tensor:
    """By the engine, on the whole grid, of shape (pixel, sample, lag, row, column)."""
    grid = tuple(inputs.shape[2:])
    engine = Engine(network, inputs.shape[1], grid, inputs.dtype)
    linear = engine.linearise(inputs, baseline, engine.observe(baseline))
    found, window = engine.attribute(linear, [row * grid[1] + column for row, column in pixels])
    whole = torch.zeros(len(inputs), len(pixels), *inputs.shape[1:], dtype=inputs.dtype)
    window.cut(whole).copy_(found)
    return whole.transpose(0, 1)


def explain_by_captum(network: nn.Module, inputs: Tensor, baseline: Tensor, pixel: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = captum.attr.DeepLift(FlatOutput(network))
        return method.attribute(inputs, baselines=baseline, target=pixel).detach()


def conv(channels_in: int, channels_out: int, kernel: int = 3, **settings) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=settings.pop("padding", kernel // 2), **settings)


class Residual(nn.Module):
    """A ResNet block: the input is added to what two convolutions make of it; relus write in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            conv(channels, channels), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y += x
        return self.relu(y)


class ThreeTimes(nn.Module):
    """A value used three times, and the input itself twice more."""

    def __init__(self, name: str = "relu") -> None:
        super().__init__()
        self.first, self.a, self.b = conv(HISTORY, 4), conv(4, 4), conv(4, 4, 5)
        self.last, self.act, self.other = conv(12, 1), Act(name), Act(name)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x))
        y = self.last(torch.cat([self.a(y), y, self.other(self.b(y) - y)], 1))
        return x[:, -1:] + 0.5 * y - x[:, :1] / 4


class Together(nn.Module):
    """Joins two branches of another shape, cropped and padded as the usual U-Net does on odd grids."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.enter, self.down, self.up, self.leave = conv(HISTORY, 6), conv(6, 8, stride=2), up, conv(6 + 4, 1)
        self.relu_1, self.relu_2, self.relu_3 = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        skip = self.relu_1(self.enter(x))
        y = self.relu_3(self.up(self.relu_2(self.down(skip))))
        rows, columns = skip.shape[2] - y.shape[2], skip.shape[3] - y.shape[3]
        if rows or columns:
            y = functional.pad(y, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return self.leave(torch.cat([skip, y], 1))


class Masked(nn.Module):
    """Land taken out by a constant, a shift around the globe, a layer over cells, and one over channels."""

    def __init__(self, grid: tuple[int, int], name: str = "relu") -> None:
        super().__init__()
        self.register_buffer("ocean", (torch.arange(grid[0] * grid[1]).reshape(grid) % 5 != 0).double())
        self.enter, self.cells = conv(HISTORY, 4), nn.Linear(grid[0] * grid[1], grid[0] * grid[1])
        self.channels, self.leave, self.act, self.also = nn.Linear(4, 5), nn.Conv2d(5, 1, 1), Act(name), Act(name)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x * self.ocean, [1, 1, 0, 0], mode="circular")[..., 1:-1].roll(2, 3)
        y = self.act(self.enter(x))
        y = y + self.cells(y.flatten(2)).unflatten(2, y.shape[2:])
        y = self.channels(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = torch.where(self.ocean > 0, self.also(y), 0.0) + y.mean((2, 3), keepdim=True)
        return -self.leave(y) + 3


def sequence(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(conv(HISTORY, 8), nn.BatchNorm2d(8), nn.ReLU(), *layers)


NETWORKS = {
    "residual": lambda grid: sequence(Residual(8), Residual(8), conv(8, 1)),
    "three_times": lambda grid: ThreeTimes(),
    "transposed": lambda grid: Together(nn.ConvTranspose2d(8, 4, 2, stride=2)),
    "transposed_wide": lambda grid: Together(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, groups=2)),
    "bilinear": lambda grid: Together(nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv(8, 4))),
    "corners": lambda grid: Together(
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), conv(8, 4))
    ),
    "pixel_shuffle": lambda grid: Together(nn.Sequential(conv(8, 16), nn.PixelShuffle(2))),
    "average_pooling": lambda grid: sequence(
        nn.AvgPool2d(3, 2, 1), conv(8, 8), nn.ReLU(), nn.Upsample(size=grid, mode="nearest"), conv(8, 1)
    ),
    "pooling_without_padding": lambda grid: sequence(
        nn.AvgPool2d((3, 2), (2, 3), (1, 1), ceil_mode=True, count_include_pad=False), nn.ReLU(),
        nn.Upsample(size=grid, mode="bicubic"), conv(8, 1),
    ),
    "adaptive": lambda grid: sequence(nn.AdaptiveAvgPool2d((3, 4)), nn.Upsample(size=grid), conv(8, 1)),
    "dilated": lambda grid: sequence(nn.Conv2d(8, 8, 3, dilation=(2, 3), padding=(2, 3)), nn.ReLU(), conv(8, 1)),
    "grouped": lambda grid: sequence(
        nn.Conv2d(8, 8, (3, 5), groups=8, padding="same"), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2, padding=1, padding_mode="circular"),
        nn.Dropout(0.5), nn.ReLU(), conv(8, 1, padding_mode="reflect"),
    ),
    "masked": lambda grid: Masked(grid),
    "unet": lambda grid: build_network(UNetwork(kind="unet", channels=5), HISTORY, grid),
    "places": lambda grid: build_network(
        DilatedNetwork(kind="dilated", channels=16, dilations=(1, 2, 1), whiten=True), HISTORY, grid
    ),
    # A hidden layer over cells is of another size than any grid.
    "hidden_cells": lambda grid: sequence(
        nn.Flatten(2), nn.Linear(grid[0] * grid[1], 7), nn.ReLU(), nn.Linear(7, grid[0] * grid[1]),
        nn.Unflatten(2, grid), conv(8, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("grid", [(12, 14), (11, 17), (9, 8)], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_engine_is_the_network_and_its_transpose(name, grid):
    torch.manual_seed(1)
    network = disturb(NETWORKS[name](grid))
    baseline = draw(1, grid, 5)
    inputs = baseline + draw(2, grid, 6)
    graph = trace(network, HISTORY, grid)
    with torch.no_grad():
        torch.testing.assert_close(graph.run(inputs)[1], network(inputs), rtol=1e-12, atol=1e-12)
    pixels = [(0, 0), (grid[0] - 1, grid[1] - 1), (grid[0] // 2, 3), (4, grid[1] - 2)]
    values = explain(network, inputs, baseline, pixels)
    with torch.no_grad():
        change = (network(inputs) - network(baseline))[:, 0]
    for at, (row, column) in enumerate(pixels):
        error = (values[at].sum((1, 2, 3)) - change[:, row, column]).abs() / values[at].abs().sum((1, 2, 3))
        assert error.max() < 1e-12
        assert values[at].abs().max() > 0
    # Pixels do not depend on the pixels beside them.
    for at, pixel in enumerate(pixels):
        alone = explain(network, inputs, baseline, [pixel])[0]
        torch.testing.assert_close(values[at], alone, rtol=0, atol=1e-13 * alone.abs().max().item())


@pytest.mark.parametrize("grid", [(12, 14), (11, 17)], ids=str)
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"masked", "three_times"}))
def test_engine_agrees_with_captum_on(name, grid):
    torch.manual_seed(2)
    network = disturb(NETWORKS[name](grid))
    baseline, inputs = draw(1, grid, 7), draw(2, grid, 8)
    for pixel in [(0, 0), (grid[0] // 2, 5)]:
        # Captum does not follow a relu that writes in place.
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        expected = explain_by_captum(network, inputs, baseline, pixel[0] * grid[1] + pixel[1])
        found = explain(network, inputs, baseline, [pixel])[0]
        assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", [ThreeTimes, lambda name: Masked((11, 9), name)], ids=["three_times", "masked"])
def test_engine_agrees_with_the_rescale_rule_of(name, kind):
    torch.manual_seed(3)
    network = disturb(kind(name))
    baseline, inputs = draw(1, (11, 9), 1), draw(2, (11, 9), 2)
    for pixel in [(0, 8), (5, 4)]:
        expected = explain_slowly(network, inputs, baseline, pixel)
        found = explain(network, inputs, baseline, [pixel])[0]
        assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize("name", ["gelu", "silu", "tanh"])
def test_a_change_too_small_for_a_quotient_takes_the_slope_between(name):
    torch.manual_seed(4)
    network = disturb(ThreeTimes(name))
    baseline = draw(1, (11, 9), 1)
    inputs = baseline + 1e-9 * draw(1, (11, 9), 2)
    x = baseline.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(x)[0, 0, 4, 4], x)
    found = explain(network, inputs, baseline, [(4, 4)])[0]
    expected = gradient * (inputs - baseline)
    assert (found - expected).abs().max() <= 1e-7 * expected.abs().max()


@pytest.mark.parametrize("name", ["residual", "bilinear", "masked", "three_times"])
def test_gradients_are_those_of_autograd(name):
    grid = (11, 17)
    torch.manual_seed(5)
    network = disturb(NETWORKS[name](grid))
    inputs, zero = draw(2, grid, 3), torch.zeros(1, HISTORY, *grid).double()
    x = inputs.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(x)[:, 0, 4, 9].sum(), x)
    for method, expected in (("saliency", gradient), ("input_x_gradient", gradient * inputs)):
        built = build_method(method, network, zero, 1e9, 4, "float64", (2, 5, 5))
        (tile,) = built.tiles(inputs, [4 * grid[1] + 9])
        found = torch.zeros_like(inputs)
        tile.window.cut(found).copy_(tile.attributions[:, 0])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


# --- random graphs ---

LAYERS = st.sampled_from(
    [
        "conv",
        "strided",
        "transposed",
        "norm",
        "act",
        "cat",
        "add",
        "sub",
        "scale",
        "pool",
        "up",
        "shuffle",
        "slice",
        "pad",
        "linear",
    ]
)


class Random(nn.Module):
    """A graph of known operations, drawn; every value may be used again."""

    def __init__(self, steps: list[tuple[str, int, str]], grid: tuple[int, int]) -> None:
        super().__init__()
        self.steps, self.grid = steps, grid
        self.layers = nn.ModuleList()
        channels = [HISTORY]
        for kind, which, act in steps:
            width = channels[which % len(channels)]
            layer: nn.Module = nn.Identity()
            if kind == "conv":
                layer, width = nn.Conv2d(width, 3, (3, 1 + which % 3), padding="same"), 3
            elif kind == "strided":
                layer, width = (
                    nn.Sequential(
                        nn.Conv2d(width, 2, 3, stride=(2, 1 + which % 3), padding=1),
                        nn.Upsample(size=grid, mode="bilinear"),
                    ),
                    2,
                )
            elif kind == "transposed":
                layer = nn.Sequential(
                    nn.AvgPool2d(2), nn.ConvTranspose2d(width, width, 3, 2, 1, 1), nn.Upsample(size=grid)
                )
            elif kind == "norm":
                layer = nn.BatchNorm2d(width)
            elif kind == "act":
                layer = Act(act)
            elif kind == "cat":
                width += channels[-1]
            elif kind in ("add", "sub"):
                layer = nn.Conv2d(channels[-1], width, 1)
            elif kind == "pool":
                layer = nn.AvgPool2d(3, 1, 1)
            elif kind == "up":
                layer = nn.Sequential(nn.AvgPool2d((2, 3)), nn.Upsample(size=grid, mode="bicubic"))
            elif kind == "shuffle":
                layer = nn.Sequential(nn.Conv2d(width, 4, 1), nn.PixelShuffle(2), nn.AvgPool2d(2))
                width = 1
            elif kind == "slice":
                width = 1
            elif kind == "linear":
                layer = nn.Linear(grid[0] * grid[1], grid[0] * grid[1])
            self.layers.append(layer)
            channels.append(width)
        self.last = nn.Conv2d(channels[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for (kind, which, _), layer in zip(self.steps, self.layers, strict=True):
            y, latest = values[which % len(values)], values[-1]
            if kind == "cat":
                y = torch.cat([y, latest], 1)
            elif kind == "add":
                y = y + layer(latest)
            elif kind == "sub":
                y = torch.sub(layer(latest), y, alpha=0.5)
            elif kind == "scale":
                y = 1 - (y * -0.7 + 0.2) / 3
            elif kind == "slice":
                y = y[:, which % y.shape[1]].unsqueeze(1)
            elif kind == "pad":
                y = functional.pad(functional.pad(y, [1, 2, 0, 1], mode="replicate"), [-1, -2, 0, -1])
            elif kind == "linear":
                y = layer(y.flatten(2)).view(y.shape)
            else:
                y = layer(y)
            values.append(y)
        return self.last(values[-1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.tuples(LAYERS, st.integers(0, 20), st.sampled_from(sorted(FUNCTIONS))), min_size=1, max_size=8),
    grid=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    seed=st.integers(0, 1000),
)
def test_random_graphs_are_complete_and_agree_with_the_oracle(steps, grid, seed):
    torch.manual_seed(seed)
    network = disturb(Random(steps, grid), seed)
    baseline, inputs = draw(1, grid, seed), draw(1, grid, seed + 1)
    pixels = [(0, 0), (grid[0] // 2, grid[1] // 2), (grid[0] - 1, 0)]
    # A random forward pass can depend on nothing, where a slice of a slice meets a stride.
    values = explain(network, inputs, baseline, pixels)
    with torch.no_grad():
        change = (network(inputs) - network(baseline))[0, 0]
    for at, (row, column) in enumerate(pixels):
        size = values[at].abs().sum()
        assert (values[at].sum() - change[row, column]).abs() <= 1e-12 * size + 1e-12 * network(inputs).abs().max()
        expected = explain_slowly(network, inputs, baseline, (row, column))
        assert (values[at] - expected).abs().max() <= 1e-9 * expected.abs().max() + 1e-13


def test_a_network_that_gives_its_input_back_is_explained_by_it():
    inputs = draw(2, (4, 5), 1)[:, :1]
    baseline = draw(1, (4, 5), 2)[:, :1]
    found = explain(nn.Identity().eval(), inputs, baseline, [(1, 2)])[0]
    expected = torch.zeros_like(inputs)
    expected[:, 0, 1, 2] = (inputs - baseline)[:, 0, 1, 2]
    assert torch.equal(found, expected)


def test_what_is_written_in_place_is_followed_or_refused():
    class InPlace(nn.Module):
        def __init__(self, part: bool) -> None:
            super().__init__()
            self.first, self.last, self.part = conv(HISTORY, 4), conv(4, 1), part

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            copy, half = y.clone(), y[:, :2]
            if self.part:
                return self.last(y.relu_()) + half.sum(1, keepdim=True)
            copy.relu_()
            copy += 0.5 * y
            copy *= 3
            return self.last(copy)

    network = disturb(InPlace(part=False))
    baseline, inputs = draw(1, (8, 9), 1), draw(2, (8, 9), 2)
    found = explain(network, inputs, baseline, [(3, 4)])[0].sum((1, 2, 3))
    with torch.no_grad():
        change = (network(inputs) - network(baseline))[:, 0, 3, 4]
    torch.testing.assert_close(found, change, rtol=1e-12, atol=1e-13)
    with pytest.raises(SealiencyError, match="writes into a value of which another is a part"):
        trace(disturb(InPlace(part=True)), HISTORY, (8, 9))


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"masked", "adaptive", "hidden_cells"}))
def test_what_a_box_changes_is_its_reach(name):
    grid = (17, 40)
    torch.manual_seed(1)
    network = disturb(NETWORKS[name](grid))
    box = np.zeros(grid, bool)
    box[2:4, 1:4] = True
    reached = find_reach(network, HISTORY, box)
    x = draw(1, grid, 1)
    moved = x + torch.from_numpy(box) * draw(1, grid, 2)
    with torch.no_grad():
        differs = (network(moved) != network(x))[0, 0].numpy()
    assert not (differs & ~reached).any()
    assert 0 < reached.sum() < reached.size
    # A strided layer makes whole cells of the coarse grid depend on the box, so little of the reach is idle.
    assert (differs & reached).sum() > 0.8 * reached.sum()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_surroundings_of_pixels_explain_them_as_the_whole_grid_does(name, monkeypatch):
    # Wherever they are worth cutting out or not.
    monkeypatch.setattr("sealiency.attribution.engine.MUCH_LESS", 9)
    grid = (24, 60)
    torch.manual_seed(1)
    network = disturb(NETWORKS[name](grid))
    baseline, inputs = draw(1, grid, 5), draw(2, grid, 6)
    engine = Engine(network, HISTORY, grid, torch.float64)
    observed = engine.observe(baseline)
    for places in ([(5, 20), (6, 22)], [(0, 0)], [(23, 59), (20, 55)]):
        pixels = [row * grid[1] + column for row, column in places]
        windows = engine.surround(pixels)
        for linearise in (
            lambda windows: engine.linearise(inputs, baseline, observed, windows),
            lambda windows: engine.differentiate(inputs, inputs, windows),
        ):
            expected, whole = engine.attribute(linearise(None), pixels)
            found, window = engine.attribute(linearise(windows), pixels)
            assert window == whole
            assert (found - expected).abs().max() <= 1e-13 * expected.abs().max()
    if name in ("residual", "bilinear", "dilated"):
        assert windows[0].shape < (12, 14)


def test_surroundings_are_cut_out_where_they_are_much_less_than_the_grid():
    for grid, cut in (((7, 9), False), ((24, 60), True)):
        engine = Engine(disturb(NETWORKS["residual"](grid)), HISTORY, grid, torch.float64)
        assert (engine.surround([3 * grid[1] + 5]) is not None) == cut


# --- what is refused ---


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1:] if x.mean() > 0 else x[:, :1]


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return functional.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).unflatten(2, x.shape[2:])


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.MaxPool2d(3, 1, 1), r"layer 1\.1 \(MaxPool2d\): max pooling"),
        (nn.GroupNorm(1, 6), r"layer 1\.1 \(GroupNorm\): group norm"),
        (nn.LayerNorm([6, 12, 14]), r"layer 1\.1 \(LayerNorm\): layer norm"),
        (nn.InstanceNorm2d(6), r"layer 1\.1 \(InstanceNorm2d\): instance norm"),
        (Attention(), r"layer 1\.1 \(Attention\): attention"),
        (Gate(), r"layer 1\.1 \(Gate\): a product of two signals"),
        (nn.Softmax(1), r"layer 1\.1 \(Softmax\): softmax"),
        (Branching(), "branches on the values of its input"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_operation_without_an_exact_rule_is_refused_by_name(layer, words):
    inner = nn.Sequential(nn.ReLU(), layer)
    last = nn.LazyConv2d(1, 3, padding=1)
    network = nn.Sequential(conv(HISTORY, 6), inner, last)
    network(torch.zeros(1, HISTORY, 12, 14))
    with pytest.raises(SealiencyError, match=words):
        trace(network.eval(), HISTORY, (12, 14))


def test_writing_into_a_buffer_is_refused():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = conv(HISTORY, 1)
            self.register_buffer("mean", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.mean.add_(1)
            return self.inner(x) + self.mean

    with pytest.raises(SealiencyError, match="writes into a parameter, buffer or constant"):
        trace(disturb(Counting()), HISTORY, (12, 14))


def test_output_of_another_shape_is_refused():
    with pytest.raises(
        SealiencyError, match=r"an output of \(sample, 2, 12, 14\) where \(sample, 1, 12, 14\) is wanted"
    ):
        trace(conv(HISTORY, 2).eval(), HISTORY, (12, 14))


def test_guided_backprop_is_refused_without_relu():
    network = disturb(ThreeTimes("gelu"))
    with pytest.raises(SealiencyError, match="guided backpropagation is defined for ReLU, not for gelu"):
        build_method("guided_backprop", network, torch.zeros(1, HISTORY, 11, 9).double(), 1e9, 4, "float64", (2, 5, 5))


def test_one_relu_used_twice_is_explained():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.relu = conv(HISTORY, 6), conv(6, 1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.second(self.relu(self.first(x))))

    network = disturb(Twice())
    baseline, inputs = draw(1, (8, 9), 1), draw(2, (8, 9), 2)
    with torch.no_grad():
        change = (network(inputs) - network(baseline))[:, 0]
    for row, column in itertools.product((0, 4), (1, 8)):
        found = explain(network, inputs, baseline, [(row, column)])[0]
        assert (found.sum((1, 2, 3)) - change[:, row, column]).abs().max() < 1e-12
