from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import torch
import xarray as xr
from torch import nn

from cf_check import find_faults
from sealiency.config.attribution import Attribution
from sealiency.config.data import Data, Region, SyntheticWorld
from sealiency.config.findings import Findings
from sealiency.data.places import measure_distance
from sealiency.data.prepare import PreparedRecord, prepare_record
from sealiency.errors import SealiencyError
from sealiency.experiments.fidelity import MEASURED, correlate, find_core, measure_fidelity, randomise_emulator
from sealiency.files import write_analysis
from sealiency.naming import name_world_files
from sealiency.worlds import ocean_physics, ocean_truth
from sealiency.worlds.ocean import simulate_world
from sealiency.worlds.ocean_truth import (
    World,
    choose_predictors,
    find_ideal_weights,
    fit_weights,
    ideal_weights_unfiltered,
    place_cells,
    read_world,
    simulate_filtered,
    trace_back,
)

SETTINGS = SyntheticWorld(resolution=5, years=60, years_per_file=30, seed=3)
REGION = Region(south=5, north=65, west=-80, east=0)
PIXEL = ("drift", 9, 8)  # 52.5 N, 37.5 W
WIDTH, LAGS = 12, 36
ATTRIBUTION = Attribution(pixels=[{"name": "a", "row": 3, "column": 4}], integration_steps=4, device="cpu")


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fidelity")
    simulate_world(SETTINGS, REGION, folder, {})
    return folder


def _prepare(folder, **settings):
    paths = [str(folder / name) for name in name_world_files(SETTINGS)]
    target = folder / f"{'-'.join(map(str, settings.values()))}.nc"
    prepare_record(paths, Data(region=REGION, **settings), history=LAGS, training=500, target=target)
    return PreparedRecord(target)


@pytest.fixture(scope="module")
def unfiltered_record(world_folder):
    return _prepare(world_folder, filter="none", climatology="monthly")


@pytest.fixture(scope="module")
def filtered_record(world_folder):
    return _prepare(world_folder, filter="trailing_mean")


@pytest.fixture(scope="module")
def world(world_folder, unfiltered_record):
    return read_world(world_folder / "propagator.nc", SETTINGS, REGION, unfiltered_record)


@pytest.fixture(scope="module")
def cell(world, unfiltered_record):
    return int(np.flatnonzero(world.positions == PIXEL[1] * len(unfiltered_record.lon) + PIXEL[2])[0])


@pytest.fixture(scope="module")
def neighbours(world, unfiltered_record, cell):
    distance = measure_distance(unfiltered_record.lat, unfiltered_record.lon, *PIXEL[1:]).ravel()[world.positions]
    return choose_predictors(world.propagator, cell, 6, distance, 700)


def _solve_exactly(world, cell, cells, lead, history, width, ridge):
    """Weights of the best linear predictor from the stationary covariance: the limit of an endless fit."""
    propagator = world.propagator.toarray()
    forcing = (world.forcing @ world.forcing.T).toarray()
    covariance = scipy.linalg.solve_discrete_lyapunov(propagator, forcing)
    lagged = [covariance]
    for _ in range(history + lead + width):
        lagged.append(propagator @ lagged[-1])

    def filtered(lag):
        # Covariance of means: months d apart occur width - |d| times.
        return sum(
            (width - abs(d)) / width**2 * (lagged[lag + d] if lag + d >= 0 else lagged[-lag - d].T)
            for d in range(1 - width, width)
        )

    by_lag = [filtered(lag) for lag in range(history + lead)]
    near = np.ix_(cells, cells)
    gram = np.block(
        [[by_lag[a - b][near] if a >= b else by_lag[b - a][near].T for b in range(history)] for a in range(history)]
    )
    product = np.concatenate([by_lag[lead - 1 + history - lag][cell, cells] for lag in range(history)])
    gram += ridge * np.diag(gram).mean() * np.eye(len(gram))
    return np.linalg.solve(gram, product).reshape(history, -1)


# --- the ideal without a filter ---


def test_row_of_the_power_is_that_of_the_dense_power(world, cell):
    for lead in (1, 6, 9):
        dense = np.linalg.matrix_power(world.propagator.toarray(), lead)
        np.testing.assert_allclose(trace_back(world.propagator, cell, lead), dense[cell], atol=1e-15)
        assert np.abs(dense[cell] - dense[:, cell]).max() > 0.01


def test_unfiltered_weights_lie_where_the_cells_are(world, unfiltered_record, cell):
    ocean = unfiltered_record.ocean.numpy()
    weights = ideal_weights_unfiltered(world, ocean, PIXEL[1:], 6)
    assert not weights[~ocean].any()
    cells = ocean_physics.find_ocean_cells(SETTINGS.resolution, REGION)
    source = int(trace_back(world.propagator, cell, 6).argmax())
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    assert unfiltered_record.lat[row] == cells.lat[source]
    assert unfiltered_record.lon[column] % 360 == cells.lon[source]


def test_cells_and_grid_that_differ_are_refused(unfiltered_record):
    cells = ocean_physics.find_ocean_cells(SETTINGS.resolution, REGION)
    lat, lon, ocean = unfiltered_record.lat, unfiltered_record.lon, unfiltered_record.ocean.numpy()
    positions = place_cells(cells.lat, cells.lon, lat, lon, ocean)
    np.testing.assert_array_equal(place_cells(cells.lat, cells.lon - 360, lat, lon % 360, ocean), positions)
    np.testing.assert_array_equal(np.sort(positions), np.flatnonzero(ocean))
    shut = ocean.copy()
    shut[PIXEL[1:]] = False
    for other in (
        (cells.lat + 1, lat, ocean),
        (cells.lat, lat + 1, ocean),
        (cells.lat, lat, shut),
        (cells.lat[:-1], lat, ocean),
    ):
        with pytest.raises(SealiencyError, match=r"remove data\.basins"):
            place_cells(other[0], cells.lon[: len(other[0])], other[1], lon, other[2])


def test_standardised_record_is_carried_by_the_same_weights(world, unfiltered_record, cell):
    anomaly = unfiltered_record.anomaly.numpy().astype(np.float64)
    target = anomaly[1:, PIXEL[1], PIXEL[2]]
    weights = ideal_weights_unfiltered(world, unfiltered_record.ocean.numpy(), PIXEL[1:], 1)
    residual = target - (anomaly[:-1] * weights).sum((1, 2))
    # What is left is one month's forcing, in standardised units; 719 months tell its variance to 5 %.
    added = float((world.forcing[[cell]].toarray() ** 2).sum()) / unfiltered_record.scale**2
    assert np.mean(residual**2) == pytest.approx(added, rel=0.15)
    # No other multiple of the weights does better, so that they are not scaled.
    forecast = target - residual
    assert forecast @ target / (forecast @ forecast) == pytest.approx(1, abs=0.03)


# --- the ideal with a filter ---


def test_ridge_regression_is_that_of_the_design_matrix():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 3)).cumsum(0), generator.normal(size=60)
    history, leads = 4, [1, 5]
    found = fit_weights(x, y, leads, history, ridge=0.1)
    samples = np.arange(history, 60 - max(leads) + 1)
    design = np.stack([x[k - history : k].ravel() for k in samples])
    gram = design.T @ design
    gram += 0.1 * np.diag(gram).mean() * np.eye(len(gram))
    for number, lead in enumerate(leads):
        expected = np.linalg.solve(gram, design.T @ y[samples + lead - 1])
        np.testing.assert_allclose(found[number].ravel(), expected, rtol=1e-8)
    np.testing.assert_allclose(fit_weights(x / 7, y / 7, leads, history, ridge=0.1), found, rtol=1e-8)


def test_filtered_months_are_means_of_the_simulated_ones(world):
    cells = np.array([0, 5])
    raw = simulate_filtered(world, cells, 3, 1, seed=8)
    filtered = simulate_filtered(world, cells, 3, WIDTH, seed=8)
    assert raw.shape == (36, 2)
    assert filtered.shape == (25, 2)
    np.testing.assert_allclose(filtered[7], raw[7:19].mean(0), rtol=1e-12)


def test_fit_on_a_filtered_simulation_approaches_the_exact_predictor(world, cell, neighbours):
    series = simulate_filtered(world, neighbours, 2000, WIDTH, seed=SETTINGS.seed + 1)
    target = series[:, np.searchsorted(neighbours, cell)]
    leads = [1, 6]
    fitted = dict(zip(leads, fit_weights(series, target, leads, LAGS), strict=True))
    exact = {lead: _solve_exactly(world, cell, neighbours, lead, LAGS, WIDTH, ocean_truth.RIDGE) for lead in leads}
    for lead in leads:
        assert correlate(fitted[lead], exact[lead]) > 0.97
        assert fitted[lead].ravel() @ exact[lead].ravel() / (exact[lead] ** 2).sum() == pytest.approx(1, abs=0.05)
    assert correlate(fitted[1], exact[6]) < 0.9


def test_fit_without_a_filter_approaches_the_row_of_the_power(world, cell):
    # Forcing without correlation in space: with it, neighbouring cells are so alike that no fit tells them apart.
    white = replace(world, forcing=scipy.sparse.eye_array(len(world.positions), format="csr"))
    everywhere = np.arange(len(world.positions))
    series = simulate_filtered(white, everywhere, 3000, 1, seed=5)
    weights = fit_weights(series, series[:, cell], [1, 3], 2, ridge=1e-6)
    for lead, found in zip((1, 3), weights, strict=True):
        row = trace_back(world.propagator, cell, lead)
        np.testing.assert_allclose(found[-1], row, atol=0.04)
        np.testing.assert_allclose(found[0], 0, atol=0.04)
        assert row.max() > 0.2
        assert correlate(found[-1], row) > 0.95
        assert correlate(found[-1], trace_back(world.propagator.T.tocsr(), cell, lead)) < 0.9


def test_predictors_hold_what_comes_from_afar(world, cell, unfiltered_record, monkeypatch):
    distance = measure_distance(unfiltered_record.lat, unfiltered_record.lon, *PIXEL[1:]).ravel()[world.positions]
    chosen = choose_predictors(world.propagator, cell, 9, distance, 600)
    row = trace_back(world.propagator, cell, 9)
    assert row[chosen].sum() > 0.9 * row.sum()
    assert distance[chosen].max() > 600
    assert set(np.flatnonzero(distance <= 600)) <= set(chosen)
    assert row[distance <= 600].sum() < 0.7 * row.sum()
    monkeypatch.setattr(ocean_truth, "MOST_CELLS", 5)
    few = choose_predictors(world.propagator, cell, 9, distance, 600)
    assert len(few) == 5
    assert cell in few
    assert row[few].sum() > row[np.argsort(distance)[:5]].sum() - 1e-12


def test_ideal_weights_of_a_record_follow_its_filter(world, filtered_record, unfiltered_record):
    settings = Findings(simulated_years=200, neighbourhood_km=600)
    ideal = find_ideal_weights(world, unfiltered_record, [PIXEL], 3, LAGS, settings)
    assert ideal.shape == (1, LAGS, *unfiltered_record.ocean.shape)
    assert not ideal[0, :-1].any()
    np.testing.assert_array_equal(
        ideal[0, -1], ideal_weights_unfiltered(world, unfiltered_record.ocean.numpy(), PIXEL[1:], 3)
    )
    smooth = find_ideal_weights(world, filtered_record, [PIXEL], 3, LAGS, settings)
    assert not smooth[0][:, ~filtered_record.ocean.numpy()].any()
    assert np.abs(smooth[0, :-12]).sum() > 0.1 * np.abs(smooth).sum()
    # It forecasts the record, which it has not seen, better than persistence does.
    anomaly = filtered_record.anomaly.numpy()
    samples = np.arange(LAGS, len(anomaly) - 2)
    forecast = [(anomaly[k - LAGS : k] * smooth[0]).sum() for k in samples]
    target = anomaly[samples + 2, PIXEL[1], PIXEL[2]]
    error = np.mean((target - forecast) ** 2)
    assert error < 0.7 * np.mean((target - anomaly[samples - 1, PIXEL[1], PIXEL[2]]) ** 2)


def test_record_with_a_seasonal_cycle_has_no_fixed_ideal(world, world_folder):
    seasonal = _prepare(world_folder, filter="none", climatology="mean")
    with pytest.raises(SealiencyError, match=r"data\.climatology"):
        find_ideal_weights(world, seasonal, [PIXEL], 1, LAGS, Findings())


def test_propagator_of_another_world_is_refused(world_folder, unfiltered_record):
    other = SETTINGS.model_copy(update={"resolution": 2})
    with pytest.raises(SealiencyError, match="of another world"):
        read_world(world_folder / "propagator.nc", other, REGION, unfiltered_record)


# --- the comparison ---


def _build_linear_network(weights, pixel):
    """A network whose output at one pixel is the sum of weights times inputs: a convolution as large as the grid."""
    history, rows, columns = weights.shape
    network = nn.Conv2d(history, 1, (2 * rows - 1, 2 * columns - 1), padding=(rows - 1, columns - 1), bias=False)
    kernel = torch.zeros_like(network.weight)
    top, left = rows - 1 - pixel[0], columns - 1 - pixel[1]
    kernel[0, :, top : top + rows, left : left + columns] = torch.from_numpy(weights)
    network.weight.data = kernel
    return nn.Sequential(network).eval()


def test_ideal_predictor_agrees_with_itself_and_noise_does_not(record, emulator):
    generator = np.random.default_rng(1)
    shape = (emulator.history, *record.ocean.shape)
    ideal = generator.standard_t(2, size=shape) * record.ocean.numpy()
    pixel = ("a", 3, 4)
    emulators = {
        "trained": replace(emulator, network=_build_linear_network(ideal, pixel[1:])),
        "random": replace(emulator, network=_build_linear_network(generator.normal(size=shape), pixel[1:])),
    }
    methods = ["saliency", "guided_backprop", "input_x_gradient", "integrated_gradients"]
    found = measure_fidelity(emulators, record, ideal[None], [pixel], ATTRIBUTION, methods, samples=5)
    trained, random = (found.sel(emulator=name) for name in ("trained", "random"))
    for name in ("correlation", "map_correlation"):
        np.testing.assert_allclose(trained[name], 1, atol=1e-5)
        # Of about 460 independent values, and of 77.
        assert float(np.abs(random[name].mean("sample")).max()) < {"correlation": 0.15, "map_correlation": 0.35}[name]
    assert float(trained["core_share"].min()) > 0.9
    assert float(trained["core_share"].max()) < 0.93
    for method in methods:
        share, spread = float(random["core_share"].sel(method=method).mean()), found["core_fraction"].sel(method=method)
        assert share == pytest.approx(float(spread.mean()), abs=0.15)


def test_weights_times_input_is_the_ideal_of_attributions_only(record, emulator):
    weights = np.random.default_rng(2).normal(size=(emulator.history, *record.ocean.shape)) * record.ocean.numpy()
    pixel = ("a", 3, 4)
    emulators = {"trained": replace(emulator, network=_build_linear_network(weights, pixel[1:]))}
    found = measure_fidelity(emulators, record, weights[None], [pixel], ATTRIBUTION, ["saliency"], samples=3)
    np.testing.assert_allclose(found["correlation"], 1, atol=1e-5)
    # A gradient held against weights times input, as no method is.
    values = record.anomaly.numpy()[record.training_samples[0] + np.arange(-emulator.history, 0)]
    ocean = record.ocean.numpy()
    assert correlate(weights[:, ocean], (weights * values)[:, ocean]) < 0.9


def test_every_method_is_compared_on_the_emulator_and_its_randomised_copy(record, emulator):
    generator = np.random.default_rng(3)
    ideal = generator.normal(size=(2, emulator.history, *record.ocean.shape))
    pixels = [("a", 3, 4), ("b", 0, 5)]
    before = {name: value.clone() for name, value in emulator.network.state_dict().items()}
    random = randomise_emulator(emulator, record, seed=1)
    found = measure_fidelity({"trained": emulator, "random": random}, record, ideal, pixels, ATTRIBUTION, samples=4)
    assert found["correlation"].dims == ("emulator", "method", "pixel", "sample")
    assert found.sizes["method"] == len(MEASURED) > 5
    assert list(found["emulator"].values) == ["trained", "random"]
    scores = found[["correlation", "map_correlation", "core_share"]]
    # Guided backpropagation of random weights may be zero everywhere.
    assert all(np.isfinite(values).all() for values in scores.sel(emulator="trained").values())
    assert found.attrs["lead"] == emulator.lead
    assert found.attrs["filter"] == "trailing_mean"
    by_emulator = found["correlation"].sel(method="deeplift")
    assert float(np.abs(by_emulator.sel(emulator="trained") - by_emulator.sel(emulator="random")).max()) > 0.01
    assert all(torch.equal(value, before[name]) for name, value in emulator.network.state_dict().items())
    again = randomise_emulator(emulator, record, seed=1)
    assert again.model_sha256 == random.model_sha256 != emulator.model_sha256
    assert randomise_emulator(emulator, record, seed=2).model_sha256 != random.model_sha256


def test_scores_survive_a_file(record, emulator, tmp_path):
    ideal = np.zeros((1, emulator.history, *record.ocean.shape))
    found = measure_fidelity({"trained": emulator}, record, ideal, [("a", 3, 4)], ATTRIBUTION, ["saliency"], samples=2)
    # Nothing correlates with a constant.
    assert np.isnan(found["correlation"]).all()
    write_analysis(found, tmp_path / "fidelity.nc", "measure_fidelity", {}, {}, seed=0)
    assert find_faults([tmp_path / "fidelity.nc"]) == []
    with xr.open_dataset(tmp_path / "fidelity.nc") as read:
        assert read["ideal_weight"].dims == ("pixel", "lag", "lat", "lon")
        assert all("units" in read[name].attrs for name in ("correlation", "core_share", "pixel_lat", "lag"))


def test_correlation_and_core_by_hand():
    assert correlate(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 4.0], [6.0, 8.0]])) == pytest.approx(1)
    assert correlate(np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, -1.0])) == pytest.approx(-1)
    assert correlate(np.array([1.0, -1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])) == pytest.approx(0)
    assert np.isnan(correlate(np.ones(3), np.arange(3.0)))
    values = np.array([[-5.0, 1.0], [3.0, 1.0]])
    np.testing.assert_array_equal(find_core(values, 0.5), [[True, False], [False, False]])
    np.testing.assert_array_equal(find_core(values, 0.8), [[True, False], [True, False]])
    assert find_core(values, 1).all()


def test_world_knows_its_cells(world, unfiltered_record):
    assert isinstance(world, World)
    assert world.seed == SETTINGS.seed
    assert world.forcing.shape == world.propagator.shape == (len(world.positions),) * 2
    assert len(world.positions) == int(unfiltered_record.ocean.sum())
