"""All files of monthly sea surface temperature as one lazy record."""

import itertools
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy
import xarray as xr

from sealiency.config.data import Data
from sealiency.data.reading.coordinates import SAME_DEGREES
from sealiency.data.reading.file import MONTHS_PER_CHUNK, MonthlyFile, open_file
from sealiency.data.reading.grid import SAME_CELSIUS, crop_region
from sealiency.data.reading.months import middle_of_month, name_month
from sealiency.data.reading.variable import to_celsius
from sealiency.data.regridding import TARGET_LAT, TARGET_LON, Regridder, build_regridder
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
# Months, spread over the record, in which a cell must hold one value before all are looked at.
MONTHS_LOOKED_AT = 6


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
    opened = [open_file(path, settings) for path in paths]
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


def _tell_notes(files: list[MonthlyFile]) -> None:
    """Log what was found out about the files, each thing once: what stands in brackets differs from file to file."""
    holders: dict[str, list[tuple[str, str]]] = {}
    for file in files:
        for note in file.notes:
            holders.setdefault(re.sub(r"\(.*?\)", "", note), []).append((file.path, note))
    for (path, note), *more in holders.values():
        LOGGER.warning("%s%s: %s", path, f" and {len(more)} more" * bool(more), note)


def _check_grids(files: list[MonthlyFile]) -> None:
    """Raise if files have different grids; the one that differs from most others is named."""
    groups: list[list[MonthlyFile]] = []
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


def _find_difference(file: MonthlyFile, other: MonthlyFile) -> str | None:
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


def _take_once(files: list[MonthlyFile]) -> list[MonthlyFile]:
    """Return the files without the months that an earlier one, or an earlier place in the same one, has as well."""
    holders: dict[int, tuple[MonthlyFile, int]] = {}
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


def _compare_months(file: MonthlyFile, place: int, other: MonthlyFile, there: int) -> tuple[str, str]:
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


def _name_place(file: MonthlyFile, row: np.integer | int, column: np.integer | int) -> str:
    lat, lon = (
        (file.lat[row], file.lon[column]) if file.lat.ndim == 1 else (file.lat[row, column], file.lon[row, column])
    )
    return f", at {lat:g} N, {lon:g} E"


def _recall_notes(*files: MonthlyFile) -> str:
    """Return what was noted of the files' times, which may be why their months do not fit."""
    notes = dict.fromkeys(note for file in files for note in file.notes if "time" in note)
    return "".join(f". Note that {note}" for note in notes)


def _check_order(files: list[MonthlyFile]) -> None:
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


def _share_calendar(files: list[MonthlyFile]) -> list[MonthlyFile]:
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


def _regrid(files: list[MonthlyFile], settings: Data) -> tuple[list[xr.DataArray], str]:
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


def _leave_out_constant(files: list[MonthlyFile], regridder: Regridder) -> Regridder:
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


def _read_used(file: MonthlyFile, months: int | slice, used: np.ndarray) -> np.ndarray:
    """Return the values of some cells of a curvilinear grid, of shape (time, cell)."""
    block = file.values.data[months].compute(scheduler="synchronous")
    return block.reshape(-1, file.lat.size)[:, used]
