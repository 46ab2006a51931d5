"""What every linear predictor of one pixel is: weights of the last months of some cells."""

from dataclasses import dataclass

import numpy as np

# Standard deviation, in units of the record's, below which a series is constant but for rounding: sea under ice.
CONSTANT = 1e-6


@dataclass(frozen=True)
class PointPredictor:
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
