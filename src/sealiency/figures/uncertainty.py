"""Whether the forecast spread is that of the errors, and where it comes from."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style

_COLORS = {"validation": style.NEGATIVE, "test": style.POSITIVE}


@style.styled
def plot_uncertainty(uncertainty: xr.Dataset, skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw calibration, maps of spread and error, scores, and the attributions of the variance of the first pixel.

    Parameters
    ----------
    uncertainty
        As `evaluate_uncertainty` returns it.
    skill
        Skill of the emulator.
    settings
        Appearance.

    Returns
    -------
    Figure of two rows: the calibration curve and the maps of spread and error; the scores, and the attributions of the variance
    by place and by month.
    """
    ocean, period = uncertainty["ocean"], str(uncertainty["period"].values[-1])
    height = maps.map_height(uncertainty, style.WIDTH / 3.3)
    title = f"Uncertainty of the emulator, {style.lead_text(uncertainty.attrs['lead'])}"
    figure = style.new_figure(title, height=2 * (height + 0.8) + 0.4)
    top, bottom = style.split_rows(figure, [height + 0.9, height + 0.9])
    panels = top.subplots(1, 3)
    _draw_calibration(panels[0], uncertainty)
    fields = [uncertainty[name].sel(period=period) for name in ("spread", "error")]
    scale = style.Scale.from_zero(fields, "viridis", "Standard deviations")
    for panel, field, name in zip(panels[1:], fields, ("Forecast spread", "RMSE"), strict=True):
        maps.draw_map(panel, field, ocean, scale, f"{name}, {period}")
    panels[2].tick_params(labelleft=False)
    maps.add_colorbar(top, list(panels[1:]), scale)
    panels = bottom.subplots(1, 3)
    _draw_scores(panels[0], uncertainty["crps"])
    first = uncertainty.isel(pixel=0)
    place = float(first["pixel_lat"]), float(first["pixel_lon"])
    field = maps.ocean_only(first["variance_attribution"].sum("lag"), ocean)
    scale = style.Scale.from_zero([field], "magma_r", "Contribution to log variance (1)")
    maps.draw_map(panels[1], field, ocean, scale, f"Attribution of the variance at {style.place_text(*place)}")
    maps.mark_pixel(panels[1], *place)
    maps.add_colorbar(bottom, [panels[1]], scale)
    style.draw_months(panels[2], first["variance_attribution"].sum(("lat", "lon")), style.BLACK)
    panels[2].set(title="By input month", ylabel="Contribution to log variance (1)")
    panels[2].set_ylim(bottom=0)
    style.mark_no_skill(figure, skill)
    return figure


def _draw_calibration(axes: Axes, uncertainty: xr.Dataset) -> None:
    for period in uncertainty["period"].values:
        curve = uncertainty.sel(period=period)
        label = f"{period} (ratio {float(curve['ratio']):.2f})"
        axes.plot(
            curve["class_spread"], curve["class_error"], "o-", ms=4, color=_COLORS[str(period)], label=label, gid=period
        )
    limit = 1.05 * float(max(uncertainty["class_spread"].max(), uncertainty["class_error"].max()))
    axes.plot([0, limit], [0, limit], "--", lw=1, color="0.4", label="spread = error", gid="diagonal")
    axes.set(xlim=(0, limit), ylim=(0, limit), title="Calibration")
    axes.set(xlabel="Forecast spread (standard deviations)", ylabel="RMSE (standard deviations)")
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scores(axes: Axes, crps: xr.DataArray) -> None:
    width = 0.8 / crps.sizes["period"]
    places = np.arange(crps.sizes["predictor"])
    for rank, period in enumerate(crps["period"].values):
        values = crps.sel(period=period)
        axes.bar(places + rank * width, values, width * 0.9, color=_COLORS[str(period)], label=period, gid=period)
    axes.set_xticks(places + width * (crps.sizes["period"] - 1) / 2, [str(name) for name in crps["predictor"].values])
    axes.set(title="Continuous ranked probability score", ylabel="CRPS (standard deviations)")
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
