"""Ridge regression of every ocean cell on the last months of a square of cells around it, with one penalty for all."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.pixel_ridge import PENALTIES
from sealiency.emulators.linear.predictor import split_training

# The penalty is chosen by the errors at so many cells, spread evenly.
CHOOSING_CELLS = 200


@dataclass
class WindowRidge:
    """One ridge regression a cell; land is 0, so it has no say."""

    windows: SampleWindows
    ocean: np.ndarray
    """Bool of shape (lat, lon)."""
    months: int
    side: int
    weights: np.ndarray
    """Float64 of shape (cell, feature): months by rows by columns of the square, the oldest month first."""
    offset: np.ndarray
    """Float64 of shape (cell,)."""
    penalty: float
    """The penalty chosen, per sample, standardised units squared."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, months: int, side: int) -> Self:
        """Choose the penalty on the last fifth of the training samples and fit the weights.

        Parameters
        ----------
        windows
            Inputs and targets of samples.
        training
            Numbers of the training samples.
        ocean
            Bool of shape (lat, lon).
        months
            Months of history, the last ones.
        side
            Cells along each side of the square, an odd number.
        """
        cells = np.argwhere(ocean)
        fitted, held_out = split_training(windows, training)
        few = np.unique(np.linspace(0, len(cells) - 1, min(CHOOSING_CELLS, len(cells))).astype(int))
        errors = np.zeros(len(PENALTIES))
        for cell in cells[few]:
            x, y = _gather(windows, fitted, cell, months, side)
            later, observed = _gather(windows, held_out, cell, months, side)
            means, spread = x.mean(0), y.mean()
            # By the singular values of the inputs, every penalty costs a product alone.
            left, values, right = np.linalg.svd(x - means, full_matrices=False)
            projected, ahead = left.T @ (y - spread), (later - means) @ right.T
            for at, penalty in enumerate(PENALTIES):
                forecast = spread + ahead @ (values / (values**2 + penalty * len(fitted)) * projected)
                errors[at] += float(((forecast - observed) ** 2).sum())
        penalty = PENALTIES[int(np.argmin(errors))]
        weights, offset = np.zeros((len(cells), months * side**2)), np.zeros(len(cells))
        for number, cell in enumerate(cells):
            x, y = _gather(windows, training, cell, months, side)
            means, spread = x.mean(0), y.mean()
            weights[number] = _solve(x - means, y - spread, penalty * len(training))
            offset[number] = spread - means @ weights[number]
        return cls(windows, ocean, months, side, weights, offset, penalty)

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples, standardised units, float64 of shape (sample, cell)."""
        forecast = np.empty((len(samples), len(self.offset)))
        for number, cell in enumerate(np.argwhere(self.ocean)):
            x, _ = _gather(self.windows, samples, cell, self.months, self.side)
            forecast[:, number] = x @ self.weights[number] + self.offset[number]
        return forecast


def _gather(
    windows: SampleWindows, samples: range, cell: np.ndarray, months: int, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs, float64 of shape (sample, feature), and targets, of shape (sample,); beyond the edge all is 0."""
    reach, anomaly = side // 2, windows.anomaly.numpy()
    (row, column), grid = cell, anomaly.shape[1:]
    square = np.zeros((len(anomaly), side, side))
    rows = slice(max(0, row - reach), min(grid[0], row + reach + 1))
    columns = slice(max(0, column - reach), min(grid[1], column + reach + 1))
    top, left = rows.start - row + reach, columns.start - column + reach
    square[:, top : top + rows.stop - rows.start, left : left + columns.stop - columns.start] = anomaly[
        :, rows, columns
    ]
    steps = np.asarray(samples)[:, None] + windows.lags[-months:]
    targets = anomaly[np.asarray(samples) + windows.lead - 1, row, column].astype(np.float64)
    return square[steps].reshape(len(samples), -1), targets


def _solve(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Return the weights of centred inputs and targets, by the smaller of the two systems of equations."""
    samples, features = x.shape
    if features <= samples:
        return np.linalg.solve(x.T @ x + penalty * np.eye(features), x.T @ y)
    return x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(samples), y)
