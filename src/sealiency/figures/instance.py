"""Fig. 3: where and when one forecast comes from, at three places."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style


@style.styled
def plot_instance(instance: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw one sample and, for each place, its heatmap in the most contributing month and its monthly contributions.

    Parameters
    ----------
    instance
        One sample of one lead: target(lat, lon), forecast(lat, lon), input(lag, lat, lon) and
        heatmap(place, lag, lat, lon), standard deviations; ocean(lat, lon); place_lat(place), degrees north, and
        place_lon(place), degrees east.
    skill
        Skill of the same lead.
    settings
        Appearance.

    Returns
    -------
    Figure whose first column holds target, output (over land too, as the network gives it) and error; each further
    row part belongs to a place. Target, output and inputs share a scale; each heatmap has its own.
    """
    ocean, letters = instance["ocean"], [str(name) for name in instance["place"].values]
    rows = max(3, len(letters))
    figure = style.new_figure(
        f"Forecast of {instance.attrs['target_month']}, {style.lead_text(instance.attrs['lead'])}, explained by "
        f"{style.method_text(instance.attrs['method'])}",
        height=2.3 * rows,
        width=12,
    )
    axes = figure.subplots(rows, 4, squeeze=False, width_ratios=[2.5, 1.5, 1.5, 2.0])
    for panel in axes[:, 0][3:].tolist() + axes[len(letters) :, 1:].ravel().tolist():
        panel.set_axis_off()

    target = maps.ocean_only(instance["target"], ocean)
    inputs = maps.ocean_only(instance["input"], ocean)
    error = maps.ocean_only(instance["forecast"] - instance["target"], ocean)
    anomaly = style.Scale.symmetric([target, instance["forecast"], inputs], settings.colormap, style.ANOMALY)
    mistake = style.Scale.symmetric([error], settings.colormap, style.ERROR)
    column = ((target, anomaly, "Target"), (instance["forecast"], anomaly, "Output"), (error, mistake, "Error"))
    for panel, (field, scale, title) in zip(axes[:3, 0], column, strict=True):
        maps.draw_map(panel, field, ocean, scale, title)
        maps.add_colorbar(figure, panel, scale, "inset")

    for letter, (_, explained, source, monthly) in zip(letters, axes, strict=False):
        here = instance.sel(place=letter)
        heatmap = here["heatmap"]
        place = float(here["place_lat"]), float(here["place_lon"])
        maps.mark_pixel(axes[0, 0], *place, letter)
        months = abs(heatmap).sum(("lat", "lon")).sortby("lag")
        lag = int(months["lag"].values[np.argmax(months.values)])
        window = maps.Window.around(instance, *place, settings.zoom)
        shown = maps.ocean_or_nonzero(heatmap.sel(lag=lag), ocean)
        scale = style.Scale.symmetric([window.crop(shown)], settings.colormap, style.CONTRIBUTION)
        for panel, field, colours, title in (
            (explained, shown, scale, f"{letter}: heatmap, {style.month_text(lag)}"),
            (source, inputs.sel(lag=lag), anomaly, f"{letter}: input, {style.month_text(lag)}"),
        ):
            maps.draw_map(panel, field, ocean, colours, title, window)
            maps.mark_pixel(panel, *place)
            maps.add_colorbar(figure, panel, colours, "inset")
        style.draw_months(monthly, months, style.BLACK)
        monthly.plot(lag, months.max().item(), "o", ms=8, mfc="none", mec=style.POSITIVE, mew=1.8)
        monthly.set(title=f"{letter}: monthly contribution", ylabel=style.MONTHLY)
        monthly.set_ylim(bottom=0)
    style.mark_no_skill(figure, skill)
    return figure
