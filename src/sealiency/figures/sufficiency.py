"""Skill by months of history and neighbours, as tables."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sealiency.experiments.sufficiency import find_fewest
from sealiency.figures import style

KINDS = {"ridge": "Ridge regression", "emulator": "Emulator"}


@style.styled
def plot_sufficiency(measured: Sequence[xr.Dataset]) -> Figure:
    """Draw a table of errors for each lead and kind of predictor.

    Parameters
    ----------
    measured
        One dataset a lead, as `measure_sufficiency` returns it.

    Returns
    -------
    Figure with a column a lead and a row a kind: the errors on test samples, or on validation samples where there are no others;
    the fewest that suffice, chosen on validation, have a frame.
    """
    measured = sorted(measured, key=lambda dataset: int(dataset.attrs["lead"]))
    rows = measured[0].sizes["months"]
    figure = style.new_figure("Which months and neighbours suffice", height=2 * (0.32 * rows + 1.1), width=10)
    panels = figure.subplots(2, len(measured), squeeze=False)
    for column, dataset in zip(panels.T, measured, strict=True):
        period = str(dataset["period"].values[-1])
        tables = {kind: _average(dataset[kind]) for kind in KINDS}
        low = min(float(table.sel(period=period).min()) for table in tables.values())
        high = max(float(table.sel(period=period).max()) for table in tables.values())
        for panel, (kind, table) in zip(column, tables.items(), strict=True):
            _draw_table(panel, table.sel(period=period), low, high)
            _frame(panel, table, find_fewest(table.sel(period="validation")))
            panel.set_title(f"{KINDS[kind]}, {style.lead_text(dataset.attrs['lead'])}, {period}", fontsize=9)
    for panel in panels[:, 0]:
        panel.set_ylabel("Months of history")
    for panel in panels[-1]:
        panel.set_xlabel("Cells of the square")
    return figure


def _average(rmse: xr.DataArray) -> xr.DataArray:
    return rmse.mean("seed") if "seed" in rmse.dims else rmse


def _draw_table(axes: Axes, rmse: xr.DataArray, low: float, high: float) -> None:
    axes.imshow(rmse.values, vmin=low, vmax=high, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(rmse.values):
        # Dark cells are those of small errors.
        color = "white" if value < (low + high) / 2 else "black"
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(rmse.sizes["neighbours"]), [str(cells) for cells in rmse["neighbours"].values])
    axes.set_yticks(range(rmse.sizes["months"]), [str(months) for months in rmse["months"].values])
    axes.tick_params(length=0)


def _frame(axes: Axes, rmse: xr.DataArray, fewest: tuple[int, int]) -> None:
    row, column = (
        rmse[name].values.tolist().index(few) for name, few in zip(("months", "neighbours"), fewest, strict=True)
    )
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5),
            1,
            1,
            fill=False,
            ec=style.POSITIVE,
            lw=2.5,
            gid="fewest",
            zorder=3,
            clip_on=False,
        )
    )
