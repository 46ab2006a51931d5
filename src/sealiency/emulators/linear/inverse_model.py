"""The linear inverse model: Penland, C. & Sardeshmukh, P. D. (1995), The optimal growth of tropical SST anomalies, J. Climate 8."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.eofs import Eofs, find_eofs, list_truncations
from sealiency.emulators.linear.predictor import split_training, take_known_months, take_last_months, take_targets


@dataclass
class InverseModel:
    """Principal components of the last month, carried forward by one propagator a month: G = C(1) C(0)^-1, forecast G^lead.

    The number of patterns is the one with the least error, weighted by area, on the last fifth of the training samples.
    """

    windows: SampleWindows
    ocean: np.ndarray
    """Bool of shape (lat, lon)."""
    eofs: Eofs
    propagator: np.ndarray
    """G to the power of the lead, float64 of shape (pattern, pattern)."""

    @classmethod
    def fit(cls, windows: SampleWindows, training: range, ocean: np.ndarray, area: np.ndarray) -> Self:
        """Choose the truncation and fit the propagator; see `FieldPredictor`."""
        fitted, held_out = split_training(windows, training)
        first, observed = take_known_months(windows, ocean, fitted), take_targets(windows, ocean, held_out)
        eofs = find_eofs(first, area)
        errors = {}
        for truncation in list_truncations(eofs, len(first)):
            model = cls(windows, ocean, eofs, _propagate(eofs.project(first, truncation), windows.lead))
            errors[truncation] = float(((model.forecast(held_out) - observed) ** 2 @ area).sum())
        best = min(errors, key=lambda truncation: errors[truncation], default=0)
        known = take_known_months(windows, ocean, training)
        eofs = find_eofs(known, area)
        return cls(windows, ocean, eofs, _propagate(eofs.project(known, best), windows.lead))

    def forecast(self, samples: range) -> np.ndarray:
        """Return the forecasts of samples; see `FieldPredictor`."""
        last = take_last_months(self.windows, self.ocean, samples)
        return self.eofs.compose(self.eofs.project(last, len(self.propagator)) @ self.propagator.T)


def _propagate(components: np.ndarray, lead: int) -> np.ndarray:
    before, after = components[:-1], components[1:]
    return np.linalg.matrix_power(np.linalg.solve(before.T @ before, before.T @ after).T, lead)
