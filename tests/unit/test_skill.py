import copy
import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr

from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, Split
from sealiency.emulators.emulator import Emulator, load_emulator
from sealiency.emulators.linear.registry import RIVALS
from sealiency.errors import SealiencyError
from sealiency.skill.evaluation import evaluate_emulator
from small_world import LAT, LON, SAMPLES, TRAINING, make_sst, prepare_sst

LEAD = TRAINING.lead
HISTORY = SAMPLES.history


class Oracle(torch.nn.Module):
    """Stands in for a network: forecasts from the last input month by a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)[:, None]


def with_network(emulator: Emulator, function, lead: int = LEAD) -> Emulator:
    training = emulator.training_samples
    return Emulator(Oracle(function), emulator.ocean, lead, 0, HISTORY, training, emulator.prepared_sha256, "sha")


def know_the_future(record: PreparedRecord, lead: int = LEAD):
    """Return a forecast that looks its target up, by the first field of the input."""
    first = {record.anomaly[k - HISTORY].numpy().tobytes(): k for k in range(HISTORY, len(record.months) - lead + 1)}
    return lambda x: torch.stack([record.anomaly[first[fields[0].numpy().tobytes()] + lead - 1] for fields in x])


@pytest.fixture(scope="module")
def split(record):
    return record.split(LEAD, SAMPLES)


@pytest.fixture(scope="module")
def skill(record, emulator_path, split):
    return evaluate_emulator(load_emulator(emulator_path), record, split)


def area_mean(values: np.ndarray) -> float:
    """Mean over ocean cells with the weight cos(latitude), cell by cell."""
    total = weight = 0.0
    for (row, _), value in np.ndenumerate(values):
        if not np.isnan(value):
            total += np.cos(np.pi * LAT[row] / 180) * value
            weight += np.cos(np.pi * LAT[row] / 180)
    return total / weight


@pytest.mark.parametrize("period", ["validation", "test"])
def test_persistence_by_hand(skill, record, split, period):
    samples = getattr(split, period)
    errors = np.stack([(record.anomaly[k - 1] - record.anomaly[k + LEAD - 1]).numpy() for k in samples])
    expected = np.sqrt((errors.astype(np.float64) ** 2).mean(0))
    expected[~record.ocean.numpy()] = np.nan
    chosen = skill.sel(period=period, predictor="persistence")
    np.testing.assert_allclose(chosen["rmse"].values, expected, rtol=1e-6)
    assert float(chosen["rmse_mean"]) == pytest.approx(np.sqrt(area_mean(expected**2)), rel=1e-7)


def test_emulator_by_hand(skill, emulator, record, split):
    before, after = [], []
    for k in split.validation:
        before.append(emulator.forecast(record.anomaly[k - HISTORY : k][None])[0].double().numpy())
        after.append(record.anomaly[k + LEAD - 1].double().numpy())
    forecast, target = np.stack(before), np.stack(after)
    ocean = record.ocean.numpy()
    rmse = np.where(ocean, np.sqrt(((forecast - target) ** 2).mean(0)), np.nan)
    power = np.sqrt((forecast**2).sum(0) * (target**2).sum(0))
    acc = np.where(ocean, (forecast * target).sum(0) / np.where(ocean, power, 1), np.nan)
    chosen = skill.sel(period="validation", predictor="emulator")
    np.testing.assert_allclose(chosen["rmse"].values, rmse, rtol=1e-5)
    np.testing.assert_allclose(chosen["acc"].values, acc, rtol=1e-4, atol=1e-5)


def test_damped_persistence_by_hand(skill, record, split):
    row, column = 4, 4
    series = record.anomaly[:, row, column].double().numpy()
    last = np.array([series[k - 1] for k in split.training])
    target = np.array([series[k + LEAD - 1] for k in split.training])
    damping = (last @ target) / (last @ last)
    errors = [damping * series[k - 1] - series[k + LEAD - 1] for k in split.validation]
    rmse = float(skill["rmse"].sel(period="validation", predictor="damped_persistence")[row, column])
    assert rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)


def test_damped_persistence_is_no_worse_than_climatology_where_it_was_fitted(emulator, record, split):
    fitted = Split(training=split.training, validation=split.training, test=range(0))
    skill = evaluate_emulator(emulator, record, fitted)
    target = SampleWindows(record.anomaly, LEAD, HISTORY).targets(split.training).double().numpy()
    climatology = np.sqrt((target**2).mean(0))
    ocean = record.ocean.numpy()
    by_predictor = skill["rmse"].sel(period="validation")
    damped = by_predictor.sel(predictor="damped_persistence").values
    assert (damped[ocean] <= climatology[ocean] * (1 + 1e-6)).all()
    # It is the best multiple of the last month.
    assert (damped[ocean] <= by_predictor.sel(predictor="persistence").values[ocean] * (1 + 1e-6)).all()
    assert skill["period"].values.tolist() == ["validation"]


def test_predictors_are_fitted_on_training_samples_alone(emulator, record, split, skill):
    changed = copy.copy(record)
    changed.anomaly = record.anomaly.clone()
    # Only months after the last that a validation sample touches.
    first = split.validation[-1] + LEAD
    changed.anomaly[first:] *= 5
    again = evaluate_emulator(emulator, changed, split)
    for name in ("rmse", "acc"):
        same = [values[name].sel(period="validation").values.tobytes() for values in (skill, again)]
        assert same[0] == same[1]
    assert (again["rmse_mean"].sel(period="test") > 2 * skill["rmse_mean"].sel(period="test")).all()


@pytest.mark.parametrize("lead", [1, 4])
def test_ridge_finds_an_exact_linear_relation(tmp_path, emulator, lead):
    # A sum of two oscillations obeys a recurrence of four months, which six months of history hold.
    sst = make_sst(land=())
    phase = np.random.default_rng(1).uniform(0, 6, size=(2, len(LAT), len(LON)))
    months = np.arange(96)[:, None, None]
    sst["tos"].values[:] = 15 + np.sin(2 * np.pi * months / 17 + phase[0]) + np.sin(2 * np.pi * months / 7.3 + phase[1])
    record = PreparedRecord(prepare_sst(sst, tmp_path))
    split = record.split(lead, SAMPLES)
    last_month = with_network(emulator, lambda x: x[:, -1], lead)
    skill = evaluate_emulator(dataclasses.replace(last_month, prepared_sha256=record.sha256), record, split)
    rmse = skill["rmse_mean"].sel(period="validation")
    assert float(rmse.sel(predictor="ridge")) < 0.02
    assert float(rmse.sel(predictor="ridge")) < 0.05 * float(rmse.sel(predictor="persistence"))
    assert float(skill["acc_mean"].sel(period="validation", predictor="ridge")) > 0.999


def test_ridge_is_the_textbook_solution(record, emulator, split, monkeypatch):
    monkeypatch.setattr("sealiency.emulators.linear.pixel_ridge.PENALTIES", (0.3,))
    monkeypatch.setattr("sealiency.emulators.linear.pixel_ridge.PIXELS_AT_ONCE", 10)
    skill = evaluate_emulator(emulator, record, split)
    for row, column in ((2, 2), (7, 3)):
        series = record.anomaly[:, row, column].double().numpy()
        x, y = (
            np.array(list(values))
            for values in zip(*((series[k - HISTORY : k], series[k + LEAD - 1]) for k in split.training), strict=True)
        )
        # The offset is not penalised: an augmented column and a penalty row of 0 for it.
        design = np.column_stack([x, np.ones(len(x))])
        penalty = np.diag([0.3 * len(x)] * HISTORY + [0])
        weights = np.linalg.solve(design.T @ design + penalty, design.T @ y)
        errors = [np.append(series[k - HISTORY : k], 1) @ weights - series[k + LEAD - 1] for k in split.validation]
        rmse = float(skill["rmse"].sel(period="validation", predictor="ridge")[row, column])
        assert rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)


# --- the emulator against persistence ---


def test_perfect_forecast(record, emulator, split):
    skill = evaluate_emulator(with_network(emulator, know_the_future(record)), record, split)
    perfect = skill.sel(predictor="emulator")
    ocean = record.ocean.numpy()
    assert (perfect["rmse"].values[:, ocean] == 0).all()
    np.testing.assert_allclose(perfect["acc"].values[:, ocean], 1, rtol=1e-6)
    np.testing.assert_allclose(perfect["acc_mean"].values, 1, rtol=1e-12)
    assert skill.attrs["beats_persistence"] == 1


def test_opposite_forecast_has_correlation_minus_one(record, emulator, split):
    future = know_the_future(record)
    skill = evaluate_emulator(with_network(emulator, lambda x: -0.1 * future(x)), record, split)
    np.testing.assert_allclose(skill["acc_mean"].sel(predictor="emulator").values, -1, rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_emulator_that_is_no_better_does_not_beat_persistence(record, emulator, split, factor):
    skill = evaluate_emulator(with_network(emulator, lambda x: factor * x[:, -1]), record, split)
    assert skill.attrs["beats_persistence"] == 0
    if factor == 1.0:
        rmse = skill["rmse_mean"]
        np.testing.assert_array_equal(rmse.sel(predictor="emulator"), rmse.sel(predictor="persistence"))


def test_a_loss_on_test_alone_is_a_loss(record, emulator, split):
    # Right about every validation sample, and worse than persistence after it.
    future = know_the_future(record)
    begins = {tuple(record.anomaly[k - HISTORY].flatten()[:3].tolist()) for k in split.test}

    def forecast(x):
        late = torch.tensor([tuple(start.flatten()[:3].tolist()) in begins for start in x[:, 0]])
        return torch.where(late[:, None, None], 3 * x[:, -1], future(x))

    skill = evaluate_emulator(with_network(emulator, forecast), record, split)
    rmse = skill["rmse_mean"].sel(predictor="emulator")
    assert float(rmse.sel(period="validation")) == 0
    assert skill.attrs["beats_persistence"] == 0


def test_forecast_of_zero_has_no_correlation(record, emulator, split):
    skill = evaluate_emulator(with_network(emulator, lambda x: 0 * x[:, -1]), record, split)
    assert (skill["acc_mean"].sel(predictor="emulator") == 0).all()


# --- the file ---


def test_land_is_missing_and_the_sea_is_not(skill, record):
    assert skill["predictor"].values.tolist() == ["emulator", *RIVALS]
    for name in ("rmse", "acc"):
        present = ~np.isnan(skill[name].values)
        assert (present == record.ocean.numpy()).all()


def test_training_means(skill, record, emulator, split):
    inputs = np.stack([record.anomaly[k - HISTORY : k].double().numpy() for k in split.training])
    targets = np.stack([record.anomaly[k + LEAD - 1].double().numpy() for k in split.training])
    forecasts = emulator.forecast(torch.as_tensor(inputs).float()).numpy()
    np.testing.assert_allclose(skill["training_mean_input"].values, inputs.mean(0), atol=1e-6)
    np.testing.assert_allclose(skill["training_mean_target"].values, targets.mean(0), atol=1e-6)
    np.testing.assert_allclose(skill["training_mean_forecast"].values, forecasts.mean(0), atol=1e-5)
    assert isinstance(skill, xr.Dataset)
    assert skill["lag"].values.tolist() == list(range(-HISTORY, 0))


def test_skill_on_another_record_is_refused(emulator, record, split):
    other = dataclasses.replace(emulator, prepared_sha256="0" * 64)
    with pytest.raises(SealiencyError, match="trained on another prepared record"):
        evaluate_emulator(other, record, split)
