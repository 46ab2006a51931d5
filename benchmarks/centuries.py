"""Synthetic centuries of monthly sea surface temperature, laid out as CMIP6 files are, to measure with.

=============================================  =================================================================
file                                           variables
=============================================  =================================================================
tos_Omon_CESM2_piControl_r1i1p1f1_gr_*.nc      tos(time, lat, lon) float32, degC, 1e20 on land; bounds of time
=============================================  =================================================================
"""

import argparse
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import netCDF4
import numpy as np

FILL = 1e20
YEARS_PER_FILE = 100
MONTH_ENDS = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])  # day of the noleap year


def write_centuries(folder: str | Path, first_year: int = 1, years: int = 100, coarsen: int = 1) -> list[str]:
    """Write monthly SST from January of the first year on, a file a century.

    A mean state, a seasonal cycle and three wide patterns with a memory of years are added to noise with a memory of
    months, whose digits are all random: such values compress about as badly as those of a model.

    Parameters
    ----------
    folder
        Where the files go.
    first_year, years
        First year, from 1 on, and number of years.
    coarsen
        Side of a cell, whole degrees that divide 180.

    Returns
    -------
    list of str
        Paths of the files, in order of time.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(str(files("sealiency") / "data/sea_area_fraction_1deg.nc")) as dataset:
        land = dataset["sftof"][::coarsen, ::coarsen].filled(0) < 50
    rows, columns = land.shape
    lat, lon = -90 + coarsen * (np.arange(rows) + 0.5), coarsen * (np.arange(columns) + 0.5)
    random = np.random.default_rng(first_year)
    cosine, turn = np.cos(np.deg2rad(lat))[:, None], np.deg2rad(lon)
    phase = 2 * np.pi * (np.arange(12) - 1) / 12
    season = -5 * np.cos(phase)[:, None, None] * np.sin(np.deg2rad(lat))[:, None] * np.ones(columns)
    climate = (season - 1.5 + 30 * cosine**2).astype(np.float32)
    patterns = np.stack([cosine * np.cos(waves * turn + waves) for waves in (1, 2, 3)]).astype(np.float32)
    index, noise = np.zeros(3, np.float32), np.zeros(land.shape, np.float32)

    paths = []
    for first, last in _split_years(first_year, years):
        path = Path(folder) / f"tos_Omon_CESM2_piControl_r1i1p1f1_gr_{first:04d}01-{last:04d}12.nc"
        with netCDF4.Dataset(path, "w", format="NETCDF4") as dataset:
            tos = _describe_file(dataset, lat, lon, first, last)
            for month in range(12 * (last + 1 - first)):
                index = 0.97 * index + 0.1 * random.standard_normal(3, dtype=np.float32)
                noise = 0.8 * noise + 0.3 * random.standard_normal(land.shape, dtype=np.float32)
                values = climate[month % 12] + np.tensordot(index, patterns, 1) + noise
                tos[month] = np.where(land, np.float32(FILL), values)
        paths.append(str(path))
    return paths


def _split_years(first_year: int, years: int) -> list[tuple[int, int]]:
    """Return first and last year of each file: year 1 to 99, then whole centuries, as CESM2 cuts them."""
    end = first_year + years
    firsts = [first_year, *range((first_year // YEARS_PER_FILE + 1) * YEARS_PER_FILE, end, YEARS_PER_FILE)]
    return [(first, last - 1) for first, last in zip(firsts, [*firsts[1:], end], strict=True)]


def _describe_file(
    dataset: netCDF4.Dataset, lat: np.ndarray, lon: np.ndarray, first: int, last: int
) -> netCDF4.Variable:
    """Write everything but the values, and return the variable that they go to."""
    dataset.setncatts({"Conventions": "CF-1.7 CMIP-6.2", "title": "Synthetic values to measure with, no climate model"})
    for name, size in (("time", None), ("lat", len(lat)), ("lon", len(lon)), ("bnds", 2)):
        dataset.createDimension(name, size)
    starts = 365 * np.arange(first - 1, last)[:, None]
    bounds = np.stack([starts + MONTH_ENDS[:-1], starts + MONTH_ENDS[1:]], axis=-1).reshape(-1, 2)
    for name, values, attributes in (
        ("time", bounds.mean(1), {"units": "days since 0001-01-01 00:00:00", "calendar": "noleap", "axis": "T"}),
        ("lat", lat, {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"}),
        ("lon", lon, {"units": "degrees_east", "standard_name": "longitude", "axis": "X"}),
    ):
        # A chunk of 512 months, as the CMIP6 writers have it: one month a chunk would take longer than the values.
        coordinate = dataset.createVariable(name, "f8", (name,), chunksizes=(512,) if name == "time" else None)
        coordinate.setncatts(attributes)
        coordinate[:] = values
    dataset["time"].setncatts({"standard_name": "time", "bounds": "time_bnds"})
    time_bounds = dataset.createVariable("time_bnds", "f8", ("time", "bnds"), chunksizes=(512, 2))
    time_bounds[:] = bounds
    tos = dataset.createVariable(
        "tos",
        "f4",
        ("time", "lat", "lon"),
        fill_value=np.float32(FILL),
        chunksizes=(1, len(lat), len(lon)),
        compression="zlib",
        complevel=1,
        shuffle=True,
    )
    tos.setncatts({"units": "degC", "standard_name": "sea_surface_temperature", "cell_methods": "time: mean"})
    tos.missing_value = np.float32(FILL)
    tos.set_auto_maskandscale(False)
    return tos


def main(arguments: Sequence[str] | None = None) -> None:
    """Write centuries where the command line says."""
    parser = argparse.ArgumentParser(description="Write synthetic centuries of monthly sea surface temperature.")
    parser.add_argument("folder")
    parser.add_argument("--first-year", type=int, default=1)
    parser.add_argument("--years", type=int, default=100)
    options = parser.parse_args(arguments)
    print(*write_centuries(options.folder, options.first_year, options.years), sep="\n")


if __name__ == "__main__":
    main()
