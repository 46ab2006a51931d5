"""The network on the region's own grid, and the whitening of its months."""

import numpy as np
import pytest
import torch

from sealiency.config.networks import DilatedNetwork, parse_network
from sealiency.config.run import parse_configuration
from sealiency.data.samples import SampleWindows
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.networks.geography import Modulation
from sealiency.emulators.networks.registry import build_network
from sealiency.emulators.networks.whitening import FLOOR, Whitening
from sealiency.emulators.training import train_and_save, train_emulator
from sealiency.errors import SealiencyError
from small_world import HISTORY, SAMPLES, TRAINING, disturb

GRID = (23, 26)
SETTINGS = DilatedNetwork(kind="dilated", channels=6, dilations=(1, 2, 1), whiten=True, skip="persistence")


def _draw_running_mean(months: int = 300, width: int = 12) -> torch.Tensor:
    """Return running means of red noise with land in a corner."""
    noise = np.random.default_rng(0).normal(size=(months + width - 1, 5, 6)).cumsum(0)
    sums = np.cumsum(np.concatenate([np.zeros((1, 5, 6)), noise]), axis=0)
    series = torch.from_numpy((sums[width:] - sums[:-width]) / width).float()
    series[:, 0, 0] = 0
    return series


def _look_back(network: torch.nn.Module, x: torch.Tensor, pixel: tuple[int, int]) -> torch.Tensor:
    """Return the gradient of the forecast of a pixel, of shape (lag, lat, lon)."""
    x = x.double().requires_grad_()
    return torch.autograd.grad(network(x)[0, 0, *pixel], x)[0][0]


def _build(**settings) -> torch.nn.Module:
    return build_network(parse_network({**SETTINGS.model_dump(), **settings}), HISTORY, GRID)


# --- whitening ---


@pytest.mark.parametrize("level", [True, False])
def test_whitened_months_are_uncorrelated_and_of_unit_variance(level):
    months = _draw_running_mean()
    ocean = months.any(0)
    whitening = Whitening(36, level)
    whitening.fit(months, ocean)
    inputs = SampleWindows(months, 1, 36).inputs(range(36, 301)).double()
    seen = inputs if level else inputs - inputs.mean(1, keepdim=True)
    raw, white = (part.permute(1, 0, 2, 3)[:, :, ocean].flatten(1) for part in (seen, whitening.double()(inputs)))
    variances = torch.linalg.eigvalsh(raw @ raw.T / raw.shape[1])
    # What lies far above the floor has unit variance, and what lies below it less.
    expected = variances / (variances + FLOOR * variances.mean())
    found = torch.linalg.eigvalsh(white @ white.T / white.shape[1])
    torch.testing.assert_close(found.sort().values, expected.sort().values, atol=1e-3, rtol=0)
    assert (expected > 0.9).sum() > 10
    torch.testing.assert_close(whitening.matrix[:, :, 0, 0], whitening.matrix[:, :, 0, 0].T)
    if not level:
        torch.testing.assert_close(whitening(inputs + 7), whitening(inputs), atol=1e-4, rtol=0)


def test_without_the_level_a_warmer_sea_is_forecast_warmer_by_as_much():
    torch.manual_seed(0)
    x = torch.randn(2, HISTORY, *GRID).double()
    months = torch.randn(40, *GRID)
    changes = {}
    for level in (True, False):
        network = disturb(_build(level=level)).double()
        network.whitening.fit(months, torch.ones(GRID, dtype=torch.bool))
        with torch.no_grad():
            changes[level] = network(x + 0.5) - network(x) - 0.5
    assert changes[True].abs().max() > 1e-3
    assert changes[False].abs().max() < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": {"kind": "dilated", "level": False}}, "set whiten: true"),
        (
            {"network": {"kind": "dilated", "whiten": True, "level": False, "months": 1}},
            r"network\.months holds 1: one month less its mean",
        ),
        (
            {"network": {"kind": "dilated", "whiten": True, "level": False}, "samples": {"history": 1}},
            r"samples\.history holds 1: one month less its mean",
        ),
        (
            {
                "network": {"kind": "dilated", "whiten": True, "level": False},
                "sufficiency": {"months": [1, 3]},
            },
            r"sufficiency\.months holds 1: one month less its mean",
        ),
    ],
)
def test_the_level_is_taken_out_of_whitened_months_alone(settings, message):
    with pytest.raises(SealiencyError, match=message):
        parse_configuration(settings, "mine.yaml")


def test_whitening_looks_at_the_sea_alone():
    months = _draw_running_mean()
    ocean = months.any(0)
    one, other = Whitening(6), Whitening(6)
    one.fit(months, ocean)
    months[:, 0, 0] = 1e3
    other.fit(months, ocean)
    assert torch.equal(one.matrix, other.matrix)
    assert not torch.equal(one.matrix, Whitening(6).matrix)


def test_whitening_keeps_its_digits_where_the_layers_do_not():
    months = _draw_running_mean()
    whitening = Whitening(36)
    whitening.fit(months, months.any(0))
    x = SampleWindows(months, 1, 36).inputs([36, 50])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(whitening(x), Whitening.forward(whitening, x))
        half = torch.nn.functional.conv2d(x, whitening.matrix)
    plain = whitening(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(whitening(x), plain)
    assert (half.float() - plain).abs().max() > 0.05


def test_whitening_is_fitted_on_the_months_that_training_samples_read(record, tmp_path):
    def train(anomaly, name):
        found = train_emulator(
            *(anomaly, record.ocean, record.split(TRAINING.lead, SAMPLES), HISTORY),
            *(SETTINGS.model_copy(update={"skip": "none"}), TRAINING.model_copy(update={"epochs": 1})),
            *(tmp_path / name, "same"),
        )
        return found.weights["whitening.matrix"]

    last = record.split(TRAINING.lead, SAMPLES).training[-1] - 1
    later, within = record.anomaly.clone(), record.anomaly.clone()
    later[last + 1 :] += 5
    within[last] += 5
    first = train(record.anomaly, "a.pt")
    assert torch.equal(first, train(later, "b.pt"))
    assert not torch.equal(first, train(within, "c.pt"))


def test_the_emulators_file_holds_the_whitening(record, tmp_path):
    train_and_save(record, SETTINGS, TRAINING, SAMPLES, "code", 1, tmp_path / "emulator.pt", tmp_path / "history.csv")
    emulator = load_emulator(tmp_path / "emulator.pt")
    expected = Whitening(HISTORY)
    expected.fit(record.anomaly[: SAMPLES.history + SAMPLES.training - 1], record.ocean)
    assert torch.equal(emulator.network.whitening.matrix, expected.matrix)


# --- the network ---


def test_it_shows_no_grid_of_its_own():
    def differ(network):
        """How far what a pixel looks back to differs from what its neighbours look back to, where both lie inside."""
        x = torch.ones(1, HISTORY, *GRID)
        here = _look_back(network.double(), x, (10, 12))
        moved = [
            _look_back(network, x, (10 + south, 12 + east)).roll((-south, -east), (1, 2))
            for south, east in ((0, 1), (1, 0), (2, 1))
        ]
        return max(float((here - other).abs().max() / here.abs().max()) for other in moved)

    network = disturb(_build(skip="none", activation="gelu"))
    for module in network.modules():
        if isinstance(module, Modulation):
            for parameter in module.parameters():
                parameter.data.zero_()
    assert differ(network) < 1e-12
    unet = {"kind": "unet", "channels": 4, "levels": 3, "activation": "gelu"}
    assert differ(disturb(build_network(parse_network(unet), HISTORY, GRID))) > 0.05


def test_it_knows_where_a_cell_lies():
    network = _build(skip="none")
    x = torch.ones(1, HISTORY, *GRID)
    inside = (0, 0, slice(5, -5), slice(5, -5))
    torch.manual_seed(0)
    before = network.eval()(x)[inside]
    torch.testing.assert_close(before, before[:1, :1].expand_as(before))
    after = disturb(network)(x)[inside]
    assert after.std() > 0.01


def test_it_sees_as_far_as_its_dilations_sum_to():
    network = disturb(_build(skip="none", dilations=[1, 3], channels=40)).double()
    x = torch.randn(1, HISTORY, *GRID, generator=torch.Generator().manual_seed(0))
    rows, columns = _look_back(network, x, (10, 12)).abs().sum(0).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 14, 8, 16)


def test_taps_far_apart_leave_no_gaps():
    network = disturb(_build(skip="none", dilations=[5], activation="gelu", channels=16)).double()
    x = torch.randn(1, HISTORY, *GRID, generator=torch.Generator().manual_seed(0))
    rows, columns = _look_back(network, x, (11, 12)).abs().sum(0).nonzero(as_tuple=True)
    # Nine squares of five cells a side, which touch.
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (row, column) for row in range(4, 19) for column in range(5, 20)
    }


@pytest.mark.parametrize("dilations", [[0], [1] * 1001])
def test_dilations_that_cannot_be_are_refused(dilations):
    with pytest.raises(ValueError, match="dilations"):
        DilatedNetwork(kind="dilated", dilations=dilations)
