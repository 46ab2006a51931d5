from pathlib import Path

import cftime
import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.sparse
import xarray as xr

from cf_check import find_faults
from sealiency.config.data import Region, SyntheticWorld
from sealiency.errors import SealiencyError
from sealiency.naming import name_world_files
from sealiency.provenance import describe_file, hash_settings
from sealiency.worlds import ocean_physics
from sealiency.worlds.ocean import (
    read_propagator,
    simulate_anomalies,
    simulate_world,
)
from sealiency.worlds.ocean_physics import EARTH_RADIUS, STEP_SECONDS

REGION = Region()
COARSE = SyntheticWorld(resolution=5, years=7, years_per_file=3, seed=3)


@pytest.fixture(scope="module", params=[5, 2])
def world(request):
    cells = ocean_physics.find_ocean_cells(request.param, REGION)
    psi = ocean_physics.solve_current(cells)
    return cells, psi, ocean_physics.build_propagator(cells, psi)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("world")
    provenance = describe_file("simulate_world", {"a": 1}, {}, seed=COARSE.seed)
    simulate_world(COARSE, REGION, path, {**provenance, "title": "not this one"})
    return path


@pytest.fixture(scope="module")
def record(folder):
    return _load_record(folder, COARSE)


def _load_record(folder, settings):
    parts = [xr.load_dataset(folder / name, decode_times=_cftime()) for name in name_world_files(settings)]
    return xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="exact")


def _cftime():
    return xr.coders.CFDatetimeCoder(use_cftime=True)


def _number(cells, lat, lon):
    return int(np.flatnonzero((np.abs(cells.lat - lat) < 1e-9) & (np.abs(cells.lon - lon % 360) < 1e-9))[0])


def _east_north(cells, origin):
    """Offsets from one cell to every other, m, good for short distances."""
    turn = (cells.lon - cells.lon[origin] + 180) % 360 - 180
    east = EARTH_RADIUS * np.cos(np.deg2rad(cells.lat)) * np.deg2rad(turn)
    return east, EARTH_RADIUS * np.deg2rad(cells.lat - cells.lat[origin])


# --- the cells ---


def test_cells_are_where_the_atlas_has_sea():
    cells = ocean_physics.find_ocean_cells(1, REGION)
    places = set(zip(cells.lat, cells.lon, strict=True))
    assert {(30.5, 320.5), (60.5, 0.5), (5.5, 265.5)} <= places  # mid-Atlantic, North Sea, Pacific
    assert not {(40.5, 260.5), (20.5, 5.5), (52.5, 20.5)} & places  # Kansas, Sahara, Poland
    assert cells.lat.min() == 0.5
    assert cells.lat.max() == 69.5
    assert ((cells.lon + 100) % 360).max() <= 125


def test_cells_centred_outside_the_box_are_left_out():
    cells = ocean_physics.find_ocean_cells(5, Region(south=8, north=27.4, west=-43, east=-28))
    assert set(cells.lat) == {12.5, 17.5, 22.5}
    assert set(cells.lon) == {317.5, 322.5, 327.5}


def test_cell_areas_add_up_to_the_area_of_the_box():
    cells = ocean_physics.find_ocean_cells(5, Region(south=10, north=30, west=-45, east=-25))
    assert cells.size == 16
    zone = 2 * np.pi * EARTH_RADIUS**2 * (np.sin(np.deg2rad(30)) - np.sin(np.deg2rad(10)))
    assert cells.area.sum() == pytest.approx(zone * 20 / 360)


def test_box_of_land_is_refused_with_its_name():
    with pytest.raises(SealiencyError, match=r"data\.region: no ocean cell"):
        ocean_physics.find_ocean_cells(2, Region(south=15, north=25, west=0, east=20))


# --- the current ---


def test_current_is_without_divergence_and_none_crosses_a_coast(world):
    cells, psi, _ = world
    u, v = ocean_physics.face_velocities(cells, psi)
    angle = np.deg2rad(cells.resolution)
    edges = np.deg2rad(cells.box_lat[0] + cells.resolution * (np.arange(cells.rows.size + 1) - 0.5))
    outflow = np.diff(u, axis=1) * angle + np.diff(v * (np.cos(edges) * angle)[:, None], axis=0)
    assert np.abs(outflow).max() < 1e-12
    wet = np.pad(cells.index >= 0, 1)
    assert np.all(u[~(wet[1:-1, 1:] & wet[1:-1, :-1])] == 0)
    assert np.all(v[~(wet[1:, 1:-1] & wet[:-1, 1:-1])] == 0)
    assert max(np.abs(u).max(), np.abs(v).max()) == pytest.approx(ocean_physics.TOP_SPEED)


def test_gyres_turn_as_the_atlantic_does():
    cells = ocean_physics.find_ocean_cells(2, REGION)
    u, v = ocean_physics.cell_velocities(cells, ocean_physics.solve_current(cells))

    def at(lat, lon):
        number = _number(cells, lat, lon)
        return u[number], v[number]

    assert at(31, -79)[1] > 0.05  # Gulf Stream, northward
    assert at(43, -45)[0] > 0.05  # North Atlantic Current, eastward
    assert at(57, -19)[1] > 0  # the drift bends north-eastward
    assert at(57, -19)[0] > 0.01
    assert at(27, -21)[1] < -0.01  # Canary Current, southward
    assert at(15, -45)[0] < -0.02  # North Equatorial Current, westward
    assert at(57, -59)[1] < -0.01  # Labrador Current, southward


# --- the propagator ---


def test_each_new_value_is_a_mean_of_old_ones_less_damping(world):
    cells, _, propagator = world
    assert propagator.data.min() >= ocean_physics.SMALLEST_ENTRY
    kept = propagator.sum(axis=1)
    months = -1 / np.log(kept)
    shortest, longest = ocean_physics.DAMPING_MONTHS[1]
    # Without flow through any edge the only loss is damping, but for the dropped entries.
    assert np.all(kept < 1)
    np.testing.assert_allclose(months, np.interp(cells.lat, (0, 65), (shortest, longest)), rtol=1e-3)


def test_heat_is_lost_to_damping_only(world):
    cells, _, propagator = world
    kept = (cells.area @ propagator) / cells.area
    shortest, longest = ocean_physics.DAMPING_MONTHS[1]
    assert np.exp(-1 / shortest) * 0.995 < kept.min()
    assert kept.max() < np.exp(-1 / longest) * 1.005


def test_nothing_passes_from_one_sea_to_another(world):
    cells, _, propagator = world
    shared = scipy.ndimage.label(cells.index >= 0)[0][cells.index >= 0]
    seas = cells.basin[cells.index >= 0]
    entries = propagator.tocoo()
    assert np.unique(shared).size > 1
    assert np.all(shared[entries.row] == shared[entries.col])
    assert np.all(seas[entries.row] == seas[entries.col])
    # The Isthmus of Panama and the Strait of Gibraltar are thinner than a cell, and shut all the same.
    pacific = (cells.lat < 8) & (cells.lon > 250) & (cells.lon < 275)
    mediterranean = (cells.lat > 30) & (cells.lat < 40) & ((cells.lon > 1) & (cells.lon < 25))
    atlantic = (cells.lon > 280) & (cells.lon < 350) & (cells.lat > 10) & (cells.lat < 60)
    assert min(pacific.sum(), mediterranean.sum(), atlantic.sum()) > 3
    far = propagator**24
    assert far[np.ix_(atlantic, atlantic)].nnz > 0
    for sea, other in ((pacific, atlantic), (mediterranean, atlantic), (atlantic, pacific)):
        assert far[np.ix_(sea, other)].nnz == 0


def test_anomaly_drifts_with_the_current(world):
    cells, psi, propagator = world
    u, v = ocean_physics.cell_velocities(cells, psi)
    # In the open ocean, far enough from coasts that one month's journey does not touch them.
    start = _number(cells, *{5: (47.5, -32.5), 2: (47, -33)}[cells.resolution])
    column = propagator[:, [start]].toarray()[:, 0] * cells.area
    east, north = _east_north(cells, start)
    speed = np.hypot(u[start], v[start])
    drift = np.array([column @ east, column @ north]) / column.sum() / STEP_SECONDS
    assert speed > 0.05
    assert drift[0] == pytest.approx(u[start], abs=0.3 * speed)
    assert drift[1] == pytest.approx(v[start], abs=0.3 * speed)


def test_mixing_without_current_spreads_at_the_diffusivity():
    cells = ocean_physics.find_ocean_cells(2, Region(south=0, north=40, west=-45, east=-25))
    propagator = ocean_physics.build_propagator(cells, np.zeros((cells.rows.size + 1, cells.columns.size + 1)))
    start = _number(cells, 21, -35)
    column = propagator[:, [start]].toarray()[:, 0] * cells.area
    east, north = _east_north(cells, start)
    for offset in (east, north):
        variance = column @ offset**2 / column.sum()
        assert variance == pytest.approx(2 * ocean_physics.DIFFUSIVITY * STEP_SECONDS, rel=0.02)


@pytest.mark.parametrize("exponent", [1, 2, 6, 13])
def test_repeated_squaring_is_the_power(exponent):
    matrix = np.random.default_rng(1).dirichlet(np.ones(5), size=5)
    power = ocean_physics._raise_to_power(scipy.sparse.csr_array(matrix), exponent)
    np.testing.assert_allclose(power.toarray(), np.linalg.matrix_power(matrix, exponent), rtol=1e-12)


# --- the forcing and the record ---


def test_forcing_is_correlated_over_the_stated_distance():
    cells = ocean_physics.find_ocean_cells(2, REGION)
    forcing = ocean_physics.build_forcing(cells)
    covariance = (forcing @ forcing.T).tocsr()
    origin = _number(cells, 31, -45)
    there = [_number(cells, 31, -45 + 2 * step) for step in range(8)]
    spread = np.sqrt(covariance.diagonal()[there] * covariance[origin, origin])
    correlation = covariance[[origin], :].toarray()[0, there] / spread
    distance = EARTH_RADIUS * np.cos(np.deg2rad(31)) * np.deg2rad(2) * np.arange(8)
    expected = np.exp(-((distance / (2 * ocean_physics.FORCING_RADIUS)) ** 2))
    np.testing.assert_allclose(correlation, expected, atol=0.03)
    # A smaller cell is a smaller share of the weather: its white noise counts by the root of its area.
    here, north = _number(cells, 61, -33), _number(cells, 65, -33)
    kernel = np.exp(-0.5 * (EARTH_RADIUS * np.deg2rad(4) / ocean_physics.FORCING_RADIUS) ** 2)
    weight = kernel * np.sqrt(np.cos(np.deg2rad(65)) / np.cos(np.deg2rad(61)))
    assert forcing[here, north] / forcing[here, here] == pytest.approx(weight, rel=1e-3)


def test_variance_is_that_of_the_lyapunov_equation_and_no_sea_freezes():
    cells = ocean_physics.find_ocean_cells(5, REGION)
    propagator = ocean_physics.build_propagator(cells, ocean_physics.solve_current(cells))
    forcing = ocean_physics.build_forcing(cells)
    expected = scipy.linalg.solve_discrete_lyapunov(propagator.toarray(), (forcing @ forcing.T).toarray())
    years = simulate_anomalies(propagator, forcing, seed=11)
    anomalies = np.concatenate([next(years) for _ in range(1500)])
    variance = (anomalies**2).mean(axis=0)
    # A cell keeps memory for about half a year, so 18000 months hold some 3000 independent values: 3 % at one sigma.
    assert np.abs(variance / np.diag(expected) - 1).max() < 0.2
    assert np.mean(variance / np.diag(expected)) == pytest.approx(1, abs=0.03)

    deviation = np.sqrt(np.diag(expected))
    lagged = (anomalies[1:].T @ anomalies[:-1]) / (len(anomalies) - 1)
    reference = propagator @ expected
    error, reversed_error = (
        np.sqrt(np.mean(((lagged - other) / np.outer(deviation, deviation)) ** 2)) for other in (reference, reference.T)
    )
    assert error < 0.03
    assert reversed_error > 2 * error

    assert deviation.min() > 0.3
    assert deviation.max() < 1.1
    assert deviation[cells.lat > 45].mean() > 1.3 * deviation[cells.lat < 20].mean()
    coldest = (ocean_physics.mean_state(cells) + ocean_physics.seasonal_cycle(cells)).min(axis=0)
    assert (coldest - 6 * deviation).min() > -1.9


def test_mean_and_season():
    cells = ocean_physics.find_ocean_cells(2, REGION)
    mean, season = ocean_physics.mean_state(cells), ocean_physics.seasonal_cycle(cells)
    assert mean[cells.lat < 10].mean() == pytest.approx(27, abs=1)
    assert mean[cells.lat > 68].mean() == pytest.approx(5, abs=1)
    assert mean[_number(cells, 33, -75)] > mean[_number(cells, 33, -11)] + 1
    np.testing.assert_allclose(season.sum(axis=0), 0, atol=1e-9)
    assert set(season.argmax(axis=0)) <= {7, 8}
    amplitude = np.ptp(season, axis=0) / 2
    assert amplitude[_number(cells, 61, -21)] > 2 * amplitude[_number(cells, 5, -21)]
    south = ocean_physics.find_ocean_cells(5, Region(south=-40, north=-20, west=-30, east=0))
    assert set(ocean_physics.seasonal_cycle(south).argmax(axis=0)) <= {1, 2}


# --- the files ---


def test_file_names_cover_the_years_once():
    assert name_world_files(COARSE) == [
        "tos_Omon_synthetic_piControl_r1i1p1f1_gr_000101-000312.nc",
        "tos_Omon_synthetic_piControl_r1i1p1f1_gr_000401-000612.nc",
        "tos_Omon_synthetic_piControl_r1i1p1f1_gr_000701-000712.nc",
    ]
    assert len(name_world_files(SyntheticWorld(years=40, years_per_file=20))) == 2
    assert name_world_files(SyntheticWorld(years=5, years_per_file=20))[0].endswith("_000101-000512.nc")


def test_folder_holds_the_named_files_and_no_other(folder):
    assert {path.name for path in folder.iterdir()} == {*name_world_files(COARSE), "propagator.nc"}


def test_time_is_mid_month_of_a_noleap_calendar(record):
    times = record["time"].values
    assert record.sizes["time"] == 84
    assert isinstance(times[0], cftime.DatetimeNoLeap)
    assert times[0] == cftime.DatetimeNoLeap(1, 1, 16, 12)
    assert times[1] == cftime.DatetimeNoLeap(1, 2, 15)
    assert [(time.year, time.month) for time in times] == [(y, m) for y in range(1, 8) for m in range(1, 13)]
    bounds = record["time_bnds"].values
    assert bounds[0, 0] == cftime.DatetimeNoLeap(1, 1, 1)
    assert bounds[-1, 1] == cftime.DatetimeNoLeap(8, 1, 1)
    assert np.all(bounds[1:, 0] == bounds[:-1, 1])


def test_attributes_follow_cf_and_cmip(folder):
    with xr.open_dataset(folder / name_world_files(COARSE)[1], decode_cf=False) as raw:
        tos = raw["tos"]
        assert tos.dtype == np.float32
        assert tos.attrs["standard_name"] == "sea_surface_temperature"
        assert tos.attrs["units"] == "degC"
        assert tos.attrs["cell_methods"] == "area: mean where sea time: mean"
        assert tos.attrs["_FillValue"] == tos.attrs["missing_value"] == np.float32(1e20)
        assert tos.encoding["chunksizes"] == (1, 36, 72)
        assert tos.encoding["zlib"]
        assert np.count_nonzero(tos.values == np.float32(1e20)) == 36 * (36 * 72 - 215)
        assert raw["time"].attrs["units"] == "days since 0001-01-01"
        assert raw["time"].attrs["calendar"] == "noleap"
        for name, axis in (("time", "T"), ("lat", "Y"), ("lon", "X")):
            bounds = raw[raw[name].attrs["bounds"]]
            assert raw[name].attrs["axis"] == axis
            assert "_FillValue" not in bounds.attrs
            np.testing.assert_allclose(bounds.mean("bnds"), raw[name])
        assert raw.encoding["unlimited_dims"] == {"time"}
        expected = {
            "Conventions": "CF-1.11",
            "variable_id": "tos",
            "table_id": "Omon",
            "source_id": "synthetic",
            "experiment_id": "piControl",
            "variant_label": "r1i1p1f1",
            "grid_label": "gr",
            "frequency": "mon",
            "seed": 3,
            "settings_sha256": hash_settings({"a": 1}),
        }
        assert {key: raw.attrs[key] for key in expected} == expected
        assert "not a climate model" in raw.attrs["title"]
    assert find_faults(sorted(folder.glob("*.nc"))) == []


def test_grid_is_global_and_land_is_missing(record):
    np.testing.assert_array_equal(record["lat"], np.arange(-87.5, 90, 5))
    np.testing.assert_array_equal(record["lon"], np.arange(2.5, 360, 5))
    sea = record["tos"].notnull()
    assert (sea.all("time") == sea.any("time")).all()
    assert sea.any("time").sum() == 215
    assert sea.isel(time=0).sel(lat=32.5, lon=317.5)
    assert sea.isel(time=0).sel(lat=57.5, lon=2.5)
    assert not sea.isel(time=0).sel(lat=-32.5, lon=317.5)
    assert float(record["tos"].min()) > -1.9
    assert float(record["tos"].max()) < 33


def test_anomalies_of_the_files_are_carried_by_the_propagator_of_the_folder(folder, record):
    propagator, lat, lon = read_propagator(folder / "propagator.nc")
    points = {"lat": xr.DataArray(lat, dims="cell"), "lon": xr.DataArray(lon, dims="cell")}
    values = record["tos"].sel(points).transpose("time", "cell").values.astype(np.float64)
    cells = ocean_physics.find_ocean_cells(5, REGION)
    cycle = ocean_physics.mean_state(cells) + ocean_physics.seasonal_cycle(cells)
    anomalies = values - np.tile(cycle, (COARSE.years, 1))
    forcing = ocean_physics.build_forcing(cells)
    left = anomalies[1:] - (propagator @ anomalies[:-1].T).T
    variance = (forcing @ forcing.T).diagonal()
    assert (left**2).mean(axis=0).mean() == pytest.approx(variance.mean(), rel=0.1)
    # The wrong way round it explains less.
    assert (left**2).sum() < 0.98 * ((anomalies[1:] - (propagator.T @ anomalies[:-1].T).T) ** 2).sum()


def test_same_seed_same_record_and_a_longer_one_begins_with_it(tmp_path, record):
    longer = COARSE.model_copy(update={"years": 9, "years_per_file": 5})
    simulate_world(longer, REGION, tmp_path / "longer", {})
    again = _load_record(tmp_path / "longer", longer)
    assert again.sizes["time"] == 108
    np.testing.assert_array_equal(again["tos"][:84].values, record["tos"].values)
    other = COARSE.model_copy(update={"seed": 4})
    simulate_world(other, REGION, tmp_path / "other", {})
    with xr.open_dataset(tmp_path / "other" / name_world_files(other)[0], decode_times=_cftime()) as first:
        assert float(np.abs(first["tos"] - record["tos"][:36]).max()) > 0.5


def test_propagator_comes_back_as_it_was(folder):
    propagator, lat, lon = read_propagator(folder / "propagator.nc")
    cells = ocean_physics.find_ocean_cells(5, REGION)
    expected = ocean_physics.build_propagator(cells, ocean_physics.solve_current(cells))
    np.testing.assert_array_equal(propagator.toarray(), expected.toarray())
    np.testing.assert_array_equal(lat, cells.lat)
    np.testing.assert_array_equal(lon, cells.lon)
    with xr.open_dataset(folder / "propagator.nc") as dataset:
        assert all(
            "units" in variable.attrs and "long_name" in variable.attrs for variable in dataset.variables.values()
        )
        assert dataset.attrs["settings_sha256"] == hash_settings({"a": 1})


def test_reading_a_propagator_from_another_file_names_it(folder):
    path = Path(folder) / name_world_files(COARSE)[0]
    with pytest.raises(SealiencyError, match=r"no variable \w+; name the propagator\.nc"):
        read_propagator(path)
