"""The synthetic world: a stochastic sea surface temperature record whose propagator is known, written as CF files.

Each month the anomalies of the ocean cells become x(t+1) = A x(t) + f(t), with the propagator A and a forcing f that is
white in time and correlated over hundreds of kilometres. A mean state and a seasonal cycle are added.

====================================================  ==========================================================
file                                                  variables
====================================================  ==========================================================
tos_Omon_synthetic_piControl_r1i1p1f1_gr_<months>.nc  tos(time, lat, lon) float32, degC; bounds of time, lat, lon
propagator.nc                                         propagator, row, column (entry), float64 and int32, 1;
                                                      lat, lon (cell), degrees; eastward and northward current
                                                      (cell), m/s
====================================================  ==========================================================
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import xarray as xr
from numpy.typing import NDArray

from sealiency.config.data import Region, SyntheticWorld
from sealiency.conventions import LATITUDE, LONGITUDE, TEMPERATURE
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf, write_netcdf
from sealiency.naming import name_world_files, split_years
from sealiency.worlds import ocean_physics
from sealiency.worlds.ocean_physics import Floats, OceanCells

PROPAGATOR = "propagator.nc"
SPIN_UP_YEARS = 40  # from rest; the slowest damping then leaves less than 1e-6 of the missing variance
FILL = 1e20
MONTH_ENDS = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])  # day of the noleap year
TITLE = (
    "Synthetic sea surface temperature of a linear stochastic world for tests and demonstrations, not a climate model"
)


def simulate_world(settings: SyntheticWorld, region: Region, folder: Path, provenance: dict[str, Any]) -> None:
    """Simulate the world and write its files, named by `name_world_files`, and its propagator.

    The same seed gives the same record, and a longer record begins with the shorter one.

    Parameters
    ----------
    settings
        Grid, length and seed.
    region
        The box that is simulated; cells outside hold the fill value, and nothing flows through its edges.
    folder
        Where the files go.
    provenance
        Global attributes to add to each file.

    Raises
    ------
    SealiencyError
        If the box holds no ocean cell.
    """
    cells = ocean_physics.find_ocean_cells(settings.resolution, region)
    current = ocean_physics.solve_current(cells)
    propagator = ocean_physics.build_propagator(cells, current)
    forcing = ocean_physics.build_forcing(cells)
    cycle = ocean_physics.mean_state(cells) + ocean_physics.seasonal_cycle(cells)

    anomalies = simulate_anomalies(propagator, forcing, settings.seed)
    for name, (first, last) in zip(name_world_files(settings), split_years(settings), strict=True):
        values = np.concatenate([cycle + next(anomalies) for _ in range(first, last + 1)])
        attributes = {**provenance, **_describe_record(settings, region)}
        _write_record(cells.spread_out(values, FILL), first, attributes, Path(folder) / name)
    _write_propagator(propagator, cells, current, provenance, Path(folder) / PROPAGATOR)


def simulate_anomalies(
    propagator: scipy.sparse.csr_array, forcing: scipy.sparse.csr_array, seed: int
) -> Iterator[Floats]:
    """Yield the anomalies of one year after another, without end, once they are stationary.

    Parameters
    ----------
    propagator
        Matrix that carries anomalies one month on, of shape [cell, cell], 1.
    forcing
        Matrix that turns white noise into one month's forcing, of shape [cell, cell], K.
    seed
        Seed of the white noise.

    Yields
    ------
    ndarray
        Anomalies of one year, of shape [12, cell], K.
    """
    # Noise is drawn in order of time and in steps of a year, so that a record's length changes none of its values.
    generator = np.random.default_rng(seed)
    state = np.zeros(propagator.shape[0])
    year = 0
    while True:
        noise = (forcing @ generator.standard_normal((12, state.size)).T).T
        months = np.empty_like(noise)
        for month in range(12):
            state = propagator @ state + noise[month]
            months[month] = state
        year += 1
        if year > SPIN_UP_YEARS:
            yield months


def read_propagator(path: str | Path) -> tuple[scipy.sparse.csr_array, Floats, Floats]:
    """Read the matrix that carries the world's anomalies one month on.

    Its i-th power is the best forecast of the anomalies i months ahead from those of one month.

    Parameters
    ----------
    path
        The file `propagator.nc` of a world.

    Returns
    -------
    propagator : csr_array
        Of shape [cell, cell], float64: row i holds what each cell gives to cell i.
    lat, lon : ndarray
        Centres of the cells, degrees north and degrees east (0..360).

    Raises
    ------
    SealiencyError
        If the file is missing, damaged or not a propagator.
    """
    dataset = read_netcdf(path)
    missing = {"propagator", "row", "column", "lat", "lon"} - set(dataset.variables)
    if missing:
        raise SealiencyError(f"{path}: no variable {min(missing)}; name the {PROPAGATOR} of a synthetic world")
    size = dataset.sizes["cell"]
    entries = (dataset["propagator"].values, (dataset["row"].values, dataset["column"].values))
    propagator = scipy.sparse.coo_array(entries, shape=(size, size)).tocsr()
    return propagator, dataset["lat"].values, dataset["lon"].values


def _describe_record(settings: SyntheticWorld, region: Region) -> dict[str, Any]:
    side = settings.resolution
    return {
        "title": TITLE,
        "source": "synthetic: anomalies advected by a Stommel gyre, diffused, damped and forced by noise",
        "comment": f"Simulated in the box {region.south:g}..{region.north:g} degrees north, "
        f"{region.west:g}..{region.east:g} degrees east; the matrix that made it is in {PROPAGATOR}",
        "variable_id": "tos",
        "table_id": "Omon",
        "source_id": "synthetic",
        "experiment_id": "piControl",
        "variant_label": "r1i1p1f1",
        "grid": f"regular {side} degree x {side} degree latitude-longitude",
        "grid_label": "gr",
        "nominal_resolution": {1: "100 km", 2: "250 km", 5: "500 km"}[side],
        "frequency": "mon",
        "realm": "ocean",
        "seed": np.int64(settings.seed),
    }


def _write_record(values: NDArray[np.float32], first_year: int, attributes: dict[str, Any], path: Path) -> None:
    """Write temperatures of shape [month, lat, lon], degC, from January of the first year on."""
    months, rows, columns = values.shape
    side = 180 / rows
    starts = 365 * (first_year - 1 + np.arange(months // 12))[:, None]
    time_bounds = (
        np.stack([starts + MONTH_ENDS[:-1], starts + MONTH_ENDS[1:]], axis=-1).reshape(months, 2).astype(float)
    )
    lat_edges, lon_edges = -90 + side * np.arange(rows + 1), side * np.arange(columns + 1)
    tos = {
        "standard_name": "sea_surface_temperature",
        "long_name": "Sea Surface Temperature",
        **TEMPERATURE,
        "cell_methods": "area: mean where sea time: mean",
    }
    time = {
        "standard_name": "time",
        "long_name": "time",
        "units": "days since 0001-01-01",
        "calendar": "noleap",
        "axis": "T",
        "bounds": "time_bnds",
    }
    lat = {**LATITUDE, "axis": "Y", "bounds": "lat_bnds"}
    lon = {**LONGITUDE, "axis": "X", "bounds": "lon_bnds"}
    dataset = xr.Dataset(
        {
            # Land holds the fill value already: the encoding below only declares it.
            "tos": (("time", "lat", "lon"), values, tos),
            "time_bnds": (("time", "bnds"), time_bounds),
            "lat_bnds": (("lat", "bnds"), np.stack([lat_edges[:-1], lat_edges[1:]], axis=1)),
            "lon_bnds": (("lon", "bnds"), np.stack([lon_edges[:-1], lon_edges[1:]], axis=1)),
        },
        coords={
            "time": ("time", time_bounds.mean(axis=1), time),
            "lat": ("lat", (lat_edges[:-1] + lat_edges[1:]) / 2, lat),
            "lon": ("lon", (lon_edges[:-1] + lon_edges[1:]) / 2, lon),
        },
        attrs=attributes,
    )
    encoding = {
        "_FillValue": np.float32(FILL),
        "missing_value": np.float32(FILL),
        "chunksizes": (1, rows, columns),
    }
    write_netcdf(dataset, path, encoding={"tos": encoding}, unlimited_dims=["time"])


def _write_propagator(
    propagator: scipy.sparse.csr_array, cells: OceanCells, current: Floats, provenance: dict[str, Any], path: Path
) -> None:
    eastward, northward = ocean_physics.cell_velocities(cells, current)
    entries = propagator.tocoo()
    weight = {"long_name": "share of the anomaly of cell `column` that is in cell `row` one month later", "units": "1"}
    row = {"long_name": "cell that receives, counted from 0", "units": "1"}
    column = {"long_name": "cell that gives, counted from 0", "units": "1"}
    u = {"standard_name": "eastward_sea_water_velocity", "long_name": "eastward current", "units": "m s-1"}
    v = {"standard_name": "northward_sea_water_velocity", "long_name": "northward current", "units": "m s-1"}
    dataset = xr.Dataset(
        {
            "propagator": ("entry", entries.data, weight),
            "row": ("entry", entries.row.astype(np.int32), row),
            "column": ("entry", entries.col.astype(np.int32), column),
            "eastward_current": ("cell", eastward, u),
            "northward_current": ("cell", northward, v),
        },
        coords={"lat": ("cell", cells.lat, LATITUDE), "lon": ("cell", cells.lon, LONGITUDE)},
        attrs={
            **provenance,
            "title": "Monthly propagator of the synthetic world: the matrix that carries anomalies one month on",
            "comment": "A sparse matrix by its entries: x(t+1) = A x(t) + forcing, with A[row, column] = propagator; "
            "its i-th power carries anomalies i months on",
        },
    )
    write_netcdf(dataset, path, encoding={name: {"zlib": True, "complevel": 1} for name in ("row", "column")})
