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

    The nulls of the findings (`point_ridge.py`) solve the same regression in its dual form, pixel by pixel and with a
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
        history = windows.anomaly.numpy()[:, ocean]
        errors = np.zeros(len(PENALTIES))
        for pixels in _list_blocks(history):
            model = _Equations(history[:, pixels], windows, fitted, targets)
            x, observed = _gather(history[:, pixels], windows, held_out, targets)
            for at, penalty in enumerate(PENALTIES):
                weights, offset = model.solve(penalty)
                errors[at] += float((((x @ weights[..., None])[..., 0] + offset[:, None] - observed) ** 2).sum())
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
        targets = np.arange(len(windows.anomaly)) if target_samples is None else target_samples
        history = windows.anomaly.numpy()[:, ocean]
        parts = [_Equations(history[:, p], windows, training, targets).solve(penalty) for p in _list_blocks(history)]
        weights, offset = (np.concatenate(values) for values in zip(*parts, strict=True))
        return cls(history, windows.lags, weights, offset, penalty)

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        forecast = np.empty((len(samples), len(self.offset)))
        steps = np.asarray(samples)[:, None] + self.lags
        for part in _list_blocks(self.history):
            x = self.history[:, part][steps].transpose(2, 0, 1).astype(np.float64)
            forecast[:, part] = ((x @ self.weights[part, :, None])[..., 0] + self.offset[part, None]).T
        return forecast


class _Equations:
    """The normal equations of some cells: one matrix of inner products a cell, whatever the penalty."""

    def __init__(self, history: np.ndarray, windows: SampleWindows, samples: range, targets: np.ndarray) -> None:
        x, y = _gather(history, windows, samples, targets)
        self.x_mean, self.y_mean, self.samples = x.mean(1), y.mean(1), len(samples)
        x, y = x - self.x_mean[:, None], y - self.y_mean[:, None]
        self.gram, self.cross = x.transpose(0, 2, 1) @ x, x.transpose(0, 2, 1) @ y[..., None]

    def solve(self, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        """Return weights, of shape (cell, lag), and offsets, of shape (cell,)."""
        lags = self.gram.shape[1]
        weights = np.linalg.solve(self.gram + penalty * self.samples * np.eye(lags), self.cross)[..., 0]
        return weights, self.y_mean - (weights * self.x_mean).sum(1)


def _list_blocks(history: np.ndarray) -> list[slice]:
    return [slice(start, start + PIXELS_AT_ONCE) for start in range(0, history.shape[1], PIXELS_AT_ONCE)]


def _gather(
    history: np.ndarray, windows: SampleWindows, samples: range, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs, float64 of shape (cell, sample, lag), and targets, of shape (cell, sample)."""
    steps = np.asarray(samples)[:, None] + windows.lags
    x = history[steps].transpose(2, 0, 1).astype(np.float64)
    return x, history[targets[samples] + windows.lead - 1].T.astype(np.float64)
