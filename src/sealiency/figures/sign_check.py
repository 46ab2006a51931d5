"""Whether the output moves as the signs of attributions say, when the inputs of a sign are taken away."""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import style

_ABREAST = 2
_ROW_INCHES = 3.2
# Colour-blind-safe (Okabe & Ito), with a marker each.
_LEADS = (("#000000", "o"), ("#D55E00", "s"), ("#0072B2", "^"), ("#009E73", "D"), ("#CC79A7", "v"), ("#E69F00", "P"))


@style.styled
def plot_sign_check(
    signs_by_lead: Mapping[int, xr.Dataset], skill_by_lead: Mapping[int, xr.Dataset], settings: Figures
) -> Figure:
    """Draw the fraction of samples in which the output moves as expected, by combination of signs, lead and pixel.

    Parameters
    ----------
    signs_by_lead
        Sign check by lead: fraction, fraction_low and fraction_high (combination, pixel), 1; pixel_lat(pixel), degrees
        north, and pixel_lon(pixel), degrees east; attribute method.
    skill_by_lead
        Skill by lead.
    settings
        Appearance.

    Returns
    -------
    Figure with a panel a pixel; bars are the 95 % intervals.
    """
    leads = sorted(signs_by_lead)
    first = signs_by_lead[leads[0]]
    pixels = first["pixel"].values.tolist()
    rows = math.ceil(len(pixels) / _ABREAST)
    figure = style.new_figure(
        f"Signs of the attributions, tested by setting inputs to zero ({style.method_text(first.attrs['method'])})",
        height=rows * _ROW_INCHES + 0.4,
    )
    grid = figure.subplots(rows, min(len(pixels), _ABREAST), squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(pixels) :]:
        axes.set_axis_off()
    for axes, pixel in zip(grid.flat, pixels, strict=False):
        _draw_pixel(axes, {lead: signs_by_lead[lead].sel(pixel=pixel) for lead in leads})
    for axes in grid[:, 0]:
        axes.set_ylabel("Fraction of samples in which\nthe output moves as expected (1)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    # Chance comes first by itself.
    figure.legend(
        handles[1:] + handles[:1], labels[1:] + labels[:1], loc="outside lower center", ncols=7, frameon=False
    )
    style.mark_no_skill(figure, *(skill_by_lead[lead] for lead in leads))
    return figure


def _draw_pixel(axes: Axes, signs: Mapping[int, xr.Dataset]) -> None:
    """Draw a dot with its interval for each combination and lead; `signs` hold one pixel a lead."""
    for rank, (lead, each) in enumerate(signs.items()):
        fraction = each["fraction"].values
        places = np.arange(len(fraction)) + 0.6 / len(signs) * (rank - (len(signs) - 1) / 2)
        color, marker = _LEADS[rank % len(_LEADS)]
        # The interval of a resampled fraction need not hold the fraction.
        bars = np.maximum([fraction - each["fraction_low"].values, each["fraction_high"].values - fraction], 0)
        axes.errorbar(
            places,
            fraction,
            bars,
            fmt=marker,
            ms=6,
            color=color,
            mec="white",
            mew=0.6,
            elinewidth=1.4,
            capsize=3,
            label=style.lead_text(lead),
        )
    axes.axhline(0.5, ls="--", lw=1.0, color="0.4", zorder=0, label="chance", gid="chance")
    each = next(iter(signs.values()))
    names = [name.replace(", ", "\n") for name in each["combination"].values.tolist()]
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(labelbottom=True)
    axes.set(
        title=f"Pixel {each['pixel'].item()}, {style.place_text(each['pixel_lat'].item(), each['pixel_lon'].item())}",
        xlim=(-0.5, len(names) - 0.5),
        ylim=(-0.03, 1.05),
    )
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
