"""Fig. 5: how far the forecast changes when a box of its input is taken away."""

import re

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style

_REPLACEMENTS = {"zero": "zero", "climatology": "calendar-month means", "noise": "noise"}
_DECAY_INCHES = 2.3


@style.styled
def plot_ablation(ablation: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw the ablated input, the output before and after, their difference, and its size by distance from the box.

    Parameters
    ----------
    ablation
        One sample of one lead: ablated_input(lag, lat, lon), forecast(lat, lon), ablated_forecast(lat, lon) and
        difference(lat, lon), standard deviations; ablated(lat, lon), true in the box; reach(lat, lon), true where the
        network's structure lets the forecast depend on the box; decay(distance), standard deviations, and
        distance_bounds(distance, bounds), km; ocean(lat, lon). Attributes: replacement, zero_beyond_km.
    skill
        Skill of the same lead.
    settings
        Appearance.

    Returns
    -------
    Figure of four maps with the box outlined, the two outputs on one scale, and below them a curve.
    """
    ocean, colormap = ablation["ocean"], settings.colormap
    lag = earliest_ablated(ablation)
    source = maps.ocean_only(ablation["ablated_input"].sel(lag=lag), ocean)
    before, after, change = (
        maps.ocean_only(ablation[name], ocean) for name in ("forecast", "ablated_forecast", "difference")
    )
    outputs = style.Scale.symmetric([before, after], colormap, style.ANOMALY)
    # The change is confined to few cells, of which a percentile over the whole map knows too little.
    changes = style.Scale.symmetric([change], colormap, "Difference (standard deviations)", percentile=100)
    panels = (
        (
            source,
            style.Scale.symmetric([source], colormap, style.ANOMALY),
            f"Input of {style.month_text(lag)}, ablated",
        ),
        (before, outputs, "Output before ablation"),
        (after, outputs, "Output after ablation"),
        (change, changes, "Difference (after \N{MINUS SIGN} before)"),
    )
    named = _named_months(ablation)
    which = "all months"
    if named:
        which = f"month{'s' * (len(named) > 1)} {', '.join(map(str, named))}".replace("-", "\N{MINUS SIGN}")
    map_inches = 2 * (maps.map_height(ablation, style.WIDTH / 2 - 1.4) + 0.5)
    figure = style.new_figure(
        f"Ablation of {which} by {_REPLACEMENTS[ablation.attrs['replacement']]}: forecast of "
        f"{ablation.attrs['target_month']}, {style.lead_text(ablation.attrs['lead'])}",
        height=map_inches + _DECAY_INCHES,
    )
    top, bottom = style.split_rows(figure, [map_inches, _DECAY_INCHES])
    for letter, panel, (field, scale, title) in zip("ABCD", top.subplots(2, 2).flat, panels, strict=True):
        maps.draw_map(panel, field, ocean, scale, f"{letter}: {title[0].lower()}{title[1:]}")
        maps.outline(panel, ablation["ablated"], color="black", linewidth=2.0, gid="box")
        maps.add_colorbar(top, panel, scale, "right")
        if letter == "D":
            _outline_reach(panel, ablation["reach"])
    _draw_decay(bottom.subplots(), ablation)
    style.mark_no_skill(figure, skill)
    return figure


def _outline_reach(axes: Axes, reach: xr.DataArray) -> None:
    """Draw the border of what the box can reach; there is none where that is everything."""
    inside = reach.transpose("lat", "lon").values.astype(float)
    if not inside.all():
        # A contour, because dashes need lines longer than the edge of a cell.
        border = axes.contour(
            reach["lon"], reach["lat"], inside, levels=[0.5], colors="black", linewidths=0.9, linestyles="--"
        )
        border.set_gid("reach")


def _draw_decay(axes: Axes, ablation: xr.Dataset) -> None:
    """Draw the mean difference by distance, and where it is zero because the network sees no farther."""
    decay, (low, high) = ablation["decay"].values, ablation["distance_bounds"].transpose("bounds", "distance").values
    limit, farthest = ablation.attrs["zero_beyond_km"], high.max()
    # What a bin holds beyond the limit is zero: its dot stands in the middle of the part before.
    places = (low + np.where(low < limit, np.minimum(high, limit), high)) / 2
    # Zero has no place on a logarithmic axis.
    axes.plot(places, np.where(decay > 0, decay, np.nan), "o-", ms=3, lw=1.2, color=style.BLACK, gid="decay")
    axes.set(
        title="E: mean |difference| over validation samples and ocean cells, by distance",
        xlabel="Distance from the box (km)",
        ylabel="Mean |difference|\n(standard deviations)",
        xlim=(0, farthest),
        yscale="log",
    )
    text = f"zero by construction\nbeyond {limit:,.0f} km"
    if bool(ablation["reach"].all()):
        limit, text = farthest, "the receptive field of the network covers the whole region"
    else:
        axes.axvline(limit, ls="--", lw=0.9, color=style.BLACK, gid="reach")
    left = limit > 0.6 * farthest
    axes.annotate(
        text,
        (limit, 0.95),
        xytext=(-5 if left else 5, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
    )
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def earliest_ablated(ablation: xr.Dataset) -> int:
    """Return the earliest input month that was ablated, as a negative lag."""
    return min(_named_months(ablation) or ablation["lag"].values.tolist())


def _named_months(ablation: xr.Dataset) -> list[int]:
    """Return the months that the attribute names, as negative lags; none if it says all."""
    return [int(number) for number in re.findall(r"-\d+", ablation.attrs["months"])]
