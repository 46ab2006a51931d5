"""Fig. 2: the attribution methods beside each other."""

import math

import xarray as xr
from matplotlib.figure import Figure, FigureBase

from sealiency.config.figures import Figures
from sealiency.figures import maps, style

_SENSITIVITY = "Sensitivity (1), own scale"
OWN_SCALES = {
    # Contributions of both signs cancel within a window, so its drop would be pale beside those of single cells.
    "occlusion": "Drop (standard deviations), own scale",
    "guided_backprop": _SENSITIVITY,
    "saliency": _SENSITIVITY,
}
"""Methods whose values are of another size or unit than the contributions of single cells, with the label of their scale."""
_ABREAST = 4
_ROW_INCHES = 3.3


@style.styled
def plot_methods(instance: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw one sample, and each method's heatmap of one pixel in the earliest and in the latest month.

    Parameters
    ----------
    instance
        One sample of one lead: target(lat, lon), forecast(lat, lon), input(lag, lat, lon) and
        method_heatmap(method, lag, lat, lon), standard deviations; ocean(lat, lon); compared_lat, degrees north, and
        compared_lon, degrees east.
    skill
        Skill of the same lead.
    settings
        Appearance.

    Returns
    -------
    Figure with a row of the sample and, for each of the two months, the heatmaps, at most four abreast. The contributions
    of single cells share a scale in each month; occlusion, guided backprop and saliency have their own.
    """
    place = float(instance["compared_lat"]), float(instance["compared_lon"])
    overview = maps.map_height(instance, style.WIDTH / 4.3) + 1.0
    lines = _arrange(instance["method"].values.tolist())
    heights = [overview, *[_ROW_INCHES] * 2 * len(lines)]
    figure = style.new_figure(
        f"Attribution methods at {style.place_text(*place)}: forecast of {instance.attrs['target_month']}, "
        f"{style.lead_text(instance.attrs['lead'])}",
        height=sum(heights),
    )
    first, *rows = style.split_rows(figure, heights)
    lags = instance["lag"].sortby("lag")
    earliest = instance["input"].sel(lag=lags[0])
    axes = maps.draw_overview(
        first, instance["target"], instance["forecast"], instance["ocean"], settings, earliest=earliest
    )
    maps.mark_pixel(axes[-1], *place)
    for part, lag in ((rows[: len(lines)], lags[0]), (rows[len(lines) :], lags[-1])):
        _draw_month(part, lines, instance["method_heatmap"].sel(lag=lag), instance["ocean"], place, settings)
    style.mark_no_skill(figure, skill)
    return figure


def _arrange(names: list[str]) -> list[list[str]]:
    """Return the methods of each line of panels, at most four abreast and no line much shorter than another."""
    # What shares a scale stands together, so that one colour bar serves those of a line.
    ordered = sorted(names, key=lambda name: name in OWN_SCALES)
    lines = math.ceil(len(names) / _ABREAST)
    abreast = math.ceil(len(names) / lines)
    return [ordered[start : start + abreast] for start in range(0, len(names), abreast)]


def _draw_month(
    figures: list[FigureBase],
    lines: list[list[str]],
    heatmaps: xr.DataArray,
    ocean: xr.DataArray,
    place: tuple[float, float],
    settings: Figures,
) -> None:
    """Draw the heatmaps of one month, of shape [method, lat, lon], around the compared pixel, a figure a line."""
    heatmaps = maps.ocean_or_nonzero(heatmaps, ocean)
    window = maps.Window.around(heatmaps, *place, settings.zoom)
    # As a keyword, method would be the method of inexact look-up.
    fields = {name: heatmaps.sel({"method": name}) for line in lines for name in line}

    def scale_of(names: list[str], label: str) -> style.Scale:
        return style.Scale.symmetric([window.crop(fields[name]) for name in names], settings.colormap, label)

    scales = {name: scale_of([name], OWN_SCALES[name]) for name in fields if name in OWN_SCALES}
    contributions = [name for name in fields if name not in OWN_SCALES]
    if contributions:
        scales |= dict.fromkeys(contributions, scale_of(contributions, style.CONTRIBUTION))
    for figure, line in zip(figures, lines, strict=True):
        part = style.centred(figure, len(line) / _ABREAST)
        axes = list(part.subplots(1, len(line), squeeze=False)[0])
        for name, panel in zip(line, axes, strict=True):
            title = f"{style.method_text(name)}, {style.month_text(heatmaps['lag'].item())}"
            maps.draw_map(panel, fields[name], ocean, scales[name], title, window)
            maps.mark_pixel(panel, *place)
        shared = [panel for name, panel in zip(line, axes, strict=True) if name not in OWN_SCALES]
        if shared:
            maps.add_colorbar(part, shared, scales[line[0]])
        for name, panel in zip(line, axes, strict=True):
            if name in OWN_SCALES:
                maps.add_colorbar(part, panel, scales[name])
        for panel in axes[1:]:
            panel.tick_params(labelleft=False)
