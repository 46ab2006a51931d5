"""Networks that forecast the variance of their errors, and what is said of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from cf_check import find_faults
from sealiency.attribution.engine import Engine
from sealiency.config.attribution import Attribution
from sealiency.config.figures import Figures
from sealiency.config.networks import parse_network
from sealiency.data.samples import SampleWindows
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.networks.registry import build_network
from sealiency.emulators.training import train_and_save
from sealiency.errors import SealiencyError
from sealiency.figures.uncertainty import plot_uncertainty
from sealiency.files import write_analysis
from sealiency.skill.evaluation import evaluate_emulator
from sealiency.skill.uncertainty import CLASSES, evaluate_uncertainty, score_normal
from small_world import HISTORY, SAMPLES, TRAINING, disturb

GRID = (13, 16)
KINDS = {
    "densenet": {"stem_channels": 8, "growth_rate": 4, "dense_layers": [1, 1, 1]},
    "unet": {"channels": 4},
    "dilated": {"channels": 6, "dilations": [1, 2]},
}
PIXELS = [("a", 3, 4), ("b", 6, 2)]
ATTRIBUTION = Attribution(pixels=[{"name": "a", "row": 3, "column": 4}], device="cpu", memory_gb=1)


def build(kind, **settings):
    network = parse_network({"kind": kind, **KINDS[kind], "uncertainty": True, **settings})
    return disturb(build_network(network, HISTORY, GRID))


@pytest.fixture(scope="module")
def emulator(record, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncertain")
    network = parse_network({"kind": "dilated", **KINDS["dilated"], "uncertainty": True, "skip": "persistence"})
    train_and_save(record, network, TRAINING, SAMPLES, "code", 1, folder / "e.pt", folder / "h.csv")
    return load_emulator(folder / "e.pt")


@pytest.fixture(scope="module")
def split(record):
    return record.split(TRAINING.lead, SAMPLES)


@pytest.fixture(scope="module")
def uncertainty(emulator, record, split):
    return evaluate_uncertainty(emulator, record, split, PIXELS, ATTRIBUTION)


# --- the network ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skip", ["none", "persistence"])
def test_every_kind_forecasts_a_variance_beside_the_anomaly(kind, skip):
    network = build(kind, skip=skip)
    x = torch.randn(2, HISTORY, *GRID, generator=torch.Generator().manual_seed(0))
    forecast, log_variance = network.forecast_both(x)
    assert forecast.shape == log_variance.shape == (2, 1, *GRID)
    assert torch.equal(network(x), forecast)
    assert torch.equal(network.log_variance(x), log_variance)
    assert not torch.equal(forecast, log_variance)
    plain = build(kind, skip=skip, uncertainty=False)
    assert plain.forecast_both(x)[1] is None
    with pytest.raises(SealiencyError, match=r"network\.uncertainty: true"):
        plain.take_part("variance")


@pytest.mark.parametrize("kind", KINDS)
def test_the_variance_is_explained_exactly(kind):
    network = build(kind, skip="persistence").double().take_part("variance")
    x = torch.randn(2, HISTORY, *GRID, generator=torch.Generator().manual_seed(1)).double()
    engine, zero = Engine(network, HISTORY, GRID, torch.float64), torch.zeros(1, HISTORY, *GRID, dtype=torch.float64)
    pixels = [0, 5 * GRID[1] + 7]
    values, _ = engine.attribute(engine.linearise(x, zero, engine.observe(zero)), pixels)
    with torch.no_grad():
        change = (network(x) - network(zero)).flatten(1)[:, pixels]
    assert change.abs().min() > 0
    torch.testing.assert_close(values.sum((2, 3, 4)), change, rtol=1e-11, atol=1e-12)


# --- training ---


def test_variances_are_scaled_to_the_errors_on_validation(emulator, record, split):
    windows = SampleWindows(record.anomaly, TRAINING.lead, HISTORY)
    with torch.inference_mode():
        forecast, log_variance = emulator.network.forecast_both(windows.inputs(split.validation))
    errors = (forecast[:, 0] - windows.targets(split.validation)) ** 2 * torch.exp(-log_variance[:, 0])
    assert float(errors[:, record.ocean].mean()) == pytest.approx(1, rel=1e-4)


def test_large_errors_are_expected_where_they_are(record, tmp_path):
    """Noise added to the targets of one half of the sea."""
    anomaly = 0.1 * record.anomaly
    noise = torch.randn(anomaly.shape, generator=torch.Generator().manual_seed(0))
    anomaly[:, :, 5:] += 3 * noise[:, :, 5:]
    noisy = type("Record", (), {**vars(record), "anomaly": anomaly * record.ocean, "split": record.split})()
    network = parse_network({"kind": "dilated", "channels": 8, "dilations": [1], "uncertainty": True})
    settings = TRAINING.model_copy(update={"epochs": 40, "learning_rate": 1e-2, "patience": 40})
    train_and_save(noisy, network, settings, SAMPLES, "code", 1, tmp_path / "e.pt", tmp_path / "h.csv")
    x = SampleWindows(noisy.anomaly, TRAINING.lead, HISTORY).inputs(range(10, 20))
    with torch.inference_mode():
        spread = torch.exp(load_emulator(tmp_path / "e.pt").network.log_variance(x)[:, 0] / 2)
    calm, rough = (spread[:, :, part][:, record.ocean[:, part]].mean() for part in (slice(0, 5), slice(5, None)))
    assert rough > 2 * calm


# --- what is said of it ---


def test_score_is_the_integral_that_defines_it():
    for mean, spread, observed in ((0.3, 0.5, 1.1), (-1, 2, -1.5)):
        below = quad(lambda x, *normal: norm.cdf(x, *normal) ** 2, -20, observed, (mean, spread))[0]
        above = quad(lambda x, *normal: norm.sf(x, *normal) ** 2, observed, 20, (mean, spread))[0]
        assert score_normal(mean, spread, observed) == pytest.approx(below + above, abs=1e-8)


def test_an_emulator_that_knows_its_errors_is_calibrated(emulator, record, split):
    """Forecasts that miss by noise of a known size, which differs by cell and sample."""
    random = np.random.default_rng(0)
    windows = SampleWindows(record.anomaly, TRAINING.lead, HISTORY)
    spread = np.exp(random.normal(size=(len(record.anomaly), *record.ocean.shape)))
    missed = torch.from_numpy(spread * random.normal(size=spread.shape)).float()
    number = {record.anomaly[k - HISTORY].numpy().tobytes(): k for k in range(HISTORY, len(record.anomaly) - 1)}

    class Honest(torch.nn.Module):
        def forecast_both(self, x):
            samples = [number[fields[0].numpy().tobytes()] for fields in x]
            variance = torch.from_numpy(np.log(spread[samples] ** 2)).float()
            return (windows.targets(samples) + missed[samples])[:, None], variance[:, None]

        def take_part(self, part):
            return emulator.network.take_part(part)

    honest = replace(emulator, network=Honest())
    found = evaluate_uncertainty(honest, record, split, PIXELS, ATTRIBUTION)
    np.testing.assert_allclose(found["ratio"], 1, atol=0.12)
    np.testing.assert_allclose(found["coverage"].sel(width=1), norm.cdf(1) - norm.cdf(-1), atol=0.03)
    np.testing.assert_allclose(found["coverage"].sel(width=2), norm.cdf(2) - norm.cdf(-2), atol=0.02)
    np.testing.assert_allclose(found["class_error"], found["class_spread"], rtol=0.25)
    assert found.sizes["class"] == CLASSES
    assert (np.diff(found["class_spread"]) > 0).all()


def test_maps_and_scores_by_hand(uncertainty, emulator, record, split):
    windows, ocean = SampleWindows(record.anomaly, TRAINING.lead, HISTORY), record.ocean.numpy()
    with torch.inference_mode():
        forecast, log_variance = emulator.network.forecast_both(windows.inputs(split.test))
    variance = torch.exp(log_variance[:, 0]).double().numpy()
    squared = ((forecast[:, 0] - windows.targets(split.test)) ** 2).double().numpy()
    found = uncertainty.sel(period="test")
    np.testing.assert_allclose(found["spread"].values[ocean], np.sqrt(variance.mean(0))[ocean], rtol=1e-5)
    np.testing.assert_allclose(found["error"].values[ocean], np.sqrt(squared.mean(0))[ocean], rtol=1e-5)
    area = np.cos(np.deg2rad(record.lat))[:, None].repeat(ocean.shape[1], 1)[ocean]
    ratio = math.sqrt(((variance.mean(0)[ocean] * area).sum()) / ((squared.mean(0)[ocean] * area).sum()))
    assert float(found["ratio"]) == pytest.approx(ratio, rel=1e-5)
    rmse = evaluate_emulator(emulator, record, split)["rmse"].sel(period="test", predictor="emulator")
    np.testing.assert_allclose(found["error"], rmse, rtol=1e-4)
    assert (found["crps"] > 0).all()


def test_the_attributions_of_the_variance_are_means_of_absolute_values(uncertainty, emulator, record):
    from sealiency.notebook.attributing import attribute

    samples = list(record.training_samples)
    inputs = SampleWindows(record.anomaly, TRAINING.lead, HISTORY).inputs(samples)
    values = attribute(emulator.network.take_part("variance"), inputs, [(3, 4), (6, 2)])
    expected = np.abs(values.values).mean(0)
    np.testing.assert_allclose(uncertainty["variance_attribution"].values, expected, atol=1e-6)


def test_the_file_follows_the_conventions(uncertainty, emulator, tmp_path):
    write_analysis(uncertainty, tmp_path / "uncertainty.nc", "evaluate_uncertainty", {}, {}, 0)
    assert not find_faults([tmp_path / "uncertainty.nc"])


def test_the_figure_shows_calibration_maps_scores_and_attributions(uncertainty, emulator, record, split):
    figure = plot_uncertainty(uncertainty, evaluate_emulator(emulator, record, split), Figures())
    panels = {axes.get_title(): axes for axes in figure.findobj(match=lambda artist: hasattr(artist, "get_title"))}
    curves = {line.get_gid(): line for line in panels["Calibration"].lines}
    np.testing.assert_array_equal(curves["test"].get_ydata(), uncertainty["class_error"].sel(period="test"))
    assert {"validation", "test", "diagonal"} <= set(curves)
    bars = [bar.get_height() for bar in panels["Continuous ranked probability score"].patches]
    np.testing.assert_allclose(bars, uncertainty["crps"].values.ravel())
    assert {"Forecast spread, test", "RMSE, test", "By input month"} <= set(panels)
