"""Completeness: attributions must sum to what the output changed by, or they explain something else."""

import numpy as np

from sealiency.errors import SealiencyError


def measure_completeness(total: np.ndarray, magnitude: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return |sum a - (f(x) - f(x0))| / sum |a|.

    Parameters
    ----------
    total, magnitude
        Sums of the attributions and of their absolute values, float64 of one shape.
    expected
        f(x) - f(x0), float64 of that shape.

    Returns
    -------
    numpy.ndarray
        Float64 of that shape; infinite where attributions or outputs are not finite.
    """
    error = np.abs(total - expected)
    # No attribution at all is complete only if the output did not move; a NaN is never complete.
    finite = np.isfinite(magnitude) & (magnitude > 0)
    relative = np.where(finite, error / np.where(finite, magnitude, 1), np.where(error == 0, 0, np.inf))
    return np.where(np.isnan(relative), np.inf, relative)


def check_completeness(
    errors: np.ndarray,
    tolerance: float | None,
    mend: str,
    samples: list[int],
    pixels: list[str],
    lead: int | None = None,
) -> None:
    """Refuse attributions that break completeness.

    Parameters
    ----------
    errors
        Errors of shape (sample, pixel), from `measure_completeness`.
    tolerance
        Largest error accepted, or None where the method has no completeness.
    mend
        What to do about it, for the error.
    samples
        Samples by number k.
    pixels
        The pixels in words, for the error.
    lead
        Lead, months, for the error; None where there is none.

    Raises
    ------
    SealiencyError
        If an error exceeds the tolerance; sample, pixel and value are named.
    """
    if tolerance is None or (errors <= tolerance).all():
        return
    sample, pixel = np.unravel_index(int(errors.argmax()), errors.shape)
    of_lead = "" if lead is None else f", lead {lead}"
    raise SealiencyError(
        f"sample {samples[sample]}, pixel {pixels[pixel]}{of_lead}: completeness error "
        f"{errors[sample, pixel]:.3g} exceeds {tolerance:g}; {mend}"
    )
