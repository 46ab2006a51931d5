"""Fidelity of attributions on the synthetic world, whose best linear predictor is known.

Without a filter the best predictor of a pixel is a row of a power of the propagator, applied to the latest month. With one
it is a ridge regression on a long simulation of the same world. One global scale standardises the record, so weights are
the same in standardised units and in K. An attribution is faithful as far as it agrees with the ideal weights times the
input, and a gradient as far as it agrees with the ideal weights.
"""

import copy
import itertools
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
import xarray as xr

from sealiency.attribution.explanation import make_attributor
from sealiency.attribution.methods import METHODS
from sealiency.config.attribution import Attribution
from sealiency.config.data import Region, SyntheticWorld
from sealiency.config.findings import Findings
from sealiency.conventions import LAG, LATITUDE, LONGITUDE
from sealiency.data.places import measure_distance
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.emulators.controls import randomise
from sealiency.emulators.emulator import Emulator, hash_weights
from sealiency.errors import SealiencyError
from sealiency.worlds.ocean import read_propagator, simulate_anomalies
from sealiency.worlds.ocean_physics import Floats, build_forcing, find_ocean_cells

LOGGER = logging.getLogger(__name__)
# Integrated gradients take seconds a sample; twelve samples of the demo's training period share no input month.
SAMPLES = 12
# What is compared with the ideal weights themselves, not with the weights times the input.
GRADIENTS = ("guided_backprop", "saliency")
# Occlusion needs more than a thousand forecasts a sample.
MEASURED = tuple(name for name in METHODS if name != "occlusion")
# Of the mean variance of a predictor. A mean over 12 months makes neighbouring months nearly collinear: fitted on 2000 years
# of the 2-degree world, the weights correlate with those of an endless fit by 0.1 to 0.3 at 1e-6, and by 0.87 to 0.99 here.
RIDGE = 1e-2
# Share of what reaches a pixel within the lead that comes from cells that are predictors however far they are: the Gulf
# Stream carries anomalies thousands of kilometres.
TRAIL_SHARE = 0.99
# They bound the Gram matrix at 0.4 GB for 36 months, and the noise of the fit.
MOST_CELLS = 200
CORE_SHARE = 0.9
BATCH = 32


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


def name_emulators(
    kinds: Sequence[str], emulators: Sequence[Emulator], record: PreparedRecord, randomise: bool
) -> dict[str, Emulator]:
    """Return emulators by kind and seed, such as `trained_seed0`, with one of random weights beside each where asked for.

    Parameters
    ----------
    kinds, emulators
        Kind of each emulator, such as `trained` or `random`, and the emulators.
    record
        The prepared record they were trained on.
    randomise
        Whether to draw random weights, for a record that has no such emulator files.
    """
    named = {}
    for kind, emulator in zip(kinds, emulators, strict=True):
        named[f"{kind}_seed{emulator.seed}"] = emulator
        if randomise:
            named[f"random_seed{emulator.seed}"] = randomise_emulator(emulator, record, emulator.seed)
    return named


def randomise_emulator(emulator: Emulator, record: PreparedRecord, seed: int) -> Emulator:
    """Return a copy of an emulator with every weight drawn anew, for a record that has no such emulator file.

    Parameters
    ----------
    emulator, record
        Emulator, and the prepared record it was trained on.
    seed
        Seed of the weights.
    """
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    training = record.training_samples
    network = copy.deepcopy(emulator.network)
    starts = range(0, len(training), BATCH)
    wanted = windows.targets(training)
    with torch.no_grad():
        skips = [network.forecast_skip(windows.inputs(training[start : start + BATCH])) for start in starts]
    wanted -= torch.cat(skips)
    rms = math.sqrt(float((wanted[:, record.ocean].double() ** 2).mean()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        randomise(
            network, lambda: (windows.inputs(training[start : start + BATCH]) for start in starts), record.ocean, rms
        )
    return replace(emulator, network=network, seed=seed, model_sha256=hash_weights(network.state_dict()))


def measure_fidelity(
    emulators: Mapping[str, Emulator],
    record: PreparedRecord,
    ideal: Floats,
    pixels: Sequence[tuple[str, int, int]],
    attribution: Attribution,
    methods: Sequence[str] = MEASURED,
    samples: int = SAMPLES,
) -> xr.Dataset:
    """Compare the attributions of emulators with those of the ideal linear predictor, sample by sample.

    Parameters
    ----------
    emulators
        Emulators of one lead by name, such as `trained` or `random`.
    record
        The prepared record they were trained on.
    ideal
        Ideal weights of each pixel, of shape (pixel, lag, lat, lon); see `find_ideal_weights`.
    pixels
        Name, row and column of each pixel.
    attribution
        How attributions are made.
    methods
        Names of the methods.
    samples
        Training samples compared, spread evenly over the training period; all of them where there are fewer.

    Returns
    -------
    xarray.Dataset
        By emulator, method, pixel and sample, float64: `correlation`, Pearson's with the ideal attribution, over all lags
        and ocean cells; `map_correlation`, the same after sums over lags; `core_share`, the share of the absolute
        attribution in the fewest cells and lags that hold 90 % of the ideal's. NaN where a map is constant. The ideal is
        the weights times the input, for `GRADIENTS` the weights. Also `core_fraction` (method, pixel, sample), the share
        that attributions spread evenly would have, and `ideal_weight` (pixel, lag, lat, lon), float32.

    Raises
    ------
    SealiencyError
        If an emulator was trained on another record, or a method does not serve its network.
    """
    chosen = choose_samples(record.training_samples, min(samples, len(record.training_samples)))
    first = next(iter(emulators.values()))
    inputs = SampleWindows(record.anomaly, first.lead, first.history).inputs(chosen)
    ocean = record.ocean.numpy()
    flat = [row * ocean.shape[1] + column for _, row, column in pixels]
    weights, values = ideal[..., ocean], inputs.numpy()[..., ocean].astype(np.float64)
    shape = (len(emulators), len(methods), len(pixels), len(chosen))
    scores = {name: np.full(shape, np.nan) for name in ("correlation", "map_correlation", "core_share")}
    fraction = np.full(shape[1:], np.nan)
    for at_emulator, emulator in enumerate(emulators.values()):
        for at_method, method in enumerate(methods):
            attributor = make_attributor(emulator, record, attribution, method)
            for tile in attributor.tiles(inputs, flat):
                rows, columns = (slice(*span) for span in tile.window)
                for at, sample in enumerate(range(len(chosen))[tile.samples]):
                    for number, pixel in enumerate(tile.pixels):
                        field = np.zeros((first.history, *ocean.shape))
                        field[:, rows, columns] = tile.attributions[at, number].double().cpu().numpy()
                        found = field[:, ocean]
                        wanted = weights[pixel] if method in GRADIENTS else weights[pixel] * values[sample]
                        place = (at_emulator, at_method, pixel, sample)
                        core = find_core(wanted, CORE_SHARE)
                        scores["correlation"][place] = correlate(found, wanted)
                        scores["map_correlation"][place] = correlate(found.sum(0), wanted.sum(0))
                        total = np.abs(found).sum()
                        scores["core_share"][place] = np.abs(found[core]).sum() / total if total else np.nan
                        fraction[place[1:]] = core.mean()
    return _describe(emulators, record, ideal, pixels, methods, chosen, scores, fraction)


def correlate(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation over all values of two arrays of one shape, NaN where one is constant."""
    one, other = one.ravel() - one.mean(), other.ravel() - other.mean()
    power = math.sqrt((one @ one) * (other @ other))
    return float(one @ other) / power if power else math.nan


def find_core(values: Floats, share: float) -> np.ndarray:
    """Return which are the fewest values that hold a share of the sum of all absolute values, bool of their shape."""
    size = np.abs(values).ravel()
    order = np.argsort(-size, kind="stable")
    within = np.cumsum(size[order])
    core = np.zeros(size.shape, bool)
    core[order[: int(np.searchsorted(within, share * within[-1])) + 1]] = True
    return core.reshape(values.shape)


def _describe(
    emulators: Mapping[str, Emulator],
    record: PreparedRecord,
    ideal: Floats,
    pixels: Sequence[tuple[str, int, int]],
    methods: Sequence[str],
    samples: Sequence[int],
    scores: Mapping[str, Floats],
    fraction: Floats,
) -> xr.Dataset:
    axes = ("emulator", "method", "pixel", "sample")
    long_names = {
        "correlation": "correlation of attribution and ideal over lags and ocean cells",
        "map_correlation": "correlation of attribution and ideal, summed over lags, over ocean cells",
        "core_share": f"share of the absolute attribution where {CORE_SHARE:.0%} of the ideal's lies",
    }
    first = next(iter(emulators.values()))
    rows, columns = (np.array([pixel[axis] for pixel in pixels]) for axis in (1, 2))
    dataset = xr.Dataset(
        {name: (axes, values, {"long_name": long_names[name], "units": "1"}) for name, values in scores.items()},
        coords={
            "emulator": ("emulator", list(emulators), {"long_name": "emulator"}),
            "method": ("method", list(methods), {"long_name": "attribution method"}),
            "pixel": ("pixel", [name for name, _, _ in pixels], {"long_name": "explained pixel"}),
            "sample": ("sample", list(samples), {"long_name": "number of the training sample", "units": "1"}),
            "lag": ("lag", np.arange(-first.history, 0, dtype=np.int32), LAG),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={
            "title": f"Agreement of attributions with the best linear predictor of the synthetic world, lead {first.lead}",
            "lead": first.lead,
            "filter": record.attributes["filter"],
            "filter_width_months": record.filter_width,
            # Without a filter the weights are exact.
            "ridge": RIDGE if record.filter_width > 1 else 0.0,
        },
    )
    dataset["core_fraction"] = (
        axes[1:],
        fraction,
        {"long_name": f"fraction of lags and ocean cells where {CORE_SHARE:.0%} of the ideal lies", "units": "1"},
    )
    dataset["ideal_weight"] = (
        ("pixel", "lag", "lat", "lon"),
        ideal.astype(np.float32),
        {"long_name": "weight of the best linear predictor", "units": "1"},
    )
    dataset["pixel_lat"] = ("pixel", record.lat[rows], LATITUDE)
    dataset["pixel_lon"] = ("pixel", record.lon[columns], LONGITUDE)
    dataset["model_sha256"] = (
        "emulator",
        [emulator.model_sha256 for emulator in emulators.values()],
        {"long_name": "SHA-256 of the weights of an emulator"},
    )
    return dataset
