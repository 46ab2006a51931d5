"""What the findings measure on a survey of attributions, with a moving-block bootstrap over its samples.

A measured series holds the value on all samples first and then one value a draw of the bootstrap, so that differences of
two series, drawn alike, have intervals too.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sealiency.claims.bootstrap import draw_blocks
from sealiency.claims.profiles import measure_radius

# Percentiles of the draws, the ends of a 95 % interval.
ENDS = (2.5, 97.5)
MONTHS_OF_A_YEAR = 12
NAMES = (
    "radius_50",
    "radius_90",
    "recent_share",
    "old_share",
    "mean_lag",
    "far_share",
    "common_variance",
    "pattern_correlation",
)


@dataclass(frozen=True)
class Measure:
    """A number with its interval over samples and its spread over training seeds."""

    value: float
    """Mean over seeds."""
    low: float
    """Lower end of the interval: the lowest of all seeds' 95 % intervals and values."""
    high: float
    """Upper end of the interval: the highest of all seeds' 95 % intervals and values."""
    seeds: list[float]
    """Value of each seed."""


def count_draws(blocks: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each bootstrap block is drawn: once each in the first row, and then as the bootstrap draws them.

    Parameters
    ----------
    blocks
        Number of bootstrap blocks of a survey.
    draws, seed
        Number of draws and seed. A run is as long as the cube root of the number of blocks, rounded, the order of
        magnitude that Künsch (1989) gives.

    Returns
    -------
    numpy.ndarray
        Integers of shape (1 + draws, block).
    """
    drawn = draw_blocks(blocks, max(1, round(blocks ** (1 / 3))), draws, seed)
    counts = np.zeros((draws, blocks), dtype=np.int64)
    np.add.at(counts, (np.arange(draws)[:, None], drawn), 1)
    return np.concatenate([np.ones((1, blocks), dtype=np.int64), counts])


def measure_survey(survey: xr.Dataset, counts: np.ndarray, far_km: float) -> dict[str, np.ndarray]:
    """Measure where and when the attributions of a survey lie.

    Parameters
    ----------
    survey
        `radial_positive`, `radial_negative` (pixel, bootstrap_block, lag, distance), means over the samples of each
        bootstrap block, both >= 0; `block_samples`, `distance_bounds` (km), `pixel_lat` (degrees north).
    counts
        How often each bootstrap block counts, of shape (series, bootstrap_block), from `count_draws`.
    far_km
        Distance beyond which a contribution is far, km: bins that begin there or beyond are.

    Returns
    -------
    dict of numpy.ndarray
        Float64 series, by name. Over pixels: the medians of `radius_50` and `radius_90`, km, infinite where the share is
        reached in the last, open bin only; the means, weighted by area, of `recent_share` (month -1), `old_share` (months
        before -12), `mean_lag` (months) and `far_share`. Of all pixels' curves of monthly contributions, each divided by
        its sum and less its mean over months: `common_variance`, the share of their variance along their leading
        empirical orthogonal function, and `pattern_correlation`, their mean correlation with each other; NaN for one
        pixel. All are NaN where a pixel has no attributions.
    """
    order = ("pixel", "bootstrap_block", "lag", "distance")
    summed = (survey["radial_positive"] + survey["radial_negative"]).transpose(*order) * survey["block_samples"]
    values = summed.transpose(*order).values.astype(np.float64)
    by_lag = np.einsum("sb,pbl->spl", counts, values.sum(3))
    by_distance = np.einsum("sb,pbd->spd", counts, values.sum(2))
    total = by_lag.sum(2, keepdims=True)
    if not (np.isfinite(total).all() and (total > 0).all()):
        return dict.fromkeys(NAMES, np.full(len(counts), np.nan))
    share = by_lag / total
    area = np.cos(np.deg2rad(survey["pixel_lat"].values))
    area = area / area.sum()
    lags = survey["lag"].values
    low = survey["distance_bounds"].transpose("distance", "bounds").values[:, 0]
    return {
        "radius_50": _take_median_radius(by_distance, survey["distance_bounds"], 0.5),
        "radius_90": _take_median_radius(by_distance, survey["distance_bounds"], 0.9),
        "recent_share": share[:, :, lags == -1].sum(2) @ area,
        "old_share": share[:, :, lags < -MONTHS_OF_A_YEAR].sum(2) @ area,
        "mean_lag": (share @ -lags.astype(np.float64)) @ area,
        # Without such a bin it is not known.
        "far_share": (by_distance[:, :, low >= far_km].sum(2) / total[..., 0]) @ area
        + (0 if low[-1] >= far_km else np.nan),
        **_compare_curves(share),
    }


def _take_median_radius(by_distance: np.ndarray, bounds: xr.DataArray, share: float) -> np.ndarray:
    series, pixels, distances = by_distance.shape
    profile = xr.DataArray(by_distance.reshape(series * pixels, distances), dims=("pixel", "distance"))
    radius = measure_radius(profile, bounds, share).values.reshape(series, pixels)
    # Beyond all bins is farther than any radius.
    return np.asarray(np.median(np.where(np.isnan(radius), np.inf, radius), axis=1))


def _compare_curves(share: np.ndarray) -> dict[str, np.ndarray]:
    series, pixels, _ = share.shape
    if pixels < 2:
        nothing = np.full(series, np.nan)
        return {"common_variance": nothing, "pattern_correlation": nothing}
    curves = share - share.mean(2, keepdims=True)
    squared = np.linalg.svd(curves, compute_uv=False) ** 2
    norm = np.linalg.norm(curves, axis=2, keepdims=True)
    unit = np.divide(curves, norm, out=np.full_like(curves, np.nan), where=norm > 0)
    # The squared length of the sum of unit vectors is the sum of all their products, each with itself among them.
    together = (unit.sum(1) ** 2).sum(1)
    return {
        "common_variance": np.divide(
            squared[:, 0], squared.sum(1), out=np.full(series, np.nan), where=squared.sum(1) > 0
        ),
        "pattern_correlation": (together - pixels) / (pixels * (pixels - 1)),
    }


def summarise_seeds(series: list[np.ndarray]) -> Measure:
    """Return the mean over seeds, and the interval that holds every seed's own 95 % interval and value.

    The values are in it because draws of a correlation or of a share of variance lie below them: fewer different samples
    agree less. A seed without a value leaves the whole without one.

    Parameters
    ----------
    series
        Of each seed, the value and then the bootstrap's draws.
    """
    values = [float(one[0]) for one in series]
    # Of infinite draws no percentile can be interpolated.
    ends = [np.percentile(one[1:], ENDS, method="nearest") for one in series]
    return Measure(
        value=float(np.mean(values)),
        low=float(np.min([values, [low for low, _ in ends]])),
        high=float(np.max([values, [high for _, high in ends]])),
        seeds=values,
    )
