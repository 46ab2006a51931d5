import copy
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sealiency.claims.linear_nulls import PREDICTORS, fit_linear, sum_attributions
from sealiency.claims.profiles import measure_mean_lag, measure_radius, measure_recent_share, sum_profile
from sealiency.config.findings import Findings
from sealiency.data.places import measure_distance
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import choose_samples
from sealiency.emulators.linear.ar1 import NOISE, estimate_phi, weigh_ar1
from sealiency.emulators.linear.neighbourhood_ridge import DECAY_SAMPLES, DECAYS, fit_neighbourhood
from sealiency.emulators.linear.point_predictor import CONSTANT, PointPredictor
from sealiency.emulators.linear.point_ridge import PENALTIES, fit_ridge, split_for_penalty
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf, write_netcdf
from small_world import HISTORY, SAMPLES, make_sst, prepare_sst

LEAD = 2
EDGES = [0.0, 100.0, 200.0, 300.0, 1000.0]
SETTINGS = Findings(stride=4, samples=10, bootstrap_block=4, neighbourhood_km=250)
# Months that the samples of a hand-made series have, and its own lead and history.
SHORT = {"lead": 3, "history": 4, "gap": 6}
TRAINING = range(4, 64)


def simulate_ar1(phi: float, months: int, seed: int = 0, cells: tuple[int, ...] = ()) -> np.ndarray:
    series = np.random.default_rng(seed).normal(size=(months, *cells))
    for month in range(1, months):
        series[month] += phi * series[month - 1]
    return series


def share_of(weights: np.ndarray, chosen: slice) -> float:
    return float(np.abs(weights[chosen]).sum() / np.abs(weights).sum())


@pytest.fixture(scope="module")
def unfiltered(tmp_path_factory) -> PreparedRecord:
    folder = tmp_path_factory.mktemp("unfiltered")
    return PreparedRecord(prepare_sst(make_sst(), folder, filter="none", climatology="monthly"))


@pytest.fixture(scope="module")
def linear(record, unfiltered):
    return fit_linear(record, unfiltered, LEAD, SAMPLES, SETTINGS, EDGES)


# --- the filtered autoregressive process ---


@pytest.mark.parametrize(
    ("lead", "noise", "latest", "older"),
    [(1, 1e-3, 0.45, 0.30), (9, 1e-3, 0.28, 0.38), (1, 0, 0.28, 0.48), (9, 0, 0.23, 0.53)],
)
def test_twelve_month_mean_alone_moves_the_weights_back(lead, noise, latest, older):
    weights = weigh_ar1(0.95, lead, 36, 12, noise)
    assert share_of(weights, slice(-1, None)) == pytest.approx(latest, abs=0.006)
    # Months -13 and before.
    assert share_of(weights, slice(None, -12)) == pytest.approx(older, abs=0.006)


@pytest.mark.parametrize("lead", [1, 9])
def test_weights_have_a_spike_where_the_filter_lets_go(lead):
    size = np.abs(weigh_ar1(0.95, lead, 36, 12))
    assert size[-13] == size[:-4].max()
    assert size[-13] > 2 * np.median(size)


@pytest.mark.parametrize("lead", [1, 6])
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.95])
def test_without_a_filter_the_latest_month_is_all(phi, lead):
    weights = weigh_ar1(phi, lead, 12, 1, noise=0)
    np.testing.assert_allclose(weights, [0] * 11 + [phi**lead], atol=1e-12)


@pytest.mark.parametrize("before", [11, 6, 0], ids=["trailing", "centred", "leading"])
def test_weights_are_those_fitted_to_a_long_simulation(before):
    phi, lead, history, width, noise = 0.9, 3, 15, 12, 0.01
    raw = simulate_ar1(phi, 300_000)
    filtered = np.full(len(raw), np.nan)
    means = np.lib.stride_tricks.sliding_window_view(raw, width).mean(1)
    filtered[before : before + len(means)] = means
    filtered = filtered[width:-width]
    noisy = filtered + np.random.default_rng(1).normal(size=len(filtered)) * np.sqrt(noise * filtered.var())
    samples = np.arange(history, len(filtered) - lead)
    inputs = noisy[samples[:, None] + np.arange(-history, 0)]
    fitted = np.linalg.lstsq(inputs, filtered[samples + lead - 1], rcond=None)[0]
    np.testing.assert_allclose(weigh_ar1(phi, lead, history, width, noise), fitted, atol=0.02)
    assert np.abs(fitted).max() > 0.4


@pytest.mark.parametrize("phi", [-0.1, 1.0, np.nan])
def test_process_that_does_not_settle_is_refused(phi):
    with pytest.raises(ValueError, match="phi"):
        weigh_ar1(phi, 1, 12, 12)


@given(st.floats(0, 0.9999), st.integers(1, 12), st.integers(1, 40), st.integers(1, 24), st.sampled_from([0, 1e-3]))
def test_weights_explain_some_of_the_variance_and_never_more_than_all(phi, lead, history, width, noise):
    weights = weigh_ar1(phi, lead, history, width, noise)
    shifts = np.arange(1 - width, width)
    apart = np.arange(history)[::-1] + lead
    with_target = [sum((width - abs(j)) * phi ** abs(h + j) for j in shifts) / width**2 for h in apart]
    variance = sum((width - abs(j)) * phi ** abs(j) for j in shifts) / width**2
    assert -1e-9 <= weights @ with_target <= variance * (1 + 1e-9)


# --- its autocorrelation ---


def test_autocorrelation_of_simulated_series(unfiltered):
    known = {(2, 2): 0.3, (4, 4): 0.9, (6, 6): -0.5}
    changed = copy.copy(unfiltered)
    months = 20_000
    changed.training_samples = range(HISTORY, months + 1)
    changed.anomaly = torch.zeros(months + 500, *unfiltered.ocean.shape)
    season = 3 * np.cos(2 * np.pi * np.arange(months + 500) / 12)
    for (row, column), phi in known.items():
        series = simulate_ar1(phi, months + 500, seed=row)
        # Neither the seasonal cycle nor the months after the training count.
        series[months:] = 100
        changed.anomaly[:, row, column] = torch.from_numpy(series + season)
    changed.anomaly[:, 7, 0] = 4e-9 * torch.from_numpy(simulate_ar1(0.5, months + 500))
    phi = estimate_phi(changed)
    assert phi[2, 2] == pytest.approx(0.3, abs=0.03)
    assert phi[4, 4] == pytest.approx(0.9, abs=0.01)
    # Clipped, and missing on land and where nothing changes but the last bit.
    assert phi[6, 6] == 0
    assert np.isnan(phi[7, 0])
    assert np.isnan(phi[~unfiltered.ocean.numpy()]).all()


def test_autocorrelation_by_hand(unfiltered):
    months = HISTORY + SAMPLES.training - 1
    series = unfiltered.anomaly[:months, 4, 4].double().numpy()
    for month in range(12):
        series[month::12] -= series[month::12].mean()
    expected = sum(series[t] * series[t + 1] for t in range(months - 1)) / sum(series**2)
    assert 0 < expected < 1
    assert estimate_phi(unfiltered)[4, 4] == pytest.approx(expected, rel=1e-6)


def test_autocorrelation_of_a_steady_rise_stays_below_one(unfiltered):
    rising = copy.copy(unfiltered)
    rising.training_samples = range(HISTORY, 48_001)
    # Over months enough that each one's step is lost.
    rising.anomaly = torch.linspace(-1, 1, 48_000)[:, None, None].expand(-1, *unfiltered.ocean.shape)
    assert estimate_phi(rising)[4, 4] == pytest.approx(0.9999, abs=1e-12)


def test_autocorrelation_of_filtered_anomalies_is_refused(record):
    with pytest.raises(SealiencyError, match="trailing_mean over 3 months"):
        estimate_phi(record)


# --- ridge regression ---


def windows(series: np.ndarray, samples) -> np.ndarray:
    """Inputs sample by sample, of shape (sample, lag * cell)."""
    return np.array([series[k - SHORT["history"] : k].ravel() for k in samples])


def solve_primal(series, target, samples, penalty, power):
    """Weights and offset by the normal equations of the centred problem, with the penalty in absolute terms."""
    x, y = windows(series, samples), np.array([target[k + SHORT["lead"] - 1] for k in samples])
    centred = x - x.mean(0)
    matrix = centred.T @ centred + penalty * power * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(matrix, centred.T @ (y - y.mean()))
    return weights, y.mean() - x.mean(0) @ weights


def summed_variance(series, samples) -> float:
    return windows(series, samples).var(0).sum()


@pytest.fixture
def noisy():
    """Return three cells with memory and a mean of their own, and a target that the second one leads by five months."""
    series = 2 + simulate_ar1(0.7, 90, seed=3, cells=(3,))
    target = 0.5 + 0.3 * np.random.default_rng(4).normal(size=90)
    target[5:] += 0.8 * series[:-5, 1]
    return series, target


@pytest.mark.parametrize("cells", [[0], [0, 1, 2]])
@pytest.mark.parametrize("penalty", [1e-4, 1e-1])
def test_dual_solution_is_the_primal_one(noisy, cells, penalty):
    series, target = noisy[0][:, cells], noisy[1]
    found = fit_ridge(series, target, TRAINING, **SHORT, penalties=[penalty])
    weights, offset = solve_primal(series, target, TRAINING, penalty, summed_variance(series, TRAINING))
    np.testing.assert_allclose(found.weights.ravel(), weights, rtol=1e-9, atol=1e-12)
    assert found.offset == pytest.approx(offset, rel=1e-10)
    assert found.penalty == penalty
    later = range(70, 80)
    np.testing.assert_allclose(found.forecast(series, later), windows(series, later) @ weights + offset, rtol=1e-8)


def test_more_inputs_than_samples():
    series = simulate_ar1(0.5, 90, cells=(40,))
    target = series[:, 0]
    found = fit_ridge(series, target, TRAINING, **SHORT, penalties=[1e-3])
    weights, _ = solve_primal(series, target, TRAINING, 1e-3, summed_variance(series, TRAINING))
    np.testing.assert_allclose(found.weights.ravel(), weights, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_penalty_is_the_one_that_forecasts_the_last_fifth_best(seed):
    series = simulate_ar1(0.8, 90, seed=seed, cells=(6,))
    target = series[:, 0] + np.random.default_rng(9).normal(size=90)
    power = summed_variance(series, TRAINING)
    # Of 60 samples, 12 choose and 6 before them are left out.
    tries, chooses = range(4, 46), range(52, 64)
    errors = []
    for penalty in PENALTIES:
        weights, offset = solve_primal(series, target, tries, penalty, power)
        forecast = windows(series, chooses) @ weights + offset
        errors.append(np.mean([(f - target[k + 2]) ** 2 for f, k in zip(forecast, chooses, strict=True)]))
    best = PENALTIES[int(np.argmin(errors))]
    assert PENALTIES[0] < best
    found = fit_ridge(series, target, TRAINING, **SHORT)
    assert found.penalty == best
    assert found.error == pytest.approx(min(errors), rel=1e-9)


def test_ridge_finds_the_cell_and_the_month_that_lead(noisy):
    found = fit_ridge(*noisy, TRAINING, **SHORT)
    # Five months before the target is month -3 of an input that ends three months before it.
    assert np.unravel_index(np.abs(found.weights).argmax(), found.weights.shape) == (SHORT["history"] - 3, 1)
    assert found.weights[SHORT["history"] - 3, 1] == pytest.approx(0.8, abs=0.15)


def test_months_after_the_training_do_not_count(noisy):
    series, target = noisy
    before = fit_ridge(series, target, TRAINING, **SHORT)
    last = TRAINING[-1]
    changed, later = series.copy(), target.copy()
    changed[last:] = 99
    later[last + SHORT["lead"] :] = 99
    np.testing.assert_array_equal(fit_ridge(changed, later, TRAINING, **SHORT).weights, before.weights)
    changed[last - 1] = 99
    assert not np.array_equal(fit_ridge(changed, later, TRAINING, **SHORT).weights, before.weights)


@pytest.mark.parametrize("size", [0.0, CONSTANT / 10])
def test_ridge_on_a_constant_has_no_weights(noisy, size):
    rounding = size * np.random.default_rng(0).normal(size=90)
    constant = fit_ridge(noisy[0], 3 + rounding, TRAINING, **SHORT)
    assert not constant.weights.any()
    assert np.isnan(constant.penalty)
    assert constant.offset == pytest.approx(3)
    assert not fit_ridge(rounding[:, None], noisy[1], TRAINING, **SHORT).weights.any()


def test_ridge_on_a_cell_that_begins_to_change_late():
    # Sea under ice at first, so that all penalties are tried on a constant.
    series = np.where(np.arange(90) < 55, 0, simulate_ar1(0.5, 90))[:, None]
    found = fit_ridge(series, series[:, 0], TRAINING, **SHORT)
    assert np.isfinite(found.weights).all()
    assert found.weights.any()


@pytest.mark.parametrize("count", [4, 8])
def test_ridge_with_too_few_samples_is_missing(noisy, count):
    few = fit_ridge(*noisy, range(4, 4 + count), **SHORT)
    assert np.isnan(few.weights).all()
    assert np.isnan([few.offset, few.penalty, few.error]).all()


# --- ridge regression with a decay ---


def test_decay_penalises_squared_weights_by_distance(noisy, monkeypatch):
    series = noisy[0]
    # Noise enough for a penalty that both ways of solving can bear.
    target = noisy[1] + 2 * np.random.default_rng(7).normal(size=90)
    distance = np.array([0.0, 300.0, 800.0])
    monkeypatch.setattr("sealiency.emulators.linear.neighbourhood_ridge.DECAYS", (400.0,))
    found = fit_neighbourhood(series, target, distance, TRAINING, **SHORT)
    x, y = windows(series, TRAINING), np.array([target[k + SHORT["lead"] - 1] for k in TRAINING])
    centred = x - x.mean(0)
    # One for each of the history's months, cell by cell within a month.
    growth = np.tile(np.exp(2 * distance / 400), SHORT["history"])
    power = (x.var(0) / growth).sum()
    matrix = centred.T @ centred + found.penalty * power * len(x) * np.diag(growth)
    weights = np.linalg.solve(matrix, centred.T @ (y - y.mean()))
    assert found.decay == 400
    assert found.penalty > 1e-3
    np.testing.assert_allclose(found.weights.ravel(), weights, rtol=1e-8, atol=1e-12)
    offset = y.mean() - x.mean(0) @ weights
    np.testing.assert_allclose(found.forecast(series, TRAINING), x @ weights + offset, rtol=1e-8)


@pytest.mark.parametrize("source", [0, 29])
def test_decay_is_the_one_that_forecasts_the_last_fifth_best(source):
    series = simulate_ar1(0.5, 90, seed=5, cells=(30,))
    target = np.random.default_rng(6).normal(size=90)
    target[3:] += 2 * series[:-3, source]
    distance = 100.0 * np.arange(30)
    found = fit_neighbourhood(series, target, distance, TRAINING, **SHORT)
    errors = [fit_ridge(series * np.exp(-distance / decay), target, TRAINING, **SHORT).error for decay in DECAYS]
    assert found.decay == DECAYS[int(np.argmin(errors))]
    assert found.error == min(errors)
    # What is near is found with a short decay, what is far only with a long one.
    assert found.decay <= 250 if source == 0 else found.decay >= 2000


def test_without_decay_it_is_the_ordinary_ridge(noisy, monkeypatch):
    monkeypatch.setattr("sealiency.emulators.linear.neighbourhood_ridge.DECAYS", DECAYS[:1])
    found = fit_neighbourhood(*noisy, np.array([0.0, 300.0, 800.0]), TRAINING, **SHORT)
    assert found.decay == np.inf
    np.testing.assert_array_equal(found.weights, fit_ridge(*noisy, TRAINING, **SHORT).weights)


def test_last_samples_choose_the_decay_and_all_are_fitted_on(monkeypatch):
    monkeypatch.setattr("sealiency.emulators.linear.neighbourhood_ridge.DECAY_SAMPLES", 40)
    series = simulate_ar1(0.5, 90, seed=5, cells=(30,))
    target = simulate_ar1(0.5, 90, seed=6)
    # Far inputs matter at first, near ones later.
    target[3:40] += 3 * series[:37, 29]
    target[40:] += 3 * series[37:-3, 0]
    distance = 100.0 * np.arange(30)
    found = fit_neighbourhood(series, target, distance, TRAINING, **SHORT)
    scale = np.exp(-distance / found.decay)
    errors = [fit_ridge(series * np.exp(-distance / d), target, TRAINING[-40:], **SHORT).error for d in DECAYS]
    assert found.decay == DECAYS[int(np.argmin(errors))]
    np.testing.assert_array_equal(found.weights, fit_ridge(series * scale, target, TRAINING, **SHORT).weights * scale)
    assert DECAY_SAMPLES > 2 * 5 * (36 + 9 - 1 + 12 - 1)


def test_neighbourhood_of_a_constant_has_no_decay(noisy):
    found = fit_neighbourhood(noisy[0], np.full(90, 3.0), np.zeros(3), TRAINING, **SHORT)
    assert not found.weights.any()
    assert np.isnan(found.decay)


def test_decay_that_leaves_a_constant_is_not_chosen(noisy):
    # The pixel itself is under ice, and the others are far.
    series, distance = noisy[0] * [0, 1, 1], np.array([0.0, 1000.0, 1000.0])
    assert np.isnan(fit_ridge(series * np.exp(-distance / DECAYS[-1]), noisy[1], TRAINING, **SHORT).error)
    found = fit_neighbourhood(series, noisy[1], distance, TRAINING, **SHORT)
    assert found.decay > DECAYS[-1]
    assert found.weights[:, 1].any()


def test_without_choice_there_is_no_decay(noisy, monkeypatch):
    monkeypatch.setattr("sealiency.emulators.linear.neighbourhood_ridge.DECAY_SAMPLES", 8)
    found = fit_neighbourhood(*noisy, np.array([0.0, 300.0, 800.0]), TRAINING, **SHORT)
    assert found.decay == np.inf
    np.testing.assert_array_equal(found.weights, fit_ridge(*noisy, TRAINING, **SHORT).weights)


@given(st.integers(1, 500), st.integers(1, 80), st.integers(1, 12), st.integers(1, 24), st.integers(1, 12))
def test_penalty_is_chosen_on_months_that_are_not_fitted_on(count, history, lead, width, first):
    training = range(first + history, first + history + count)
    tries, chooses = split_for_penalty(training, history + lead - 1 + width - 1)
    assert len(chooses) == count // 5
    if tries:
        assert len(tries) >= 2 * len(chooses) > 0
        assert (tries[0], chooses[-1]) == (training[0], training[-1])
        # The raw months of a trailing mean: the first of the first input, and the last of the last target.
        assert chooses[0] - history - (width - 1) > tries[-1] + lead - 1


# --- the sums ---


def test_sums_are_those_of_a_slow_loop():
    random = np.random.default_rng(0)
    weights, series = random.normal(size=(3, 5)), random.normal(size=(20, 5))
    bins, blocks = np.array([0, 2, 2, 1, 2]), [[3, 7], [10], [19, 20]]
    expected = np.zeros((2, 3, 3, 4))
    for at, block in enumerate(blocks):
        for k in block:
            for lag in range(3):
                for cell in range(5):
                    value = weights[lag, cell] * series[k - 3 + lag, cell] / len(block)
                    expected[int(value < 0), at, lag, bins[cell]] += abs(value)
    np.testing.assert_allclose(sum_attributions(weights, series, bins, 4, blocks), expected, rtol=1e-12)


def test_dimensions_and_coordinates(linear, record):
    assert dict(linear["radial_positive"].sizes) == {
        "predictor": 3, "pixel": 4, "bootstrap_block": 3, "lag": HISTORY, "distance": len(EDGES),
    }  # fmt: skip
    assert linear["predictor"].values.tolist() == list(PREDICTORS)
    assert linear["pixel"].values.tolist() == ["r2c2", "r2c6", "r6c2", "r6c6"]
    np.testing.assert_array_equal(linear["pixel_lat"], record.lat[linear["pixel_row"]])
    np.testing.assert_array_equal(linear["pixel_lon"], record.lon[linear["pixel_column"]])
    chosen = choose_samples(record.training_samples, 10)
    assert linear["block_samples"].values.tolist() == [4, 4, 2]
    assert linear["first_sample"].values.tolist() == chosen[::4]
    assert linear["lag"].values.tolist() == list(range(-HISTORY, 0))
    np.testing.assert_array_equal(linear["distance_bounds"][:, 0], EDGES)
    assert float(linear["distance_bounds"][-1, 1]) == 20015
    for name in linear.data_vars:
        assert name == "distance_bounds" or linear[name].attrs.keys() >= {"long_name", "units"}


def test_pixel_predictors_have_the_own_cell_and_the_neighbourhood_ends(linear):
    total = linear["radial_positive"] + linear["radial_negative"]
    assert float(total.min()) >= 0
    by_distance = total.sum(("pixel", "bootstrap_block", "lag"))
    for predictor in ("ar1", "pixel_ridge"):
        assert (by_distance.sel(predictor=predictor).values > 0).tolist() == [True, False, False, False, False]
    assert (by_distance.sel(predictor="neighbourhood_ridge").values > 0).tolist() == [True, True, True, False, False]


def test_ar1_by_hand(linear, record, unfiltered):
    phi = estimate_phi(unfiltered)
    chosen = choose_samples(record.training_samples, 10)
    series = record.anomaly[:, 6, 2].double().numpy()
    weights = weigh_ar1(phi[6, 2], LEAD, HISTORY, 3)
    found = linear.sel(predictor="ar1", pixel="r6c2")
    assert float(found["phi"]) == phi[6, 2]
    assert np.isnan(found["penalty"])
    for block in range(3):
        part = np.array([weights * series[k - HISTORY : k] for k in chosen[4 * block : 4 * block + 4]])
        for sign, name in ((1, "positive"), (-1, "negative")):
            values = found[f"radial_{name}"][block, :, 0]
            np.testing.assert_allclose(values, np.maximum(sign * part, 0).mean(0), rtol=1e-5, atol=1e-9)
    validation = record.split(LEAD, SAMPLES).validation
    errors = [weights @ series[k - HISTORY : k] - series[k + LEAD - 1] for k in validation]
    assert float(found["validation_rmse"]) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)
    errors = [series[k - 1] - series[k + LEAD - 1] for k in validation]
    assert float(found["persistence_rmse"]) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)


def test_neighbourhood_ridge_by_hand(linear, record):
    distance = measure_distance(record.lat, record.lon, 2, 2)
    cells = [
        (row, column) for row, column in np.argwhere(record.ocean.numpy()).tolist() if distance[row, column] <= 250
    ]
    assert (0, 0) not in cells
    series = np.stack([record.anomaly[:, row, column].double().numpy() for row, column in cells], 1)
    split = record.split(LEAD, SAMPLES)
    gap = HISTORY + LEAD - 1 + 2
    target = record.anomaly[:, 2, 2].double().numpy()
    away = np.array([distance[place] for place in cells])
    ridge = fit_neighbourhood(series, target, away, split.training, LEAD, HISTORY, gap)
    found = linear.sel(predictor="neighbourhood_ridge", pixel="r2c2")
    assert float(found["penalty"]) == ridge.penalty
    assert float(found["decay"]) == ridge.decay
    expected = np.zeros((2, HISTORY, len(EDGES)))
    for k in choose_samples(record.training_samples, 10):
        for lag in range(HISTORY):
            for cell, place in enumerate(cells):
                value = ridge.weights[lag, cell] * series[k - HISTORY + lag, cell] / 10
                at = max(number for number, edge in enumerate(EDGES) if edge <= distance[place])
                expected[int(value < 0), lag, at] += abs(value)
    for sign, name in enumerate(("positive", "negative")):
        mean = (found[f"radial_{name}"] * found["block_samples"]).sum("bootstrap_block") / 10
        np.testing.assert_allclose(mean, expected[sign], rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(found[f"monthly_{name}"], expected[sign].sum(-1), rtol=1e-4, atol=1e-8)
    errors = ridge.forecast(series, split.validation) - [target[k + LEAD - 1] for k in split.validation]
    assert float(found["validation_rmse"]) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)


def test_file_is_read_as_the_attributions_of_an_emulator(linear, tmp_path):
    write_netcdf(linear, tmp_path / "linear.nc")
    dataset = read_netcdf(tmp_path / "linear.nc")
    for predictor in PREDICTORS:
        attributions = dataset.sel(predictor=predictor)
        radial = linear.sel(predictor=predictor)
        total = (radial["radial_positive"] + radial["radial_negative"]) * radial["block_samples"]
        weights = total.sum(("bootstrap_block", "distance")).values.astype(float)
        ages = np.arange(HISTORY, 0, -1)
        np.testing.assert_allclose(measure_mean_lag(attributions), (weights * ages).sum(1) / weights.sum(1), rtol=1e-5)
        np.testing.assert_allclose(measure_recent_share(attributions), weights[:, -1] / weights.sum(1), rtol=1e-5)
        profile = sum_profile(attributions)
        np.testing.assert_allclose(profile, total.sum(("bootstrap_block", "lag")), rtol=1e-5)
        radius = measure_radius(profile, dataset["distance_bounds"], 0.9)
        assert ((radius > 90) & (radius < 300)).all() if predictor == PREDICTORS[2] else np.allclose(radius, 90)


def test_unfiltered_record_has_all_of_ar1_in_the_latest_month(unfiltered):
    found = fit_linear(unfiltered, None, LEAD, SAMPLES, SETTINGS, EDGES).sel(predictor="ar1")
    share = measure_recent_share(found)
    np.testing.assert_allclose(share, 1, atol=1e-6)
    assert found.attrs["noise"] == 0


def test_filter_leaves_ar1_older_months(linear):
    assert (measure_recent_share(linear.sel(predictor="ar1")) < 0.8).all()
    assert linear.attrs["noise"] == NOISE


def test_constant_pixel_is_not_surveyed(tmp_path):
    records = []
    for name, settings in (("filtered", {}), ("unfiltered", {"filter": "none", "climatology": "monthly"})):
        sst = make_sst()
        # Sea whose year is the same every year and every season: with the filter or the seasonal cycle gone, nothing varies.
        sst["tos"].values[:, 2, 2] = np.resize([-2.0, -1.75, -1.5], len(sst["tos"]))
        (tmp_path / name).mkdir()
        records.append(PreparedRecord(prepare_sst(sst, tmp_path / name, **settings)))
    assert records[0].ocean[2, 2]
    found = fit_linear(*records, LEAD, SAMPLES, SETTINGS, EDGES)
    assert "r2c2" not in found["pixel"].values
    assert (found["monthly_all"].sum("lag") > 0).all()
    assert found["phi"].notnull().all()


def test_too_few_training_samples_leave_ridge_missing_and_say_so(record, unfiltered, caplog):
    few = SAMPLES.model_copy(update={"training": 12})
    with caplog.at_level(logging.WARNING):
        found = fit_linear(record, unfiltered, LEAD, few, SETTINGS, EDGES)
    assert "samples.training = 12" in caplog.text
    assert np.isfinite(found.sel(predictor="ar1")["radial_positive"]).all()
    for predictor in PREDICTORS[1:]:
        missing = found.sel(predictor=predictor)
        assert np.isnan(missing["radial_positive"]).all()
        assert np.isnan(missing["validation_rmse"]).all()
        assert np.isnan(measure_mean_lag(missing)).all()
        assert np.isnan(measure_radius(sum_profile(missing), missing["distance_bounds"], 0.5)).all()


def test_enough_training_samples_say_nothing(record, unfiltered, caplog):
    with caplog.at_level(logging.WARNING):
        fit_linear(record, unfiltered, LEAD, SAMPLES, SETTINGS, EDGES)
    assert not caplog.text


def test_unusable_records_are_refused(record, unfiltered, tmp_path):
    with pytest.raises(SealiencyError, match=r"data\.filter: none"):
        fit_linear(record, None, LEAD, SAMPLES, SETTINGS, EDGES)
    other = PreparedRecord(prepare_sst(make_sst(land=((3, 3),)), tmp_path, filter="none"))
    with pytest.raises(SealiencyError, match="other ocean cells"):
        fit_linear(record, other, LEAD, SAMPLES, SETTINGS, EDGES)


def test_predictor_forecasts_window_by_window():
    weights = np.arange(6.0).reshape(3, 2)
    series = simulate_ar1(0.5, 12, cells=(2,))
    expected = [(weights * series[k - 3 : k]).sum() + 7 for k in range(4, 9)]
    np.testing.assert_allclose(PointPredictor(weights, 7.0).forecast(series, range(4, 9)), expected)
