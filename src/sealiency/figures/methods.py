"""Fig. 2: the attribution methods beside each other."""

import xarray as xr
from matplotlib.figure import Figure, FigureBase

from sealiency.config.figures import Figures
from sealiency.figures import style

GRADIENT_LIKE = "guided_backprop"
"""The one method whose values are sensitivities of the output, not contributions to it."""


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
    Figure with a row of the sample and two rows of heatmaps. Within a row the heatmaps share a scale, but for guided
    backprop: its values are a kind of gradient, of another size, and have their own.
    """
    place = float(instance["compared_lat"]), float(instance["compared_lon"])
    overview = style.map_height(instance, style.WIDTH / 4.3) + 1.0
    figure = style.new_figure(
        f"Attribution methods at {style.place_text(*place)}: forecast of {instance.attrs['target_month']}, "
        f"{style.lead_text(instance.attrs['lead'])}",
        height=overview + 6.6,
    )
    rows = style.split_rows(figure, [overview, 3.3, 3.3])
    lags = instance["lag"].sortby("lag")
    earliest = instance["input"].sel(lag=lags[0])
    axes = style.draw_overview(
        rows[0], instance["target"], instance["forecast"], instance["ocean"], settings, earliest=earliest
    )
    style.mark_pixel(axes[-1], *place)
    for row, lag in zip(rows[1:], (lags[0], lags[-1]), strict=True):
        _draw_methods(row, instance["method_heatmap"].sel(lag=lag), instance["ocean"], place, settings)
    style.mark_no_skill(figure, skill)
    return figure


def _draw_methods(
    figure: FigureBase,
    heatmaps: xr.DataArray,
    ocean: xr.DataArray,
    place: tuple[float, float],
    settings: Figures,
) -> None:
    """Draw the heatmaps of one month, of shape [method, lat, lon], around the compared pixel."""
    heatmaps = style.ocean_or_nonzero(heatmaps, ocean)
    window = style.Window.around(heatmaps, *place, settings.zoom)
    names = [str(name) for name in heatmaps["method"].values]
    gradients = [name for name in names if name == GRADIENT_LIKE]
    # Those on the shared scale stand together, so that one colour bar serves them.
    contributions = [name for name in names if name not in gradients]
    figure = style.centred(figure, len(names) / 4)
    axes = list(figure.subplots(1, len(names), squeeze=False)[0])
    groups = (
        (contributions, axes[: len(contributions)], style.CONTRIBUTION),
        (gradients, axes[len(contributions) :], "Sensitivity (1), own scale"),
    )
    for members, panels, label in groups:
        if not members:
            continue
        # As a keyword, method would be the method of inexact look-up.
        shown = [heatmaps.sel({"method": name}) for name in members]
        scale = style.Scale.symmetric([window.crop(field) for field in shown], settings.colormap, label)
        for name, panel, field in zip(members, panels, shown, strict=True):
            title = f"{style.method_text(name)}, {style.month_text(field['lag'].item())}"
            style.draw_map(panel, field, ocean, scale, title, window)
            style.mark_pixel(panel, *place)
        style.add_colorbar(figure, panels, scale)
    for panel in axes[1:]:
        panel.tick_params(labelleft=False)
