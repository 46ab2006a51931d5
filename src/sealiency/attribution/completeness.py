"""Completeness: attributions must sum to what the output changed by, or they explain something else."""

from collections.abc import Sequence

import numpy as np

from sealiency.errors import SealiencyError


def measure_completeness(attributions: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return |sum a - (f(x) - f(x0))| / sum |a| of each sample.

    Parameters
    ----------
    attributions
        Float64 of shape (sample, lag, lat, lon).
    expected
        f(x) - f(x0), float64 of shape (sample,).

    Returns
    -------
    numpy.ndarray
        Float64 of shape (sample,); infinite where attributions or outputs are not finite.
    """
    total = np.abs(attributions).sum((1, 2, 3))
    error = np.abs(attributions.sum((1, 2, 3)) - expected)
    # No attribution at all is complete only if the output did not move; a NaN is never complete.
    finite = np.isfinite(total) & (total > 0)
    relative = np.where(finite, error / np.where(finite, total, 1), np.where(error == 0, 0, np.inf))
    return np.where(np.isnan(relative), np.inf, relative)


def check_completeness(
    errors: np.ndarray, tolerance: float | None, mend: str, samples: Sequence[int], pixel: str, lead: int
) -> None:
    """Refuse attributions of one pixel that break completeness.

    Parameters
    ----------
    errors
        Errors of shape (sample,), from `measure_completeness`.
    tolerance
        Largest error accepted, or None where the method has no completeness.
    mend
        What to do about it, for the error.
    samples
        Samples by number k.
    pixel
        The pixel in words, for the error.
    lead
        Lead, months.

    Raises
    ------
    SealiencyError
        If an error exceeds the tolerance; sample, pixel and value are named.
    """
    if tolerance is None or (errors <= tolerance).all():
        return
    worst = int(errors.argmax())
    raise SealiencyError(
        f"sample {samples[worst]}, pixel {pixel}, lead {lead}: completeness error {errors[worst]:.3g} exceeds "
        f"{tolerance:g}; {mend}"
    )
