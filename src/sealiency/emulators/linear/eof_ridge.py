"""Ridge regression on each cell's own months, and of what it leaves on the leading patterns of the last month."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.eofs import Eofs, find_eofs, list_truncations
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.linear.predictor import split_training, take_known_months, take_last_months, take_targets

# Penalties of the regression on the patterns, relative to the variance of the leading one.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass
class EofRidge:
    """The per-pixel ridge plus a ridge regression of its residuals on the leading principal components of the last month.

    Truncation and penalty are those with the least error, weighted by area, on the last fifth of the training samples; no
    pattern at all is among the choices.
    """

    windows: SampleWindows
    ocean: np.ndarray
    """Bool of shape (lat, lon)."""
    ridge: PixelRidge
    eofs: Eofs
    coefficients: np.ndarray
    """Float64 of shape (pattern, cell)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Choose truncation and penalty and fit both regressions; see `FieldPredictor`."""
        ridge = PixelRidge.fit(windows, training, ocean, area)
        fitted, held_out = split_training(windows, training)
        tried = PixelRidge.fit_with(windows, fitted, ocean, ridge.penalty)
        eofs = find_eofs(take_known_months(windows, ocean, fitted), area)
        left, missed = (take_targets(windows, ocean, few) - tried.forecast(few) for few in (fitted, held_out))
        errors = {(0, 0.0): float((missed**2 @ area).sum())}
        for truncation in list_truncations(eofs, len(fitted)):
            last, later = (
                eofs.project(take_last_months(windows, ocean, few), truncation) for few in (fitted, held_out)
            )
            for penalty in PENALTIES:
                error = later @ _regress(last, left, penalty) - missed
                errors[truncation, penalty] = float((error**2 @ area).sum())
        truncation, penalty = min(errors, key=lambda choice: errors[choice])
        eofs = find_eofs(take_known_months(windows, ocean, training), area)
        last = eofs.project(take_last_months(windows, ocean, training), truncation)
        left = take_targets(windows, ocean, training) - ridge.forecast(training)
        return cls(windows, ocean, ridge, eofs, _regress(last, left, penalty))

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        last = self.eofs.project(take_last_months(self.windows, self.ocean, samples), len(self.coefficients))
        return self.ridge.forecast(samples) + last @ self.coefficients


def _regress(components: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Return the coefficients, of shape (pattern, cell), of targets, (sample, cell), on components, (sample, pattern)."""
    patterns = components.shape[1]
    if not patterns:
        return np.zeros((0, targets.shape[1]))
    products = components.T @ components
    products[np.diag_indices(patterns)] += penalty * products[0, 0]
    return np.linalg.solve(products, components.T @ targets)
