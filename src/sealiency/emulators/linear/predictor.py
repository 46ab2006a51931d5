"""What every linear predictor of fields is: fitted on training samples, it forecasts samples."""

from typing import Protocol, Self

import numpy as np

from sealiency.data.samples import SampleWindows


class FieldPredictor(Protocol):
    """A predictor of the anomaly of every ocean cell, fitted on the training samples alone."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Fit the predictor.

        Parameters
        ----------
        windows
            Inputs and targets of samples.
        training
            Numbers of the training samples.
        ocean
            Bool of shape (lat, lon).
        area
            Relative area of each ocean cell, float64 of shape (cell,).
        """

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples, standardised units, float64 of shape (sample, cell)."""


def split_training(windows: SampleWindows, training: range) -> tuple[range, range]:
    """Return the training samples that try out a setting and those, the last fifth, that choose it.

    One history lies between them, so that no month of input is shared.
    """
    cut = training.start + max(1, int(0.8 * len(training)))
    return range(training.start, cut), range(min(cut + len(windows.lags), training.stop - 1), training.stop)


def gather_months(windows: SampleWindows, ocean: np.ndarray) -> np.ndarray:
    """Return the anomalies of the ocean cells, float64 of shape (month, cell)."""
    return windows.anomaly.numpy()[:, ocean].astype(np.float64)


def gather_targets(months: np.ndarray, windows: SampleWindows, samples: range) -> np.ndarray:
    """Return the targets of samples from anomalies by month, of shape (sample, cell)."""
    return months[np.asarray(samples) + windows.lead - 1]
