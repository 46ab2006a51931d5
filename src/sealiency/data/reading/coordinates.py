"""Finding the time, latitude and longitude of a variable: by CF attributes, then by units, then by names."""

import re
from collections.abc import Sequence

import cf_xarray  # noqa: F401  registers the accessor that finds coordinates by their CF attributes
import numpy as np
import xarray as xr

from sealiency.data.reading.variable import Packing
from sealiency.data.regridding import LARGEST_VALUE
from sealiency.errors import SealiencyError

AXES = ("time", "latitude", "longitude")
# Places that differ by less are one place: files round them to single precision.
SAME_DEGREES = 1e-4
UNITS = {
    "time": re.compile(r"\w+ since .*", re.IGNORECASE),
    "latitude": re.compile(r"degrees?_?n(orth)?", re.IGNORECASE),
    "longitude": re.compile(r"degrees?_?e(ast)?", re.IGNORECASE),
}
# The names that xarray, pandas, GDAL, NEMO and the models' own tools give.
NAMES = {
    "time": re.compile(r"t|time[a-z_0-9]*|date(time)?|months?|years?", re.IGNORECASE),
    "latitude": re.compile(r"(nav_|geo)?lat(itude)?s?(_?(t|rho|1|0))?|[tu]?lat|gphit|y", re.IGNORECASE),
    "longitude": re.compile(r"(nav_|geo)?lon(g|gitude)?s?(_?(t|rho|1|0))?|[tu]?lon|glamt|x", re.IGNORECASE),
}


def find_coordinates(
    dataset: xr.Dataset, variable: xr.DataArray, path: str, axes: Sequence[str] = AXES
) -> tuple[dict[str, xr.DataArray], list[str]]:
    """Return the time, latitude and longitude of a variable, and what is to be told of how they were found.

    Parameters
    ----------
    dataset
        The whole file: coordinates may be variables that nothing but their dimensions ties to the temperature.
    variable
        The temperature.
    path
        Name of the file, for the error.
    axes
        Which of them are wanted.

    Returns
    -------
    dict of str to xarray.DataArray
        The stored coordinates by "time", "latitude", "longitude". Latitude and longitude are float64, NaN where missing.
    list of str
        Notes for the log.

    Raises
    ------
    SealiencyError
        If there is none or more than one.
    """
    found, notes = {}, []
    for axis in axes:
        candidates, how = _find_candidates(dataset, variable, axis)
        if not candidates:
            raise SealiencyError(
                f"{path}: {variable.name} has no {axis} coordinate that CF attributes, units or a name tell (its "
                f"dimensions are {list(variable.dims)}, the file holds {sorted(map(str, dataset.variables))}); add units "
                f"or standard_name to it"
            )
        if len(candidates) > 1:
            raise SealiencyError(
                f"{path}: {variable.name} has {len(candidates)} candidates for its {axis}: "
                f"{sorted(str(name) for name in candidates)}; name the right one in the attribute `coordinates` of "
                f"{variable.name}, or take the attributes of the others away"
            )
        (name,) = candidates
        coordinate = dataset[name].reset_coords(drop=True)
        if how != "attributes":
            notes.append(f"{name!r} is taken for the {axis} by its {how}: it has no standard_name")
        if axis != "time":
            coordinate = coordinate.copy(data=Packing.of(coordinate, path).unpack(coordinate.values).astype(np.float64))
        found[axis] = coordinate
    lat, lon = found["latitude"], found["longitude"]
    if lat.ndim == lon.ndim == 2 and set(lat.dims) == set(lon.dims):
        found["latitude"], found["longitude"] = _straighten(lat, lon.transpose(*lat.dims))
    return found, notes


def _find_candidates(dataset: xr.Dataset, variable: xr.DataArray, axis: str) -> tuple[list[str], str]:
    names = [str(name) for name in variable.cf.coordinates.get(axis, [])]
    if not names and axis in variable.cf.axes:
        names = [str(name) for name in variable.cf.axes[axis]]
    if names:
        return _prefer(dataset, variable, names, axis), "attributes"
    fitting = [
        str(name)
        for name, other in dataset.variables.items()
        if name != variable.name and set(other.dims) <= set(variable.dims) and other.ndim <= 2
    ]
    by_units = [n for n in fitting if UNITS[axis].fullmatch(str(dataset[n].attrs.get("units", "")).strip())]
    if axis == "time":
        # A time is one number a month; what else is counted from a date has other dimensions.
        by_units = [name for name in by_units if dataset[name].ndim <= 1]
    if by_units:
        return _prefer(dataset, variable, by_units, axis), "units"
    return _prefer(dataset, variable, [n for n in fitting if NAMES[axis].fullmatch(n)], axis), "name"


def _prefer(dataset: xr.Dataset, variable: xr.DataArray, names: list[str], axis: str) -> list[str]:
    """Return the candidates that are as good as the best: two dimensions for places, then a dimension's own coordinate."""
    if axis != "time":
        # A curvilinear grid may count its cells in degrees as well; its places have two dimensions.
        most = max((dataset[name].ndim for name in names), default=0)
        names = [name for name in names if dataset[name].ndim == most]
    if len(names) > 1:
        names = [name for name in names if name in variable.dims] or names
    return names


def _straighten(lat: xr.DataArray, lon: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return 1-D coordinates where every row has one latitude and every column one longitude, missing ones apart."""
    for rows, columns in (lat.dims, lat.dims[::-1]):
        known = (abs(lat) <= 90) & (abs(lon) < LARGEST_VALUE)
        row, column = known.argmax(str(columns)), known.argmax(str(rows))
        lat_1d, lon_1d = lat.isel({columns: row}), lon.isel({rows: column})
        away = np.maximum(abs(lat - lat_1d), abs((lon - lon_1d + 180) % 360 - 180))
        placed = known.any(str(columns)).all() and known.any(str(rows)).all()
        if placed and not (known & (away > SAME_DEGREES)).any():
            return lat_1d, lon_1d
    return lat, lon
