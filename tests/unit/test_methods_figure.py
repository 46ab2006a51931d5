import functools
import itertools

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from sealiency.attribution.methods import METHODS
from sealiency.config.figures import Figures
from sealiency.figures import style
from sealiency.figures.methods import OWN_SCALES, plot_methods

LAT, LON, LAG = np.arange(50.0, 60.0), np.arange(-50.0, -34.0), np.arange(-6, 0)
SPACE = ("lat", "lon")
MONTHS = ("month \N{MINUS SIGN}6", "month \N{MINUS SIGN}1")
CHOICES = [
    ("saliency",),
    ("guided_backprop", "saliency"),
    ("integrated_gradients", "guided_backprop", "deeplift", "deeplift_shap"),
    ("saliency", "deeplift", "occlusion", "input_x_gradient", "integrated_gradients"),
    tuple(METHODS),
]


@functools.cache
def draw(methods: tuple[str, ...]) -> Figure:
    """Fig. 2 of methods whose heatmaps are each ten times as large as the one before."""
    rng = np.random.default_rng(0)
    size = 10.0 ** np.arange(len(methods))[:, None, None, None]
    instance = xr.Dataset(
        {
            "target": (SPACE, rng.normal(size=(LAT.size, LON.size))),
            "forecast": (SPACE, rng.normal(size=(LAT.size, LON.size))),
            "input": (("lag", *SPACE), rng.normal(size=(LAG.size, LAT.size, LON.size))),
            "method_heatmap": (
                ("method", "lag", *SPACE),
                rng.normal(size=(len(methods), LAG.size, LAT.size, LON.size)) * size,
            ),
            "ocean": (SPACE, np.ones((LAT.size, LON.size), bool)),
            "compared_lat": 57.0,
            "compared_lon": -44.0,
        },
        coords={"lat": LAT, "lon": LON, "lag": LAG, "method": list(methods)},
        attrs={"lead": 1, "target_month": "0071-05"},
    )
    skill = xr.Dataset(attrs={"lead": 1, "beats_persistence": 1})
    figure = plot_methods(instance, skill, Figures(dpi=50, zoom=4))
    figure.draw_without_rendering()
    return figure


def panels(figure: Figure) -> dict[tuple[str, str], Axes]:
    """The panels of heatmaps by method and month, in the order drawn."""
    names = {style.method_text(name): name for name in METHODS}
    found = {}
    for axes in figure.get_axes():
        method, _, month = axes.get_title().partition(", ")
        if method in names:
            assert (names[method], month) not in found
            found[names[method], month] = axes
    return found


def limits(axes: Axes) -> tuple[float, float]:
    (mesh,) = [artist for artist in axes.collections if isinstance(artist, QuadMesh)]
    return mesh.get_clim()


@pytest.mark.parametrize("methods", CHOICES, ids=len)
def test_every_method_has_a_panel_of_one_size_in_both_months(methods):
    found = panels(draw(methods))
    assert set(found) == set(itertools.product(methods, MONTHS))
    widths = [axes.get_position().width * axes.figure.bbox.width for axes in found.values()]
    assert max(widths) < 1.15 * min(widths)
    lines = {(round(axes.get_window_extent().y0 / 20), month) for (_, month), axes in found.items()}
    assert len(lines) == 2 * -(-len(methods) // 4)


@pytest.mark.parametrize("methods", CHOICES, ids=len)
def test_contributions_of_a_month_share_a_scale_and_the_others_have_their_own(methods):
    found = panels(draw(methods))
    for month in MONTHS:
        shared = {limits(found[name, month]) for name in methods if name not in OWN_SCALES}
        own = [limits(found[name, month]) for name in methods if name in OWN_SCALES]
        assert len(shared) == (len(own) < len(methods))
        assert len({*own, *shared}) == len(own) + len(shared)


@pytest.mark.parametrize("methods", CHOICES, ids=len)
def test_colour_bars_name_the_unit_of_the_panels_above_them(methods):
    figure = draw(methods)
    found = panels(figure)
    labels = [axes.get_xlabel() for axes in figure.get_axes()]
    assert labels.count("Sensitivity (1), own scale") == 2 * len({"guided_backprop", "saliency"} & set(methods))
    assert labels.count("Drop (standard deviations), own scale") == 2 * ("occlusion" in methods)
    bars = [axes for axes in figure.get_axes() if axes.get_xlabel() == style.CONTRIBUTION]
    for (name, _), axes in found.items():
        if name not in OWN_SCALES:
            box = axes.get_window_extent()
            below = [box.y0 - bar.get_window_extent().y1 for bar in bars]
            assert any(0 < gap < 1.5 * box.height for gap in below)


@pytest.mark.parametrize("methods", CHOICES, ids=len)
def test_panels_titles_and_bars_stay_on_the_figure_and_do_not_overlap(methods):
    figure = draw(methods)
    boxes = [axes.get_tightbbox() for axes in figure.get_axes() if axes.axison]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    titles = [axes.title.get_window_extent() for axes in figure.get_axes() if axes.get_title()]
    for one, other in itertools.combinations(titles, 2):
        assert not one.overlaps(other)
    for title in titles:
        # Its own panel alone lies around it.
        assert sum(box.overlaps(title) for box in boxes) == 1
    bars = [axes.xaxis.label.get_window_extent() for axes in figure.get_axes() if axes.get_xlabel()]
    for one, other in itertools.combinations(bars, 2):
        assert not one.overlaps(other)
