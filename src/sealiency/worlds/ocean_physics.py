"""The physics of the synthetic world: its ocean cells, current, monthly propagator, forcing and mean state.

All of it lives on the ocean cells of a box of a regular grid. Arrays over cells follow one order: south to north, and
west to east from the western edge of the box.
"""

from dataclasses import dataclass
from importlib import resources

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial
from numpy.typing import NDArray

from sealiency.config.data import Region
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf

Floats = NDArray[np.float64]

EARTH_RADIUS = 6.371e6  # m
EARTH_ROTATION = 7.292e-5  # 1/s
STEP_SECONDS = 365 / 12 * 86400.0  # one step of the propagator: a mean month of the noleap calendar

TOP_SPEED = 0.3  # m/s, of the fastest face
FRICTION = 1.5e-5  # 1/s; over the gradient of the Coriolis parameter, the width of the boundary current: some 800 km
DIFFUSIVITY = 1e3  # m2/s
# E-folding times in months; the mixing takes its own share, so what a cell keeps fades in about half of that.
DAMPING_MONTHS = ((0.0, 65.0), (14.0, 26.0))  # at latitudes, degrees
SMALLEST_ENTRY = 1e-6  # entries of the propagator below it are dropped

FORCING_RADIUS = 400e3  # m, standard deviation of the kernel; the forcing's correlation falls to 1/e at twice that
# Standard deviation in K that damping alone would give; poleward of the storms it falls, so that no sea freezes.
SPREAD = ((0.0, 50.0, 75.0), (0.6, 1.1, 0.8))  # at latitudes, degrees


@dataclass(frozen=True)
class OceanCells:
    """The ocean cells of a box.

    Attributes
    ----------
    index
        Number of each cell, -1 on land, of shape [row, column] of the box.
    basin
        Label of the sea that a cell belongs to, 0 on land, of shape [row, column]. Cells that touch exchange water only
        within one sea, so that an isthmus thinner than a cell stays shut.
    rows, columns
        Where the box lies in the global grid (latitudes ascending, longitudes from 0 degrees east).
    resolution
        Side of a cell, degrees.
    """

    index: NDArray[np.int64]
    basin: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    resolution: int

    @property
    def size(self) -> int:
        """Number of ocean cells."""
        return int(self.index.max()) + 1

    @property
    def box_lat(self) -> Floats:
        """Latitudes of the box's rows, degrees north."""
        return np.asarray(-90 + self.resolution * (self.rows + 0.5), np.float64)

    @property
    def lat(self) -> Floats:
        """Latitude of each cell, degrees north."""
        return self.box_lat[np.nonzero(self.index >= 0)[0]]

    @property
    def lon(self) -> Floats:
        """Longitude of each cell, degrees east, 0..360."""
        return np.asarray(self.resolution * (self.columns[np.nonzero(self.index >= 0)[1]] + 0.5), np.float64)

    @property
    def eastward_fraction(self) -> Floats:
        """How far each cell lies from the western (0) to the eastern (1) edge of the box."""
        return np.asarray((np.nonzero(self.index >= 0)[1] + 0.5) / self.columns.size, np.float64)

    @property
    def area(self) -> Floats:
        """Area of each cell, m2."""
        half = self.resolution / 2
        height = np.sin(np.deg2rad(self.lat + half)) - np.sin(np.deg2rad(self.lat - half))
        return EARTH_RADIUS**2 * np.deg2rad(self.resolution) * height

    def spread_out(self, values: NDArray[np.floating], fill: float) -> NDArray[np.float32]:
        """Put values of shape [month, cell] on the global grid, of shape [month, lat, lon]."""
        shape = (values.shape[0], 180 // self.resolution, 360 // self.resolution)
        grid = np.full(shape, fill, np.float32)
        row, column = np.nonzero(self.index >= 0)
        grid[:, self.rows[row], self.columns[column]] = values
        return grid


def find_ocean_cells(side: int, region: Region) -> OceanCells:
    """Find the cells of a box that are more than half sea, and the seas they belong to.

    Parameters
    ----------
    side
        Side of a cell, degrees; a divisor of 180.
    region
        The box; a cell is in it when its centre is.

    Raises
    ------
    SealiencyError
        If the box holds no ocean cell.
    """
    lat = -90 + side * (np.arange(180 // side) + 0.5)
    lon = side * (np.arange(360 // side) + 0.5)
    rows = np.flatnonzero((lat >= region.south) & (lat <= region.north))
    east_of_edge = (lon - region.west) % 360
    columns = np.argsort(east_of_edge)[: np.count_nonzero(east_of_edge <= region.east - region.west)]

    # Of shape [row, column, row in block, column in block], %.
    sea = _read_sea_area_fraction().reshape(180 // side, side, 360 // side, side).swapaxes(1, 2)[np.ix_(rows, columns)]
    ocean = sea.mean(axis=(2, 3)) > 50
    if not ocean.any():
        raise SealiencyError(
            f"data.region: no ocean cell of {side} degrees has its centre in the box "
            f"{region.south:g}..{region.north:g} N, {region.west:g}..{region.east:g} E; widen it"
        )
    index = np.full(ocean.shape, -1)
    index[ocean] = np.arange(np.count_nonzero(ocean))
    return OceanCells(index, np.where(ocean, _label_seas(sea), 0), rows, columns, side)


def _read_sea_area_fraction() -> Floats:
    with resources.as_file(resources.files("sealiency.data") / "sea_area_fraction_1deg.nc") as path:
        return read_netcdf(path)["sftof"].values.astype(np.float64)


def _label_seas(sea: Floats) -> NDArray[np.int64]:
    """Give each cell the label of the fine-grid sea that fills most of it; seas that only touch at corners differ."""
    rows, columns, side, _ = sea.shape
    labels, seas = scipy.ndimage.label(sea.swapaxes(1, 2).reshape(rows * side, columns * side) > 50)
    blocks = labels.reshape(rows, side, columns, side).swapaxes(1, 2)
    most = np.zeros((rows, columns))
    winner = np.zeros((rows, columns), np.int64)
    for label in range(1, seas + 1):
        part = np.where(blocks == label, sea, 0.0).sum(axis=(2, 3))
        winner[part > most] = label
        most = np.maximum(most, part)
    return winner


def solve_current(cells: OceanCells) -> Floats:
    r"""Solve for the stream function of a wind-driven gyre circulation.

    Stommel (1948): :math:`r \nabla^2 \psi + \beta\, \partial\psi/\partial x = \mathrm{curl}\,\tau`, with :math:`\psi`
    zero on coasts and on the box's edges. The curl changes sign at 10 degrees and along a line that runs poleward to
    the east, which tilts the drift between the subtropical and the subpolar gyre.

    Returns
    -------
    ndarray
        Stream function on the corners of the cells, of shape [row + 1, column + 1], m2/s, so that u = -d(psi)/dy and
        v = d(psi)/dx; scaled to `TOP_SPEED`.

    References
    ----------
    Stommel, H. (1948), The westward intensification of wind-driven ocean currents, Eos 29(2), 202-206.
    """
    rows, columns = cells.index.shape
    psi = np.zeros((rows + 1, columns + 1))
    basin = cells.basin
    west, east = basin[:, :-1], basin[:, 1:]
    same = np.where(west == east, west, 0)
    # A corner moves only where its four cells are of one sea; all others are coast.
    wet = np.zeros(psi.shape, bool)
    wet[1:-1, 1:-1] = (same[:-1] == same[1:]) & (same[1:] > 0)
    if not wet.any():
        return psi

    row, column = np.nonzero(wet)
    lat = np.deg2rad(cells.box_lat[0] + cells.resolution * (row - 0.5))
    dx, dy = _corner_spacing(cells, lat)
    beta = 2 * EARTH_ROTATION * np.cos(lat) / EARTH_RADIUS
    narrowing = np.cos(lat[:, None] + np.deg2rad(cells.resolution) * np.array([-0.5, 0.5])) / np.cos(lat)[:, None]
    south, north = (FRICTION * narrowing / dy**2).T
    westward = FRICTION / dx**2
    # The upwind difference (from the east, whence long Rossby waves come) keeps the solution free of wiggles.
    eastward = westward + beta / dx

    number = np.full(psi.shape, -1)
    number[wet] = np.arange(row.size)
    entries = [(np.arange(row.size), np.arange(row.size), -(south + north + westward + eastward))]
    for weight, there in (
        (south, number[row - 1, column]),
        (north, number[row + 1, column]),
        (westward, number[row, column - 1]),
        (eastward, number[row, column + 1]),
    ):
        inside = np.flatnonzero(there >= 0)
        entries.append((inside, there[inside], weight[inside]))
    operator = _assemble(entries, row.size)
    psi[wet] = scipy.sparse.linalg.spsolve(operator.tocsc(), _wind_curl(lat, column / columns))

    eastward_speed, northward_speed = face_velocities(cells, psi)
    return psi * TOP_SPEED / max(np.abs(eastward_speed).max(), np.abs(northward_speed).max())


def _wind_curl(lat: Floats, eastward_fraction: Floats) -> Floats:
    """Curl of the wind stress at latitudes in radians, arbitrary units: positive in the north makes cyclonic gyres."""
    calm = 10.0
    tilted = 40.0 + 15.0 * eastward_fraction
    return np.sign(lat) * -np.sin(np.pi * (np.abs(np.rad2deg(lat)) - calm) / (tilted - calm))


def _corner_spacing(cells: OceanCells, lat: Floats) -> tuple[Floats, float]:
    angle = np.deg2rad(cells.resolution)
    return EARTH_RADIUS * np.cos(lat) * angle, float(EARTH_RADIUS * angle)


def face_velocities(cells: OceanCells, psi: Floats) -> tuple[Floats, Floats]:
    """Return the velocities through the cells' faces.

    Parameters
    ----------
    cells
        The ocean cells.
    psi
        Stream function on the corners, of shape [row + 1, column + 1], m2/s.

    Returns
    -------
    eastward, northward : ndarray
        Velocities, m/s, eastward through western and eastern faces, of shape [row, column + 1], and northward through
        southern and northern faces, of shape [row + 1, column]. They have no divergence, cell by cell.
    """
    dx, dy = _face_lengths(cells)
    # A face on a pole has no length and lets nothing through.
    northward = np.divide(
        np.diff(psi, axis=1), dx[:, None], out=np.zeros((psi.shape[0], psi.shape[1] - 1)), where=dx[:, None] > 1
    )
    return -np.diff(psi, axis=0) / dy, northward


def cell_velocities(cells: OceanCells, psi: Floats) -> tuple[Floats, Floats]:
    """Return the eastward and northward velocity of each cell, m/s: the mean of its two faces."""
    eastward, northward = face_velocities(cells, psi)
    ocean = cells.index >= 0
    return (eastward[:, 1:] + eastward[:, :-1])[ocean] / 2, (northward[1:] + northward[:-1])[ocean] / 2


def _face_lengths(cells: OceanCells) -> tuple[Floats, float]:
    """Lengths in metres of the southern and northern faces, of shape [row + 1], and of the western and eastern."""
    edges = cells.box_lat[0] + cells.resolution * (np.arange(cells.rows.size + 1) - 0.5)
    return _corner_spacing(cells, np.deg2rad(edges))


def build_propagator(cells: OceanCells, psi: Floats) -> scipy.sparse.csr_array:
    """Build the matrix that carries anomalies one month on: advection, diffusion and damping.

    The upwind scheme in advective form and a centred second difference make each new value a mean of old ones with
    weights that are not negative; the month is cut into the fewest equal sub-steps that keep them so. Where the
    scheme's own diffusion, half speed times spacing, exceeds `DIFFUSIVITY`, none is added. Damping comes last and makes
    each row sum to exp(-1/m), for m months of damping time.

    Parameters
    ----------
    cells
        The ocean cells.
    psi
        Stream function on the corners, of shape [row + 1, column + 1], m2/s.

    Returns
    -------
    csr_array
        Propagator of shape [cell, cell], float64: row i holds what each cell gives to cell i.
    """
    eastward, northward = face_velocities(cells, psi)
    dx, dy = _face_lengths(cells)
    index, basin, area = cells.index, cells.basin, cells.area
    row_dx = EARTH_RADIUS * np.cos(np.deg2rad(cells.box_lat)) * np.deg2rad(cells.resolution)
    faces = (
        (index[:, :-1], index[:, 1:], basin[:, :-1] == basin[:, 1:], eastward[:, 1:-1], dy, row_dx[:, None]),
        (index[:-1], index[1:], basin[:-1] == basin[1:], northward[1:-1], dx[1:-1, None], dy),
    )
    entries = []
    for before, after, joined, velocity, length, spacing in faces:
        is_open = joined & (before >= 0) & (after >= 0)
        mixing = np.maximum(DIFFUSIVITY / spacing - np.abs(velocity) / 2, 0)
        onward = ((np.maximum(velocity, 0) + mixing) * length)[is_open]
        backward = ((np.maximum(-velocity, 0) + mixing) * length)[is_open]
        source, target = before[is_open], after[is_open]
        for here, there, exchange in ((target, source, onward), (source, target, backward)):
            entries += [(here, there, exchange / area[here]), (here, here, -exchange / area[here])]
    tendency = _assemble(entries, cells.size)

    steps = max(1, int(np.ceil(STEP_SECONDS * -tendency.diagonal().min())))
    identity = scipy.sparse.eye_array(cells.size, format="csr")
    transport = _raise_to_power(identity + tendency * (STEP_SECONDS / steps), steps)
    propagator = scipy.sparse.csr_array(scipy.sparse.diags_array(np.exp(-1 / _damping_months(cells))) @ transport)
    _drop_below(SMALLEST_ENTRY, propagator)
    propagator.sort_indices()
    return propagator


def _raise_to_power(matrix: scipy.sparse.csr_array, exponent: int) -> scipy.sparse.csr_array:
    """Multiply a matrix with itself by repeated squaring, without what is far below the smallest entry that is kept."""
    result = None
    while True:
        if exponent % 2:
            result = matrix if result is None else result @ matrix
        exponent //= 2
        if not exponent:
            return result
        matrix = matrix @ matrix
        # Near a pole the sub-steps are many, and their power would be dense.
        _drop_below(SMALLEST_ENTRY * 1e-4, matrix)


def _drop_below(smallest: float, matrix: scipy.sparse.csr_array) -> None:
    matrix.data[matrix.data < smallest] = 0
    matrix.eliminate_zeros()


def _assemble(entries: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]], size: int) -> scipy.sparse.csr_array:
    row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return scipy.sparse.coo_array((value, (row, column)), shape=(size, size)).tocsr()


def _damping_months(cells: OceanCells) -> Floats:
    return np.interp(np.abs(cells.lat), *DAMPING_MONTHS)


def build_forcing(cells: OceanCells) -> scipy.sparse.csr_array:
    """Build the matrix that turns white noise into one month's forcing.

    A Gaussian kernel of the great-circle distance, which passes over land as weather does, cut at three radii. Each
    column is weighted by the root of the cell's area, since a smaller cell is a smaller share of the weather.

    Returns
    -------
    csr_array
        Matrix of shape [cell, cell], K, to be multiplied with independent standard normal numbers.
    """
    lat, lon = np.deg2rad(cells.lat), np.deg2rad(cells.lon)
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    reach = 3 * FORCING_RADIUS / EARTH_RADIUS
    tree = scipy.spatial.cKDTree(points)
    pairs = tree.sparse_distance_matrix(tree, 2 * np.sin(reach / 2), output_type="coo_matrix")
    distance = EARTH_RADIUS * 2 * np.arcsin(pairs.data / 2)
    weight = np.exp(-0.5 * (distance / FORCING_RADIUS) ** 2) * np.sqrt(cells.area)[pairs.col]
    kernel = scipy.sparse.coo_array((weight, (pairs.row, pairs.col)), shape=(cells.size, cells.size)).tocsr()
    kernel.sort_indices()
    # A decay by exp(-1/m) a month keeps exp(-2/m) of the variance; the forcing makes up the rest.
    renewed = np.sqrt(-np.expm1(-2 / _damping_months(cells)))
    amplitude = np.interp(np.abs(cells.lat), *SPREAD) * renewed
    scale = amplitude / np.sqrt(kernel.multiply(kernel).sum(axis=1))
    return scipy.sparse.csr_array(scipy.sparse.diags_array(scale) @ kernel)


def mean_state(cells: OceanCells) -> Floats:
    """Return the mean temperature of each cell, degC: warm in the tropics, the western subtropics and the drift."""
    latitude = np.abs(cells.lat)
    zonal = 4.5 + 23.0 * np.cos(np.deg2rad(np.minimum(latitude * 1.2, 90))) ** 1.5
    gulf = (1 - cells.eastward_fraction) * np.exp(-(((latitude - 32) / 8) ** 2))
    drift = cells.eastward_fraction * np.exp(-(((latitude - 58) / 8) ** 2))
    return zonal + 2.5 * gulf + 3.0 * drift


def seasonal_cycle(cells: OceanCells) -> Floats:
    """Return each calendar month's departure from the mean state, of shape [12, cell], K; warmest in late summer."""
    amplitude = 0.5 + 1.5 * np.sin(np.deg2rad(cells.lat)) ** 2
    # Mid-month times; the northern peak lies between August and September, the southern half a year off.
    phase = np.cos(2 * np.pi * (np.arange(12) + 0.5 - 8.0) / 12)
    return phase[:, None] * np.where(cells.lat < 0, -1, 1) * amplitude
