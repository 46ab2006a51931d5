"""How the training of an emulator went."""

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sealiency.config.figures import Figures
from sealiency.figures import style


@style.styled
def plot_training(history: pd.DataFrame, skill: xr.Dataset, settings: Figures, title: str) -> Figure:
    """Draw the error on training and validation samples by epoch, beside that of persistence.

    Parameters
    ----------
    history
        One row an epoch: epoch; training_rmse, validation_rmse and persistence_rmse (the constant validation error of
        persistence), standard deviations.
    skill
        Skill of the trained emulator.
    settings
        Appearance.
    title
        Title, such as the lead and the seed.

    Returns
    -------
    Figure with one panel; the epoch of the lowest validation error, whose weights are kept, is marked.
    """
    figure = style.new_figure(title, height=4.4, width=10)
    axes = figure.subplots()
    epochs, validation = history["epoch"], history["validation_rmse"]
    dot = "." if len(history) <= 60 else ""
    axes.plot(epochs, history["training_rmse"], marker=dot, lw=1.4, color=style.NEGATIVE, label="training")
    axes.plot(epochs, validation, marker=dot, lw=1.4, color=style.POSITIVE, label="validation")
    persistence = float(history["persistence_rmse"].iloc[0])
    axes.axhline(persistence, ls="--", lw=1.4, color="0.3", label=f"persistence on validation ({persistence:.3g})")
    best = validation.idxmin()
    axes.plot(
        epochs[best],
        validation[best],
        "*",
        ms=13,
        color=style.POSITIVE,
        mec="black",
        zorder=3,
        label=f"best epoch, kept: {epochs[best]} ({validation[best]:.3g})",
        gid="best",
    )
    axes.set(xlabel="Epoch", ylabel="RMSE (standard deviations of the training anomalies)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    style.mark_no_skill(figure, skill)
    return figure
