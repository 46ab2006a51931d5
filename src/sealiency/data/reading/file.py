"""One file of monthly sea surface temperature as a part of the record: its lazy values, grid and months."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial

import dask.array
import numpy as np
import xarray as xr

from sealiency.config.data import Data, Files
from sealiency.data.reading.coordinates import find_coordinates
from sealiency.data.reading.grid import Cells, find_cells, merge_same_places
from sealiency.data.reading.months import read_months
from sealiency.data.reading.source import open_source
from sealiency.data.reading.variable import Packing, find_variable, read_offset
from sealiency.errors import SealiencyError

# Months read at once, and as many as make 80 MB in float32 on grids of more than 170,000 cells.
MONTHS_PER_CHUNK = 120
VALUES_PER_CHUNK = 20_000_000


@dataclass(frozen=True)
class MonthlyFile:
    """A file as opened, with values that are read when they are needed."""

    path: str
    values: xr.DataArray
    """Unpacked, of shape (time, lat, lon); cut to the region where lat and lon are 1-D, whole where they are 2-D."""
    lat: np.ndarray
    lon: np.ndarray
    months: np.ndarray
    calendar: str
    offset: float
    """What is taken off to make degC."""
    notes: tuple[str, ...]

    def take(self, kept: list[int]) -> "MonthlyFile":
        """Return the file with some of its months only."""
        return replace(self, values=self.values.isel(time=kept), months=self.months[kept])


def open_file(path: str, settings: Data) -> MonthlyFile:
    """Open one file of monthly SST, cut to a region where its grid has rows and columns.

    Parameters
    ----------
    path
        NetCDF file or Zarr store.
    settings
        The variable, how the file is to be understood, and the region.

    Raises
    ------
    SealiencyError
        If the file cannot be read, holds another variable or unit, no month or another grid, or does not cover the
        region.
    """
    # Only a user's own files are described in the configuration.
    own = settings.files if settings.source == "files" and settings.files is not None else Files(paths=[path])
    dataset = open_source(path)
    values = find_variable(dataset, settings.variable, path)
    coordinates, notes = find_coordinates(dataset, values, path)
    time, lat, lon = (coordinates[axis] for axis in ("time", "latitude", "longitude"))
    if time.ndim == 0:
        time, values = time.expand_dims("time_of_file"), values.expand_dims("time_of_file")
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
    packing = Packing.of(values, path, own.missing)
    offset = read_offset(values, path, own.anomalies)
    months = read_months(dataset, time, own.stamp, path)
    values = values.isel({dim: 0 for dim in extra})
    whole = {dim: _count_months(values, dim) if dim in time.dims else -1 for dim in values.dims}
    coords: dict[str, tuple[str, np.ndarray]] = {"time": ("time", months.dates)}
    kept_lat, kept_lon = lat.values, lon.values
    if lat.ndim == 1:
        cells = find_cells(lat.values, lon.values, settings.region, path)
        kept_lat, kept_lon = cells.lat, cells.lon
        coords |= {"lat": ("lat", kept_lat), "lon": ("lon", kept_lon)}
        data, merged = _read_cells(values, dims, cells, packing, whole, lat.values, lon.values, path)
        notes += merged
    else:
        data = _unpack(values.chunk(whole).transpose(*dims).data, packing)
    return MonthlyFile(
        path=path,
        values=xr.DataArray(data, coords, ("time", "lat", "lon"), values.name, values.attrs),
        lat=kept_lat,
        lon=kept_lon,
        months=months.numbers,
        calendar=str(months.dates[0].calendar),
        offset=offset,
        notes=(*notes, *months.notes),
    )


def _unpack(stored: dask.array.Array, packing: Packing) -> dask.array.Array:
    kind = packing.unpack(np.zeros(1, stored.dtype)).dtype
    return dask.array.map_blocks(packing.unpack, stored, dtype=kind, meta=np.empty((0,) * stored.ndim, kind))


def _read_cells(
    values: xr.DataArray,
    dims: list[Hashable],
    cells: Cells,
    packing: Packing,
    whole: dict[Hashable, int],
    lat: np.ndarray,
    lon: np.ndarray,
    path: str,
) -> tuple[dask.array.Array, list[str]]:
    """Return the unpacked values of a region, lazily, of shape (time, lat, lon), and what is to be told of them."""
    row = dims[1]
    pairs = [(1, cells.same_row, lat), (2, cells.same_column, lon)]
    twice = [pair for pair in pairs if pair[1]]
    notes = [
        f"{len(same)} place(s) stand twice along {dims[axis]} (such as {centres[same[0][0]]:g} and "
        f"{centres[same[0][1]]:g} degrees) and are taken once"
        for axis, same, centres in twice
    ]
    # Rows are cut before the chunks are made, so that no other is read; columns may wrap, and are cut after.
    first = 0
    if not cells.same_row:
        first = cells.rows.min()
        values = values.isel({row: slice(first, cells.rows.max() + 1)})
    data = _unpack(values.chunk(whole).transpose(*dims).data, packing)
    for axis, same, centres in twice:
        data = dask.array.map_blocks(
            partial(merge_same_places, axis=axis, pairs=same, centres=centres, path=path), data, dtype=data.dtype
        )
    return data[:, cells.rows - first][:, :, cells.columns], notes


def _count_months(values: xr.DataArray, time: Hashable) -> int:
    """Return the months of a chunk: whole chunks of the file, as its chunks are decompressed whole."""
    wanted = max(1, min(MONTHS_PER_CHUNK, VALUES_PER_CHUNK * values.sizes[time] // max(1, values.size)))
    stored = values.encoding.get("preferred_chunks", {}).get(time, 1)
    return max(stored, wanted // stored * stored)
