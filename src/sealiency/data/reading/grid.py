"""The cells of a region on a grid of latitudes and longitudes, and rows or columns that a file holds twice."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from sealiency.config.data import Region
from sealiency.data.reading.coordinates import SAME_DEGREES
from sealiency.errors import SealiencyError

# Half a cell beyond the outer centres still belongs to the grid; the rest allows for rounding in the file.
HALF_CELL = 0.51
# A gap that exceeds both of its neighbours so many times, or the usual one so many, is a hole: spacings change slowly.
HOLE, WIDE_HOLE = 1.6, 4
# Beyond the last row at a pole there is no other.
POLES = (-90, 90)
# degC by which a place or month that stands twice may differ from itself: the rounding of packed values.
SAME_CELSIUS = 0.01


@dataclass(frozen=True)
class Cells:
    """The cells of a region.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        Their places in the file, int, in ascending order of latitude and longitude.
    lat, lon : numpy.ndarray
        Their centres, float64, degrees; longitudes run from the region's west.
    same_row, same_column : tuple of (int, int)
        Pairs of places in the file, of which the second is the first one's once more.
    """

    rows: np.ndarray
    columns: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    same_row: tuple[tuple[int, int], ...]
    same_column: tuple[tuple[int, int], ...]


def crop_region(values: xr.DataArray, region: Region, path: str, key: str = "data.region") -> xr.DataArray:
    """Cut a field to a region, with latitudes ascending and longitudes ascending from `region.west`.

    Parameters
    ----------
    values
        Array with 1-D coordinates `lat` and `lon`, in degrees, each place once.
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
    cells = find_cells(values["lat"].values, values["lon"].values, region, path, key)
    cut = values.isel(lat=cells.rows, lon=cells.columns)
    return cut.assign_coords(lat=("lat", cells.lat), lon=("lon", cells.lon))


def find_cells(lat: np.ndarray, lon: np.ndarray, region: Region, path: str, key: str = "data.region") -> Cells:
    """Return the cells of a region on a grid with 1-D coordinates, in degrees; see `crop_region` for the rest."""
    for name, centres in (("latitude", lat), ("longitude", lon)):
        if not np.isfinite(centres).all() or np.abs(centres).max(initial=0) > 1000:
            raise SealiencyError(f"{path}: its {name}s hold missing or impossible values; correct the coordinate")
    lat, lon = lat.astype(np.float64), lon.astype(np.float64)
    # Whole turns are added, never a remainder taken: the rest of a float32 centre would change in its last digits.
    lon = lon - 360 * np.floor((lon - region.west + SAME_DEGREES) / 360)
    rows, same_row = _sort_once(lat)
    columns, same_column = _sort_once(lon)
    _check_cover(lat[rows], region.south, region.north, "latitude", lat, path, key)
    # The grid goes on where it began: its last columns stand west of its first ones.
    around = np.concatenate([lon[columns] - 360, lon[columns], lon[columns] + 360])
    _check_cover(around, region.west, region.east, "longitude", lon, path, key)
    rows = rows[(lat[rows] >= region.south - SAME_DEGREES) & (lat[rows] <= region.north + SAME_DEGREES)]
    columns = columns[lon[columns] <= region.east + SAME_DEGREES]
    if not rows.size or not columns.size:
        raise SealiencyError(f"{path}: no centre of a cell lies in {key}; make the region larger")
    return Cells(rows, columns, lat[rows], lon[columns], same_row, same_column)


def _sort_once(centres: np.ndarray) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """Return the order of centres, each place once, and the pairs of which only the first is in it."""
    order = np.argsort(centres, kind="stable")
    kept: list[int] = []
    pairs: list[tuple[int, int]] = []
    for place in order.tolist():
        if kept and centres[place] - centres[kept[-1]] < SAME_DEGREES:
            pairs.append((kept[-1], place))
        else:
            kept.append(place)
    return np.array(kept, dtype=np.int64), tuple(pairs)


def _check_cover(
    centres: np.ndarray, low: float, high: float, name: str, whole: np.ndarray, path: str, key: str
) -> None:
    """Raise if part of the region lies more than half a cell beyond the grid, or in a hole of it."""
    gaps = np.diff(centres)
    usual = float(np.median(gaps)) if gaps.size else 0.0
    first, last = (gaps[0], gaps[-1]) if gaps.size else (0.0, 0.0)
    pole = {edge: 1.01 if name == "latitude" and edge in POLES else HALF_CELL for edge in (low, high)}
    bare = [(-np.inf, centres[0] - pole[low] * first, ""), (centres[-1] + pole[high] * last, np.inf, "")]
    for number, (before, after) in enumerate(pairwise(centres)):
        beside = [float(gaps[n]) for n in (number - 1, number + 1) if 0 <= n < gaps.size]
        if beside and (gaps[number] > HOLE * max(beside) or gaps[number] > WIDE_HOLE * usual):
            half = HALF_CELL * min(*beside, usual)
            inside = bool(whole.min() <= before and after <= whole.max())
            bare.append((before + half, after - half, f" with a hole from {before:g} to {after:g}" * inside))
    for begin, end, hole in bare:
        if min(end, high) - max(begin, low) > SAME_DEGREES:
            raise SealiencyError(
                f"{path}: {key} asks for {name} {low:g}..{high:g}, but the grid covers {whole.min():g}..{whole.max():g}"
                f"{hole}; choose a region inside"
            )


def merge_same_places(
    block: np.ndarray, axis: int, pairs: tuple[tuple[int, int], ...], centres: np.ndarray, path: str
) -> np.ndarray:
    """Return some months with the columns (or rows) that stand twice made one.

    Parameters
    ----------
    block
        Values of shape (time, y, x), NaN where missing.
    axis
        Axis along which places stand twice.
    pairs
        Pairs of places along it; the first takes the values of the second where it has none.
    centres
        Coordinate along the axis, degrees, for the error.
    path
        Name of the file, for the error.

    Raises
    ------
    SealiencyError
        If the values of one place differ.
    """
    block = block.copy()
    along = np.moveaxis(block, axis, 0)
    for first, second in pairs:
        away = np.abs(along[first] - along[second])
        if (away > SAME_CELSIUS).any():
            raise SealiencyError(
                f"{path}: {centres[first]:g} and {centres[second]:g} degrees are one place, but the values there differ by "
                f"up to {np.nanmax(away):g}; leave one of them out of the file"
            )
        along[first] = np.where(np.isnan(along[first]), along[second], along[first])
    return block
