"""How far back and how far away the forecast of each ocean pixel comes from, on average over the training samples."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sealiency.claims.profiles import measure_mean_lag, measure_radius, measure_recent_share, sum_profile
from sealiency.config.figures import Figures
from sealiency.figures import maps, style

# Neither stands in the colour maps, nor is it the grey of land.
_NOT_EXPLAINED, _NO_VALUE = "white", "#00E5FF"
# Sequential: one for time, one for space.
_TIME, _SPACE = "viridis", "plasma"


@style.styled
def plot_attribution_maps(attributions: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw where the attributions of each explained pixel lie in time and in space.

    Parameters
    ----------
    attributions
        Reduced attributions of one lead, best opened lazily: monthly_all(pixel, lag); radial_positive and
        radial_negative(pixel, bootstrap_block, lag, distance), standard deviations; block_samples(bootstrap_block);
        distance_bounds(distance, bounds), km; pixel_row and pixel_column(pixel); ocean(lat, lon).
    skill
        Skill of the same lead.
    settings
        Appearance.

    Returns
    -------
    Figure of four maps, each on its own scale: mean lag, share of month -1, and the radii that hold 50 % and 90 % of
    the attributions. Ocean that is not explained, and explained pixels without a value, each have a colour of their own.
    """
    ocean = attributions["ocean"].load().astype(bool)
    profile, bounds = sum_profile(attributions), attributions["distance_bounds"].load()
    panels = (
        (measure_mean_lag(attributions), _TIME, "Months back", "Mean lag"),
        (measure_recent_share(attributions), _TIME, "Share (1)", f"Share of {style.month_text(-1)}"),
        (measure_radius(profile, bounds, 0.5), _SPACE, "Distance (km)", "Radius of 50 % of the attributions"),
        (measure_radius(profile, bounds, 0.9), _SPACE, "Distance (km)", "Radius of 90 % of the attributions"),
    )
    attrs = attributions.attrs
    figure = style.new_figure(
        f"Where attributions lie in time and space: {style.lead_text(attrs['lead'])}, "
        f"{style.method_text(attrs['method'])}, {attrs['samples']} training samples, {attrs['precision']}",
        height=2 * (maps.map_height(ocean, style.WIDTH / 2 - 1.4) + 0.5) + 0.3,
    )
    explained = _place_on_grid(xr.ones_like(attributions["pixel_row"].load(), float), attributions).notnull()
    skipped = ocean & ~explained
    seen = {"ocean, not explained": _NOT_EXPLAINED} if skipped.any() else {}
    for letter, panel, (values, colormap, label, title) in zip("ABCD", figure.subplots(2, 2).flat, panels, strict=True):
        field = _place_on_grid(values, attributions)
        scale = style.Scale.spanning([field], colormap, label)
        maps.shade(panel, skipped, _NOT_EXPLAINED)
        unknown = explained & field.isnull()
        maps.shade(panel, unknown, _NO_VALUE)
        if unknown.any():
            seen[f"beyond {bounds.values[-1, 0]:g} km, or no attribution"] = _NO_VALUE
        maps.draw_map(panel, field, ocean, scale, f"{letter}: {title[0].lower()}{title[1:]}")
        maps.add_colorbar(figure, panel, scale, "right")
    if seen:
        patches = [Patch(facecolor=color, edgecolor="0.25", label=text) for text, color in seen.items()]
        figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False)
    style.mark_no_skill(figure, skill)
    return figure


def _place_on_grid(values: xr.DataArray, attributions: xr.Dataset) -> xr.DataArray:
    """Return values of shape [pixel] on the grid, of shape [lat, lon], with NaN where no pixel is explained."""
    grid = attributions["ocean"]
    placed = np.full((attributions.sizes["lat"], attributions.sizes["lon"]), np.nan)
    placed[attributions["pixel_row"].values, attributions["pixel_column"].values] = values.values
    return xr.DataArray(placed, coords={"lat": grid["lat"], "lon": grid["lon"]}, dims=("lat", "lon"))
