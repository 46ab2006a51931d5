"""The true attribution of the synthetic ocean: the weights of the best linear predictor of a pixel.

Without a filter the best predictor of a pixel is a row of a power of the propagator, applied to the latest month. With one
it is a ridge regression on a long simulation of the same world. One global scale standardises the record, so weights are
the same in standardised units and in K.
"""

import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse

from sealiency.config.data import Region, SyntheticWorld
from sealiency.config.findings import Findings
from sealiency.data.places import measure_distance
from sealiency.data.prepare import PreparedRecord
from sealiency.errors import SealiencyError
from sealiency.worlds.ocean import read_propagator, simulate_anomalies
from sealiency.worlds.ocean_physics import Floats, build_forcing, find_ocean_cells

LOGGER = logging.getLogger(__name__)
# Of the mean variance of a predictor. A mean over 12 months makes neighbouring months nearly collinear: fitted on 2000 years
# of the 2-degree world, the weights correlate with those of an endless fit by 0.1 to 0.3 at 1e-6, and by 0.87 to 0.99 here.
RIDGE = 1e-2
# Share of what reaches a pixel within the lead that comes from cells that are predictors however far they are: the Gulf
# Stream carries anomalies thousands of kilometres.
TRAIL_SHARE = 0.99
# They bound the Gram matrix at 0.4 GB for 36 months, and the noise of the fit.
MOST_CELLS = 200


@dataclass(frozen=True)
class World:
    """What moves the synthetic world.

    Attributes
    ----------
    propagator : csr_array
        Matrix that carries anomalies one month on, float64 of shape [cell, cell], 1.
    forcing : csr_array
        Matrix that turns white noise into one month's forcing, float64 of shape [cell, cell], K.
    positions : ndarray
        Position of each cell in the record's flattened grid, int64 of shape [cell].
    seed : int
        Seed of the record.
    """

    propagator: scipy.sparse.csr_array
    forcing: scipy.sparse.csr_array
    positions: np.ndarray
    seed: int


def read_world(path: str | Path, settings: SyntheticWorld, region: Region, record: PreparedRecord) -> World:
    """Read the propagator of the world that a record comes from, and build its forcing.

    Parameters
    ----------
    path
        The world's `propagator.nc`.
    settings, region
        Settings of the world.
    record
        The prepared record of the world.

    Raises
    ------
    SealiencyError
        If the file is unusable or is of another world, or its cells are not the record's ocean.
    """
    propagator, lat, lon = read_propagator(path)
    cells = find_ocean_cells(settings.resolution, region)
    if not (np.array_equal(lat, cells.lat) and np.array_equal(lon, cells.lon)):
        raise SealiencyError(f"{path}: of another world than data.synthetic and data.region; delete it and run again")
    positions = place_cells(lat, lon, record.lat, record.lon, record.ocean.numpy())
    return World(propagator, build_forcing(cells), positions, settings.seed)


def place_cells(cell_lat: Floats, cell_lon: Floats, lat: Floats, lon: Floats, ocean: np.ndarray) -> np.ndarray:
    """Return where the world's cells lie in a record's flattened grid.

    Parameters
    ----------
    cell_lat, cell_lon
        Centres of the cells, degrees; longitudes count modulo 360.
    lat, lon
        Cell centres of the record, degrees.
    ocean
        Ocean mask of the record, bool of shape (lat, lon).

    Returns
    -------
    numpy.ndarray
        Positions, int64 of shape [cell].

    Raises
    ------
    SealiencyError
        If a cell is not an ocean cell of the record, or an ocean cell is no cell of the world.
    """
    turn = np.abs((cell_lon[:, None] - lon + 180) % 360 - 180)
    away = np.abs(cell_lat[:, None] - lat)
    positions = away.argmin(1) * len(lon) + turn.argmin(1)
    # Coordinates may have been kept in float32.
    found = (away.min(1) < 1e-3) & (turn.min(1) < 1e-3) & ocean.ravel()[positions]
    if not found.all() or len(positions) != np.count_nonzero(ocean):
        raise SealiencyError(
            f"the synthetic world has {len(found)} ocean cells, {np.count_nonzero(found)} of them among the "
            f"{np.count_nonzero(ocean)} of the prepared record; its fidelity is known only where both are the same: remove "
            "data.basins"
        )
    return positions


def trace_back(propagator: scipy.sparse.csr_array, cell: int, months: int) -> Floats:
    """Return what each cell's anomaly gives to one cell so many months later: a row of a power of the propagator.

    Parameters
    ----------
    propagator
        Of shape [cell, cell]: row i holds what each cell gives to cell i in one month.
    cell, months
        The cell that receives, and the exponent.

    Returns
    -------
    numpy.ndarray
        Weights, float64 of shape [cell], 1.
    """
    row = np.zeros(propagator.shape[0])
    row[cell] = 1
    for _ in range(months):
        row = propagator.T @ row
    return row


def ideal_weights_unfiltered(world: World, ocean: np.ndarray, pixel: tuple[int, int], lead: int) -> Floats:
    """Return the weights of the best predictor of a pixel of a record without a filter, on the latest input month.

    From month k-1 to the target, month k+lead-1, it is `lead` steps. The world is a first-order autoregressive process, so
    given the latest month all earlier ones have no weight.

    Parameters
    ----------
    world
        The world.
    ocean
        Ocean mask of the record, bool of shape (lat, lon).
    pixel
        Row and column of the pixel, in the sea.
    lead
        Lead, months.

    Returns
    -------
    numpy.ndarray
        Weights, float64 of shape (lat, lon), 1; zero on land.
    """
    weights = np.zeros(ocean.shape)
    weights.flat[world.positions] = trace_back(world.propagator, _find_cell(world, ocean, pixel), lead)
    return weights


def _find_cell(world: World, ocean: np.ndarray, pixel: tuple[int, int]) -> int:
    return int(np.flatnonzero(world.positions == pixel[0] * ocean.shape[1] + pixel[1])[0])


def choose_predictors(
    propagator: scipy.sparse.csr_array, cell: int, lead: int, distance: Floats, neighbourhood_km: float
) -> np.ndarray:
    """Return the cells whose months predict one cell: those it gets its anomaly from, then the nearest.

    Parameters
    ----------
    propagator
        Of shape [cell, cell].
    cell, lead
        The cell that is forecast, and the lead, months.
    distance
        Distance of every cell from it, km, of shape [cell].
    neighbourhood_km
        Distance within which cells fill up the number to `MOST_CELLS`.

    Returns
    -------
    numpy.ndarray
        Cells in ascending order, int64 of shape [predictor].
    """
    trail = np.sum([trace_back(propagator, cell, months) for months in range(1, lead + 1)], axis=0)
    order = np.argsort(-trail, kind="stable")
    within = np.cumsum(trail[order])
    sources = order[: int(np.searchsorted(within, TRAIL_SHARE * within[-1])) + 1]
    nearest = np.argsort(distance, kind="stable")
    nearest = nearest[distance[nearest] <= neighbourhood_km]
    chosen = np.concatenate([[cell], sources, nearest])
    _, first = np.unique(chosen, return_index=True)
    return np.sort(chosen[np.sort(first)][:MOST_CELLS])


def simulate_filtered(world: World, cells: np.ndarray, years: int, width: int, seed: int) -> Floats:
    """Simulate the world and return filtered anomalies of some of its cells.

    Parameters
    ----------
    world
        The world.
    cells
        Cells that are kept.
    years
        Years to simulate.
    width
        Months of the moving mean; its place in time does not matter, since inputs and target move together.
    seed
        Seed of the white noise.

    Returns
    -------
    numpy.ndarray
        Anomalies, float64 of shape (month, kept cell), K; 12 * years - width + 1 months.
    """
    simulated = itertools.islice(simulate_anomalies(world.propagator, world.forcing, seed), years)
    raw = np.concatenate([year[:, cells] for year in simulated])
    count = len(raw) - width + 1
    filtered = raw[:count].copy()
    for month in range(1, width):
        filtered += raw[month : month + count]
    return filtered / width


def fit_weights(predictors: Floats, target: Floats, leads: Sequence[int], history: int, ridge: float = RIDGE) -> Floats:
    """Fit the linear predictors of one series from the preceding months of many, by ridge regression.

    Sample k has the months k-history..k-1 of all predictors and targets month k+lead-1. Without an intercept, since
    anomalies have no mean. The ridge makes it the best linear predictor from inputs that carry independent noise of that
    share of their mean variance.

    Parameters
    ----------
    predictors
        Anomalies, float64 of shape (month, cell).
    target
        Anomalies of what is forecast, float64 of shape (month,).
    leads
        Leads, months; one Gram matrix serves all.
    history
        Months of input.
    ridge
        What is added to the Gram matrix's diagonal, as a share of its mean.

    Returns
    -------
    numpy.ndarray
        Weights, float64 of shape (lead, lag, cell), the oldest month first; they do not depend on the units.
    """
    months, cells = predictors.shape
    count = months - history - max(leads) + 1
    gram = np.zeros((history, cells, history, cells))
    for lag in range(history):
        gram[0, :, lag] = predictors[:count].T @ predictors[lag : lag + count]
    # A month later at both ends is the same sum without the first month and with one more, which saves nearly all products.
    for lag in range(1, history):
        gram[lag, :, lag:] = gram[lag - 1, :, lag - 1 : -1]
        for month, sign in ((lag - 1, -1), (lag - 1 + count, 1)):
            later = predictors[month : month + history - lag]
            gram[lag, :, lag:] += sign * predictors[month][:, None, None] * later
    flat = gram.reshape(history * cells, history * cells)
    diagonal = np.einsum("ii->i", flat)
    diagonal += ridge * diagonal.mean()
    products = [
        np.stack([predictors[lag : lag + count].T @ target[history + lead - 1 :][:count] for lag in range(history)])
        for lead in leads
    ]
    # Only the upper half is filled; transposed it is in LAPACK's order, so that no copy is made.
    factor = scipy.linalg.cho_factor(flat.T, lower=True, overwrite_a=True, check_finite=False)
    weights = scipy.linalg.cho_solve(factor, np.stack([part.ravel() for part in products], axis=1), check_finite=False)
    return weights.T.reshape(len(leads), history, cells)


def find_ideal_weights(
    world: World,
    record: PreparedRecord,
    pixels: Sequence[tuple[str, int, int]],
    lead: int,
    history: int,
    settings: Findings,
) -> Floats:
    """Return the weights of the best linear predictor of each pixel of a prepared record.

    Parameters
    ----------
    world, record
        The world, and a prepared record of it, filtered or not.
    pixels
        Name, row and column of each pixel, in the sea.
    lead, history
        Lead and months of input.
    settings
        Years to simulate, and the neighbourhood of predictors.

    Returns
    -------
    numpy.ndarray
        Weights, float64 of shape (pixel, lag, lat, lon), 1; zero on land.

    Raises
    ------
    SealiencyError
        If the record holds a seasonal cycle: the best predictor's weights then change with the season.
    """
    width = record.filter_width
    if width % 12 and json.loads(record.attributes["settings"])["data"]["climatology"] == "mean":
        raise SealiencyError(
            f"data.climatology = mean: a filter of {width} month(s) leaves the seasonal cycle in the record, so that no "
            "fixed weights are ideal; set data.climatology: monthly"
        )
    ocean = record.ocean.numpy()
    ideal = np.zeros((len(pixels), history, *ocean.shape))
    if width == 1:
        for number, (_, row, column) in enumerate(pixels):
            ideal[number, -1] = ideal_weights_unfiltered(world, ocean, (row, column), lead)
        return ideal
    chosen = []
    for _, row, column in pixels:
        distance = measure_distance(record.lat, record.lon, row, column).ravel()[world.positions]
        cell = _find_cell(world, ocean, (row, column))
        chosen.append((cell, choose_predictors(world.propagator, cell, lead, distance, settings.neighbourhood_km)))
    kept = np.unique(np.concatenate([cells for _, cells in chosen]))
    # Another seed than the record's: the ideal must not know the record's noise.
    series = simulate_filtered(world, kept, settings.simulated_years, width, world.seed + 1)
    for number, (cell, cells) in enumerate(chosen):
        LOGGER.info("pixel %s: %d cells are predictors", pixels[number][0], len(cells))
        (weights,) = fit_weights(
            series[:, np.searchsorted(kept, cells)], series[:, np.searchsorted(kept, cell)], [lead], history
        )
        ideal[number].reshape(history, -1)[:, world.positions[cells]] = weights
    return ideal
