"""How far back in time and how far away in space the attributions of each pixel lie.

The functions take the reduced attributions of one emulator, opened lazily. Positive contributions and the absolute values
of negative ones count alike throughout.
"""

import numpy as np
import xarray as xr

_PIXELS_AT_ONCE = 64


def measure_mean_lag(attributions: xr.Dataset) -> xr.DataArray:
    """Return the mean age of the input months, weighted by their attributions.

    The age of month -1, the latest input month, is 1 month, that of month -36 is 36 months: months are counted back from
    the first month after the input, not from the month forecast.

    Parameters
    ----------
    attributions
        `monthly_all` (pixel, lag), with `lag` from -history to -1.

    Returns
    -------
    xarray.DataArray
        Mean age by pixel, months, float64; NaN where there is no attribution.
    """
    weights = attributions["monthly_all"].astype(float)
    age = -attributions["lag"]
    mean = xr.dot(age, weights, dim="lag") / weights.sum("lag", skipna=False)
    return _describe(mean, "mean age of the input months, weighted by attribution", "month")


def measure_recent_share(attributions: xr.Dataset) -> xr.DataArray:
    """Return the share of month -1, the latest input month, in the attributions of all months.

    Parameters
    ----------
    attributions
        `monthly_all` (pixel, lag), with `lag` from -history to -1.

    Returns
    -------
    xarray.DataArray
        Share by pixel, 1, float64; NaN where there is no attribution.
    """
    weights = attributions["monthly_all"].astype(float)
    share = weights.sel(lag=-1, drop=True) / weights.sum("lag", skipna=False)
    return _describe(share, "share of the latest input month in the attributions of all months", "1")


def sum_profile(attributions: xr.Dataset) -> xr.DataArray:
    """Sum the attributions of each pixel over samples and lags, by distance.

    Few pixels are read at once, since the radial sums of every ocean pixel may not fit into memory.

    Parameters
    ----------
    attributions
        `radial_positive`, `radial_negative` (pixel, bootstrap_block, lag, distance), means over the samples of each
        bootstrap block, both >= 0; `block_samples` (bootstrap_block).

    Returns
    -------
    xarray.DataArray
        Sums of shape [pixel, distance], float64.
    """
    parts = []
    for start in range(0, attributions.sizes["pixel"], _PIXELS_AT_ONCE):
        part = attributions.isel(pixel=slice(start, start + _PIXELS_AT_ONCE))
        # A mean over a short last block counts for as many samples as it has.
        positive, negative = (
            xr.dot(part[f"radial_{sign}"], part["block_samples"], dim=["bootstrap_block", "lag"])
            for sign in ("positive", "negative")
        )
        parts.append(positive + negative)
    return xr.concat(parts, "pixel").transpose("pixel", "distance")


def measure_radius(profile: xr.DataArray, bounds: xr.DataArray, share: float) -> xr.DataArray:
    """Return the great-circle distance within which a share of the attributions lies.

    Within a bin the attributions are taken to be spread evenly over distance, from its lower to its upper edge; so
    they are in the first bin too, which begins at 0 and holds the pixel's own cell. The distance of that cell is 0, but it
    covers an area out to half a cell. A radius below the first upper edge says no more than that the first bin holds the
    share, and how much beyond. Where the share is reached at an edge before empty bins, that edge is the radius.

    Parameters
    ----------
    profile
        Sums by distance, of shape [pixel, distance], from `sum_profile`.
    bounds
        Lower and upper edge of each bin, of shape [distance, bounds], km.
    share
        Share of the attributions, above 0 and at most 1.

    Returns
    -------
    xarray.DataArray
        Radius by pixel, km, float64. NaN where there is no attribution, and where the share is reached only in the last
        bin: that bin is open, so all that is known is that the radius exceeds its lower edge.
    """
    sums = profile.transpose("pixel", "distance").values
    low, high = bounds.transpose("bounds", "distance").values
    within = np.cumsum(sums, axis=1)
    wanted = share * within[:, -1]
    at = (within < wanted[:, None]).sum(axis=1)
    pixel = np.arange(len(sums))
    before = np.where(at > 0, within[pixel, at - 1], 0.0)
    part = (wanted - before) / np.where(wanted > 0, sums[pixel, at], np.nan)
    radius = low[at] + part * (high - low)[at]
    known = at < len(low) - 1
    values = profile.isel(distance=0, drop=True).copy(data=np.where(known, radius, np.nan))
    return _describe(values, f"distance within which {share:.0%} of the attributions lie", "km")


def _describe(values: xr.DataArray, long_name: str, units: str) -> xr.DataArray:
    return values.rename(None).assign_attrs(long_name=long_name, units=units)
