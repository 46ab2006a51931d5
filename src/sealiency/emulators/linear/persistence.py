"""Persistence, plain and damped: the last month's anomaly."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.predictor import take_last_months, take_targets


@dataclass
class Persistence:
    """The last month's anomaly, as it is."""

    windows: SampleWindows
    ocean: np.ndarray
    """Bool of shape (lat, lon)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Fit nothing; see `FieldPredictor`."""
        return cls(windows, ocean)

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        return take_last_months(self.windows, self.ocean, samples)


@dataclass
class DampedPersistence(Persistence):
    """The last month's anomaly times a factor of each cell: the regression of the target on it."""

    damping: np.ndarray
    """Factors, float64 of shape (cell,)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Fit the factors; see `FieldPredictor`."""
        last, target = take_last_months(windows, ocean, training), take_targets(windows, ocean, training)
        power = (last**2).sum(0)
        return cls(windows, ocean, np.divide((last * target).sum(0), power, out=np.zeros_like(power), where=power > 0))

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        return self.damping * super().forecast(samples)
