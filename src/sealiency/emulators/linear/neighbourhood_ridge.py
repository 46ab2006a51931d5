"""Ridge regression of one pixel on the months of the cells around it, the more penalised the farther a cell is."""

from dataclasses import replace

import numpy as np

from sealiency.emulators.linear.point_predictor import PointPredictor
from sealiency.emulators.linear.point_ridge import fit_ridge

# Decay lengths of a neighbourhood's inputs, km, from no decay at all to next to nothing of the neighbouring cells.
DECAYS = (np.inf, *(2000 / 2.0**power for power in range(7)))
# Samples that choose the decay, where there are more: the cost grows with their number cubed.
DECAY_SAMPLES = 1500


def fit_neighbourhood(
    series: np.ndarray,
    target: np.ndarray,
    distance: np.ndarray,
    training: range,
    lead: int,
    history: int,
    gap: int,
) -> PointPredictor:
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
    PointPredictor
        What `fit_ridge` returns, with weights for the inputs as they are. Without a decay where no forecasts could choose one.
    """

    def fit(decay: float, samples: range) -> PointPredictor:
        scale = np.exp(-distance / decay)
        found = fit_ridge(series * scale, target, samples, lead, history, gap)
        return replace(found, weights=found.weights * scale, decay=decay if np.isfinite(found.penalty) else np.nan)

    latest = training[-DECAY_SAMPLES:]
    tried = [fit(decay, latest) for decay in DECAYS]
    # Where a decay leaves a constant series, its error is NaN.
    best = int(np.argmin(np.nan_to_num([found.error for found in tried], nan=np.inf)))
    return tried[best] if latest == training else fit(DECAYS[best], training)
