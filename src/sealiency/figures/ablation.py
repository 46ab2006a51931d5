"""Fig. 5: how far the forecast changes when a box of its input is taken away."""

import re

import xarray as xr
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import style


@style.styled
def plot_ablation(ablation: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw the ablated input, the output before and after, and their difference.

    Parameters
    ----------
    ablation
        One sample of one lead: ablated_input(lag, lat, lon), forecast(lat, lon), ablated_forecast(lat, lon) and
        difference(lat, lon), standard deviations; ablated(lat, lon), true in the box; ocean(lat, lon).
    skill
        Skill of the same lead.
    settings
        Appearance.

    Returns
    -------
    Figure of four maps with the box outlined; the two outputs share a scale.
    """
    ocean, colormap = ablation["ocean"], settings.colormap
    lag = earliest_ablated(ablation)
    source = style.ocean_only(ablation["ablated_input"].sel(lag=lag), ocean)
    before, after, change = (
        style.ocean_only(ablation[name], ocean) for name in ("forecast", "ablated_forecast", "difference")
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
    figure = style.new_figure(
        f"Ablation of {which}: forecast of {ablation.attrs['target_month']}, {style.lead_text(ablation.attrs['lead'])}",
        height=2 * (style.map_height(ablation, style.WIDTH / 2 - 1.4) + 0.5),
    )
    for letter, panel, (field, scale, title) in zip("ABCD", figure.subplots(2, 2).flat, panels, strict=True):
        style.draw_map(panel, field, ocean, scale, f"{letter}: {title[0].lower()}{title[1:]}")
        style.outline(panel, ablation["ablated"], color="black", linewidth=2.0, gid="box")
        style.add_colorbar(figure, panel, scale, "right")
    style.mark_no_skill(figure, skill)
    return figure


def earliest_ablated(ablation: xr.Dataset) -> int:
    """Return the earliest input month that was ablated, as a negative lag."""
    return min(_named_months(ablation) or ablation["lag"].values.tolist())


def _named_months(ablation: xr.Dataset) -> list[int]:
    """Return the months that the attribute names, as negative lags; none if it says all."""
    return [int(number) for number in re.findall(r"-\d+", ablation.attrs["months"])]
