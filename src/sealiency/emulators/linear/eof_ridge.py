"""Ridge regression on each cell's own months, and of what it leaves on the leading patterns of the last month."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.eofs import Eofs, find_eofs, list_truncations
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.linear.predictor import gather_months, gather_targets, split_training

# Penalties of the regression on the patterns, relative to the variance of the leading one.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass
class EofRidge:
    """The per-pixel ridge plus a ridge regression of its residuals on the leading principal components of the last month.

    Truncation and penalty are those with the least error, weighted by area, on the last fifth of the training samples; no
    pattern at all is among the choices.
    """

    months: np.ndarray
    """Anomalies, float64 of shape (month, cell)."""
    ridge: PixelRidge
    eofs: Eofs
    coefficients: np.ndarray
    """Float64 of shape (pattern, cell)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Choose truncation and penalty and fit both regressions; see `FieldPredictor`."""
        months = gather_months(windows, ocean)
        ridge = PixelRidge.fit(windows, training, ocean, area)
        fitted, held_out = split_training(windows, training)
        tried = PixelRidge.fit_with(windows, fitted, ocean, ridge.penalty)
        eofs = find_eofs(months[: fitted.stop - 1], area)
        observed, plain = gather_targets(months, windows, held_out), tried.forecast(held_out)
        errors = {(0, 0.0): float(((plain - observed) ** 2 @ area).sum())}
        for truncation in list_truncations(eofs, len(fitted)):
            last = eofs.project(months[np.asarray(held_out) - 1], truncation)
            for penalty in PENALTIES:
                found = _regress(months, windows, fitted, tried, eofs, truncation, penalty)
                errors[truncation, penalty] = float(((plain + last @ found - observed) ** 2 @ area).sum())
        truncation, penalty = min(errors, key=lambda choice: errors[choice])
        eofs = find_eofs(months[: training.stop - 1], area)
        return cls(months, ridge, eofs, _regress(months, windows, training, ridge, eofs, truncation, penalty))

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        last = self.eofs.project(self.months[np.asarray(samples) - 1], len(self.coefficients))
        return self.ridge.forecast(samples) + last @ self.coefficients


def _regress(
    months: np.ndarray,
    windows: SampleWindows,
    samples: range,
    ridge: PixelRidge,
    eofs: Eofs,
    truncation: int,
    penalty: float,
) -> np.ndarray:
    """Return the coefficients, of shape (pattern, cell), of what a ridge leaves of the targets of samples."""
    left = gather_targets(months, windows, samples) - ridge.forecast(samples)
    last = eofs.project(months[np.asarray(samples) - 1], truncation)
    if not truncation:
        return np.zeros((0, months.shape[1]))
    products = last.T @ last
    products[np.diag_indices(truncation)] += penalty * products[0, 0]
    return np.linalg.solve(products, last.T @ left)
