"""Maps in the figures: the box that is shown, land and coast, marked pixels, colour bars, and rows of maps.

A field here is a `xarray.DataArray` of shape [lat, lon] with 1-D coordinates in degrees north and degrees east, both
ascending. Fields of temperature are anomalies in standard deviations of the training months.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sealiency.config.figures import Figures
from sealiency.figures.style import ANOMALY, ERROR, Scale, latitude_text, longitude_text, month_text

_LAND = "0.80"


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
