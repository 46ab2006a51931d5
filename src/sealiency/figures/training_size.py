"""Skill and fidelity against the number of training samples."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from sealiency.figures import style
from sealiency.figures.skill import PREDICTORS
from sealiency.skill import BOUND

SCALE_COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7")
# Of persistence: what lies above the axis is no rival.
HIGHEST = 1.15


@style.styled
def plot_training_size(measured: Sequence[xr.Dataset]) -> Figure:
    """Draw the error of each predictor, and the agreement of attributions with the known answer, by training samples.

    Parameters
    ----------
    measured
        One dataset a lead, as `measure_training_size` returns it.

    Returns
    -------
    Figure with a column a lead: above the error on test samples, or on validation samples where there are no others; below the
    agreement, a line a scale.
    """
    measured = sorted(measured, key=lambda dataset: int(dataset.attrs["lead"]))
    figure = style.new_figure("Skill and fidelity by the number of training samples", height=7.2, width=10)
    above, below = style.split_rows(figure, [3.9, 3.3])
    for part, draw, columns in ((above, _draw_skill, 4), (below, _draw_agreement, 4)):
        panels = part.subplots(1, len(measured), squeeze=False, sharey=draw is _draw_agreement)[0]
        for panel, dataset in zip(panels, measured, strict=True):
            draw(panel, dataset)
            _scale_samples(panel, dataset["size"].values)
        panels[0].set_ylabel(
            "RMSE\n(standard deviations)" if draw is _draw_skill else "Correlation with\nthe known answer (1)"
        )
        if draw is _draw_agreement:
            for panel in panels:
                panel.set_xlabel("Training samples")
        part.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _draw_skill(axes: Axes, dataset: xr.Dataset) -> None:
    period = dataset["period"].values[-1]
    rmse, sizes = dataset["rmse"].sel(period=period), dataset["size"].values
    for name, (label, color, marker) in PREDICTORS.items():
        if name not in rmse["predictor"]:
            continue
        values = rmse.sel(predictor=name)
        mean = values.mean("seed").values
        if name == BOUND:
            axes.plot(sizes, mean, ls="--", lw=1.6, color=color, label=label, gid=name)
            continue
        axes.plot(
            sizes, mean, marker, ls="-", lw=1.6 if name == "emulator" else 1, ms=5, color=color, label=label, gid=name
        )
        if name == "emulator":
            for seed in values["seed"]:
                axes.plot(sizes, values.sel(seed=seed), marker, ms=3, color=color, alpha=0.6, gid="seed")
    axes.set_ylim(0, HIGHEST * float(rmse.sel(predictor="persistence").max()))
    axes.set_title(f"{style.lead_text(dataset.attrs['lead']).capitalize()}, {period} samples")
    _tidy(axes)


def _draw_agreement(axes: Axes, dataset: xr.Dataset) -> None:
    sizes, side = dataset["size"].values, float(dataset.attrs["cell_degrees"])
    agreement = dataset["agreement"].mean("seed")
    for at, color in zip(range(dataset.sizes["scale"]), SCALE_COLORS, strict=True):
        cells, months = int(dataset["cells"][at]), int(dataset["months"][at])
        label = f"{cells * side:g}° x {months} month{'' if months == 1 else 's'}"
        for explained, look in (("emulator", "-"), ("ridge", ":")):
            values = agreement.sel(explained=explained).isel(scale=at).values
            if explained == "emulator":
                axes.plot(
                    sizes, values, look, marker="o", ms=4, lw=1.4, color=color, label=label, gid=f"{cells}x{months}"
                )
            else:
                axes.plot(sizes, values, look, lw=1, color=color, label="dotted: ridge regression" if not at else None)
    axes.axhline(0, color="0.5", lw=0.8, zorder=0)
    axes.set_ylim(top=1)
    _tidy(axes)


def _scale_samples(axes: Axes, sizes: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(sizes, [str(size) for size in sizes], rotation=45)


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
