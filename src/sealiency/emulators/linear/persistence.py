"""Persistence, plain and damped: the last month's anomaly."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.predictor import gather_months, gather_targets


@dataclass
class Persistence:
    """The last month's anomaly, as it is."""

    months: np.ndarray
    """Anomalies, float64 of shape (month, cell)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Fit nothing; see `FieldPredictor`."""
        return cls(gather_months(windows, ocean))

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        return self.months[np.asarray(samples) - 1]


@dataclass
class DampedPersistence(Persistence):
    """The last month's anomaly times a factor of each cell: the regression of the target on it."""

    damping: np.ndarray
    """Factors, float64 of shape (cell,)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Fit the factors; see `FieldPredictor`."""
        months = gather_months(windows, ocean)
        last, target = months[np.asarray(training) - 1], gather_targets(months, windows, training)
        power = (last**2).sum(0)
        return cls(months, np.divide((last * target).sum(0), power, out=np.zeros_like(power), where=power > 0))

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        return self.damping * super().forecast(samples)
