"""Emulators that attend to a map of their own."""

import numpy as np
import pytest
import torch

import sealiency
from cf_check import find_faults
from sealiency.attribution.engine import Engine
from sealiency.config.networks import DilatedNetwork, parse_network, resolve_network
from sealiency.config.run import parse_configuration
from sealiency.data.samples import SampleWindows
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.networks.attention import FeatureAttention
from sealiency.emulators.networks.registry import build_network
from sealiency.emulators.training import train_and_save
from sealiency.errors import SealiencyError
from sealiency.experiments.attention import integrate_gradients, measure_attention
from sealiency.figures.attention import plot_attention
from sealiency.files import write_analysis
from sealiency.skill.evaluation import evaluate_emulator
from small_world import HISTORY, SAMPLES, TRAINING, disturb

GRID = (9, 11)
SETTINGS = DilatedNetwork(kind="dilated", channels=8, dilations=(1, 2), whiten=True, skip="persistence")
PIXEL = (3, 4)


def build(**settings):
    torch.manual_seed(0)
    return disturb(build_network(parse_network({**SETTINGS.model_dump(), **settings}), HISTORY, GRID))


@pytest.fixture(scope="module")
def emulators(record, tmp_path_factory):
    """Emulators without and with attention, two seeds each."""
    folder, found = tmp_path_factory.mktemp("attention"), []
    for network in (SETTINGS, resolve_network(SETTINGS, 2, attention=True)):
        of_kind = []
        for seed in (0, 1):
            settings = TRAINING.model_copy(update={"seed": seed})
            train_and_save(record, network, settings, SAMPLES, "code", 1, folder / "e.pt", folder / "h.csv")
            of_kind.append(load_emulator(folder / "e.pt"))
        found.append(of_kind)
    return found


@pytest.fixture(scope="module")
def measured(record, emulators):
    split = record.split(TRAINING.lead, SAMPLES)
    skill = [[evaluate_emulator(emulator, record, split) for emulator in of_kind] for of_kind in emulators]
    return measure_attention(*emulators, skill, record, PIXEL, samples=6, steps=64)


# --- the network ---


def test_features_are_amplified_where_the_map_says():
    attention = FeatureAttention(5)
    x = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    where = attention.attend(x)
    assert where.shape == (2, 1, 4, 6)
    assert 0 < where.min() < where.max() < 1
    torch.testing.assert_close(attention(x), x + x * where)
    importance = torch.softmax(attention.importance(x.mean((2, 3), keepdim=True)), 1)
    torch.testing.assert_close(importance.sum(1), torch.ones(2, 1, 1))
    torch.testing.assert_close(where, torch.sigmoid((importance * x).sum(1, keepdim=True)))


def test_the_engine_refuses_it_and_names_why():
    with pytest.raises(SealiencyError, match="softmax, as in attention"):
        Engine(build(attention=True), HISTORY, GRID, torch.float32)
    Engine(build(), HISTORY, GRID, torch.float32)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network": {"kind": "dilated", "attention": True}}, r"set attention\.enabled"),
        ({"attention": {"enabled": True}}, "network.kind: dilated"),
        ({"attention": {"enabled": True}, "network": {"kind": "unet"}}, "network.kind: dilated"),
        ({"attention": {"enabled": True}, "network": {"kind": "dilated", "members": 2}}, "network.members is 2"),
    ],
)
def test_attention_where_it_cannot_be_is_refused(settings, said):
    with pytest.raises(SealiencyError, match=said):
        parse_configuration(settings, "mine.yaml")


# --- explanations ---


def test_integrated_gradients_are_those_of_the_engine_where_it_has_rules():
    network = build(activation="gelu").double()
    x = torch.randn(1, HISTORY, *GRID, generator=torch.Generator().manual_seed(1)).double()
    found = integrate_gradients(network, x[0], PIXEL, 200)
    expected = sealiency.attribute(network, x, [PIXEL], "integrated_gradients").values[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4 * np.abs(expected).max())


def test_integrated_gradients_explain_attention_completely():
    network = build(attention=True, activation="gelu").double()
    x = torch.randn(HISTORY, *GRID, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        both = network(torch.stack([x, torch.zeros_like(x)]))[:, 0, *PIXEL]
    assert float(integrate_gradients(network, x, PIXEL, 100).sum()) == pytest.approx(float(both[0] - both[1]), rel=1e-3)


# --- what is measured ---


def test_maps_by_hand(measured, emulators, record):
    network = emulators[1][0].network
    samples = np.linspace(record.training_samples[0], record.training_samples[-1], 6).round().astype(int).tolist()
    inputs = SampleWindows(record.anomaly, TRAINING.lead, HISTORY).inputs(samples)
    with torch.no_grad():
        place = network.geography()
        features = network.find_features(network.whitening(inputs), place)
        expected = network.attention.attend(features).mean(0)[0].numpy()
    found = measured["mean_map"].sel(kind="attention", seed=0, map="attention").values
    np.testing.assert_allclose(found[record.ocean], expected[record.ocean], rtol=1e-5)
    assert np.isnan(found[~record.ocean]).all()
    assert np.isnan(measured["mean_map"].sel(kind="plain", map="attention")).all()
    heat = sum(integrate_gradients(network, sample, PIXEL, 64).abs().sum(0) for sample in inputs) / len(inputs)
    np.testing.assert_allclose(
        measured["mean_map"].sel(kind="attention", seed=0, map="heatmap").values[record.ocean],
        heat[record.ocean].numpy(),
        rtol=1e-4,
        atol=1e-6,
    )
    assert (measured["completeness"] < 1e-2).all()


def test_stability_and_agreement_by_hand(measured, record):
    maps = measured["mean_map"].values[..., record.ocean.numpy()]
    for kind in range(2):
        for name in range(3):
            found = float(measured["stability"].isel(kind=kind, map=name))
            assert found == pytest.approx(np.corrcoef(*maps[kind, :, name])[0, 1], rel=1e-4, nan_ok=True)
    found = float(measured["agreement"].sel(kind="attention", seed=1, map="attention"))
    assert found == pytest.approx(np.corrcoef(maps[1, 1, 0], maps[0, 1, 2])[0, 1], rel=1e-4)
    np.testing.assert_allclose(measured["agreement"].sel(kind="plain", map="heatmap"), 1)


def test_the_file_follows_the_conventions(measured, tmp_path):
    write_analysis(measured.copy(), tmp_path / "attention.nc", "measure_attention", {}, {}, 0)
    assert not find_faults([tmp_path / "attention.nc"])


def test_the_figure_shows_maps_errors_and_stability(measured):
    panels = {
        axes.get_title(): axes for axes in plot_attention(measured).findobj(match=lambda a: hasattr(a, "get_title"))
    }
    assert {"Attention, with attention", "Class activation, with attention", "Mean absolute heatmap, without"} <= set(
        panels
    )
    dots = [line.get_ydata() for line in panels["Error, a dot a seed"].lines if line.get_gid() == "attention"]
    np.testing.assert_allclose(np.array(dots).T, measured["rmse"].sel(kind="attention"))
    bars = [bar.get_height() for bar in panels["Agreement of seeds"].patches]
    np.testing.assert_allclose(bars, np.nan_to_num(measured["stability"].values).ravel())
