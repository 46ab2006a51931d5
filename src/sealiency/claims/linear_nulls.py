"""Linear predictors and their attributions: what time series alone, without any emulator, put where and when.

Three predictors of a pixel's target in standardised anomalies: `ar1`, the best linear predictor of a first-order
autoregressive process that went through the record's filter, known in closed form; `pixel_ridge`, a ridge regression on the
pixel's own history; `neighbourhood_ridge`, one on the history of all ocean cells within a distance of it, with a penalty
that grows with distance as much as forecasts ask for. With a zero baseline the attribution of an input is exactly its weight
times its anomaly.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import xarray as xr

from sealiency.config.data import Samples
from sealiency.config.findings import Findings
from sealiency.conventions import MONTHLY, RADIAL
from sealiency.data.places import list_survey_pixels, measure_distance
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import choose_blocks
from sealiency.data.survey import describe_survey
from sealiency.errors import SealiencyError
from sealiency.progress import track

LOGGER = logging.getLogger(__name__)
PREDICTORS = ("ar1", "pixel_ridge", "neighbourhood_ridge")
# White noise, as a share of the filtered variance, without which the filter could be undone.
NOISE = 1e-3
LARGEST_PHI = 0.9999
# Penalties of the ridge regressions, relative to the summed squares of all inputs.
PENALTIES = tuple(10.0**power for power in range(-10, 2))
# Decay lengths of a neighbourhood's inputs, km, from no decay at all to next to nothing of the neighbouring cells.
DECAYS = (np.inf, *(2000 / 2.0**power for power in range(7)))
# Samples that choose the decay, where there are more: the cost grows with their number cubed.
DECAY_SAMPLES = 1500
# Standard deviation, in units of the record's, below which a series is constant but for rounding: sea under ice.
CONSTANT = 1e-6


@dataclass(frozen=True)
class LinearPredictor:
    """A linear function of the last months of some cells."""

    weights: np.ndarray
    """Float64 of shape (lag, cell), oldest month first."""
    offset: float = 0.0
    """What is forecast where all inputs are zero, standardised units."""
    penalty: float = np.nan
    """Penalty, 1, relative to the summed squares of all inputs; NaN where none was chosen."""
    error: float = np.nan
    """Mean squared error, standardised units squared, of the samples that chose the penalty; NaN where none did."""
    decay: float = np.nan
    """Distance over which the inputs fall by a factor of e, km, infinite for no decay; NaN where none was chosen."""

    def forecast(self, series: np.ndarray, samples: range) -> np.ndarray:
        """Return the forecasts of samples, float64 of shape (sample,), from anomalies of shape (month, cell)."""
        history = len(self.weights)
        by_lag = series[samples.start - history : samples.stop - 1] @ self.weights.T
        forecast = np.full(len(samples), self.offset)
        for lag in range(history):
            forecast += by_lag[lag : lag + len(samples), lag]
        return forecast


def weigh_ar1(phi: float, lead: int, history: int, filter_width: int, noise: float = NOISE) -> np.ndarray:
    """Return the weights of the best linear predictor of a filtered first-order autoregressive process.

    Sample k reads filtered months k-history..k-1 and targets filtered month k+lead-1.

    Parameters
    ----------
    phi
        Lag-1 autocorrelation of the process before the filter, 0 to below 1.
    lead
        Lead, months.
    history
        Months of input.
    filter_width
        Months of the moving average, 1 for none. A trailing and a centred mean differ by a shift in time only, which input
        and target share, so that the weights are the same.
    noise
        Variance of white noise added to the inputs, relative to the variance of the filtered process; 0 for none.

    Returns
    -------
    numpy.ndarray
        Weights, float64 of shape (history,), oldest month first. Without filter and noise all of it is on the latest
        month: phi**lead.

    Raises
    ------
    ValueError
        If `phi` does not lie from 0 to below 1.

    Notes
    -----
    The weights solve the normal equations (Yule-Walker) of linear prediction, with the autocovariance of a mean over m
    months at lag h: the sum over |j| < m of (m - |j|) phi**|h + j|, over m**2 (Brockwell & Davis 1991, Time Series: Theory
    and Methods, sections 4.4 and 5.1).
    """
    if not 0 <= phi < 1:
        raise ValueError(f"phi = {phi} must lie from 0 to below 1")
    shifts = np.arange(1 - filter_width, filter_width)
    lags = np.arange(history + lead)[:, None]
    covariance = ((filter_width - np.abs(shifts)) * phi ** np.abs(lags + shifts)).sum(1) / filter_width**2
    matrix = scipy.linalg.toeplitz(covariance[:history])
    matrix[np.diag_indices(history)] += noise * covariance[0]
    latest_first = scipy.linalg.solve(matrix, covariance[lead : lead + history], assume_a="pos")
    return latest_first[::-1]


def estimate_phi(record: PreparedRecord) -> np.ndarray:
    """Estimate the lag-1 autocorrelation of each pixel from unfiltered anomalies of the training months.

    Each calendar month's mean is removed first: where the climatology is one mean, the seasonal cycle would pass for memory.

    Parameters
    ----------
    record
        Prepared record without filter.

    Returns
    -------
    numpy.ndarray
        The usual estimate, sum of x(t) x(t+1) over sum of x(t)**2, clipped to 0..0.9999; float64 of shape (lat, lon). NaN
        on land and where the anomaly is constant, as under ice.

    Raises
    ------
    SealiencyError
        If the record is filtered.
    """
    if record.filter_width != 1:
        raise SealiencyError(
            f"the record is a {record.attributes['filter']} over {record.filter_width} months; the autocorrelation of a "
            "first-order autoregressive process needs the unfiltered one, prepared with data.filter: none"
        )
    ocean = record.ocean.numpy()
    # The last training sample reads up to the month before its own number.
    series = record.anomaly[: record.training_samples.stop - 1].numpy()[:, ocean].astype(np.float64)
    for month in range(12):
        series[month::12] -= series[month::12].mean(0) if len(series) > month else 0
    power = (series**2).sum(0)
    product = (series[1:] * series[:-1]).sum(0)
    known = power > CONSTANT**2 * len(series)
    phi = np.full(ocean.shape, np.nan)
    phi[ocean] = np.divide(product, power, out=np.full_like(power, np.nan), where=known).clip(0, LARGEST_PHI)
    return phi


def split_for_penalty(training: range, gap: int) -> tuple[range, range]:
    """Return the training samples that try out penalties and those, the last fifth, that choose one of them.

    Between them lies the gap. Where it leaves less than twice the last fifth, or that is empty, none is left to try with.
    """
    chooses = training[len(training) - len(training) // 5 :]
    tries = training[: max(0, len(training) - len(chooses) - gap)]
    return (tries if len(tries) >= 2 * len(chooses) > 0 else training[:0]), chooses


def fit_ridge(
    series: np.ndarray,
    target: np.ndarray,
    training: range,
    lead: int,
    history: int,
    gap: int,
    penalties: Sequence[float] = PENALTIES,
) -> LinearPredictor:
    """Fit a ridge regression of a target series on the history of some cells.

    The penalty is the one with the least squared error on the last fifth of the training samples, among those fitted
    before that and the gap; weights are then fitted on all training samples. Inputs and target are centred on their means.

    Parameters
    ----------
    series
        Anomalies of the cells, float64 of shape (month, cell).
    target
        Anomalies to forecast, float64 of shape (month,).
    training
        Numbers of the training samples: sample k reads months k-history..k-1 and targets month k+lead-1.
    lead, history
        Lead and months of input.
    gap
        Samples left out before the last fifth, so that none of its months is known already.
    penalties
        Penalties to choose from, relative to the summed squares of all centred inputs of the samples fitted on, 1; in
        proportion to their number.

    Returns
    -------
    LinearPredictor
        All weights are 0 and the penalty is NaN where the inputs or the target are constant; all is NaN where the training
        samples are too few for the last fifth and the gap (see `split_for_penalty`).

    Notes
    -----
    Solved in its dual form (Saunders et al. 1998, Proc. 15th Int. Conf. Machine Learning, 515-521), which costs the
    number of samples squared times the number of cells: n samples and far more than n inputs need an n x n matrix only.
    """
    tries, chooses = split_for_penalty(training, gap)
    if not tries:
        return LinearPredictor(np.full((history, series.shape[1]), np.nan), np.nan)
    outputs = target[training.start + lead - 1 : training.stop + lead - 1]
    gram = _multiply_inputs(series, training, history)
    power = np.trace(_centre(gram)) / len(training)
    if outputs.std() <= CONSTANT or power <= CONSTANT**2:
        return LinearPredictor(np.zeros((history, series.shape[1])), float(outputs.mean()))
    fitted = slice(0, len(tries))
    held_out = slice(len(training) - len(chooses), len(training))
    # Inputs of the last fifth from the mean of those fitted on; the sum of the coefficients is 0.
    products = gram[held_out, fitted] - gram[fitted, fitted].mean(0)
    errors = []
    for penalty in penalties:
        coefficients = _solve(gram[fitted, fitted], outputs[fitted], penalty * power)
        predicted = products @ coefficients + outputs[fitted].mean()
        errors.append(((predicted - outputs[held_out]) ** 2).sum())
    best = int(np.argmin(errors))
    coefficients = _solve(gram, outputs, penalties[best] * power)
    months = series[training.start - history : training.stop - 1]
    weights = np.stack([coefficients @ months[lag : lag + len(training)] for lag in range(history)])
    without = LinearPredictor(weights).forecast(series, training)
    offset = float(outputs.mean() - without.mean())
    return LinearPredictor(weights, offset, penalties[best], errors[best] / len(chooses))


def fit_neighbourhood(
    series: np.ndarray,
    target: np.ndarray,
    distance: np.ndarray,
    training: range,
    lead: int,
    history: int,
    gap: int,
) -> LinearPredictor:
    """Fit a ridge regression on the history of cells around a pixel, the more penalised the farther a cell is.

    A cell's inputs are multiplied by exp(-distance / decay) before an ordinary ridge regression, which is to penalise its
    squared weights in proportion to exp(2 distance / decay) (Tikhonov regularisation with a diagonal matrix). Among `DECAYS`,
    the first of which is the ordinary ridge regression, the decay is chosen as the penalty is, by the forecasts of the last
    fifth of the training samples, of the last `DECAY_SAMPLES` of them where there are more.

    Parameters
    ----------
    series, target, training, lead, history, gap
        As for `fit_ridge`.
    distance
        Distance of each cell from the pixel, km, of shape (cell,).

    Returns
    -------
    LinearPredictor
        What `fit_ridge` returns, with weights for the inputs as they are. Without a decay where no forecasts could choose one.
    """

    def fit(decay: float, samples: range) -> LinearPredictor:
        scale = np.exp(-distance / decay)
        found = fit_ridge(series * scale, target, samples, lead, history, gap)
        return replace(found, weights=found.weights * scale, decay=decay if np.isfinite(found.penalty) else np.nan)

    latest = training[-DECAY_SAMPLES:]
    tried = [fit(decay, latest) for decay in DECAYS]
    # Where a decay leaves a constant series, its error is NaN.
    best = int(np.argmin(np.nan_to_num([found.error for found in tried], nan=np.inf)))
    return tried[best] if latest == training else fit(DECAYS[best], training)


def _multiply_inputs(series: np.ndarray, samples: range, history: int) -> np.ndarray:
    """Return the inner products of the inputs of every two samples, float64 of shape (sample, sample)."""
    # The inputs of samples are windows of one series: products of its months are added up, instead of multiplied anew.
    months = series[samples.start - history : samples.stop - 1]
    products = months @ months.T
    gram = np.zeros((len(samples), len(samples)))
    for lag in range(history):
        gram += products[lag : lag + len(samples), lag : lag + len(samples)]
    return gram


def _centre(gram: np.ndarray) -> np.ndarray:
    """Return inner products of the inputs less their mean."""
    mean = gram.mean(0)
    return gram - mean - mean[:, None] + mean.mean()


def _solve(gram: np.ndarray, outputs: np.ndarray, penalty: float) -> np.ndarray:
    """Return the dual coefficients of ridge regression with a penalty per sample."""
    matrix = _centre(gram)
    matrix[np.diag_indices(len(matrix))] += penalty * len(matrix)
    coefficients = scipy.linalg.solve(matrix, outputs - outputs.mean(), assume_a="pos", overwrite_a=True)
    # Their sum is 0 but for rounding, which the mean of the inputs would magnify.
    return coefficients - coefficients.mean()


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
            (LinearPredictor(weights[:, None] * known), series, own),
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
