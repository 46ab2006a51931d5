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

    One history lies between them, so that no month of input is shared, unless that would leave less than a tenth to choose by.
    """
    cut = training.start + max(1, int(0.8 * len(training)))
    apart = cut + len(windows.lags)
    enough = training.stop - apart >= max(1, len(training) // 10)
    return range(training.start, cut), range(apart if enough else min(cut, training.stop - 1), training.stop)


def take_targets(windows: SampleWindows, ocean: np.ndarray, samples: range) -> np.ndarray:
    """Return the targets of samples in the ocean cells, float64 of shape (sample, cell)."""
    return windows.targets(samples).numpy()[:, ocean].astype(np.float64)


def take_last_months(windows: SampleWindows, ocean: np.ndarray, samples: range) -> np.ndarray:
    """Return the last input months of samples in the ocean cells, float64 of shape (sample, cell)."""
    return windows.persistence(samples).numpy()[:, ocean].astype(np.float64)


def take_known_months(windows: SampleWindows, ocean: np.ndarray, samples: range) -> np.ndarray:
    """Return all months that samples read in the ocean cells, float64 of shape (month, cell)."""
    return windows.known_months(samples).numpy()[:, ocean].astype(np.float64)
