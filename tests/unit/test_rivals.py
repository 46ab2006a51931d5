"""The linear rivals of an emulator on data whose answer is known."""

import numpy as np
import pytest
import torch

import sealiency
from sealiency.config.networks import parse_network
from sealiency.data.samples import SampleWindows
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.linear.eof_ridge import EofRidge
from sealiency.emulators.linear.eofs import find_eofs, list_truncations
from sealiency.emulators.linear.inverse_model import InverseModel
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.linear.predictor import split_training, take_known_months, take_targets
from sealiency.emulators.linear.registry import RIVALS
from sealiency.emulators.networks.registry import build_network
from sealiency.emulators.training import train_and_save
from sealiency.errors import SealiencyError
from small_world import HISTORY, NETWORK, SAMPLES, TRAINING, disturb

MONTHS, GRID = 400, (5, 6)
OCEAN = np.arange(30).reshape(GRID) % 7 != 0
AREA = np.linspace(0.5, 1, OCEAN.sum())
TRAINING_SAMPLES, LATER = range(6, 300), range(320, 390)


def make_waves(noise: float) -> tuple[SampleWindows, np.ndarray]:
    """Months of five patterns that turn into each other and fade, driven by noise; and the propagator of all cells."""
    random = np.random.default_rng(0)
    patterns = np.linalg.qr(random.normal(size=(OCEAN.sum(), 5)))[0].T / np.sqrt(AREA / AREA.mean())
    propagator = 0.97 * np.linalg.qr(random.normal(size=(5, 5)))[0]
    state, states = random.normal(size=5), []
    for _ in range(MONTHS):
        state = propagator @ state + noise * random.normal(size=5)
        states.append(state)
    field = np.zeros((MONTHS, *GRID), np.float32)
    field[:, OCEAN] = np.array(states) @ patterns
    return SampleWindows(torch.from_numpy(field), 3, 6), patterns.T @ propagator @ np.linalg.pinv(patterns.T)


def test_the_inverse_model_finds_the_propagator():
    windows, propagator = make_waves(noise=0.3)
    model = InverseModel.fit(windows, TRAINING_SAMPLES, OCEAN, AREA)
    assert model.propagator.shape == (5, 5)
    true = np.linalg.matrix_power(propagator, 3)
    eigenvalues = np.linalg.eigvals(true)
    expected = eigenvalues[np.abs(eigenvalues) > 1e-6]
    found = np.linalg.eigvals(model.propagator)
    np.testing.assert_allclose(found[np.argsort(found.imag)], expected[np.argsort(expected.imag)], atol=0.15)
    months = take_known_months(windows, OCEAN, range(6, MONTHS + 1))
    observed = take_targets(windows, OCEAN, LATER)
    error, true_error = (
        ((forecast - observed) ** 2).mean()
        for forecast in (model.forecast(LATER), months[np.asarray(LATER) - 1] @ true.T)
    )
    # On a sample of months the true propagator need not be the best.
    assert 0.9 * true_error < error < 1.15 * true_error


def test_eofs_are_orthonormal_patterns_that_hold_the_variance():
    windows, _ = make_waves(noise=0.3)
    months = take_known_months(windows, OCEAN, range(6, MONTHS + 1))
    eofs = find_eofs(months, AREA)
    np.testing.assert_allclose(eofs.patterns @ eofs.patterns.T, np.eye(5), atol=1e-8)
    np.testing.assert_allclose(eofs.compose(eofs.project(months, 5)), months, atol=1e-5)
    variances = eofs.project(months, 5).var(0)
    assert (np.diff(variances) < 0).all()
    assert list_truncations(eofs, 400) == [5]
    assert list_truncations(eofs, 14) == []


def test_patterns_help_where_other_cells_know_more_and_are_left_out_where_they_do_not():
    windows, _ = make_waves(noise=0.3)
    observed = take_targets(windows, OCEAN, LATER)
    ridge, both = (kind.fit(windows, TRAINING_SAMPLES, OCEAN, AREA) for kind in (PixelRidge, EofRidge))
    errors = [((model.forecast(LATER) - observed) ** 2).mean() for model in (ridge, both)]
    assert both.coefficients.shape[0] == 5
    assert errors[1] < 0.9 * errors[0]
    white = np.random.default_rng(1).normal(size=(MONTHS, *GRID)).astype(np.float32)
    alone = EofRidge.fit(SampleWindows(torch.from_numpy(white), 3, 6), TRAINING_SAMPLES, OCEAN, AREA)
    assert alone.coefficients.shape[0] == 0


@pytest.mark.parametrize("name", RIVALS)
def test_nothing_after_the_training_samples_is_fitted_to(name):
    windows, _ = make_waves(noise=0.3)
    changed = windows.anomaly.clone()
    changed[TRAINING_SAMPLES.stop + windows.lead - 1 :] += 5
    # Forecasts of samples whose inputs are the same.
    early = range(10, 290)
    first, second = (
        RIVALS[name].fit(given, TRAINING_SAMPLES, OCEAN, AREA).forecast(early)
        for given in (windows, SampleWindows(changed, 3, 6))
    )
    assert first.tobytes() == second.tobytes()


def test_what_chooses_lies_behind_a_gap():
    windows, _ = make_waves(noise=0.3)
    tries, chooses = split_training(windows, TRAINING_SAMPLES)
    assert tries[0] == TRAINING_SAMPLES[0]
    assert chooses[-1] == TRAINING_SAMPLES[-1]
    assert chooses[0] - tries[-1] > len(windows.lags)


# --- the ridge as the skip of a network ---


def train(record, tmp_path, **changes):
    settings = TRAINING.model_copy(update={"epochs": 0, **changes})
    network = parse_network({**NETWORK.model_dump(mode="json"), "skip": "ridge"})
    train_and_save(record, network, settings, SAMPLES, "code", 1, tmp_path / "e.pt", tmp_path / "h.csv")
    return load_emulator(tmp_path / "e.pt")


def test_a_network_on_a_ridge_begins_as_the_ridge_does(record, tmp_path):
    emulator = train(record, tmp_path)
    windows = SampleWindows(record.anomaly, TRAINING.lead, HISTORY)
    split, ocean = record.split(TRAINING.lead, SAMPLES), record.ocean.numpy()
    ridge = PixelRidge.fit(windows, split.training, ocean)
    found = emulator.forecast(windows.inputs(split.validation)).numpy()
    np.testing.assert_allclose(found[:, ocean], ridge.forecast(split.validation), rtol=1e-4, atol=1e-5)
    assert not found[:, ~ocean].any()


def test_the_ridge_of_shuffled_targets_knows_nothing_of_the_true_ones(record, tmp_path):
    own, shuffled = (train(record, tmp_path, control=control) for control in ("none", "shuffled"))
    weights = [emulator.network.skip.weights[:, record.ocean] for emulator in (own, shuffled)]
    assert torch.corrcoef(torch.stack([values.flatten() for values in weights]))[0, 1] < 0.5


def test_the_skip_is_kept_where_training_spoils_it(record, tmp_path):
    before = train(record, tmp_path).network.state_dict()
    # So high a rate that no epoch is better.
    after = train(record, tmp_path, epochs=2, learning_rate=3.0).network.state_dict()
    assert all(torch.equal(values, after[name]) for name, values in before.items())


def test_a_convolution_as_skip_is_trained_from_persistence_on():
    network = build_network(
        parse_network({"kind": "unet", "channels": 4, "skip": "convolution", "skip_kernel": 5}), 6, (9, 8)
    )
    x = torch.randn(2, 6, 9, 8)
    assert torch.equal(network.eval().forecast_skip(x), x[:, -1])
    assert {name for name, _ in network.named_parameters() if name.startswith("skip")} == {"skip.weight", "skip.bias"}


@pytest.mark.parametrize("skip", ["persistence", "ridge", "convolution"])
def test_attributions_of_skip_and_network_sum_to_those_of_all(skip):
    torch.manual_seed(0)
    network = disturb(build_network(parse_network({"kind": "unet", "channels": 4, "skip": skip}), 6, (9, 8))).double()
    if skip == "ridge":
        # As fitted: it holds nothing before.
        network.skip.take(torch.randn(72, 6), torch.randn(72), torch.ones(9, 8, dtype=torch.bool))
    x = torch.randn(2, 6, 9, 8, dtype=torch.float64)
    both, linear, rest = (
        sealiency.attribute(network.take_part(part), x, [(4, 3), (0, 7)]) for part in ("all", "skip", "network")
    )
    np.testing.assert_allclose(linear + rest, both, rtol=1e-10, atol=1e-12)
    assert abs(linear).max() > 0
    assert abs(rest).max() > 0


def test_a_part_that_is_not_there_is_refused():
    network = build_network(parse_network({"kind": "unet", "channels": 4}), 6, (9, 8))
    with pytest.raises(SealiencyError, match="the network has no skip"):
        network.take_part("skip")
    with pytest.raises(SealiencyError, match="part 'ridge' is not one of all, skip, network"):
        network.take_part("ridge")


def test_the_old_name_of_the_skip_is_refused_with_the_new_one():
    with pytest.raises(ValueError, match="write `skip: persistence` for true"):
        parse_network({"residual": True})
