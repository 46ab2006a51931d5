"""Opening CF files of monthly sea surface temperature as one lazy record."""

import itertools
import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import cf_xarray  # noqa: F401  registers the accessor that finds coordinates by their CF attributes
import numpy as np
import scipy
import scipy.io
import xarray as xr

from sealiency.config.data import Region
from sealiency.data.regridding import LARGEST_VALUE, TARGET_LAT, TARGET_LON, build_regridder
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
STANDARD_NAMES = ("sea_surface_temperature", "sea_surface_foundation_temperature", "sea_surface_skin_temperature")
CELSIUS = ("degC", "degree_C", "degrees_C", "deg_C", "celsius", "Celsius", "degree_Celsius", "degrees_celsius", "C")
KELVIN = ("K", "kelvin", "Kelvin", "degK")
KELVIN_OFFSET = 273.15
EDGE_SLACK = 1e-4
# Months read at once, and as many as make 80 MB in float32 on grids of more than 170,000 cells.
MONTHS_PER_CHUNK = 120
VALUES_PER_CHUNK = 20_000_000


@dataclass(frozen=True)
class _File:
    path: str
    # Of shape (time, lat, lon), as stored; cut to the region where lat and lon are 1-D, whole where they are 2-D.
    values: xr.DataArray
    lat: np.ndarray
    lon: np.ndarray
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
        CF NetCDF files in any order, each with one or many months, on a grid of latitudes and longitudes or on a
        curvilinear one (2-D coordinates), which is interpolated to cells of 1 degree centred on half degrees.
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
        from `region.west`; cells without data are NaN; `time` holds cftime dates of the files' calendar. The attribute
        `regridding` is "none", or tells how the values came to the 1-degree grid (see `build_regridder`).

    Raises
    ------
    SealiencyError
        If a file cannot be read, holds another variable or unit, lacks a month or repeats one, or does not cover the
        region.
    """
    files = sorted((_open_file(path, variable, region) for path in paths), key=lambda file: file.months[0])
    first = files[0]
    for file in files[1:]:
        if file.calendar != first.calendar:
            raise SealiencyError(
                f"{file.path}: calendar {file.calendar!r} differs from {first.calendar!r} of {first.path}; "
                "give files of one calendar"
            )
        for name, ours, theirs in (("lat", file.lat, first.lat), ("lon", file.lon, first.lon)):
            if not np.array_equal(ours, theirs, equal_nan=True):
                raise SealiencyError(f"{file.path}: {name} differs from that of {first.path}; give files of one grid")
    _check_months(files)
    if first.lat.ndim == 1:
        parts = [file.values for file in files]
        regridding = "none"
    else:
        parts, regridding = _regrid(files, region)
    # Converted after the crop, so that what lies outside the region costs no more than its reading.
    parts = [_to_celsius(part, file.path) for part, file in zip(parts, files, strict=True)]
    record = xr.concat(parts, dim="time", join="override").assign_attrs(regridding=regridding)
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
    rows, columns, lat, lon = _find_cells(values["lat"].values, values["lon"].values, region, path, key)
    return values.isel(lat=rows, lon=columns).assign_coords(lat=("lat", lat), lon=("lon", lon))


def _find_cells(
    file_lat: np.ndarray, file_lon: np.ndarray, region: Region, path: str, key: str = "data.region"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns, latitudes and longitudes of a region's cells; see `crop_region`."""
    file_lat, file_lon = file_lat.astype(np.float64), file_lon.astype(np.float64)
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
    return rows, columns, kept_lat, kept_lon


def _regrid(files: list[_File], region: Region) -> tuple[list[xr.DataArray], str]:
    """Interpolate files of one curvilinear grid to the cells of 1 degree in the region, and say so."""
    first = files[0]
    whole = xr.DataArray(np.zeros((180, 360)), {"lat": TARGET_LAT, "lon": TARGET_LON}, ("lat", "lon"))
    box = crop_region(whole, region, f"{first.path}, regridded to 1 degree")
    regridder = build_regridder(first.lat, first.lon, box["lat"].values, box["lon"].values, region, first.path)
    rows, columns = first.lat.shape
    regridding = f"bilinear from {rows} x {columns} cells to 1 degree (scipy {scipy.__version__})"
    LOGGER.info("%d file(s) like %s have a curvilinear grid: regridding %s", len(files), first.path, regridding)
    parts = []
    for file in files:
        values = file.values.data.map_blocks(
            regridder,
            chunks=(file.values.data.chunks[0], *regridder.shape),
            meta=np.empty((0, 0, 0)),
        )
        coords = {"time": file.values["time"], "lat": box["lat"], "lon": box["lon"]}
        parts.append(xr.DataArray(values, coords, ("time", "lat", "lon"), file.values.name, file.values.attrs))
    return parts, regridding


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


def _open_file(path: str, variable: str | None, region: Region) -> _File:
    decoder = xr.coders.CFDatetimeCoder(use_cftime=True)
    try:
        _check_classic_length(path)
        # Chunks are chosen below, of whole chunks of the file.
        dataset = xr.open_dataset(path, engine="netcdf4", decode_times=decoder, chunks=None, cache=False)
    except FileNotFoundError:
        raise SealiencyError(f"{path}: no such file; correct its path or get it again") from None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise SealiencyError(
            f"{path}: not a readable NetCDF file ({error}); it may be truncated, get it again"
        ) from None
    values = _find_variable(dataset, variable, path)
    time, lat, lon = (_find_coordinate(values, key, path) for key in ("time", "latitude", "longitude"))
    if time.ndim == 1 and lat.ndim == lon.ndim == 2 and set(lat.dims) == set(lon.dims):
        lat, lon = _straighten(lat, lon.transpose(*lat.dims))
    if not (
        time.ndim == 1
        and ((lat.ndim == lon.ndim == 1 and lat.dims != lon.dims) or (lat.ndim == 2 and lat.dims == lon.dims))
    ):
        raise SealiencyError(
            f"{path}: time, latitude and longitude have dimensions {time.dims}, {lat.dims} and {lon.dims}; a grid of "
            "rows and columns is needed, so regrid the file first (for CMIP6, take the gr product)"
        )
    dims = [*time.dims, *dict.fromkeys((*lat.dims, *lon.dims))]
    extra = [str(dim) for dim in values.dims if dim not in dims]
    if any(values.sizes[dim] > 1 for dim in extra):
        raise SealiencyError(f"{path}: {values.name} has dimensions {values.dims}; select one level of {extra} first")
    if not time.size:
        raise SealiencyError(f"{path}: holds no month; leave it out or get it again")
    dates = time.values
    if not hasattr(dates[0], "calendar"):
        raise SealiencyError(f"{path}: time has no units such as 'days since 1850-01-01'; add them")
    dates = _middle_of_bounds(dataset, dates)
    values = values.isel({dim: 0 for dim in extra})
    whole = {dim: _count_months(values, dim) if dim in time.dims else -1 for dim in values.dims}
    coords: dict[str, tuple[str, np.ndarray]] = {"time": ("time", dates)}
    if lat.ndim == 1:
        rows, columns, kept_lat, kept_lon = _find_cells(lat.values, lon.values, region, path)
        coords |= {"lat": ("lat", kept_lat), "lon": ("lon", kept_lon)}
        # Rows are cut before the chunks are made, so that no other is read; columns may wrap, and are cut after.
        values = values.isel({lat.dims[0]: slice(rows.min(), rows.max() + 1)}).chunk(whole)
        values = values.isel({lat.dims[0]: rows - rows.min(), lon.dims[0]: columns})
    else:
        values = values.chunk(whole)
    values = values.transpose(*dims)
    return _File(
        path=path,
        values=xr.DataArray(values.data, coords, ("time", "lat", "lon"), values.name, values.attrs),
        lat=lat.values,
        lon=lon.values,
        months=np.array([date.year * 12 + date.month - 1 for date in dates]),
        calendar=str(dates[0].calendar),
    )


def _find_coordinate(values: xr.DataArray, key: str, path: str) -> xr.DataArray:
    try:
        return values.cf[key]
    except KeyError:
        found = [values[name] for name in values.cf.coordinates.get(key, [])]
    if not found:
        raise SealiencyError(
            f"{path}: {values.name} has no {key} coordinate with CF attributes (it has {list(values.coords)}); "
            "add units or standard_name to it"
        )
    # A curvilinear grid may count its cells in degrees as well; its places have two dimensions.
    return max(found, key=lambda coordinate: coordinate.ndim)


def _straighten(lat: xr.DataArray, lon: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return 1-D coordinates where every row has one latitude and every column one longitude, missing ones apart."""
    for rows, columns in (lat.dims, lat.dims[::-1]):
        known = (abs(lat) <= 90) & (abs(lon) < LARGEST_VALUE)
        row, column = known.argmax(str(columns)), known.argmax(str(rows))
        lat_1d, lon_1d = lat.isel({columns: row}), lon.isel({rows: column})
        away = np.maximum(abs(lat - lat_1d), abs((lon - lon_1d + 180) % 360 - 180))
        placed = known.any(str(columns)).all() and known.any(str(rows)).all()
        if placed and not (known & (away > EDGE_SLACK)).any():
            return lat_1d, lon_1d
    return lat, lon


def _count_months(values: xr.DataArray, time: Hashable) -> int:
    """Return the months of a chunk: whole chunks of the file, as its chunks are decompressed whole."""
    wanted = max(1, min(MONTHS_PER_CHUNK, VALUES_PER_CHUNK * values.sizes[time] // max(1, values.size)))
    stored = values.encoding.get("preferred_chunks", {}).get(time, 1)
    return max(stored, wanted // stored * stored)


def _middle_of_bounds(dataset: xr.Dataset, time: np.ndarray) -> np.ndarray:
    """Return the middle of each month where the file has time bounds: some models stamp a mean with its last instant."""
    for name in (
        "time_bnds",
        "time_bounds",
        "time_bound",
        *(v.attrs.get("bounds", "") for v in dataset.coords.values()),
    ):
        if name in dataset.variables and dataset[name].shape == (len(time), 2):
            bounds = dataset[name].values
            if hasattr(bounds[0, 0], "calendar"):
                return bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
    return time


def _find_variable(dataset: xr.Dataset, variable: str | None, path: str) -> xr.DataArray:
    if variable is not None:
        if variable not in dataset.data_vars:
            raise SealiencyError(
                f"{path}: variable {variable!r} is not in the file, which holds {sorted(map(str, dataset.data_vars))}; "
                "name one of them, or take another file"
            )
        standard_name = dataset[variable].attrs.get("standard_name")
        if standard_name is not None and standard_name not in STANDARD_NAMES:
            raise SealiencyError(
                f"{path}: variable {variable!r} has the standard name {standard_name!r}, which is no sea surface "
                f"temperature; name another of {sorted(map(str, dataset.data_vars))}"
            )
        return dataset[variable]
    found = [name for name, values in dataset.data_vars.items() if values.attrs.get("standard_name") in STANDARD_NAMES]
    if len(found) != 1:
        raise SealiencyError(
            f"{path}: {len(found)} variables have a standard name of sea surface temperature "
            f"(the file holds {sorted(map(str, dataset.data_vars))}); name yours in the configuration"
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
            "variable or correct the units"
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
