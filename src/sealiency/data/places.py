"""Finding pixels on the region's grid."""

import math

import numpy as np
import scipy.ndimage

from sealiency.config.attribution import Attribution, Instance, Pixel
from sealiency.errors import SealiencyError
from sealiency.naming import name_blocks

# Mean radius of the Earth, km.
EARTH_RADIUS = 6371.0

# Pixels of the closest rows and columns see the region's edge rather than the sea.
EDGE_CELLS = 5
# Rows, and columns, of the region that one cell of the network's coarsest grid stands for.
COARSENING = 4
# Cells from land and from the region's edges beyond which a pixel lies in the open sea.
CLEARANCE = 10
# The share of the region's rows and columns that an ablated box spans: the paper's 7 of 70 and 10 of 125.
BOX_SHARE = (0.1, 0.08)


def find_open_sea(ocean: np.ndarray) -> tuple[int, int]:
    """Return the ocean cell that stands for a region: far from land and edges, near the middle of the region's sea.

    Of the cells that lie 10 cells or more from land and from the region's edges, or as far as any does, it is the one
    nearest to the mean row and column of all ocean cells; of equals the first in order of rows and columns.

    Parameters
    ----------
    ocean
        Ocean mask, bool of shape (lat, lon), with at least one ocean cell.

    Returns
    -------
    tuple of int
        Row and column.
    """
    clearance = scipy.ndimage.distance_transform_edt(np.pad(ocean, 1))[1:-1, 1:-1]
    cells = np.argwhere(clearance >= min(CLEARANCE, clearance.max()))
    away = np.hypot(*(cells - np.argwhere(ocean).mean(axis=0)).T)
    # Rounded, so that what is equally far by symmetry is so here.
    row, column = cells[np.round(away, 9).argmin()]
    return int(row), int(column)


def find_coast(ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> tuple[int, int]:
    """Return the ocean cell beside land that lies nearest to the open-sea cell, inside the region's edge where it can.

    Where the region has no land, it is the ocean cell nearest to the open-sea cell, or that one itself where it is alone.

    Parameters
    ----------
    ocean
        Ocean mask, bool of shape (lat, lon), with at least one ocean cell.
    lat, lon
        Cell centres, degrees, ascending.

    Returns
    -------
    tuple of int
        Row and column.
    """
    row, column = find_open_sea(ocean)
    away = measure_distance(lat, lon, row, column)
    beside = ocean & _has_neighbour(~ocean) & _mark_inside(ocean.shape)
    if not beside.any():
        beside = ocean & _has_neighbour(~ocean)
    if not beside.any():
        beside = ocean.copy()
        beside[row, column] = ocean.sum() == 1
    nearest = np.unravel_index(int(np.where(beside, np.round(away, 6), np.inf).argmin()), ocean.shape)
    return int(nearest[0]), int(nearest[1])


def find_open_box(ocean: np.ndarray) -> np.ndarray:
    """Return a box about the open-sea cell, of the paper's share of the region, bool of shape (lat, lon)."""
    box = np.zeros(ocean.shape, bool)
    slices = []
    for at, size, share in zip(find_open_sea(ocean), ocean.shape, BOX_SHARE, strict=True):
        # As many cells on either side.
        half = max(1, round(share * size) // 2)
        slices.append(slice(max(at - half, 0), at + half + 1))
    box[tuple(slices)] = True
    return box


def _mark_inside(shape: tuple[int, ...]) -> np.ndarray:
    """Return the cells inside the region's outermost rows and columns, bool of a shape."""
    inside = np.ones(shape, bool)
    edge = min(EDGE_CELLS, (min(shape) - 1) // 2)
    if edge:
        inside[:edge] = inside[-edge:] = inside[:, :edge] = inside[:, -edge:] = False
    return inside


def locate_pixel(pixel: Pixel, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray, key: str) -> tuple[int, int]:
    """Return the row and column of a pixel.

    Parameters
    ----------
    pixel
        Pixel by row and column, by latitude and longitude or by a rule.
    ocean
        Ocean mask, bool of shape (lat, lon).
    lat, lon
        Cell centres of the region, degrees, ascending.
    key
        Configuration key of the pixel, for the error.

    Raises
    ------
    SealiencyError
        If the pixel lies outside the region.
    """
    if pixel.place is not None:
        return find_open_sea(ocean) if pixel.place == "open_sea" else find_coast(ocean, lat, lon)
    if pixel.row is not None and pixel.column is not None:
        if pixel.row >= len(lat) or pixel.column >= len(lon):
            raise SealiencyError(
                f"{key}: pixel {pixel.name} at row {pixel.row}, column {pixel.column} lies outside the region of "
                f"{len(lat)} rows and {len(lon)} columns; count from 0 in the south-west"
            )
        return pixel.row, pixel.column
    row = int(np.abs(lat - pixel.lat).argmin())
    # Differences modulo 360 make 316 E and 44 W one place.
    away = np.abs((lon - pixel.lon + 180) % 360 - 180)
    column = int(away.argmin())
    reach = max(np.diff(lat).max(), np.diff(lon).max())
    if abs(lat[row] - pixel.lat) > reach or away[column] > reach:
        raise SealiencyError(
            f"{key}: pixel {pixel.name} at {pixel.lat:g} N, {pixel.lon:g} E lies outside the region "
            f"{lat[0]:g}..{lat[-1]:g} N, {lon[0]:g}..{lon[-1]:g} E; choose a place inside"
        )
    return row, column


def locate_compared(settings: Instance, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> tuple[int, int]:
    """Return row and column of the pixel on which methods are compared; it must lie in the sea, inside the region."""
    row, column = locate_pixel(settings.compared, ocean, lat, lon, "instance.compared")
    _check_ocean(settings.compared, row, column, ocean, lat, lon, "instance.compared")
    return row, column


def _check_ocean(
    pixel: Pixel, row: int, column: int, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray, key: str
) -> None:
    if not ocean[row, column]:
        raise SealiencyError(
            f"{key}: pixel {pixel.name} (row {row}, column {column}, {lat[row]:g} N, {lon[column]:g} E) is on land; "
            "choose an ocean pixel"
        )


def list_block_pixels(
    settings: Attribution, block: str, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray
) -> list[tuple[str, int, int]]:
    """Return the name, row and column of each pixel of a block.

    Parameters
    ----------
    settings
        Attribution settings, whose pixel_blocks is a number by now.
    block
        Name of a listed pixel, or for `all` pixels the number of a block such as "0003".
    ocean
        Ocean mask, bool of shape (lat, lon).
    lat, lon
        Cell centres of the region, degrees, ascending.

    Raises
    ------
    SealiencyError
        If a listed pixel lies outside the region or on land.
    """
    if settings.pixels == "all":
        part = np.array_split(_order_by_neighbourhood(np.argwhere(ocean), ocean.shape), int(settings.pixel_blocks))[
            int(block)
        ]
        return [(f"r{row}c{column}", int(row), int(column)) for row, column in part]
    pixel = next(pixel for pixel in settings.pixels if pixel.name == block)
    row, column = locate_pixel(pixel, ocean, lat, lon, "attribution.pixels")
    _check_ocean(pixel, row, column, ocean, lat, lon, "attribution.pixels")
    return [(pixel.name, row, column)]


def list_pixels(
    settings: Attribution, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray
) -> list[tuple[str, int, int]]:
    """Return the name, row and column of each pixel of all blocks; see `list_block_pixels` for parameters and errors."""
    return [pixel for block in name_blocks(settings) for pixel in list_block_pixels(settings, block, ocean, lat, lon)]


def list_survey_pixels(stride: int, varying: np.ndarray) -> list[tuple[str, int, int]]:
    """Return the name, row and column of the ocean pixels at every so many rows and columns, named as among `all`.

    Parameters
    ----------
    stride
        Rows, and columns, from one pixel to the next; the first is half of that from the edge.
    varying
        Ocean cells whose anomaly varies, bool of shape (lat, lon); of a constant one there is nothing to explain.

    Raises
    ------
    SealiencyError
        If no such cell lies there.
    """
    cells = np.argwhere(varying)
    cells = _order_by_neighbourhood(cells[(cells % stride == stride // 2).all(1)], varying.shape)
    if not len(cells):
        raise SealiencyError(f"findings.stride = {stride}: no ocean pixel lies at such rows and columns; lower it")
    return [(f"r{row}c{column}", int(row), int(column)) for row, column in cells]


def _order_by_neighbourhood(cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    # The engine attributes the pixels that share a cell of the network's coarsest grid, a quarter of each side, together.
    coarse = [cells[:, axis] * math.ceil(size / COARSENING) // size for axis, size in enumerate(shape)]
    return cells[np.lexsort((cells[:, 1], cells[:, 0], coarse[1], coarse[0]))]


def choose_places(
    settings: Instance, target: np.ndarray, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray
) -> dict[str, tuple[int, int]]:
    """Return row and column of the compared pixel and of A (land by the coast), B (warm) and C (cold).

    Parameters
    ----------
    settings
        Instance settings; a pixel that is None is chosen by its rule.
    target
        Target anomalies of the sample, shape (lat, lon).
    ocean
        Ocean mask, bool of shape (lat, lon).
    lat, lon
        Cell centres of the region, degrees, ascending.

    Raises
    ------
    SealiencyError
        If a configured pixel lies outside the region, on land (B, C) or in the sea (A), or no ocean cell fits a rule.
    """
    compared = locate_compared(settings, ocean, lat, lon)
    inside = ocean & _mark_inside(ocean.shape)
    coast = ~ocean & _has_neighbour(ocean)
    if not inside.any() and (settings.warm is None or settings.cold is None):
        raise SealiencyError("instance.warm, instance.cold: no ocean cell lies inside the region's edge; name pixels")
    distance = np.hypot(
        lat[:, None] - lat[compared[0]], (lon[None] - lon[compared[1]]) * np.cos(np.deg2rad(lat[compared[0]]))
    )
    rules = {
        "A": ("land", np.where(coast, distance, np.inf)),
        "B": ("warm", np.where(inside, -target, np.inf)),
        "C": ("cold", np.where(inside, target, np.inf)),
    }
    places = {"compared": compared}
    for letter, (key, cost) in rules.items():
        pixel: Pixel | None = getattr(settings, key)
        if pixel is None:
            if letter == "A" and not coast.any():
                # An open sea has no coast to explain.
                continue
            row, column = np.unravel_index(int(cost.argmin()), cost.shape)
            places[letter] = (int(row), int(column))
            continue
        places[letter] = locate_pixel(pixel, ocean, lat, lon, f"instance.{key}")
        if ocean[places[letter]] == (letter == "A"):
            raise SealiencyError(
                f"instance.{key}: pixel {pixel.name} is {'in the sea' if letter == 'A' else 'on land'}; choose another"
            )
    return places


def _has_neighbour(ocean: np.ndarray) -> np.ndarray:
    padded = np.pad(ocean, 1)
    return padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]


def measure_distance(lat: np.ndarray, lon: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return the great-circle distance of every cell from one cell, by the haversine formula on a sphere.

    Parameters
    ----------
    lat, lon
        Cell centres, degrees.
    row, column
        The cell.

    Returns
    -------
    numpy.ndarray
        Distances in km, float64 of shape (lat, lon); 0 at the cell itself.
    """
    phi, theta = np.deg2rad(lat)[:, None], np.deg2rad(lon)[None]
    half = (
        np.sin((phi - phi[row]) / 2) ** 2 + np.cos(phi) * np.cos(phi[row]) * np.sin((theta - theta[0, column]) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(half, 1)))


def measure_distance_from(cells: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the great-circle distance of every cell from the nearest of some cells.

    Parameters
    ----------
    cells
        Bool of shape (lat, lon), true at one cell or more.
    lat, lon
        Cell centres, degrees.

    Returns
    -------
    numpy.ndarray
        Distances in km, float64 of shape (lat, lon); 0 at the cells themselves.
    """
    nearest = np.full(cells.shape, np.inf)
    for row, column in np.argwhere(cells).tolist():
        np.minimum(nearest, measure_distance(lat, lon, row, column), out=nearest)
    return nearest
