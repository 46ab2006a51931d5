"""Ridge regression of one pixel on the months of some cells, in its dual form: inputs may be far more than samples."""

from collections.abc import Sequence

import numpy as np
import scipy.linalg

from sealiency.emulators.linear.point_predictor import CONSTANT, PointPredictor

# Penalties of the ridge regressions, relative to the summed squares of all inputs.
PENALTIES = tuple(10.0**power for power in range(-10, 2))


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
) -> PointPredictor:
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
    PointPredictor
        All weights are 0 and the penalty is NaN where the inputs or the target are constant; all is NaN where the training
        samples are too few for the last fifth and the gap (see `split_for_penalty`).

    Notes
    -----
    Solved in its dual form (Saunders et al. 1998, Proc. 15th Int. Conf. Machine Learning, 515-521), which costs the
    number of samples squared times the number of cells: n samples and far more than n inputs need an n x n matrix only.
    """
    tries, chooses = split_for_penalty(training, gap)
    if not tries:
        return PointPredictor(np.full((history, series.shape[1]), np.nan), np.nan)
    outputs = target[training.start + lead - 1 : training.stop + lead - 1]
    gram = _multiply_inputs(series, training, history)
    power = np.trace(_centre(gram)) / len(training)
    if outputs.std() <= CONSTANT or power <= CONSTANT**2:
        return PointPredictor(np.zeros((history, series.shape[1])), float(outputs.mean()))
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
    without = PointPredictor(weights).forecast(series, training)
    offset = float(outputs.mean() - without.mean())
    return PointPredictor(weights, offset, penalties[best], errors[best] / len(chooses))


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
