"""Fig. 1: one forecast beside what came."""

import xarray as xr
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style


@style.styled
def plot_forecast(instance: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw target, output and error of one sample.

    Parameters
    ----------
    instance
        One sample of one lead: target(lat, lon) and forecast(lat, lon), standard deviations; ocean(lat, lon).
    skill
        Skill of the same lead.
    settings
        Appearance.

    Returns
    -------
    Figure with three maps; target and output share a scale, the error has its own.
    """
    lead, month = instance.attrs["lead"], instance.attrs["target_month"]
    figure = style.new_figure(
        f"Forecast of {month}, {style.lead_text(lead)}",
        height=maps.map_height(instance, style.WIDTH / 3.3) + 1.1,
    )
    maps.draw_overview(figure, instance["target"], instance["forecast"], instance["ocean"], settings)
    style.mark_no_skill(figure, skill)
    return figure
