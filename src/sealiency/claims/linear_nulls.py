"""Linear predictors and their attributions: what time series alone, without any emulator, put where and when.

Three predictors of a pixel's target in standardised anomalies: `ar1`, the best linear predictor of a first-order
autoregressive process that went through the record's filter, known in closed form; `pixel_ridge`, a ridge regression on the
pixel's own history; `neighbourhood_ridge`, one on the history of all ocean cells within a distance of it, with a penalty
that grows with distance as much as forecasts ask for. With a zero baseline the attribution of an input is exactly its weight
times its anomaly.
"""

import logging
from collections.abc import Sequence

import numpy as np
import xarray as xr

from sealiency.config.data import Samples
from sealiency.config.findings import Findings
from sealiency.conventions import MONTHLY, RADIAL
from sealiency.data.places import list_survey_pixels, measure_distance
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import choose_blocks
from sealiency.data.survey import describe_survey
from sealiency.emulators.linear.ar1 import NOISE, estimate_phi, weigh_ar1
from sealiency.emulators.linear.neighbourhood_ridge import fit_neighbourhood
from sealiency.emulators.linear.point_predictor import PointPredictor
from sealiency.emulators.linear.point_ridge import fit_ridge, split_for_penalty
from sealiency.errors import SealiencyError
from sealiency.progress import track

LOGGER = logging.getLogger(__name__)
PREDICTORS = ("ar1", "pixel_ridge", "neighbourhood_ridge")


def sum_attributions(
    weights: np.ndarray, series: np.ndarray, bins: np.ndarray, distances: int, blocks: Sequence[Sequence[int]]
) -> np.ndarray:
    """Sum weight times anomaly over the cells of each distance bin, and average it over the samples of each block.

    Parameters
    ----------
    weights
        Weights of shape (lag, cell).
    series
        Anomalies of shape (month, cell), standardised units.
    bins
        Number of each cell's distance bin, of shape (cell,).
    distances
        Number of bins.
    blocks
        Numbers of the samples of each bootstrap block.

    Returns
    -------
    numpy.ndarray
        Float64 of shape (sign, bootstrap_block, lag, distance), >= 0: first of the positive parts, then of the absolute
        values of the negative parts, standardised units.
    """
    member = (bins[:, None] == np.arange(distances)).astype(np.float64)
    sums = np.zeros((2, len(blocks), len(weights), distances))
    for at, block in enumerate(blocks):
        for k in block:
            attributions = weights * series[k - len(weights) : k]
            sums[0, at] += np.maximum(attributions, 0) @ member
            sums[1, at] += np.maximum(-attributions, 0) @ member
        sums[:, at] /= len(block)
    return sums


def fit_linear(
    record: PreparedRecord,
    unfiltered: PreparedRecord | None,
    lead: int,
    samples: Samples,
    settings: Findings,
    distance_edges: Sequence[float],
) -> xr.Dataset:
    """Fit the linear predictors of the surveyed pixels on the training samples, and sum up their attributions.

    Parameters
    ----------
    record
        Prepared record.
    unfiltered
        The same without filter, for the autocorrelation; None if the record itself has none.
    lead
        Lead, months.
    samples
        Samples of each period.
    settings
        Pixels and samples surveyed, the length of bootstrap blocks, and the radius of the neighbourhood.
    distance_edges
        Lower edges of the distance bins, km, ascending from 0; the last bin is open.

    Returns
    -------
    xarray.Dataset
        In standardised units where no other is named, for the `predictor` "ar1", "pixel_ridge" and
        "neighbourhood_ridge": float32 `radial_positive`, `radial_negative` (predictor, pixel, bootstrap_block, lag,
        distance) and `monthly_positive`, `monthly_negative`, `monthly_all` (predictor, pixel, lag), all >= 0 and with the
        coordinates that the reduced attributions of an emulator have; float64 `validation_rmse`, `penalty` and `decay`, km
        (predictor, pixel), `persistence_rmse` and `phi` (pixel). A pixel whose anomaly is constant has no attribution, a `phi`
        of NaN and penalties of NaN. Where the training samples are too few to choose a penalty, all of both ridge regressions
        is NaN, and the log says so.

    Raises
    ------
    SealiencyError
        If the record is too short for the samples, no ocean lies at the surveyed rows and columns, the unfiltered record
        is missing or filtered, or it has another grid.
    """
    split = record.split(lead, samples)
    ocean = record.ocean.numpy()
    if unfiltered is not None and not np.array_equal(unfiltered.ocean.numpy(), ocean):
        raise SealiencyError(
            "the unfiltered record has other ocean cells than the filtered one; delete both and run again to make them anew"
        )
    phi = estimate_phi(record if unfiltered is None else unfiltered)
    pixels = list_survey_pixels(settings.stride, record.varying)
    blocks = choose_blocks(split.training, settings.samples, settings.bootstrap_block)
    chosen = [sample for block in blocks for sample in block]
    # As between periods: the raw months of the last target end before those of the next input begin.
    gap = samples.history + lead - 1 + record.filter_width - 1
    if not split_for_penalty(split.training, gap)[0]:
        LOGGER.warning(
            "samples.training = %d: the last fifth and a gap of %d samples before it leave too few to choose the penalty "
            "of a ridge regression; both are NaN",
            len(split.training),
            gap,
        )
    anomaly = record.anomaly[: split.validation.stop + lead - 1].numpy()
    shape = (len(PREDICTORS), len(pixels))
    radial = np.empty((2, *shape, len(blocks), samples.history, len(distance_edges)), np.float32)
    monthly = np.empty((3, *shape, samples.history), np.float32)
    rmse, penalties, decays, persistence = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(len(pixels))
    # Without a filter there is none to undo, and the latest month is all that counts.
    noise = 0 if record.filter_width == 1 else NOISE
    shares = np.array([len(block) for block in blocks]) / len(chosen)
    for at, (_, row, column) in enumerate(track(pixels, f"lead {lead} linear predictors", len(pixels), "pixel")):
        distance = measure_distance(record.lat, record.lon, row, column)
        near = ocean & (distance <= settings.neighbourhood_km)
        own = distance[row, column, None]
        around = anomaly[:, near].astype(np.float64)
        series = anomaly[:, row, column, None].astype(np.float64)
        target = series[:, 0]
        known = np.isfinite(phi[row, column])
        weights = weigh_ar1(phi[row, column] if known else 0, lead, samples.history, record.filter_width, noise)
        neighbourhood = fit_neighbourhood(around, target, distance[near], split.training, lead, samples.history, gap)
        fits = (
            # A constant series has a zero anomaly but for rounding.
            (PointPredictor(weights[:, None] * known), series, own),
            (fit_ridge(series, target, split.training, lead, samples.history, gap), series, own),
            (neighbourhood, around, distance[near]),
        )
        observed = target[split.validation.start + lead - 1 : split.validation.stop + lead - 1]
        persisted = target[split.validation.start - 1 : split.validation.stop - 1]
        persistence[at] = np.sqrt(((persisted - observed) ** 2).mean())
        for number, (predictor, inputs, away) in enumerate(fits):
            forecast = predictor.forecast(inputs, split.validation)
            rmse[number, at] = np.sqrt(((forecast - observed) ** 2).mean())
            penalties[number, at] = predictor.penalty
            decays[number, at] = predictor.decay
            # As the engine bins the cells of an emulator's attributions.
            bins = np.searchsorted(distance_edges, away, side="right") - 1
            sums = sum_attributions(predictor.weights, inputs, bins, len(distance_edges), blocks)
            radial[:, number, at] = sums
            monthly[:2, number, at] = np.tensordot(sums.sum(-1), shares, (1, 0))
    monthly[2] = monthly[0] + monthly[1]
    dataset = describe_survey(record, pixels, blocks, distance_edges)
    dataset = dataset.assign_coords(predictor=("predictor", list(PREDICTORS), {"long_name": "linear predictor"}))
    dataset.attrs = {
        "title": f"Attributions of linear predictors of lead {lead} over training samples",
        "lead": lead,
        "samples": len(chosen),
        "noise": noise,
    }
    for sign, (name, attributes) in enumerate(RADIAL.items()):
        dims = ("predictor", "pixel", "bootstrap_block", "lag", "distance")
        dataset[f"radial_{name}"] = dims, radial[sign], attributes
    for sign, (name, attributes) in enumerate(MONTHLY.items()):
        dataset[f"monthly_{name}"] = ("predictor", "pixel", "lag"), monthly[sign], attributes
    by_pixel = phi[dataset["pixel_row"].values, dataset["pixel_column"].values]
    for name, values, units, long_name in (
        ("validation_rmse", rmse, "1", "root mean squared error over the validation samples"),
        ("penalty", penalties, "1", "penalty of the ridge regression, relative to the summed squares of its inputs"),
        ("persistence_rmse", persistence, "1", "root mean squared error of persistence over the validation samples"),
        ("phi", by_pixel, "1", "lag-1 autocorrelation of the unfiltered anomaly over the training months"),
        ("decay", decays, "km", "distance over which the inputs of the ridge regression fall by a factor of e"),
    ):
        dataset[name] = ("predictor", "pixel")[-values.ndim :], values, {"long_name": long_name, "units": units}
    return dataset
