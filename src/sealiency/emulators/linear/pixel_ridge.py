"""Ridge regression of every ocean cell on its own months, with one penalty for all."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.predictor import split_training

# Per sample, standardised units squared.
PENALTIES = tuple(10.0**power for power in range(-8, 4))
PIXELS_AT_ONCE = 512


@dataclass
class PixelRidge:
    """One ridge regression a cell; the penalty is the one with the least error on the last fifth of the training samples.

    The nulls of the findings (`neighbourhood_ridge.py`) solve the same regression in its dual form, pixel by pixel and with a
    penalty of each pixel's own, because their inputs are many cells.
    """

    history: np.ndarray
    """Anomalies, float32 of shape (month, cell)."""
    lags: np.ndarray
    weights: np.ndarray
    """Float64 of shape (cell, lag), oldest month first."""
    offset: np.ndarray
    """Float64 of shape (cell,)."""
    penalty: float
    """The penalty chosen, per sample, standardised units squared."""

    @classmethod
    def fit(
        cls,
        windows: SampleWindows,
        training: range,
        ocean: np.ndarray,
        area: np.ndarray | None = None,
        target_samples: np.ndarray | None = None,
    ) -> Self:
        """Choose the penalty and fit the weights; see `FieldPredictor`.

        Parameters
        ----------
        windows, training, ocean, area
            As for `FieldPredictor`; the area makes no difference.
        target_samples
            The sample whose target belongs to each sample, by number; None for its own.
        """
        fitted, held_out = split_training(windows, training)
        targets = np.arange(len(windows.anomaly)) if target_samples is None else target_samples
        errors = []
        for penalty in PENALTIES:
            found = cls.fit_with(windows, fitted, ocean, penalty, targets)
            observed = found.history[targets[held_out] + windows.lead - 1].astype(np.float64)
            errors.append(float(((found.forecast(held_out) - observed) ** 2).sum()))
        return cls.fit_with(windows, training, ocean, PENALTIES[int(np.argmin(errors))], targets)

    @classmethod
    def fit_with(
        cls,
        windows: SampleWindows,
        training: range,
        ocean: np.ndarray,
        penalty: float,
        target_samples: np.ndarray | None = None,
    ) -> Self:
        """Fit the weights with a penalty."""
        targets = np.asarray(training) if target_samples is None else target_samples[training]
        history = windows.anomaly.numpy()[:, ocean]
        steps = np.asarray(training)[:, None] + windows.lags
        parts = []
        for start in range(0, history.shape[1], PIXELS_AT_ONCE):
            pixels = history[:, start : start + PIXELS_AT_ONCE]
            x = pixels[steps].transpose(2, 0, 1).astype(np.float64)
            y = pixels[targets + windows.lead - 1].T.astype(np.float64)
            x_mean, y_mean = x.mean(1), y.mean(1)
            x, y = x - x_mean[:, None], y - y_mean[:, None]
            gram = x.transpose(0, 2, 1) @ x
            gram += penalty * len(training) * np.eye(gram.shape[1])
            weights = np.linalg.solve(gram, (x.transpose(0, 2, 1) @ y[..., None]))[..., 0]
            parts.append((weights, y_mean - (weights * x_mean).sum(1)))
        weights, offset = (np.concatenate(values) for values in zip(*parts, strict=True))
        return cls(history, windows.lags, weights, offset, penalty)

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        forecast = np.empty((len(samples), len(self.offset)))
        steps = np.asarray(samples)[:, None] + self.lags
        for start in range(0, len(self.offset), PIXELS_AT_ONCE):
            part = slice(start, start + PIXELS_AT_ONCE)
            x = self.history[:, part][steps].transpose(2, 0, 1).astype(np.float64)
            forecast[:, part] = ((x @ self.weights[part, :, None])[..., 0] + self.offset[part, None]).T
        return forecast
