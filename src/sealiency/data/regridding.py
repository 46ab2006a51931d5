"""Interpolation from curvilinear ocean grids to the 1-degree grid."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
from scipy.spatial import Delaunay, cKDTree

from sealiency.config.data import Region
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
# The grid of the gr product of many CMIP6 models.
TARGET_LAT, TARGET_LON = np.arange(-89.5, 90), np.arange(0.5, 360)
# NetCDF's default fill, 9.97e36, and 1e20 mark land in files that do not declare it.
LARGEST_VALUE = 1e10
# Six metres on the unit sphere: centres closer than that are copies of one cell, on the overlap of a tripolar grid.
SAME_PLACE = 1e-6
# Every ocean grid that reaches so far south ends on Antarctica.
ANTARCTIC = -60
# In diagonals of a cell: the circle with the area of a square cell, so that a coast found by it lies neither way.
REACH = 0.4
# Degrees: wider source cells hold little of what 1-degree cells show, and much wider ones nothing. Ocean models have up to 3.
WIDE, TOO_WIDE = 3.0, 6.0


@dataclass(frozen=True)
class Regridder:
    """Weights from the cells of a grid to a box of the 1-degree grid; they depend on coordinates alone.

    Attributes
    ----------
    cells : numpy.ndarray
        Flat numbers of the source cells that have a weight, int of shape (2, points); the second row names the copy
        of a cell that the grid holds twice, or the cell again.
    weights : scipy.sparse.csr_array
        Float64 of shape (rows * columns, points); a row sums to 1, or holds nothing where the grid has no cell.
    shape : tuple of int
        Rows and columns of the box.
    absent : numpy.ndarray or None
        Which of `cells` count as land whatever they hold, bool of the same shape.
    """

    cells: np.ndarray
    weights: scipy.sparse.csr_array
    shape: tuple[int, int]
    absent: np.ndarray | None = None

    def without(self, cells: np.ndarray) -> "Regridder":
        """Return a regridder to which some source cells, by their flat numbers, are land."""
        return replace(self, absent=np.isin(self.cells, cells))

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Interpolate some months.

        Parameters
        ----------
        block
            Values on the source grid, shape (time, y, x); NaN and undeclared fill values are land.

        Returns
        -------
        numpy.ndarray
            Values on the box, float64 of shape (time, lat, lon), in the unit of `block`. Each month has its own mask:
            a cell is NaN where less than half of its weight lies on cells with data, and the mean over those that have
            data elsewhere.
        """
        # Only cells with a weight are converted, so that a region costs little of the globe.
        values, copies = (block.reshape(len(block), -1)[:, cells].T.astype(np.float64) for cells in self.cells)
        if self.absent is not None:
            values[self.absent[0]] = copies[self.absent[1]] = np.nan
        values = np.where(np.abs(values) < LARGEST_VALUE, values, copies)
        ocean = np.abs(values) < LARGEST_VALUE
        share = self.weights @ ocean.astype(np.float64)
        mean = np.full(share.shape, np.nan)
        # The slack keeps the cell half on land that rounding would drop.
        np.divide(self.weights @ np.where(ocean, values, 0), share, out=mean, where=share > 0.5 - 1e-9)
        return mean.T.reshape(len(block), *self.shape)


def build_regridder(
    lat: np.ndarray, lon: np.ndarray, target_lat: np.ndarray, target_lon: np.ndarray, region: Region, path: str
) -> Regridder:
    """Compute the weights of a curvilinear grid.

    The cell centres are joined to triangles on the sphere (Delaunay), which knows no seam in longitude, pole or order
    of cells. Where the three corners around a target belong to one square of neighbouring cells, its four corners are
    weighted bilinearly; elsewhere, as on the fold of a tripolar grid, the three are by their barycentric coordinates.

    A target cell is ocean where its centre lies on the source's ocean: at least half of its weight on cells with data.
    It then takes the mean of the cells with data alone, so that the outer half cell along a coast is extrapolated from
    its one or two ocean corners, and a strait or isthmus narrower than a source cell is as the source has it. Where
    the file gives land cells no coordinates, triangles would span the gap; there a target takes the value of the
    nearest centre, if that lies within 0.4 diagonals of its cell, and is land otherwise.

    Parameters
    ----------
    lat, lon
        Cell centres, degrees, shape (y, x), at any seam; NaN or beyond 90 degrees where unknown.
    target_lat, target_lon
        Centres of the box on the 1-degree grid, degrees, 1-D.
    region
        The box that was asked for, for the error.
    path
        Name of the file, for the error.

    Raises
    ------
    SealiencyError
        If the grid does not cover the box (a target in no triangle needs grid to its north and south), or its cells are
        far wider than those of the box.
    """
    lat, lon = _drop_unplaced(lat, lon)
    places = to_unit_vectors(lat, lon)
    size, area = _measure_cells(places)
    known = np.flatnonzero(np.isfinite(lat))
    if len(known) < 4:
        raise SealiencyError(f"{path}: {len(known)} cells have coordinates; get the file again")
    _, first, copy_of = np.unique(
        np.round(places.reshape(-1, 3)[known] / SAME_PLACE), axis=0, return_index=True, return_inverse=True
    )
    last = np.empty_like(first)
    last[copy_of.ravel()] = np.arange(len(known))
    cells = known[np.stack([first, last])]
    points, size, area = places.reshape(-1, 3)[cells[0]], size.ravel()[cells[0]], area.ravel()[cells[0]]
    tree = cKDTree(points)
    shape = len(target_lat), len(target_lon)
    targets = to_unit_vectors(*np.meshgrid(target_lat, target_lon, indexing="ij"))
    corners, weights = np.zeros((*shape, 4), dtype=np.int64), np.zeros((*shape, 4))
    distance, nearest = tree.query(targets)
    # Far from any centre there is no triangle of the grid, and the search for one outside them all is slow.
    near = distance <= size[nearest]
    # Halves of the globe: a plane holds every place but the one opposite its middle.
    for part in np.array_split(np.arange(shape[1]), max(1, -(-int(np.ptp(target_lon)) // 180))):
        here = near & np.isin(np.arange(shape[1]), part)
        corners[here, :3], weights[here, :3] = _find_triangles(points, size, area, targets[here])
    _widen_to_squares(corners, weights, targets, points, size, cells, lat.shape)
    outside = ~weights.any(axis=-1)
    lone = outside & (distance <= REACH * size[nearest])
    corners[lone, 0], weights[lone, 0] = nearest[lone], 1
    _check_cover(outside & ~lone, tree, size, target_lat, target_lon, (np.nanmin(lat), np.nanmax(lat)), region, path)
    matrix = scipy.sparse.csr_array(
        (weights.ravel(), corners.ravel(), np.arange(0, corners.size + 1, 4)), shape=(corners.size // 4, len(points))
    )
    matrix.eliminate_zeros()
    used = np.unique(matrix.indices)
    _check_width(size[used], path)
    return Regridder(cells=cells[:, used], weights=matrix[:, used], shape=shape)


def _check_width(size: np.ndarray, path: str) -> None:
    """Tell of source cells, by their diagonals on the unit sphere, that are far wider than the target's, or refuse them."""
    width = float(np.rad2deg(np.median(size)) / np.sqrt(2)) if size.size else 0.0
    if width > TOO_WIDE:
        raise SealiencyError(
            f"{path}: its cells are about {width:.1f} degrees wide, too wide to be regridded to 1 degree; take a file of "
            "higher resolution, or one that is not thinned out"
        )
    if width > WIDE:
        LOGGER.warning(
            "%s: its cells are about %.1f degrees wide; the 1-degree record between them is interpolated", path, width
        )


def to_unit_vectors(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return places given in degrees as vectors of length 1, shape (..., 3)."""
    phi, theta = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], axis=-1)


def _drop_unplaced(lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lat, lon = lat.astype(np.float64), lon.astype(np.float64)
    # A comparison with NaN is false, and 9.97e36 is no longitude.
    known = (np.abs(lat) <= 90) & (np.abs(lon) < LARGEST_VALUE)
    zero = (lat == 0) & (lon == 0)
    if zero.sum() > 1:
        # Models that leave out blocks of land may write zeros for their coordinates.
        known &= ~zero
    return np.where(known, lat, np.nan), np.where(known, lon, np.nan)


def _measure_cells(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return diagonal and area of each cell, on the unit sphere, from the distances to its neighbours."""
    sides = []
    for axis in (0, 1):
        step = np.linalg.norm(np.diff(places, axis=axis), axis=-1)
        step = np.where(step > SAME_PLACE, step, np.inf)
        pad = [(1, 1) if other == axis else (0, 0) for other in (0, 1)]
        step = np.pad(step, pad, constant_values=np.inf)
        # The nearer of two neighbours: the other may lie beyond a jump of the numbering.
        sides.append(
            np.minimum(step.take(range(1, step.shape[axis]), axis), step.take(range(step.shape[axis] - 1), axis))
        )
    height, width = np.where(np.isinf(sides), sides[::-1], sides)
    height, width = np.where(np.isinf(height), 0, height), np.where(np.isinf(width), 0, width)
    return np.hypot(height, width), height * width


def _find_triangles(
    points: np.ndarray, size: np.ndarray, area: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return corners and weights, shape (targets, 3), of the triangles around targets; 0 where there is none."""
    corners, weights = np.zeros(targets.shape, dtype=np.int64), np.zeros(targets.shape)
    if not len(targets):
        return corners, weights
    middle = targets.sum(axis=0)
    middle /= np.linalg.norm(middle)
    # Ten degrees around the targets settle every triangle that holds one.
    close = np.flatnonzero(points @ middle >= np.cos(min(np.arccos((targets @ middle).min()) + np.deg2rad(10), 3.0)))
    if len(close) < 4:
        return corners, weights
    # Stereographic projection keeps circles, so triangles that are Delaunay on the plane are so on the sphere.
    side = np.cross(middle, np.eye(3)[np.abs(middle).argmin()])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(middle, side)], axis=1)
    triangles = Delaunay((points[close] @ axes) / (1 + points[close] @ middle)[:, None])
    found = triangles.find_simplex((targets @ axes) / (1 + targets @ middle)[..., None])
    corners = close[triangles.simplices[found]]
    a, b, c = np.moveaxis(points[corners], -2, 0)
    volumes = np.stack([np.linalg.vecdot(targets, np.cross(*pair)) for pair in ((b, c), (c, a), (a, b))], axis=-1)
    # The sign tells the sense of rotation; rounding leaves a target on an edge a little outside.
    volumes = np.maximum(volumes * np.sign(volumes.sum(axis=-1, keepdims=True)), 0)
    weights = volumes / np.maximum(volumes.sum(axis=-1, keepdims=True), np.finfo(float).tiny)
    # Half a cell is the grid's own; more spans cells without coordinates, or closes a concave edge of the grid.
    longest = np.max(
        [np.linalg.norm(a - b, axis=-1), np.linalg.norm(b - c, axis=-1), np.linalg.norm(c - a, axis=-1)], 0
    )
    own = (volumes.sum(axis=-1) / 2 <= 0.75 * area[corners].max(axis=-1)) & (longest <= 2 * size[corners].max(axis=-1))
    weights[(found < 0) | ~own] = 0
    return corners, weights


def _widen_to_squares(
    corners: np.ndarray,
    weights: np.ndarray,
    targets: np.ndarray,
    points: np.ndarray,
    size: np.ndarray,
    cells: np.ndarray,
    shape: tuple[int, int],
) -> None:
    """Replace three corners and weights by four where they belong to one square of the numbering, in place."""
    low = []
    square = weights.any(axis=-1)
    for index, length in zip(np.unravel_index(cells[0][corners[..., :3]], shape), shape, strict=True):
        span = np.ptp(index, axis=-1)
        # The last cell of a row is the first one's neighbour, or the triangle would not be of the grid's size.
        across = (span == length - 1) & (length > 2)
        low.append(np.where(across, length - 1, index.min(axis=-1)))
        square &= across | (span == 1)
    number = np.full(shape, -1)
    number.reshape(-1)[cells] = np.arange(cells.shape[1])
    row, column = (start[square] for start in low)
    four = np.stack([number[(row + y) % shape[0], (column + x) % shape[1]] for y in (0, 1) for x in (0, 1)], axis=-1)
    target = targets[square]
    # On the plane that touches the sphere at the target, which is its origin, great circles are straight.
    east = np.cross(target, np.where(np.abs(target[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]))
    axes = np.stack([east, np.cross(target, east)], axis=-1)
    a, b, c, d = np.moveaxis(points[four] @ axes / (points[four] @ target[..., None]), 1, 0)
    x, y = np.full((2, len(target)), 0.5)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Newton's method doubles the digits with every step, and cells are nearly parallelograms.
        for _ in range(8):
            left, right = a + (c - a) * y[:, None], b + (d - b) * y[:, None]
            by_x, by_y = right - left, (c - a) + ((d - b) - (c - a)) * x[:, None]
            place = left + by_x * x[:, None]
            area = _cross(by_x, by_y)
            x, y = x - _cross(place, by_y) / area, y - _cross(by_x, place) / area
        inside = (np.abs(x - 0.5) <= 0.5 + 1e-9) & (np.abs(y - 0.5) <= 0.5 + 1e-9) & (four >= 0).all(axis=-1)
    away = np.linalg.norm(points[four] - target[:, None], axis=-1).max(axis=-1)
    kept = inside & (away <= 2 * size[four].max(axis=-1))
    x, y = np.clip(x[kept], 0, 1), np.clip(y[kept], 0, 1)
    rows, columns = (index[kept] for index in np.nonzero(square))
    corners[rows, columns] = four[kept]
    weights[rows, columns] = np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], axis=-1)


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _check_cover(
    outside: np.ndarray,
    tree: cKDTree,
    size: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    covered: tuple[float, float],
    region: Region,
    path: str,
) -> None:
    """Raise if a target that is far from any cell does not lie between cells on its meridian, as land does."""
    distance, nearest = tree.query(to_unit_vectors(*np.meshgrid(TARGET_LAT, lon, indexing="ij")))
    near = distance <= size[nearest] / 2
    south = np.where(near, TARGET_LAT[:, None], np.inf).min(axis=0)
    north = np.where(near, TARGET_LAT[:, None], -np.inf).max(axis=0)
    if covered[0] < ANTARCTIC:
        south[np.isfinite(south)] = -90
    beyond = np.argwhere(outside & ((lat[:, None] < south) | (lat[:, None] > north)))
    if len(beyond):
        row, column = beyond[0]
        raise SealiencyError(
            f"{path}: data.region asks for latitude {region.south:g}..{region.north:g}, longitude {region.west:g}.."
            f"{region.east:g}, but the grid has no cells near {lat[row]:g} N, {lon[column]:g} E (its latitudes are "
            f"{covered[0]:g}..{covered[1]:g}); choose a region inside"
        )
