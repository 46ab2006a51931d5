"""Attention maps beside class activation maps and heatmaps."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sealiency.figures import maps, style

TITLES = {"attention": "Attention", "activation": "Class activation", "heatmap": "Mean absolute heatmap"}
UNITS = {"attention": "Attention (1)", "activation": "Activation (1)", "heatmap": style.CONTRIBUTION}


@style.styled
def plot_attention(measured: xr.Dataset) -> Figure:
    """Draw the maps of the first seed with attention, the errors, and how far the maps of seeds agree.

    Parameters
    ----------
    measured
        As `measure_attention` returns it.

    Returns
    -------
    Figure of two rows: the attention map, the class activation map and the heatmap of the marked pixel; the heatmap without
    attention, the errors, and the correlations between seeds.
    """
    ocean, place = measured["ocean"], (float(measured["pixel_lat"]), float(measured["pixel_lon"]))
    height = maps.map_height(measured, style.WIDTH / 3.3) + 0.9
    title = f"Emulators with attention, {style.lead_text(measured.attrs['lead'])}"
    figure = style.new_figure(title, height=2 * height)
    top, bottom = style.split_rows(figure, [height, height])
    panels = list(top.subplots(1, 3))
    first = measured["mean_map"].isel(seed=0)
    for panel, name in zip(panels, TITLES, strict=True):
        field = first.sel(kind="attention", map=name)
        make = style.Scale.spanning if name == "attention" else style.Scale.from_zero
        scale = make([field], "magma_r", UNITS[name])
        maps.draw_map(panel, field, ocean, scale, f"{TITLES[name]}, with attention")
        maps.mark_pixel(panel, *place)
        maps.add_colorbar(top, [panel], scale)
    panels = list(bottom.subplots(1, 3))
    field = first.sel(kind="plain", map="heatmap")
    scale = style.Scale.from_zero([field], "magma_r", UNITS["heatmap"])
    maps.draw_map(panels[0], field, ocean, scale, f"{TITLES['heatmap']}, without")
    maps.mark_pixel(panels[0], *place)
    maps.add_colorbar(bottom, [panels[0]], scale)
    _draw_errors(panels[1], measured["rmse"])
    _draw_stability(panels[2], measured["stability"])
    return figure


def _draw_errors(axes: Axes, rmse: xr.DataArray) -> None:
    for rank, (kind, color, label) in enumerate(
        (("plain", style.NEGATIVE, "without attention"), ("attention", style.POSITIVE, "with attention"))
    ):
        for period in range(rmse.sizes["period"]):
            values = rmse.sel(kind=kind).isel(period=period).values
            places = np.full(values.shape, period + 0.2 * (rank - 0.5))
            axes.plot(places, values, "o", ms=6, color=color, mec="white", label=None if period else label, gid=kind)
    axes.set_xticks(range(rmse.sizes["period"]), [str(period) for period in rmse["period"].values])
    axes.set(title="Error, a dot a seed", ylabel="RMSE (standard deviations)", xlim=(-0.6, rmse.sizes["period"] - 0.4))
    axes.set_ylim(0, 1.25 * float(rmse.max()))
    axes.legend(frameon=False, loc="lower left")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_stability(axes: Axes, stability: xr.DataArray) -> None:
    names = list(TITLES)
    for rank, (kind, color) in enumerate((("plain", style.NEGATIVE), ("attention", style.POSITIVE))):
        values = np.nan_to_num([float(stability.sel(kind=kind, map=name)) for name in names])
        axes.bar(np.arange(len(names)) + 0.4 * (rank - 0.5), values, 0.36, color=color, gid=kind)
    axes.set_xticks(range(len(names)), ["attention", "class\nactivation", "heatmap"])
    axes.set(title="Agreement of seeds", ylabel="Correlation (1)", ylim=(min(0.0, float(stability.min())), 1))
    axes.spines[["top", "right"]].set_visible(False)
