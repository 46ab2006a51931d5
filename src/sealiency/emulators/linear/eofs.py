"""Empirical orthogonal functions of the training months: the patterns that hold most of the variance."""

from dataclasses import dataclass

import numpy as np

# Numbers of patterns that truncations are chosen from.
TRUNCATIONS = (5, 10, 20, 30, 40, 60, 80, 120, 160)


@dataclass
class Eofs:
    """The leading patterns of anomalies weighted by area.

    Parameters
    ----------
    patterns
        Orthonormal, float64 of shape (pattern, cell), by falling variance.
    weights
        Square roots of the cells' relative areas, float64 of shape (cell,).
    """

    patterns: np.ndarray
    weights: np.ndarray

    def project(self, months: np.ndarray, truncation: int) -> np.ndarray:
        """Return the leading principal components of anomalies, of shape (month, pattern)."""
        return (months * self.weights) @ self.patterns[:truncation].T

    def compose(self, components: np.ndarray) -> np.ndarray:
        """Return the anomalies, of shape (month, cell), that principal components stand for."""
        return components @ self.patterns[: components.shape[1]] / self.weights


def find_eofs(months: np.ndarray, area: np.ndarray) -> Eofs:
    """Find the leading patterns of some months.

    Parameters
    ----------
    months
        Anomalies, float64 of shape (month, cell).
    area
        Relative areas of the cells, float64 of shape (cell,).
    """
    weights = np.sqrt(area / area.mean())
    weighted = months * weights
    # Months are fewer than cells: the eigenvectors of their products give the patterns.
    variances, vectors = np.linalg.eigh(weighted @ weighted.T)
    order = np.argsort(variances)[::-1][: max(TRUNCATIONS)]
    order = order[variances[order] > 1e-10 * variances.max()] if variances.max() > 0 else order[:0]
    patterns = (vectors[:, order].T @ weighted) / np.sqrt(variances[order])[:, None]
    return Eofs(patterns, weights)


def list_truncations(eofs: Eofs, months: int) -> list[int]:
    """Return the truncations that so many months can tell apart: at least three months a pattern."""
    return [few for few in TRUNCATIONS if few <= min(len(eofs.patterns), months // 3)]
