"""How good the forecasts are, by lead and by place, beside simpler predictors."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style

PREDICTORS = {
    "emulator": ("emulator", style.POSITIVE, "o"),
    "persistence": ("persistence", style.BLACK, "s"),
    "damped_persistence": ("damped persistence", style.NEGATIVE, "^"),
    "ridge": ("ridge regression", "#009E73", "D"),
    "eof_ridge": ("ridge regression and EOFs", "#CC79A7", "v"),
    "inverse_model": ("linear inverse model", "#E69F00", "P"),
    "bound": ("bound of predictability", style.BLACK, "_"),
}
_PERIODS = ("validation", "test")
_SCORES = {"rmse_mean": "RMSE\n(standard deviations)", "acc_mean": "Anomaly correlation (1)"}


@style.styled
def plot_skill(skill_by_lead: Mapping[int, xr.Dataset], settings: Figures) -> Figure:
    """Draw the error and the anomaly correlation of each predictor by lead.

    Parameters
    ----------
    skill_by_lead
        Skill by lead: rmse_mean(period, predictor), standard deviations, and acc_mean(period, predictor).
    settings
        Appearance.

    Returns
    -------
    Figure with a column a period and a row a score; a row shares its axis.
    """
    leads = sorted(skill_by_lead)
    periods = [name for name in _PERIODS if any(name in skill["period"] for skill in skill_by_lead.values())]
    figure = style.new_figure("Skill of the forecasts over the ocean", height=6.2, width=10)
    axes = figure.subplots(2, len(periods), squeeze=False, sharex=True, sharey="row")
    for row, (score, label) in zip(axes, _SCORES.items(), strict=True):
        for panel, period in zip(row, periods, strict=True):
            _draw_score(panel, [skill_by_lead[lead][score] for lead in leads], period)
            panel.set_xticks(range(len(leads)), [str(lead) for lead in leads])
        row[0].set(ylabel=label)
    for panel, period in zip(axes[0], periods, strict=True):
        panel.set(title=f"{period.capitalize()} samples", ylim=(0, None))
    for panel in axes[-1]:
        # One lead or two stand as close together as three.
        side = 0.5 + max(0, 3 - len(leads)) / 2
        panel.set(xlabel="Lead (months)", xlim=(-side, len(leads) - 1 + side))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    style.mark_no_skill(figure, *(skill_by_lead[lead] for lead in leads))
    return figure


def _draw_score(axes: Axes, scores: list[xr.DataArray], period: str) -> None:
    """Draw a dot for each predictor and lead; `scores` hold one array [period, predictor] a lead, in their order."""
    # The bound is known of a synthetic world only.
    found = {name for score in scores for name in score["predictor"].values}
    shown = {name: look for name, look in PREDICTORS.items() if name in found}
    for rank, (name, (label, color, marker)) in enumerate(shown.items()):
        known = [
            float(score.sel(period=period, predictor=name))
            if period in score["period"] and name in score["predictor"]
            else np.nan
            for score in scores
        ]
        places = np.arange(len(scores)) + 0.12 * (rank - (len(shown) - 1) / 2)
        edge, width = (color, 2.5) if marker == "_" else ("white", 0.6)
        axes.plot(places, known, marker, ms=8, color=color, mec=edge, mew=width, label=label, gid=name)
    axes.axhline(0, color="0.5", lw=0.8, zorder=0)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


@style.styled
def plot_skill_maps(skill: xr.Dataset, settings: Figures) -> Figure:
    """Draw where the emulator of one lead is good, and where it is better than persistence.

    Parameters
    ----------
    skill
        Skill of one lead: rmse(period, predictor, lat, lon), standard deviations, and
        acc(period, predictor, lat, lon), both NaN on land; ocean(lat, lon).
    settings
        Appearance.

    Returns
    -------
    Figure with a row a period: error, anomaly correlation, and error relative to persistence less one (negative where
    the emulator is better). Each column shares a scale.
    """
    ocean = skill["ocean"]
    periods = [name for name in _PERIODS if name in skill["period"]]
    rmse, acc = skill["rmse"].sel(period=periods), skill["acc"].sel(period=periods, predictor="emulator")
    emulator, persistence = (rmse.sel(predictor=name, drop=True) for name in ("emulator", "persistence"))
    # A cell that persistence forecasts without error has no ratio.
    relative = emulator / persistence.where(persistence > 0) - 1
    columns = (
        (emulator, style.Scale.from_zero([emulator], "viridis", "RMSE (standard deviations)"), "RMSE"),
        (acc, style.Scale.between(-1, 1, acc.values, settings.colormap, "Correlation (1)"), "Anomaly correlation"),
        (
            relative,
            style.Scale.symmetric([relative], settings.colormap, "Ratio \N{MINUS SIGN} 1 (negative: emulator better)"),
            "RMSE relative to persistence",
        ),
    )
    figure = style.new_figure(
        f"Skill of the emulator, {style.lead_text(skill.attrs['lead'])}",
        height=len(periods) * (maps.map_height(skill, style.WIDTH / 3.3) + 0.4) + 0.7,
    )
    axes = figure.subplots(len(periods), len(columns), squeeze=False)
    for column, (score, scale, title) in zip(axes.T, columns, strict=True):
        for panel, period in zip(column, periods, strict=True):
            maps.draw_map(panel, score.sel(period=period), ocean, scale, f"{title}, {period}")
        maps.add_colorbar(figure, list(column), scale)
    for panel in axes[:, 1:].flat:
        panel.tick_params(labelleft=False)
    style.mark_no_skill(figure, skill)
    return figure
