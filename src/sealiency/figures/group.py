"""Fig. 4: where and when the forecasts come from on average over the training samples."""

from collections.abc import Mapping

import xarray as xr
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style


@style.styled
def plot_group(
    skill: Mapping[int, xr.Dataset],
    heatmaps_by_lead: Mapping[int, xr.Dataset],
    pixel: str,
    settings: Figures,
    lead: int,
) -> Figure:
    """Draw the training means, the mean heatmaps of one pixel, and its monthly contributions at every lead.

    Parameters
    ----------
    skill
        Skill by lead: training_mean_target(lat, lon), training_mean_forecast(lat, lon) and
        training_mean_input(lag, lat, lon), standard deviations; ocean(lat, lon).
    heatmaps_by_lead
        Mean heatmaps by lead: positive_mean and negative_mean(pixel, lag, lat, lon); monthly_positive,
        monthly_negative and monthly_all(pixel, lag), all standard deviations; pixel_lat(pixel), degrees north, and
        pixel_lon(pixel), degrees east.
    pixel
        Name of the pixel explained.
    settings
        Appearance.
    lead
        Lead of the maps.

    Returns
    -------
    Figure of three rows; positive and negative heatmap share a scale, and the monthly panels share an axis.
    """
    means = skill[lead]
    heatmaps = heatmaps_by_lead[lead].sel(pixel=pixel)
    place = float(heatmaps["pixel_lat"]), float(heatmaps["pixel_lon"])
    overview = maps.map_height(means, style.WIDTH / 4.3) + 1.0
    figure = style.new_figure(
        f"Pixel {pixel} at {style.place_text(*place)}, {style.lead_text(lead)}, "
        f"{style.method_text(heatmaps.attrs['method'])}, heatmaps over {heatmaps.attrs['samples']} training samples",
        height=overview + 3.2 + 2.4,
    )
    top, middle, bottom = style.split_rows(figure, [overview, 3.2, 2.4])

    lags = means["lag"].sortby("lag")
    earliest = means["training_mean_input"].sel(lag=lags[0])
    axes = maps.draw_overview(
        top,
        means["training_mean_target"],
        means["training_mean_forecast"],
        means["ocean"],
        settings,
        of="mean ",
        earliest=earliest,
    )
    for panel in axes:
        maps.mark_pixel(panel, *place)

    ocean, last = heatmaps["ocean"], lags[-1].item()
    window = maps.Window.around(heatmaps, *place, settings.zoom)
    parts = [maps.ocean_or_nonzero(heatmaps[name].sel(lag=last), ocean) for name in ("positive_mean", "negative_mean")]
    scale = style.Scale.symmetric([window.crop(part) for part in parts], settings.colormap, style.CONTRIBUTION)
    middle = style.centred(middle, 0.62)
    axes = list(middle.subplots(1, 2))
    for panel, part, sign in zip(axes, parts, ("positive", "negative"), strict=True):
        maps.draw_map(panel, part, ocean, scale, f"Mean {sign} heatmap, {style.month_text(last)}", window)
        maps.mark_pixel(panel, *place)
    maps.add_colorbar(middle, axes[-1], scale, "inset")

    panels = bottom.subplots(1, len(heatmaps_by_lead), squeeze=False, sharey=True)[0]
    for panel, (each, of_lead) in zip(panels, sorted(heatmaps_by_lead.items()), strict=True):
        months = of_lead.sel(pixel=pixel).sortby("lag")
        style.draw_months(panel, months["monthly_all"], style.BLACK, "all", "s")
        style.draw_months(panel, months["monthly_positive"], style.POSITIVE, "positive", "^")
        style.draw_months(panel, months["monthly_negative"], style.NEGATIVE, "negative", "v")
        title = style.lead_text(each).capitalize()
        panel.set_title(title if style.has_skill(skill[each]) else f"{title} (no skill)")
    panels[0].set(ylabel=style.MONTHLY)
    panels[0].set_ylim(bottom=0)
    panels[0].legend(loc="upper left", frameon=False)
    style.mark_no_skill(figure, *(skill[each] for each in sorted(skill)))
    return figure
