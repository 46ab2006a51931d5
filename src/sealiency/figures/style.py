"""What the figures share: scales, maps, markers, the title, the warning of no skill, and saving.

A field here is a `xarray.DataArray` of shape [lat, lon] with 1-D coordinates in degrees north and degrees east, both
ascending. Fields of temperature are anomalies in standard deviations of the training months.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

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

_LAND = "0.80"
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


class Window(NamedTuple):
    """A box on the map, degrees east and degrees north."""

    west: float
    east: float
    south: float
    north: float

    @classmethod
    def whole(cls, grid: xr.Dataset | xr.DataArray) -> Self:
        """Return the box that the cells of a grid cover."""
        lon, lat = cell_edges(grid["lon"].values), latitude_edges(grid)
        return cls(float(lon[0]), float(lon[-1]), float(lat[0]), float(lat[-1]))

    @classmethod
    def around(cls, grid: xr.Dataset | xr.DataArray, lat: float, lon: float, half: float) -> Self:
        """Return the box of `half` degrees to each side of a place, clipped at the edge of the grid."""
        west, east, south, north = cls.whole(grid)
        return cls(max(west, lon - half), min(east, lon + half), max(south, lat - half), min(north, lat + half))

    def crop(self, field: xr.DataArray) -> xr.DataArray:
        """Return the part of a field whose cell centres lie in the box."""
        return field.sel(lat=slice(self.south, self.north), lon=slice(self.west, self.east))


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


def cell_edges(centres: np.ndarray) -> np.ndarray:
    """Return the n + 1 edges, degrees, of n ascending cell centres: halfway between, and as far out at the ends."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    between = (centres[:-1] + centres[1:]) / 2
    return np.concatenate([[2 * centres[0] - between[0]], between, [2 * centres[-1] - between[-1]]])


def latitude_edges(grid: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return the edges of the latitudes of a grid, degrees north, no farther than the poles."""
    return np.clip(cell_edges(grid["lat"].values), -90, 90)


def map_aspect(grid: xr.Dataset | xr.DataArray) -> float:
    """Return the length of a degree of latitude over that of longitude at the middle of a grid, at most 4."""
    return 1 / max(math.cos(math.radians(float(grid["lat"].mean()))), 0.25)


def map_height(grid: xr.Dataset | xr.DataArray, width: float) -> float:
    """Return the height that a map of the whole grid needs at a width, in the unit of the width."""
    west, east, south, north = Window.whole(grid)
    return width * float(np.clip(map_aspect(grid) * (north - south) / (east - west), 0.35, 1.8))


def ocean_only(field: xr.DataArray, ocean: xr.DataArray) -> xr.DataArray:
    """Return a field with NaN on land, so that land is drawn grey."""
    return field.where(ocean)


def ocean_or_nonzero(field: xr.DataArray, ocean: xr.DataArray) -> xr.DataArray:
    """Return a heatmap with NaN where it is zero on land: grey there, and nothing that is not zero is hidden."""
    return field.where(ocean | (field != 0))


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


def draw_map(
    axes: Axes,
    field: xr.DataArray,
    ocean: xr.DataArray,
    scale: Scale,
    title: str = "",
    window: Window | None = None,
) -> None:
    """Draw a field with land in grey where it is NaN, the coastline along the cells, and degrees at the axes.

    Parameters
    ----------
    axes
        Axes to draw on.
    field
        Values of shape [lat, lon].
    ocean
        True on ocean cells, of shape [lat, lon].
    scale
        Colours.
    title
        Title of the panel.
    window
        Part that is shown; None shows the whole field.
    """
    axes.set_facecolor(_LAND)
    field, ocean = field.transpose("lat", "lon"), ocean.transpose("lat", "lon")
    lon, lat = cell_edges(field["lon"].values), latitude_edges(field)
    axes.pcolormesh(
        lon,
        lat,
        np.ma.masked_invalid(field.values),
        norm=scale.norm,
        cmap=scale.colormap,
        rasterized=True,
    )
    outline(axes, ocean, color="0.25", linewidth=0.7, gid="coast")
    window = window or Window.whole(field)
    axes.set(
        xlim=(window.west, window.east),
        ylim=(window.south, window.north),
        aspect=map_aspect(field),
        title=title,
    )
    # Longitudes stand side by side, so a panel that is not wide has room for few.
    wide = window.east - window.west > 1.3 * map_aspect(field) * (window.north - window.south)
    for axis, most in ((axes.xaxis, 5 if wide else 3), (axes.yaxis, 5)):
        axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 1.5, 2, 3, 4, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda lat, _: latitude_text(lat)))
    # On the eastern edge it would run into the western one of the next panel.
    last = window.east - 0.02 * (window.east - window.west)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda lon, _: longitude_text(lon) if lon < last else ""))
    axes.tick_params(length=2.5, pad=2)


def shade(axes: Axes, mask: xr.DataArray, color: str) -> None:
    """Fill the true cells of a mask of shape [lat, lon] with one colour, beneath what is drawn on them."""
    mask = mask.transpose("lat", "lon")
    axes.pcolormesh(
        cell_edges(mask["lon"].values),
        latitude_edges(mask),
        np.ma.masked_equal(mask.values.astype(float), 0),
        cmap=ListedColormap([color]),
        rasterized=True,
        zorder=-1,
        gid="shade",
    )


def outline(axes: Axes, mask: xr.DataArray, **line: Any) -> None:
    """Draw the edges between the true and the false cells of a mask of shape [lat, lon]."""
    inside = mask.transpose("lat", "lon").values.astype(bool)
    lon, lat = cell_edges(mask["lon"].values), latitude_edges(mask)
    rows, columns = np.nonzero(inside[:, 1:] != inside[:, :-1])
    upright = [[(lon[j + 1], lat[i]), (lon[j + 1], lat[i + 1])] for i, j in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(inside[1:] != inside[:-1])
    level = [[(lon[j], lat[i + 1]), (lon[j + 1], lat[i + 1])] for i, j in zip(rows, columns, strict=True)]
    axes.add_collection(LineCollection([*upright, *level], capstyle="projecting", **line), autolim=False)


def mark_pixel(axes: Axes, lat: float, lon: float, letter: str = "") -> None:
    """Ring a pixel (degrees north, degrees east) and write its letter beside it."""
    lat, lon = float(lat), float(lon)
    halo = [withStroke(linewidth=3.2, foreground="white")]
    (ring,) = axes.plot(lon, lat, "o", ms=7, mfc="none", mec="black", mew=1.4, scalex=False, scaley=False)
    ring.set(path_effects=halo, gid=f"pixel {letter}".strip())
    if letter:
        # Written towards the middle of the panel, so that it stays inside.
        left, below = lon > sum(axes.get_xlim()) / 2, lat > sum(axes.get_ylim()) / 2
        axes.annotate(
            letter,
            (lon, lat),
            xytext=(-4 if left else 4, -4 if below else 4),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top" if below else "bottom",
            fontsize=11,
            fontweight="bold",
            path_effects=halo,
            annotation_clip=True,
        )


def add_colorbar(
    figure: FigureBase,
    axes: Axes | Sequence[Axes],
    scale: Scale,
    location: Literal["bottom", "right", "inset"] = "bottom",
) -> None:
    """Draw the colour bar of a scale below its panels or to the right of its one panel.

    An inset is to the right, too, and keeps to the height of its panel where the map does not fill its place.
    """
    room: dict[str, Any]
    bins, label = 5, scale.label
    if location == "inset":
        assert isinstance(axes, Axes)
        room = {"cax": axes.inset_axes((1.04, 0.0, 0.05, 1.0))}
    else:
        several = not isinstance(axes, Axes) and len(axes) > 1
        room = {"ax": axes, "location": location, "pad": 0.03}
        room |= {"aspect": 40, "shrink": 0.6} if several else {"aspect": 22, "shrink": 0.9}
        # A bar under one small panel has room for few numbers of many digits.
        bins = 5 if several or location == "right" else 4
    bar = figure.colorbar(ScalarMappable(scale.norm, scale.colormap), extend=scale.extend, **room)
    if location == "inset" or (location == "right" and isinstance(axes, Axes) and _is_flat(axes)):
        label = label.replace(" (", "\n(")
    bar.set_label(label)
    bar.locator = MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10])
    # No power of ten apart from the numbers: it would lie on the label or the title.
    bar.formatter = FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    bar.update_ticks()
    bar.ax.tick_params(length=2.5, pad=2)


def _is_flat(axes: Axes) -> bool:
    """Tell whether a map is less than half as high as it is wide, too low for a long label beside it."""
    (west, east), (south, north) = axes.get_xlim(), axes.get_ylim()
    return float(axes.get_aspect()) * (north - south) < 0.5 * (east - west)


def draw_overview(
    figure: FigureBase,
    target: xr.DataArray,
    forecast: xr.DataArray,
    ocean: xr.DataArray,
    settings: Figures,
    of: str = "",
    earliest: xr.DataArray | None = None,
) -> list[Axes]:
    """Draw a row of maps: target, output and error over the ocean and, if given, the input of the earliest month.

    Target, output and input share one scale; the error has its own.

    Parameters
    ----------
    figure
        Figure or part of a figure to fill.
    target, forecast
        Target and output of the network of shape [lat, lon], standard deviations.
    ocean
        True on ocean cells, of shape [lat, lon].
    settings
        Appearance.
    of
        Words before each title, such as "Mean ".
    earliest
        Input of shape [lat, lon] with the scalar coordinate lag, standard deviations.

    Returns
    -------
    The axes, in the order named.
    """
    fields = [ocean_only(field, ocean) for field in (target, forecast)]
    error = ocean_only(forecast - target, ocean)
    titles = [f"{of}target", f"{of}output", f"{of}error (output \N{MINUS SIGN} target)"]
    inputs = []
    if earliest is not None:
        inputs = [ocean_only(earliest, ocean)]
        titles.append(f"{of}input of {month_text(earliest['lag'].item())}")
    anomaly = Scale.symmetric([*fields, *inputs], settings.colormap, ANOMALY)
    mistake = Scale.symmetric([error], settings.colormap, ERROR)
    panels = [(field, anomaly) for field in fields] + [(error, mistake)] + [(field, anomaly) for field in inputs]
    axes = list(figure.subplots(1, len(panels), squeeze=False)[0])
    for panel, (field, scale), title in zip(axes, panels, titles, strict=True):
        draw_map(panel, field, ocean, scale, title[0].upper() + title[1:])
    for panel in axes[1:]:
        panel.tick_params(labelleft=False)
    add_colorbar(figure, axes[:2], anomaly)
    add_colorbar(figure, axes[2], mistake)
    if inputs:
        add_colorbar(figure, axes[3], anomaly)
    return axes


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
