"""What the figures share: words, scales, lines by month, the title, the warning of no skill, and saving."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sealiency.config.figures import Figures
from sealiency.files import write_whole

WIDTH = 11.0
"""Width of most figures, inches."""
ANOMALY = "Anomaly (standard deviations)"
ERROR = "Error (standard deviations)"
CONTRIBUTION = "Contribution (standard deviations)"
MONTHLY = "Summed |contribution|\n(standard deviations)"
INPUT_MONTH = "Input month"
POSITIVE, NEGATIVE, BLACK = "#D55E00", "#0072B2", "#000000"
METHOD_NAMES = {
    "integrated_gradients": "Integrated gradients",
    "deeplift": "DeepLIFT",
    "deeplift_shap": "DeepLiftShap",
    "guided_backprop": "Guided backprop",
    "input_x_gradient": "Input \N{MULTIPLICATION SIGN} gradient",
    "saliency": "Saliency",
    "occlusion": "Occlusion",
}

_ALARM = "#B00020"
_TITLE_INCHES = 0.34
_BANNER_LINE_INCHES = 0.21
_BANNER_SIZE = 11.0
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,
}

styled = matplotlib.rc_context(_STYLE)
"""Decorator that gives a plotting function the fonts of all figures."""


@dataclass(frozen=True)
class Scale:
    """A colour scale that one or more panels share.

    Parameters
    ----------
    norm
        Values to colours.
    colormap
        Name of the colour map.
    label
        Quantity and unit, as written at the colour bar.
    extend
        Sides on which values lie beyond the scale.
    """

    norm: Normalize
    colormap: str
    label: str
    extend: Literal["neither", "min", "max", "both"] = "neither"

    @classmethod
    def symmetric(cls, fields: Iterable[xr.DataArray], colormap: str, label: str, percentile: float = 99.5) -> Self:
        """Make a scale centred at zero that reaches to a percentile of the absolute values of the shown fields."""
        values = _finite(fields)
        size = np.abs(values)
        # Where nearly all is zero the percentile is too; then the greatest value, or 1 for a field of zeros.
        limit = next((x for x in (np.percentile(size, percentile), size.max()) if x > 0), 1.0)
        return cls.between(-limit, limit, values, colormap, label)

    @classmethod
    def from_zero(cls, fields: Iterable[xr.DataArray], colormap: str, label: str, percentile: float = 99.5) -> Self:
        """Make a scale from zero to a percentile of fields that are not negative."""
        values = _finite(fields)
        return cls.between(0.0, np.percentile(values, percentile) or 1.0, values, colormap, label)

    @classmethod
    def spanning(cls, fields: Iterable[xr.DataArray], colormap: str, label: str, percentile: float = 99.5) -> Self:
        """Make a scale between a low and a high percentile of fields, for quantities whose zero means nothing here."""
        values = _finite(fields)
        low, high = np.percentile(values, [100 - percentile, percentile])
        # A scale of no width shows nothing.
        margin = 0.0 if high > low else 0.5 * abs(low) or 0.5
        return cls.between(low - margin, high + margin, values, colormap, label)

    @classmethod
    def between(cls, low: float, high: float, values: np.ndarray, colormap: str, label: str) -> Self:
        """Make a scale between two limits; the bar gets an arrow where some of the values lie beyond."""
        beyond = bool((values < low).any()), bool((values > high).any())
        extend: dict[tuple[bool, bool], Literal["neither", "min", "max", "both"]] = {
            (False, False): "neither",
            (True, False): "min",
            (False, True): "max",
            (True, True): "both",
        }
        return cls(Normalize(float(low), float(high)), colormap, label, extend[beyond])


def _finite(fields: Iterable[xr.DataArray]) -> np.ndarray:
    """Return the finite values of all fields in one array, [0.0] if there are none."""
    values = np.concatenate([np.asarray(field, dtype=float).ravel() for field in fields])
    values = values[np.isfinite(values)]
    return values if values.size else np.zeros(1)


def longitude_text(lon: float) -> str:
    """Write a longitude, degrees east, as 40°W or 20°E."""
    lon = (lon + 180) % 360 - 180
    return f"{abs(lon):g}°{'W' if lon < 0 else 'E' if lon > 0 else ''}"


def latitude_text(lat: float) -> str:
    """Write a latitude, degrees north, as 30°N or 30°S."""
    return f"{abs(lat):g}°{'S' if lat < 0 else 'N' if lat > 0 else ''}"


def place_text(lat: float, lon: float) -> str:
    """Write a place as 60.5°N 43.5°W."""
    return f"{latitude_text(round(float(lat), 2))} {longitude_text(round(float(lon), 2))}"


def month_text(lag: int) -> str:
    """Write an input month, counted back from the first month after the input, as month −36."""
    return f"month \N{MINUS SIGN}{abs(int(lag))}"


def lead_text(lead: int) -> str:
    """Write a lead as lead 1 month or lead 6 months."""
    return f"lead {lead} month{'' if lead == 1 else 's'}"


def method_text(name: str) -> str:
    """Return the name of an attribution method in words."""
    return METHOD_NAMES.get(name, name)


def draw_months(axes: Axes, months: xr.DataArray, color: str, label: str = "", marker: str = "o") -> None:
    """Draw the contribution of each input month, of shape [lag], as a line with a dot a month."""
    axes.plot(months["lag"].values, months.values, marker=marker, ms=3, lw=1.2, color=color, label=label or None)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    step = next((step for step in (1, 3, 6) if months.sizes["lag"] <= 8 * step), 12)
    axes.set_xticks([lag for lag in months["lag"].values.tolist() if lag % step == 0 or lag == -1])
    axes.set(xlabel=INPUT_MONTH)
    axes.spines[["top", "right"]].set_visible(False)


def new_figure(title: str, height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure with a title; width and height, inches, are those of what is below the title."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.text(0.5, 1, title, ha="center", va="top", fontsize=11.5, fontweight="bold", gid="title", in_layout=False)
    _widen_header(figure, 0.0, _TITLE_INCHES)
    return figure


def split_rows(figure: FigureBase, heights: Sequence[float]) -> list[FigureBase]:
    """Divide a figure into rows of so many inches, each laid out on its own."""
    rows: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    return list(rows)


def centred(figure: FigureBase, share: float) -> FigureBase:
    """Return the middle part of a figure, so wide a share of it, for panels that do not need the whole width."""
    if share >= 1:
        return figure
    side = (1 - share) / 2
    parts: Any = figure.subfigures(1, 3, width_ratios=[side, share, side])
    middle: FigureBase = parts[1]
    return middle


def mark_no_skill(figure: Figure, *skills: xr.Dataset) -> None:
    """Put a red banner over a figure for each lead whose emulator does not beat persistence in every period.

    Parameters
    ----------
    figure
        Figure made by `new_figure`.
    skills
        Skill of each lead shown, with the attributes lead and beats_persistence and the variable
        rmse_mean(period, predictor), standard deviations.
    """
    width = figure.get_size_inches()[0]
    # A bold character is about 0.57 of the font size wide on average; 0.6 leaves room.
    columns = int((width - 0.5) / (0.6 * _BANNER_SIZE / 72))
    texts = [no_skill_text(skill) for skill in skills if not has_skill(skill)]
    if not texts:
        return
    sentences = [sentence for text in texts for sentence in text.replace(". Do not", ".\nDo not").split("\n")]
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, columns)]
    height = len(lines) * _BANNER_LINE_INCHES + 0.24
    _widen_header(figure, height, 0.0)
    figure.text(
        0.5,
        1 - height / 2 / figure.get_size_inches()[1],
        "\n".join(lines),
        ha="center",
        va="center",
        color="white",
        fontsize=_BANNER_SIZE,
        fontweight="bold",
        linespacing=1.15,
        bbox={"boxstyle": "square,pad=0.35", "facecolor": _ALARM, "edgecolor": _ALARM},
        gid="no skill",
        in_layout=False,
    )


def has_skill(skill: xr.Dataset) -> bool:
    """Tell whether the emulator of one lead beats persistence in every period."""
    return bool(skill.attrs["beats_persistence"])


def no_skill_text(skill: xr.Dataset) -> str:
    """Return the warning for a lead without skill, with the periods in which persistence is as good or better."""
    lost = []
    for period in skill["period"].values.tolist():
        rmse = skill["rmse_mean"].sel(period=period)
        emulator, persistence = (float(rmse.sel(predictor=name)) for name in ("emulator", "persistence"))
        if not emulator < persistence:
            lost.append(f"{period} (RMSE {emulator:.4g} against {persistence:.4g})")
    return (
        f"No skill: the lead-{skill.attrs['lead']} emulator does not beat persistence on {' and '.join(lost)}. "
        "Do not interpret its attributions."
    )


def save_figure(
    figure: Figure, settings: Figures, caption: str, png: str | Path, pdf: str | Path, text: str | Path
) -> None:
    """Write a figure as PNG and PDF and its caption as text, each whole or not at all and the same bytes each time."""
    with matplotlib.rc_context(_STYLE):
        with write_whole(png) as partial:
            figure.savefig(partial, format="png", dpi=settings.dpi)
        with write_whole(pdf) as partial:
            figure.savefig(partial, format="pdf", dpi=settings.dpi, metadata={"CreationDate": None})
    with write_whole(text) as partial:
        partial.write_text(caption + "\n", encoding="utf-8")


def _widen_header(figure: Figure, above: float, below: float) -> None:
    """Make a figure taller, by so many inches above its title and below it, and keep the panels out of both."""
    width, height = figure.get_size_inches()
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    panels = engine.get()["rect"][3] * height
    taller = height + above + below
    figure.set_size_inches(width, taller)
    engine.set(rect=(0, 0, 1, panels / taller), h_pad=0.05, w_pad=0.05, hspace=0.03, wspace=0.02)
    for text in figure.texts:
        if text.get_gid() == "title":
            text.set_y(1 - (above + 0.08) / taller)
