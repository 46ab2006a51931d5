"""All files of monthly sea surface temperature as one lazy record."""

import itertools
import logging
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import dask.array
import numpy as np
import scipy
import xarray as xr

from sealiency.config.data import Data, Files
from sealiency.data.reading.coordinates import SAME_DEGREES, find_coordinates
from sealiency.data.reading.grid import SAME_CELSIUS, Cells, crop_region, find_cells, merge_same_places
from sealiency.data.reading.months import middle_of_month, name_month, read_months
from sealiency.data.reading.source import open_source
from sealiency.data.reading.variable import Packing, find_variable, read_offset, to_celsius
from sealiency.data.regridding import TARGET_LAT, TARGET_LON, Regridder, build_regridder
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
# Months read at once, and as many as make 80 MB in float32 on grids of more than 170,000 cells.
MONTHS_PER_CHUNK = 120
VALUES_PER_CHUNK = 20_000_000
# Months, spread over the record, in which a cell must hold one value before all are looked at.
MONTHS_LOOKED_AT = 6


@dataclass(frozen=True)
class _File:
    path: str
    # Unpacked, of shape (time, lat, lon); cut to the region where lat and lon are 1-D, whole where they are 2-D.
    values: xr.DataArray
    lat: np.ndarray
    lon: np.ndarray
    months: np.ndarray
    calendar: str
    # What is taken off to make degC.
    offset: float
    notes: tuple[str, ...]

    def take(self, kept: list[int]) -> "_File":
        """Return the file with some of its months only."""
        return replace(self, values=self.values.isel(time=kept), months=self.months[kept])


def open_record(paths: Sequence[str], settings: Data) -> xr.DataArray:
    """Open monthly SST, cut to a region, as one lazy array.

    Parameters
    ----------
    paths
        NetCDF files or Zarr stores in any order, each with one or many months, on a grid of latitudes and longitudes or on
        a curvilinear one (2-D coordinates), which is interpolated to cells of 1 degree centred on half degrees.
    settings
        The variable, how the files are to be understood, the region and the months that are kept.

    Returns
    -------
    xarray.DataArray
        SST in degC, float64 of shape (time, lat, lon), dask-backed; latitudes and longitudes ascend, longitudes run
        from `region.west`; cells without data are NaN. `time` holds cftime dates of the files' calendar, or of the
        standard one where files differ; the coordinate `path` (time) names the file of each month. The attribute
        `regridding` is "none", or tells how the values came to the 1-degree grid (see `build_regridder`).

    Raises
    ------
    SealiencyError
        If a file cannot be read, holds another variable or unit, does not cover the region, or the files lack a month or
        hold two that differ.
    """
    opened = [_open_file(path, settings) for path in paths]
    _tell_notes(opened)
    files = sorted(opened, key=lambda file: file.months[0])
    _check_grids(files)
    files = _share_calendar(_take_once(files))
    if files[0].lat.ndim == 1:
        parts = [file.values for file in files]
        regridding = "none"
    else:
        parts, regridding = _regrid(files, settings)
    # Converted after the crop, so that what lies outside the region costs no more than its reading.
    parts = [to_celsius(part, file.offset) for part, file in zip(parts, files, strict=True)]
    record = xr.concat(parts, dim="time", join="override", coords="minimal", compat="override")
    held = [file.path for file in files for _ in file.months]
    record = record.assign_coords(path=("time", np.array(held, dtype=object))).rename(files[0].values.name)
    record.attrs = {
        "units": "degC",
        "standard_name": "sea_surface_temperature",
        "long_name": files[0].values.attrs.get("long_name", "sea surface temperature"),
        "regridding": regridding,
    }
    months = np.concatenate([file.months for file in files])
    return record.isel(time=np.flatnonzero(_choose_months(months, settings)))


def _choose_months(months: np.ndarray, settings: Data) -> np.ndarray:
    keep = np.ones(len(months), dtype=bool)
    for key, kept in (("first_month", months.__ge__), ("last_month", months.__le__)):
        month = getattr(settings, key)
        if month is not None:
            number = int(month[:4]) * 12 + int(month[5:]) - 1
            if not months[0] <= number <= months[-1]:
                raise SealiencyError(
                    f"data.{key} = {month}: outside the record {name_month(months[0])}..{name_month(months[-1])}; "
                    "choose a month inside"
                )
            keep &= kept(number)
    return keep


def _tell_notes(files: list[_File]) -> None:
    """Log what was found out about the files, each thing once: what stands in brackets differs from file to file."""
    holders: dict[str, list[tuple[str, str]]] = {}
    for file in files:
        for note in file.notes:
            holders.setdefault(re.sub(r"\(.*?\)", "", note), []).append((file.path, note))
    for (path, note), *more in holders.values():
        LOGGER.warning("%s%s: %s", path, f" and {len(more)} more" * bool(more), note)


def _open_file(path: str, settings: Data) -> _File:
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
    return _File(
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


def _check_grids(files: list[_File]) -> None:
    """Raise if files have different grids; the one that differs from most others is named."""
    groups: list[list[_File]] = []
    for file in files:
        for group in groups:
            if _find_difference(file, group[0]) is None:
                group.append(file)
                break
        else:
            groups.append([file])
    if len(groups) > 1:
        groups.sort(key=len, reverse=True)
        usual, odd = groups[0][0], groups[-1][0]
        others = f"{usual.path}" + f" and {len(groups[0]) - 1} more" * (len(groups[0]) > 1)
        raise SealiencyError(
            f"{odd.path}: {_find_difference(odd, usual)} differs from that of {others}; give files of one grid"
        )


def _find_difference(file: _File, other: _File) -> str | None:
    """Return the name of a coordinate in which two files differ by more than rounding."""
    for name, turn in (("lat", np.inf), ("lon", 360.0)):
        ours, theirs = getattr(file, name), getattr(other, name)
        if ours.shape != theirs.shape:
            return name
        away = np.abs(ours - theirs)
        away = np.where(np.isfinite(away) & (away < turn / 2), away, np.abs(away - turn))
        same = (away <= SAME_DEGREES) | (np.isnan(ours) & np.isnan(theirs)) | (ours == theirs)
        if not same.all():
            return name
    return None


def _take_once(files: list[_File]) -> list[_File]:
    """Return the files without the months that an earlier one, or an earlier place in the same one, has as well."""
    holders: dict[int, tuple[_File, int]] = {}
    kept, told = [], []
    for file in files:
        places = []
        for place, month in enumerate(file.months.tolist()):
            if month not in holders:
                holders[month] = file, place
                places.append(place)
                continue
            other, there = holders[month]
            away, where = _compare_months(file, place, other, there)
            if away:
                raise SealiencyError(
                    f"{file.path}: month {name_month(month)} stands twice (also in {other.path}), and the two differ by up "
                    f"to {away}{where}; leave one of them out{_recall_notes(file, other)}"
                )
            told.append((month, file.path, other.path))
        if places:
            kept.append(file if len(places) == len(file.months) else file.take(places))
    if told:
        LOGGER.warning(
            "%d month(s) stand twice with equal values and are taken once, such as %s in %s and %s",
            len(told),
            name_month(told[0][0]),
            told[0][1],
            told[0][2],
        )
    _check_order(kept)
    return kept


def _compare_months(file: _File, place: int, other: _File, there: int) -> tuple[str, str]:
    """Return by how much two months differ, in words, and where; nothing where they are equal."""
    pair = [to_celsius(f.values.isel(time=n), f.offset).values for f, n in ((file, place), (other, there))]
    lacking = np.isnan(pair[0]) != np.isnan(pair[1])
    away = np.nan_to_num(np.abs(pair[0] - pair[1]))
    if away.max(initial=0) <= SAME_CELSIUS and not lacking.any():
        return "", ""
    if away.max(initial=0) > SAME_CELSIUS:
        row, column = np.unravel_index(int(away.argmax()), away.shape)
        return f"{away.max():g} degC", _name_place(file, row, column)
    row, column = np.argwhere(lacking)[0]
    return f"{lacking.sum()} cell(s) that only one of them has", _name_place(file, row, column)


def _name_place(file: _File, row: np.integer | int, column: np.integer | int) -> str:
    lat, lon = (
        (file.lat[row], file.lon[column]) if file.lat.ndim == 1 else (file.lat[row, column], file.lon[row, column])
    )
    return f", at {lat:g} N, {lon:g} E"


def _recall_notes(*files: _File) -> str:
    """Return what was noted of the files' times, which may be why their months do not fit."""
    notes = dict.fromkeys(note for file in files for note in file.notes if "time" in note)
    return "".join(f". Note that {note}" for note in notes)


def _check_order(files: list[_File]) -> None:
    seen = {month: file for file in files for month in file.months.tolist()}
    months = sorted(seen)
    for before, after in itertools.pairwise(months):
        if after != before + 1:
            raise SealiencyError(
                f"{seen[before].path}: {after - before - 1} month(s) missing after {name_month(before)}; the next is "
                f"{name_month(after)} in {seen[after].path}. Add the missing months{_recall_notes(seen[before], seen[after])}"
            )
    if months != [month for file in files for month in file.months.tolist()]:
        raise SealiencyError(f"{files[0].path}: the months of the files are interleaved or out of order; sort them")


def _share_calendar(files: list[_File]) -> list[_File]:
    """Return the files with dates of one calendar: a monthly mean belongs to a year and month, whatever the calendar."""
    calendars = Counter(file.calendar for file in files)
    if len(calendars) == 1:
        return files
    LOGGER.warning(
        "the files have %d calendars (%s): they are joined by year and month, and the record states the standard calendar",
        len(calendars),
        ", ".join(f"{name} in {count} file(s)" for name, count in calendars.items()),
    )
    shared = []
    for file in files:
        dates = [middle_of_month(number, "standard") for number in file.months.tolist()]
        shared.append(replace(file, values=file.values.assign_coords(time=("time", dates)), calendar="standard"))
    return shared


def _regrid(files: list[_File], settings: Data) -> tuple[list[xr.DataArray], str]:
    """Interpolate files of one curvilinear grid to the cells of 1 degree in the region, and say so."""
    first, region = files[0], settings.region
    whole = xr.DataArray(np.zeros((180, 360)), {"lat": TARGET_LAT, "lon": TARGET_LON}, ("lat", "lon"))
    box = crop_region(whole, region, f"{first.path}, regridded to 1 degree")
    regridder = build_regridder(first.lat, first.lon, box["lat"].values, box["lon"].values, region, first.path)
    rows, columns = first.lat.shape
    regridding = f"bilinear from {rows} x {columns} cells to 1 degree (scipy {scipy.__version__})"
    LOGGER.info("%d file(s) like %s have a curvilinear grid: regridding %s", len(files), first.path, regridding)
    regridder = _leave_out_constant(files, regridder)
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


def _leave_out_constant(files: list[_File], regridder: Regridder) -> Regridder:
    """Return the regridder without source cells whose value never changes: land with a number that nothing declares.

    They have to go before the interpolation, which would mix them into the coasts. Some months tell which cells may be
    such; only where there are any the whole record is looked at.
    """
    used = np.unique(regridder.cells)
    count = sum(len(file.months) for file in files)
    if count < 2:
        return regridder
    wanted = np.unique(np.linspace(0, count - 1, MONTHS_LOOKED_AT).round().astype(int))
    ends = np.cumsum([len(file.months) for file in files])
    some = []
    for number in wanted:
        owner = int(np.searchsorted(ends, number, side="right"))
        some.append(_read_used(files[owner], number - ends[owner], used)[0])
    constant = np.all(np.stack(some) == some[0], axis=0)
    for file in files if constant.any() else []:
        for start in range(0, len(file.months), MONTHS_PER_CHUNK):
            block = _read_used(file, slice(start, start + MONTHS_PER_CHUNK), used[constant])
            constant[constant] = (block == some[0][constant]).all(axis=0)
    if not constant.any():
        return regridder
    values, counts = np.unique(some[0][constant], return_counts=True)
    LOGGER.warning(
        "%d cells of the source grid never change (%d of them hold %g) and count as land",
        constant.sum(),
        counts.max(),
        values[counts.argmax()],
    )
    return regridder.without(used[constant])


def _read_used(file: _File, months: int | slice, used: np.ndarray) -> np.ndarray:
    """Return the values of some cells of a curvilinear grid, of shape (time, cell)."""
    block = file.values.data[months].compute(scheduler="synchronous")
    return block.reshape(-1, file.lat.size)[:, used]
