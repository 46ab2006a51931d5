"""The best linear predictor of a first-order autoregressive process that went through the record's filter, in closed form."""

import numpy as np
import scipy.linalg

from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.linear.point_predictor import CONSTANT
from sealiency.errors import SealiencyError

# White noise, as a share of the filtered variance, without which the filter could be undone.
NOISE = 1e-3
LARGEST_PHI = 0.9999


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
