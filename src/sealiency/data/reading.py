"""Opening CF files of monthly sea surface temperature as one lazy record."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cf_xarray  # noqa: F401  registers the accessor that finds coordinates by their CF attributes
import numpy as np
import scipy.io
import xarray as xr

from sealiency.config.data import Region
from sealiency.errors import SealiencyError

STANDARD_NAMES = ("sea_surface_temperature", "sea_surface_foundation_temperature", "sea_surface_skin_temperature")
CELSIUS = ("degC", "degree_C", "degrees_C", "deg_C", "celsius", "Celsius", "degree_Celsius", "degrees_celsius", "C")
KELVIN = ("K", "kelvin", "Kelvin", "degK")
KELVIN_OFFSET = 273.15
# NetCDF's default fill, 9.97e36, and 1e20 mark land in files that do not declare it.
LARGEST_VALUE = 1e10
EDGE_SLACK = 1e-4
# Months read at once: about 60 MB of a global 1-degree grid in float64.
MONTHS_PER_CHUNK = 120


@dataclass(frozen=True)
class _File:
    path: str
    values: xr.DataArray
    months: np.ndarray
    calendar: str


def open_record(
    paths: Sequence[str],
    variable: str | None,
    region: Region,
    first_month: str | None = None,
    last_month: str | None = None,
) -> xr.DataArray:
    """Open monthly SST, cut to a region, as one lazy array.

    Parameters
    ----------
    paths
        CF NetCDF files in any order, each with one or many months.
    variable
        Name of the variable, or None to find it by its standard name.
    region
        Box of cell centres; longitudes may be 0..360 or -180..180 in the files, latitudes up or down.
    first_month, last_month
        Months (YYYY-MM) that are kept, or None for all.

    Returns
    -------
    xarray.DataArray
        SST in degC, float64 of shape (time, lat, lon), dask-backed; latitudes and longitudes ascend, longitudes run
        from `region.west`; cells without data are NaN; `time` holds cftime dates of the files' calendar.

    Raises
    ------
    SealiencyError
        If a file cannot be read, holds another variable or unit, lacks a month or repeats one, or does not cover the
        region.
    """
    files = sorted((_open_file(path, variable) for path in paths), key=lambda file: file.months[0])
    first = files[0]
    for file in files[1:]:
        if file.calendar != first.calendar:
            raise SealiencyError(
                f"{file.path}: calendar {file.calendar!r} differs from {first.calendar!r} of {first.path}; "
                "give files of one calendar"
            )
        for name in ("lat", "lon"):
            if not np.array_equal(file.values[name].values, first.values[name].values):
                raise SealiencyError(f"{file.path}: {name} differs from that of {first.path}; give files of one grid")
    _check_months(files)
    record = xr.concat([crop_region(file.values, region, file.path) for file in files], dim="time", join="override")
    months = np.concatenate([file.months for file in files])
    keep = np.ones(len(months), dtype=bool)
    for month, key, kept in ((first_month, "first_month", months.__ge__), (last_month, "last_month", months.__le__)):
        if month is not None:
            number = int(month[:4]) * 12 + int(month[5:]) - 1
            if not months[0] <= number <= months[-1]:
                raise SealiencyError(
                    f"data.{key} = {month}: outside the record {_name_month(months[0])}..{_name_month(months[-1])}; "
                    "choose a month inside"
                )
            keep &= kept(number)
    return record.isel(time=np.flatnonzero(keep))


def crop_region(values: xr.DataArray, region: Region, path: str, key: str = "data.region") -> xr.DataArray:
    """Cut a field to a region, with latitudes ascending and longitudes ascending from `region.west`.

    Parameters
    ----------
    values
        Array with 1-D coordinates `lat` and `lon`, in degrees.
    region
        Box of cell centres; a centre within 0.0001 degrees of an edge counts as inside.
    path
        Name of the file, for the error.
    key
        Configuration key of the region, for the error.

    Raises
    ------
    SealiencyError
        If the region reaches outside the grid.
    """
    file_lat, file_lon = (values[name].values.astype(np.float64) for name in ("lat", "lon"))
    # Whole turns are added, never a remainder taken: the rest of a float32 centre would change in its last digits.
    lon = file_lon - 360 * np.floor((file_lon - region.west + EDGE_SLACK) / 360)
    columns = np.argsort(lon, kind="stable")
    columns = columns[lon[columns] <= region.east + EDGE_SLACK]
    rows = np.argsort(file_lat, kind="stable")
    rows = rows[(file_lat[rows] >= region.south - EDGE_SLACK) & (file_lat[rows] <= region.north + EDGE_SLACK)]
    kept_lat, kept_lon = file_lat[rows], lon[columns]
    for name, kept, whole, low, high in (
        ("latitude", kept_lat, file_lat, region.south, region.north),
        ("longitude", kept_lon, file_lon, region.west, region.east),
    ):
        step = _spacing(whole)
        # Half a cell beyond the outer centres still belongs to the grid; the rest allows for rounding in the file.
        reach = 1.01 * step
        covered = len(kept) and kept[0] - low <= reach and high - kept[-1] <= reach
        if not covered or np.diff(kept).max(initial=0) > 2 * step:
            raise SealiencyError(
                f"{path}: {key} asks for {name} {low:g}..{high:g}, but the grid covers {whole.min():g}.."
                f"{whole.max():g}; choose a region inside"
            )
    cut = values.isel(lat=rows, lon=columns)
    return cut.assign_coords(lat=("lat", kept_lat), lon=("lon", kept_lon))


def _spacing(centres: np.ndarray) -> float:
    return float(np.median(np.diff(np.sort(centres)))) if len(centres) > 1 else 0.0


def _check_classic_length(path: str) -> None:
    """Raise if a file of the classic format is cut short: netCDF-C reads zeros beyond its end."""
    with open(path, "rb") as stream:
        kind = stream.read(4)
    if kind == b"CDF\x05":
        raise SealiencyError(
            f"{path}: a CDF-5 file, whose length cannot be checked; convert it to NetCDF-4 with nccopy -k nc4"
        )
    if kind in (b"CDF\x01", b"CDF\x02"):
        # Mapping every variable into memory needs the file's full length, and reads none of it.
        scipy.io.netcdf_file(path, "r", mmap=True)


def _open_file(path: str, variable: str | None) -> _File:
    decoder = xr.coders.CFDatetimeCoder(use_cftime=True)
    try:
        _check_classic_length(path)
        dataset = xr.open_dataset(path, engine="netcdf4", decode_times=decoder, chunks={})
    except FileNotFoundError:
        raise SealiencyError(f"{path}: no such file; correct data.files.paths") from None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise SealiencyError(
            f"{path}: not a readable NetCDF file ({error}); it may be truncated, get it again"
        ) from None
    values = _find_variable(dataset, variable, path)
    names = {}
    for axis, key in (("time", "time"), ("lat", "latitude"), ("lon", "longitude")):
        try:
            coordinate = values.cf[key]
        except KeyError:
            raise SealiencyError(
                f"{path}: {values.name} has no {key} coordinate with CF attributes (it has {list(values.coords)}); "
                "add units or standard_name to it"
            ) from None
        if coordinate.ndim != 1:
            raise SealiencyError(
                f"{path}: {key} {coordinate.name!r} has {coordinate.ndim} dimensions {coordinate.dims}; a grid with one "
                "latitude a row is needed, so regrid the file first (for CMIP6, take the gr product)"
            )
        names[str(coordinate.name)] = axis
        if coordinate.name != coordinate.dims[0]:
            values = values.swap_dims({coordinate.dims[0]: coordinate.name})
    values = values.drop_vars([name for name in values.coords if name not in names])
    values = values.rename({old: new for old, new in names.items() if old != new})
    extra = [str(dim) for dim in values.dims if dim not in ("time", "lat", "lon")]
    if any(values.sizes[dim] > 1 for dim in extra):
        raise SealiencyError(f"{path}: {values.name} has dimensions {values.dims}; select one level of {extra} first")
    values = values.squeeze(extra, drop=True).transpose("time", "lat", "lon")
    time = values["time"].values
    if not len(time):
        raise SealiencyError(f"{path}: holds no month; leave it out or get it again")
    if not hasattr(time[0], "calendar"):
        raise SealiencyError(f"{path}: time has no units such as 'days since 1850-01-01'; add them")
    time = _middle_of_bounds(dataset, time)
    values = values.assign_coords(time=("time", time))
    months = np.array([date.year * 12 + date.month - 1 for date in time])
    chunk = min(MONTHS_PER_CHUNK, values.sizes["time"])
    values = _to_celsius(values, path).chunk(time=chunk, lat=-1, lon=-1)
    return _File(path=path, values=values, months=months, calendar=str(time[0].calendar))


def _middle_of_bounds(dataset: xr.Dataset, time: np.ndarray) -> np.ndarray:
    """Return the middle of each month where the file has time bounds: some models stamp a mean with its last instant."""
    for name in (
        "time_bnds",
        "time_bounds",
        "time_bound",
        *(v.attrs.get("bounds", "") for v in dataset.coords.values()),
    ):
        if name in dataset.variables:
            bounds = dataset[name].values
            if bounds.shape == (len(time), 2) and hasattr(bounds[0, 0], "calendar"):
                return bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
    return time


def _find_variable(dataset: xr.Dataset, variable: str | None, path: str) -> xr.DataArray:
    if variable is not None:
        if variable not in dataset.data_vars:
            raise SealiencyError(
                f"{path}: data.files.variable = {variable!r} is not in the file, which holds "
                f"{sorted(map(str, dataset.data_vars))}; name one of them"
            )
        standard_name = dataset[variable].attrs.get("standard_name")
        if standard_name is not None and standard_name not in STANDARD_NAMES:
            raise SealiencyError(
                f"{path}: data.files.variable = {variable!r} has the standard name {standard_name!r}, which is no sea "
                f"surface temperature; name another of {sorted(map(str, dataset.data_vars))}"
            )
        return dataset[variable]
    found = [name for name, values in dataset.data_vars.items() if values.attrs.get("standard_name") in STANDARD_NAMES]
    if len(found) != 1:
        raise SealiencyError(
            f"{path}: {len(found)} variables have a standard name of sea surface temperature "
            f"(the file holds {sorted(map(str, dataset.data_vars))}); name yours in data.files.variable"
        )
    return dataset[found[0]]


def _to_celsius(values: xr.DataArray, path: str) -> xr.DataArray:
    units = str(values.attrs.get("units", "")).strip()
    if units in KELVIN:
        converted = values.astype(np.float64) - KELVIN_OFFSET
    elif units in CELSIUS:
        converted = values.astype(np.float64)
    else:
        raise SealiencyError(
            f"{path}: {values.name} has units {units!r}, which is no temperature in degC or K; choose another "
            "variable in data.files.variable or correct the units"
        )
    converted = converted.where(np.abs(converted) < LARGEST_VALUE)
    converted.attrs = {
        "units": "degC",
        "standard_name": "sea_surface_temperature",
        "long_name": values.attrs.get("long_name", "sea surface temperature"),
    }
    return converted


def _check_months(files: list[_File]) -> None:
    seen: dict[int, str] = {}
    for file in files:
        for month in file.months.tolist():
            if month in seen:
                raise SealiencyError(
                    f"{file.path}: month {_name_month(month)} stands twice (also in {seen[month]}); "
                    "monthly means with every month once are needed"
                )
            seen[month] = file.path
    months = sorted(seen)
    for before, after in itertools.pairwise(months):
        if after != before + 1:
            raise SealiencyError(
                f"{seen[before]}: {after - before - 1} month(s) missing after {_name_month(before)}; the next is "
                f"{_name_month(after)} in {seen[after]}. Add the missing months"
            )
    if months != [month for file in files for month in file.months.tolist()]:
        raise SealiencyError(f"{files[0].path}: the months of the files are interleaved or out of order; sort them")


def _name_month(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"
