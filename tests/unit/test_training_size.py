"""The training-size curve: which samples are trained on, and what is measured of them."""

from dataclasses import replace

import numpy as np
import pytest

from sealiency.attribution.methods import METHODS
from sealiency.config.attribution import Attribution
from sealiency.config.emulator import Training, resolve_training
from sealiency.config.run import parse_configuration
from sealiency.data.samples import SampleWindows
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.training import train_and_save
from sealiency.errors import SealiencyError
from sealiency.experiments.scales import SCALES, aggregate
from sealiency.experiments.training_size import measure_training_size
from sealiency.figures.training_size import plot_training_size
from sealiency.skill.evaluation import evaluate_emulator
from small_world import HISTORY, NETWORK, SAMPLES, TRAINING

PIXELS = [("a", 3, 4), ("b", 6, 2)]
ATTRIBUTION = Attribution(pixels=[{"name": "a", "row": 3, "column": 4}], device="cpu", memory_gb=1, method="deeplift")


@pytest.fixture(scope="module")
def emulators(record, tmp_path_factory):
    """Emulators of 12 and of all 24 training samples, two seeds each."""
    folder = tmp_path_factory.mktemp("sizes")
    found = []
    for size in (12, None):
        for seed in (0, 1):
            settings = TRAINING.model_copy(update={"samples": size, "seed": seed, "epochs": 1})
            train_and_save(record, NETWORK, settings, SAMPLES, "code", 1, folder / "e.pt", folder / "h.csv")
            found.append(load_emulator(folder / "e.pt"))
    return found


@pytest.fixture(scope="module")
def skill(record, emulators):
    split = record.split(TRAINING.lead, SAMPLES)
    return [evaluate_emulator(emulator, record, split) for emulator in emulators]


@pytest.fixture(scope="module")
def ideal(record):
    return np.random.default_rng(0).normal(size=(2, HISTORY, *record.ocean.shape)) * record.ocean.numpy()


@pytest.fixture(scope="module")
def measured(emulators, skill, record, ideal):
    return measure_training_size(emulators, skill, record, ideal, PIXELS, ATTRIBUTION)


# --- sums over boxes and runs ---


def test_sums_by_hand():
    field = np.arange(5 * 4 * 3, dtype=float).reshape(5, 4, 3)
    found = aggregate(field, cells=2, months=2)
    assert found.shape == (3, 2, 2)
    # Months are counted back from the last, cells from the south-western corner.
    assert found[2, 0, 0] == field[3:, :2, :2].sum()
    assert found[0, 1, 1] == field[0, 2:, 2].sum()
    assert found.sum() == field.sum()
    np.testing.assert_array_equal(aggregate(field, 1, 1), field)
    np.testing.assert_array_equal(aggregate(np.stack([field, 2 * field]), 2, 36)[1], 2 * aggregate(field, 2, 36))


# --- the samples ---


def test_the_last_samples_are_trained_on(record, emulators):
    whole = record.split(TRAINING.lead, SAMPLES).training
    assert [emulator.training_samples for emulator in emulators] == [whole[-12:]] * 2 + [whole] * 2
    assert len({emulator.model_sha256 for emulator in emulators}) == 4


def test_rivals_are_fitted_on_the_same_samples(record, emulators, skill):
    windows = SampleWindows(record.anomaly, TRAINING.lead, HISTORY)
    split, ocean = record.split(TRAINING.lead, SAMPLES), record.ocean.numpy()
    for emulator, scores in zip(emulators, skill, strict=True):
        ridge = PixelRidge.fit(windows, emulator.training_samples, ocean)
        errors = ridge.forecast(split.test) - windows.targets(split.test).numpy()[:, ocean]
        expected = np.sqrt((errors**2).mean(0))
        found = scores["rmse"].sel(period="test", predictor="ridge").values[ocean]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_fewer_samples_are_seen_in_more_epochs():
    training = Training(epochs=5)
    assert resolve_training(training, 6, 0).samples is None
    assert resolve_training(training, 6, 0).epochs == 5
    few = resolve_training(training, 6, 0, samples=(300, 4800))
    assert (few.samples, few.epochs) == (300, 20)
    assert resolve_training(training, 6, 0, samples=(75, 4800)).epochs == 40


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"training_size": {"samples": [100, 50]}}, "rising order"),
        ({"training_size": {"samples": [5]}}, "greater than or equal to 10"),
        ({"training_size": {"samples": [100, 900]}, "samples": {"training": 800}}, r"exceeds samples\.training"),
        ({"training_size": {"samples": [100]}, "data": {"source": "files", "files": {"paths": ["a.nc"]}}}, "bound"),
    ],
)
def test_curves_that_cannot_be_are_refused(settings, said):
    with pytest.raises(SealiencyError, match=said):
        parse_configuration({"data": {"source": "synthetic"}, **settings}, "mine.yaml")


# --- what is measured ---


def test_skill_is_that_of_each_size_and_seed(measured, skill):
    assert measured["size"].values.tolist() == [12, 24]
    for at, scores in enumerate(skill):
        found = measured["rmse"].isel(size=at // 2, seed=at % 2)
        np.testing.assert_array_equal(found.values, scores["rmse_mean"].values)


def test_the_known_answer_agrees_with_itself_and_the_ridge_with_its_weights(emulators, skill, record, ideal, measured):
    ridge = np.zeros_like(ideal)
    windows = SampleWindows(record.anomaly, TRAINING.lead, HISTORY)
    for number, (_, row, column) in enumerate(PIXELS):
        alone = np.zeros(record.ocean.shape, bool)
        alone[row, column] = True
        ridge[number, :, row, column] = PixelRidge.fit(windows, emulators[0].training_samples, alone).weights[0]
    known = measure_training_size(emulators, skill, record, ridge, PIXELS, ATTRIBUTION)["agreement"]
    np.testing.assert_allclose(known.sel(explained="ridge", size=12), 1, rtol=1e-6)
    assert (known.sel(explained="ridge", size=24) < 0.9999).any()
    agreement = measured["agreement"]
    assert np.isfinite(agreement).all()
    assert (abs(agreement) < 0.9).all()
    assert measured.sizes["scale"] == len(SCALES)


def test_agreement_of_the_emulator_by_hand(emulators, skill, record, measured):
    """Input times gradient of a network without kinks is linear in the input: the answer is its own gradient."""
    assert "input_x_gradient" in METHODS
    import torch

    network = torch.nn.Conv2d(HISTORY, 1, 3, padding=1)

    class Plain(torch.nn.Module):
        skip = None

        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x)

    linear = [replace(emulator, network=Plain().eval()) for emulator in emulators]
    x = torch.zeros(1, HISTORY, *record.ocean.shape, requires_grad=True)
    rows = [torch.autograd.grad(network(x)[0, 0, row, column], x)[0][0].numpy() for _, row, column in PIXELS]
    answer = np.stack(rows) * record.ocean.numpy()
    found = measure_training_size(linear, skill, record, answer, PIXELS, ATTRIBUTION)["agreement"]
    np.testing.assert_allclose(found.sel(explained="emulator"), 1, atol=1e-5)


# --- the figure ---


def test_the_figure_shows_every_size_rival_and_scale(measured):
    bound = measured["rmse"].sel(predictor=["ridge"]).assign_coords(predictor=["bound"]) * 0 + 0.1
    known = measured.drop_dims("predictor").assign(rmse=measured["rmse"].combine_first(bound))
    figure = plot_training_size([known, known.assign_attrs(lead=6)])
    panels = {axes.get_title(): axes for axes in figure.findobj(match=lambda artist: hasattr(artist, "get_title"))}
    lines = {line.get_gid(): line for line in panels["Lead 6 months, test samples"].lines}
    assert set(lines) >= {"emulator", "ridge", "bound", "seed"}
    np.testing.assert_allclose(lines["bound"].get_ydata(), 0.1)
    np.testing.assert_allclose(
        lines["emulator"].get_ydata(), measured["rmse"].sel(period="test", predictor="emulator").mean("seed")
    )
    assert {f"{cells}x{months}" for cells, months in SCALES} <= {
        line.get_gid() for axes in figure.findobj(match=lambda a: hasattr(a, "lines")) for line in axes.lines
    }
