import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from sealiency.config.figures import Figures
from sealiency.figures import maps, style
from sealiency.figures.ablation import earliest_ablated, plot_ablation
from sealiency.figures.attribution_maps import plot_attribution_maps
from sealiency.figures.forecast import plot_forecast
from sealiency.figures.group import plot_group
from sealiency.figures.instance import plot_instance
from sealiency.figures.methods import plot_methods
from sealiency.figures.sign_check import plot_sign_check
from sealiency.figures.skill import plot_skill, plot_skill_maps
from sealiency.figures.training import plot_training

SETTINGS = Figures(dpi=50, zoom=4)
METHODS = ("integrated_gradients", "guided_backprop", "deeplift", "deeplift_shap")
PREDICTORS = ("emulator", "persistence", "damped_persistence", "ridge", "inverse_model", "eof_ridge")
LAT, LON, LAG = np.arange(50.0, 60.0), np.arange(-50.0, -34.0), np.arange(-6, 0)
SPACE = ("lat", "lon")
COORDS = {"lat": LAT, "lon": LON, "lag": LAG}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, LAT.size, LON.size)).astype(np.float32)


def ocean() -> np.ndarray:
    mask = np.ones((LAT.size, LON.size), bool)
    mask[7:, :4] = False
    return mask


def make_instance(lead: int = 1, methods: tuple[str, ...] = METHODS, places: str = "ABC") -> xr.Dataset:
    sea = ocean()
    heatmap = random(len(places), LAG.size, seed=3) * 0.01
    # The most contributing month is -1, but for A -5.
    heatmap[:, -1] *= 10
    heatmap[:1, -5] *= 100
    size = np.array([40.0 if name == "guided_backprop" else 1.0 for name in methods])[:, None, None, None]
    return xr.Dataset(
        {
            "target": (SPACE, random(seed=1) * sea),
            "forecast": (SPACE, random(seed=2)),
            "input": (("lag", *SPACE), random(LAG.size, seed=4) * sea),
            "heatmap": (("place", "lag", *SPACE), heatmap),
            "method_heatmap": (("method", "lag", *SPACE), random(len(methods), LAG.size, seed=5) * size),
            "ocean": (SPACE, sea),
            "place_lat": ("place", [58.0, 54.0, 52.0][: len(places)]),
            "place_lon": ("place", [-48.0, -40.0, -44.0][: len(places)]),
            "compared_lat": 57.0,
            "compared_lon": -44.0,
        },
        coords={**COORDS, "place": list(places), "method": list(methods)},
        attrs={"lead": lead, "seed": 0, "target_month": "0071-05", "method": "deeplift", "baseline": "zero"},
    )


def make_skill(lead: int = 1, beats: int = 1, periods: tuple[str, ...] = ("validation", "test")) -> xr.Dataset:
    dims, shape = ("period", "predictor"), (len(periods), len(PREDICTORS))
    land = np.where(ocean(), 1.0, np.nan)
    rmse = (0.4 + 0.05 * random(*shape, seed=lead)) * land
    means = np.tile([0.3 if beats else 0.5, 0.4, 0.38, 0.35, 0.45, 0.34], (len(periods), 1)) + 0.01 * lead
    return xr.Dataset(
        {
            "rmse": ((*dims, *SPACE), rmse),
            "acc": ((*dims, *SPACE), np.tanh(random(*shape, seed=lead + 1)) * land),
            "rmse_mean": (dims, means),
            "acc_mean": (dims, 1 - means),
            "training_mean_target": (SPACE, 0.1 * random(seed=6)),
            "training_mean_forecast": (SPACE, 0.1 * random(seed=7)),
            "training_mean_input": (("lag", *SPACE), 0.1 * random(LAG.size, seed=8)),
            "ocean": (SPACE, ocean()),
        },
        coords={**COORDS, "period": list(periods), "predictor": list(PREDICTORS)},
        attrs={"lead": lead, "seed": 0, "beats_persistence": beats},
    )


def make_heatmaps(lead: int = 1) -> xr.Dataset:
    values = random(1, LAG.size, seed=lead)
    positive, negative = np.maximum(values, 0), np.minimum(values, 0) / 7
    monthly = [np.abs(part).sum((2, 3)) for part in (positive, negative)]
    return xr.Dataset(
        {
            "positive_mean": (("pixel", "lag", *SPACE), positive),
            "negative_mean": (("pixel", "lag", *SPACE), negative),
            "monthly_positive": (("pixel", "lag"), monthly[0]),
            "monthly_negative": (("pixel", "lag"), monthly[1]),
            "monthly_all": (("pixel", "lag"), monthly[0] + monthly[1]),
            "pixel_lat": ("pixel", [55.0]),
            "pixel_lon": ("pixel", [-43.0]),
            "ocean": (SPACE, ocean()),
        },
        coords={**COORDS, "pixel": ["group"]},
        attrs={"lead": lead, "method": "deeplift", "baseline": "zero", "samples": 12},
    )


def make_attributions(pixels: list[tuple[int, int]], monthly: np.ndarray, radial: np.ndarray) -> xr.Dataset:
    """Make reduced attributions: monthly of shape [pixel, lag], radial of shape [pixel, distance], last bin open."""
    edges = [*np.arange(0.0, 100 * radial.shape[1], 100), 20015.0]
    blocks = np.stack([radial, radial], axis=1)[:, :, None] * np.full((1, 1, LAG.size, 1), 1 / LAG.size)
    dims = ("pixel", "bootstrap_block", "lag", "distance")
    return xr.Dataset(
        {
            "monthly_all": (("pixel", "lag"), monthly),
            "radial_positive": (dims, blocks * 0.75),
            "radial_negative": (dims, blocks * 0.25),
            "distance_bounds": (("distance", "bounds"), np.column_stack([edges[:-1], edges[1:]])),
            "block_samples": ("bootstrap_block", [8, 4]),
            "pixel_row": ("pixel", [row for row, _ in pixels]),
            "pixel_column": ("pixel", [column for _, column in pixels]),
            "ocean": (SPACE, ocean().astype(np.int8)),
        },
        coords={**COORDS, "pixel": [f"r{row}c{column}" for row, column in pixels]},
        attrs={"lead": 1, "method": "deeplift", "baseline": "zero", "samples": 12, "precision": "float32"},
    )


def make_every_pixel() -> xr.Dataset:
    pixels = [(int(row), int(column)) for row, column in np.argwhere(ocean())]
    rng = np.random.default_rng(9)
    radial = np.column_stack([rng.uniform(1, 2, size=(len(pixels), 4)), np.zeros(len(pixels))])
    return make_attributions(pixels, rng.uniform(1, 2, size=(len(pixels), LAG.size)), radial)


def make_ablation(lead: int = 1, months: str = "all", replacement: str = "zero", reaching: int = 4) -> xr.Dataset:
    box, reach = np.zeros((2, LAT.size, LON.size), bool)
    box[3:5, 6:9] = True
    reach[:, 6 - reaching if reaching < 6 else 0 : 9 + reaching] = True
    edges = np.array([0.0, 55, 165, 275, 385, 495, 605])
    change = np.where(box, 0.2, 0.0)
    forecast = random(seed=2)
    return xr.Dataset(
        {
            "ablated_input": (("lag", *SPACE), np.where(box, 0, random(LAG.size, seed=4))),
            "forecast": (SPACE, forecast),
            "ablated_forecast": (SPACE, forecast + change),
            "difference": (SPACE, change),
            "mean_absolute_difference": (SPACE, np.abs(change)),
            "ablated": (SPACE, box),
            "reach": (SPACE, reach),
            "decay": ("distance", [0.2, 1e-3, np.nan, 1e-7, 0, 0]),
            "distance_bounds": (("distance", "bounds"), np.column_stack([edges[:-1], edges[1:]])),
            "ocean": (SPACE, ocean()),
        },
        coords=COORDS,
        attrs={
            "lead": lead,
            "months": months,
            "target_month": "0071-05",
            "replacement": replacement,
            "zero_beyond_km": 400.0,
        },
    )


def make_signs(lead: int = 1, pixels: tuple[str, ...] = ("group",)) -> xr.Dataset:
    axes, shape = ("combination", "pixel"), (4, len(pixels))
    fraction = np.linspace(0.3, 0.9, 4)[:, None] + 0.01 * lead + np.zeros(shape)
    return xr.Dataset(
        {
            "fraction": (axes, fraction),
            "fraction_low": (axes, fraction - 0.1),
            "fraction_high": (axes, fraction + 0.05),
            "pixel_lat": ("pixel", [55.0] * len(pixels)),
            "pixel_lon": ("pixel", [-43.0] * len(pixels)),
        },
        coords={"combination": ["x>0, a>0", "x<0, a>0", "x>0, a<0", "x<0, a<0"], "pixel": list(pixels)},
        attrs={"lead": lead, "method": "deeplift"},
    )


def make_history() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3, 4],
            "learning_rate": 7e-4,
            "training_rmse": [0.9, 0.6, 0.4, 0.3],
            "validation_rmse": [0.9, 0.7, 0.5, 0.6],
            "persistence_rmse": 0.55,
        }
    )


def figure_of(name: str, beats: int = 1) -> Figure:
    """Make the figure of one lead by its name."""
    skill = make_skill(beats=beats)
    makers = {
        "forecast": lambda: plot_forecast(make_instance(), skill, SETTINGS),
        "methods": lambda: plot_methods(make_instance(), skill, SETTINGS),
        "instance": lambda: plot_instance(make_instance(), skill, SETTINGS),
        "group": lambda: plot_group({1: skill}, {1: make_heatmaps()}, "group", SETTINGS, 1),
        "ablation": lambda: plot_ablation(make_ablation(), skill, SETTINGS),
        "attribution_maps": lambda: plot_attribution_maps(make_every_pixel(), skill, SETTINGS),
        "sign_check": lambda: plot_sign_check({1: make_signs()}, {1: skill}, SETTINGS),
        "skill": lambda: plot_skill({1: skill}, SETTINGS),
        "skill_maps": lambda: plot_skill_maps(skill, SETTINGS),
    }
    return makers[name]()


FIGURES = (
    "forecast",
    "methods",
    "instance",
    "group",
    "attribution_maps",
    "ablation",
    "sign_check",
    "skill",
    "skill_maps",
)


def panel(figure: Figure, title: str) -> Axes:
    (found,) = [axes for axes in figure.get_axes() if axes.get_title() == title]
    return found


def mesh(axes: Axes) -> QuadMesh:
    (found,) = [artist for artist in axes.collections if isinstance(artist, QuadMesh) and artist.get_gid() != "shade"]
    return found


def shaded(axes: Axes, color: str) -> np.ndarray:
    """Return the cells that are filled with a colour because they have no value."""
    shades = [artist for artist in axes.collections if artist.get_gid() == "shade"]
    (found,) = [artist for artist in shades if artist.get_cmap()(0.0)[:3] == to_rgb(color)]
    return ~np.ma.getmaskarray(found.get_array())


def limits(figure: Figure, title: str) -> tuple[float, float]:
    return mesh(panel(figure, title)).get_clim()


def rings(axes: Axes) -> dict[str, tuple[float, float]]:
    """Return latitude and longitude of the marked pixels by name."""
    marked = [line for line in axes.lines if (line.get_gid() or "").startswith("pixel")]
    return {line.get_gid(): (float(line.get_ydata()[0]), float(line.get_xdata()[0])) for line in marked}


def banner(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts if text.get_gid() == "no skill").replace("\n", " ")


# The warning of no skill.


@pytest.mark.parametrize("name", FIGURES)
def test_banner_stands_over_every_figure_without_skill_and_over_no_other(name):
    assert banner(figure_of(name, beats=1)) == ""
    assert banner(figure_of(name, beats=0)) == (
        "No skill: the lead-1 emulator does not beat persistence on validation (RMSE 0.51 against 0.41) and test "
        "(RMSE 0.51 against 0.41). "
        "Do not interpret its attributions."
    )


@pytest.mark.parametrize("name", FIGURES)
def test_banner_title_and_panels_do_not_overlap_and_stay_on_the_figure(name):
    figure = figure_of(name, beats=0)
    figure.draw_without_rendering()
    box = {text.get_gid(): text.get_window_extent() for text in figure.texts if text.get_gid()}
    drawn = [axes.get_tightbbox() for axes in figure.get_axes() if axes.axison]
    assert min(each.x0 for each in drawn) >= figure.bbox.x0
    assert max(each.x1 for each in drawn) <= figure.bbox.x1
    panels = max(each.y1 for each in drawn)
    assert figure.bbox.y1 > box["no skill"].y1 > box["no skill"].y0 > box["title"].y1 > box["title"].y0 > panels
    assert figure.bbox.x0 < box["no skill"].x0 < box["no skill"].x1 < figure.bbox.x1


def test_labels_of_low_wide_maps_do_not_overlap():
    # A strip of sea whose edges are round numbers, where ticks stand.
    def strip(dataset: xr.Dataset) -> xr.Dataset:
        return dataset.isel(lat=slice(1, 6)).assign_coords(lon=-58.75 + 2.5 * np.arange(LON.size))

    skill = strip(make_skill())
    pixel = make_heatmaps().assign(pixel_lon=("pixel", [-41.25]))
    for figure in (
        plot_ablation(strip(make_ablation()), skill, SETTINGS),
        plot_group({1: skill}, {1: strip(pixel)}, "group", SETTINGS, 1),
    ):
        figure.draw_without_rendering()
        labels = [axes.yaxis.label for axes in figure.get_axes()]
        for axes in figure.get_axes():
            # Those beyond the ends of an axis are not drawn.
            low, high = sorted(axes.get_xlim())
            labels += [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
        boxes = [(label.get_text(), label.get_window_extent()) for label in labels if label.get_text()]
        assert len(boxes) > 10
        overlapping = [(a, b) for at, (a, one) in enumerate(boxes) for b, two in boxes[:at] if one.overlaps(two)]
        assert overlapping == []


def test_group_names_each_lead_without_skill_in_banner_and_panel():
    skill = {1: make_skill(1), 6: make_skill(6, beats=0), 9: make_skill(9, beats=0)}
    figure = plot_group(skill, {lead: make_heatmaps(lead) for lead in skill}, "group", SETTINGS, 1)
    assert re.findall(r"lead-(\d)", banner(figure)) == ["6", "9"]
    titles = [axes.get_title() for axes in figure.get_axes() if axes.get_title().startswith("Lead")]
    assert titles == ["Lead 1 month", "Lead 6 months (no skill)", "Lead 9 months (no skill)"]


# Scales.


def test_target_and_output_share_a_scale_and_the_error_has_its_own():
    figure = figure_of("forecast")
    assert limits(figure, "Target") == limits(figure, "Output")
    low, high = limits(figure, "Error (output − target)")
    assert low == -high
    assert (low, high) != limits(figure, "Target")


def test_methods_share_a_scale_in_a_row_but_for_guided_backprop():
    figure = figure_of("methods")
    for month in ("month −6", "month −1"):
        shared = {limits(figure, f"{name}, {month}") for name in ("Integrated gradients", "DeepLIFT", "DeepLiftShap")}
        assert len(shared) == 1
        assert limits(figure, f"Guided backprop, {month}")[1] > 10 * shared.pop()[1]


def test_positive_and_negative_heatmap_share_a_scale_centred_at_zero():
    figure = figure_of("group")
    positive = limits(figure, "Mean positive heatmap, month −1")
    assert positive == limits(figure, "Mean negative heatmap, month −1")
    assert positive[0] == -positive[1]


def test_outputs_before_and_after_ablation_share_a_scale_and_the_difference_reaches_its_greatest_value():
    figure = figure_of("ablation")
    assert limits(figure, "B: output before ablation") == limits(figure, "C: output after ablation")
    assert limits(figure, "D: difference (after − before)") == pytest.approx((-0.2, 0.2))


def test_periods_share_the_scale_of_each_score_map():
    figure = figure_of("skill_maps")
    for score in ("RMSE", "Anomaly correlation", "RMSE relative to persistence"):
        assert limits(figure, f"{score}, validation") == limits(figure, f"{score}, test")


def test_relative_error_is_negative_where_the_emulator_is_better():
    skill = make_skill()
    skill["rmse"].loc[{"predictor": "emulator"}] = 0.3
    skill["rmse"].loc[{"predictor": "persistence"}] = 0.4
    values = mesh(panel(plot_skill_maps(skill, SETTINGS), "RMSE relative to persistence, test")).get_array()
    np.testing.assert_allclose(values[0, 0], 0.3 / 0.4 - 1)


@pytest.mark.parametrize(
    ("values", "limit", "extend"),
    [([-3.0, 1.0, np.nan], 3.0, "neither"), ([0.0, 0.0], 1.0, "neither"), ([np.nan], 1.0, "neither")],
)
def test_symmetric_scale_is_centred_at_zero_without_nan_or_zero_width(values, limit, extend):
    scale = style.Scale.symmetric([xr.DataArray(values)], "RdBu_r", "x", percentile=100)
    assert (scale.norm.vmin, scale.norm.vmax, scale.extend) == (-limit, limit, extend)


def test_robust_scale_leaves_out_the_outlier_and_says_so_by_an_arrow():
    values = np.append(np.linspace(-1, 1, 999), 50.0)
    scale = style.Scale.symmetric([xr.DataArray(values)], "RdBu_r", "x")
    assert scale.norm.vmax == pytest.approx(np.percentile(np.abs(values), 99.5))
    assert scale.extend == "both"
    assert style.Scale.symmetric([xr.DataArray(np.append(np.zeros(999), 50.0))], "RdBu_r", "x").norm.vmax == 50


# Maps.


def test_output_shows_land_only_in_the_instance_figure():
    land = ~ocean()
    for name, shown in (("forecast", False), ("methods", False), ("instance", True)):
        values = mesh(panel(figure_of(name), "Output")).get_array()
        assert (~np.ma.getmaskarray(values)[land]).all() == shown
        assert not np.ma.getmaskarray(values)[~land].any()


def test_heatmap_hides_land_only_where_it_is_zero():
    sea = xr.DataArray([[True, True, False, False]], dims=SPACE)
    heatmap = xr.DataArray([[0.0, 1.0, 0.0, 2.0]], dims=SPACE)
    np.testing.assert_array_equal(maps.ocean_or_nonzero(heatmap, sea), [[0.0, 1.0, np.nan, 2.0]])


def test_coastline_lies_on_the_edges_between_land_and_sea():
    sea = xr.DataArray([[True, False], [True, True]], coords={"lat": [10.0, 12.0], "lon": [0.0, 2.0]}, dims=SPACE)
    axes = Figure().subplots()
    maps.outline(axes, sea)
    (lines,) = [artist for artist in axes.collections if isinstance(artist, LineCollection)]
    segments = {tuple(map(tuple, segment.tolist())) for segment in lines.get_segments()}
    assert segments == {((1.0, 9.0), (1.0, 11.0)), ((1.0, 11.0), (3.0, 11.0))}


def test_marks_stand_on_their_pixels():
    instance = figure_of("instance")
    places = {"pixel A": (58.0, -48.0), "pixel B": (54.0, -40.0), "pixel C": (52.0, -44.0)}
    assert rings(panel(instance, "Target")) == places
    assert [text.get_text() for text in panel(instance, "Target").texts] == ["A", "B", "C"]
    for letter in "ABC":
        month = "−5" if letter == "A" else "−1"
        for kind in ("heatmap", "input"):
            ringed = rings(panel(instance, f"{letter}: {kind}, month {month}"))
            assert ringed == {"pixel": places[f"pixel {letter}"]}
    methods = figure_of("methods")
    assert rings(panel(methods, "Input of month −6")) == {"pixel": (57.0, -44.0)}
    assert rings(panel(methods, "Target")) == {}


def test_zoom_is_clipped_at_the_domain():
    axes = panel(figure_of("methods"), "DeepLIFT, month −1")
    assert axes.get_xlim() == (-48.0, -40.0)
    assert axes.get_ylim() == (53.0, 59.5)
    corner = maps.Window.around(make_instance(), lat=51, lon=-49.5, half=4)
    assert corner == (-50.5, -45.5, 49.5, 55.0)
    np.testing.assert_array_equal(corner.crop(make_instance()["target"])["lon"], [-50, -49, -48, -47, -46])


@pytest.mark.parametrize(
    ("lat", "lon", "text"),
    [(30, -40, "30°N 40°W"), (-12.5, 20, "12.5°S 20°E"), (0, 0, "0° 0°"), (10, 316.5, "10°N 43.5°W")],
)
def test_places_are_written_in_degrees(lat, lon, text):
    assert style.place_text(lat, lon) == text


def test_map_axes_are_labelled_in_degrees():
    figure = figure_of("forecast")
    figure.draw_without_rendering()
    axes = panel(figure, "Target")
    assert {"50°W", "40°W"} & {label.get_text() for label in axes.get_xticklabels()}
    assert all(re.fullmatch(r"[\d.]+°N", label.get_text()) for label in axes.get_yticklabels())


# Maps of the attributions of every pixel.


MAPS = (
    "A: mean lag",
    "B: share of month −1",
    "C: radius of 50 % of the attributions",
    "D: radius of 90 % of the attributions",
)
PLACES = [(0, 0), (2, 5), (9, 15)]
MONTHS = np.array([[0, 0, 0, 0, 0, 2.0], [4, 0, 0, 0, 0, 4.0], [1, 1, 1, 1, 1, 1.0]])
BINS = np.array([[4, 0, 0.0], [1, 1, 8.0], [1, 1, 0.0]])


def test_attribution_maps_show_each_pixel_on_its_cell():
    attributions = make_attributions(PLACES, MONTHS, BINS)
    figure = plot_attribution_maps(attributions, make_skill(), SETTINGS)
    rows, columns = np.transpose(PLACES)
    # Half of the last bin's pixel lies beyond its lower edge, and so do nine tenths.
    expected = ([1, 3.5, 3.5], [1, 0.5, 1 / 6], [50, np.nan, 100], [90, np.nan, 180])
    for title, values in zip(MAPS, expected, strict=True):
        shown = np.ma.filled(mesh(panel(figure, title)).get_array(), np.nan)
        np.testing.assert_allclose(shown[rows, columns], values)
        assert np.isfinite(shown).sum() == np.isfinite(values).sum()


def test_attribution_maps_tell_land_ocean_not_explained_and_pixels_without_a_value_apart():
    figure = plot_attribution_maps(make_attributions(PLACES, MONTHS, BINS), make_skill(), SETTINGS)
    explained = np.zeros_like(ocean())
    explained[tuple(np.transpose(PLACES))] = True
    for title in MAPS:
        np.testing.assert_array_equal(shaded(panel(figure, title), "white"), ocean() & ~explained)
        unknown = [PLACES[1]] if "radius" in title else []
        np.testing.assert_array_equal(
            np.argwhere(shaded(panel(figure, title), "#00E5FF")), np.reshape(unknown, (-1, 2))
        )
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [
        "ocean, not explained",
        "beyond 200 km, or no attribution",
    ]
    assert not figure_of("attribution_maps").legends


def test_attribution_maps_say_what_they_rest_on():
    (title,) = [text.get_text() for text in figure_of("attribution_maps").texts if text.get_gid() == "title"]
    assert title == "Where attributions lie in time and space: lead 1 month, DeepLIFT, 12 training samples, float32"


@pytest.mark.parametrize(("values", "low", "high"), [([3.0, 3.0], 1.5, 4.5), ([0.0], -0.5, 0.5), ([np.nan], -0.5, 0.5)])
def test_spanning_scale_has_a_width_for_fields_of_one_value(values, low, high):
    scale = style.Scale.spanning([xr.DataArray(values)], "viridis", "x")
    assert (scale.norm.vmin, scale.norm.vmax, scale.extend) == (low, high, "neither")


def test_spanning_scale_leaves_out_outliers_on_both_sides_and_says_so_by_arrows():
    values = np.append(np.linspace(10, 20, 998), [-90.0, 90.0])
    scale = style.Scale.spanning([xr.DataArray(values)], "viridis", "x")
    assert 10 <= scale.norm.vmin < 10.1 < 19.9 < scale.norm.vmax <= 20
    assert scale.extend == "both"


# Months.


def test_monthly_contribution_is_the_sum_of_absolute_values_and_its_greatest_month_is_ringed():
    instance = make_instance()
    line, ring = panel(figure_of("instance"), "A: monthly contribution").lines
    expected = np.abs(instance["heatmap"].values[0]).sum((1, 2))
    np.testing.assert_array_equal(line.get_xdata(), LAG)
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
    assert ring.get_xdata()[0] == -5


def test_monthly_panels_of_a_group_share_their_axis():
    skill, heatmaps = {1: make_skill(1), 6: make_skill(6)}, {1: make_heatmaps(1), 6: make_heatmaps(6)}
    heatmaps[6] = heatmaps[6].assign(monthly_all=heatmaps[6]["monthly_all"] * 5)
    figure = plot_group(skill, heatmaps, "group", SETTINGS, 6)
    assert panel(figure, "Lead 1 month").get_ylim() == panel(figure, "Lead 6 months").get_ylim()
    assert panel(figure, "Lead 1 month").get_ylim()[1] > heatmaps[6]["monthly_all"].max()


@pytest.mark.parametrize(("months", "lag"), [("all", -6), ("-4", -4), ("-1, -5", -5), ("[-3, -2]", -3)])
def test_ablated_input_is_that_of_the_earliest_ablated_month(months, lag):
    ablation = make_ablation(months=months)
    assert earliest_ablated(ablation) == lag
    axes = panel(plot_ablation(ablation, make_skill(), SETTINGS), f"A: input of month −{-lag}, ablated")
    shown = mesh(axes).get_array()
    np.testing.assert_array_equal(shown[ocean()], ablation["ablated_input"].sel(lag=lag).values[ocean()])


# Ablation by distance, and the sign check.


DECAY = "E: mean |difference| over validation samples and ocean cells, by distance"


def test_difference_by_distance_is_drawn_on_a_logarithmic_axis_up_to_where_it_is_zero_by_construction():
    figure = figure_of("ablation")
    axes = panel(figure, DECAY)
    lines = {line.get_gid(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["decay"].get_ydata(), [0.2, 1e-3, np.nan, 1e-7, np.nan, np.nan])
    np.testing.assert_allclose(lines["decay"].get_xdata(), [27.5, 110, 220, 330, 392.5, 550])
    assert axes.get_yscale() == "log"
    assert set(lines["reach"].get_xdata()) == {400.0}
    assert [text.get_text() for text in axes.texts] == ["zero by construction\nbeyond 400 km"]
    (border,) = [artist for artist in panel(figure, "D: difference (after − before)").collections if is_border(artist)]
    # Halfway between the cells: columns 2 to 12 are reached.
    x, _ = np.concatenate([path.vertices for path in border.get_paths()]).T
    assert set(x.tolist()) == {-48.5, -37.5}


def is_border(artist) -> bool:
    return artist.get_gid() == "reach"


def test_a_reach_over_the_whole_region_is_said_and_has_no_border():
    figure = plot_ablation(make_ablation(reaching=20), make_skill(), SETTINGS)
    axes = panel(figure, DECAY)
    assert [line.get_gid() for line in axes.lines] == ["decay"]
    assert [text.get_text() for text in axes.texts] == ["the receptive field of the network covers the whole region"]
    assert not [artist for each in figure.get_axes() for artist in each.collections if is_border(artist)]


@pytest.mark.parametrize(
    ("replacement", "words"), [("zero", "by zero"), ("climatology", "by calendar-month means"), ("noise", "by noise")]
)
def test_the_title_of_the_ablation_says_what_took_the_place(replacement, words):
    figure = plot_ablation(make_ablation(months="-1, -5", replacement=replacement), make_skill(), SETTINGS)
    (title,) = [text.get_text() for text in figure.texts if text.get_gid() == "title"]
    assert title == f"Ablation of months −1, −5 {words}: forecast of 0071-05, lead 1 month"


def test_signs_stand_by_combination_lead_and_pixel_beside_chance():
    pixels = ("north", "middle", "south")
    signs = {lead: make_signs(lead, pixels) for lead in (6, 1)}
    signs[1]["fraction"][0] = signs[1]["fraction_low"][0] = signs[1]["fraction_high"][0] = np.nan
    figure = plot_sign_check(signs, {lead: make_skill(lead) for lead in (1, 6)}, SETTINGS)
    for name in pixels:
        axes = panel(figure, f"Pixel {name}, 55°N 43°W")
        (chance,) = [line for line in axes.lines if line.get_gid() == "chance"]
        assert set(chance.get_ydata()) == {0.5}
        for at, container in enumerate(axes.containers):
            dots, _, (bars,) = container.lines
            lead = (1, 6)[at]
            np.testing.assert_allclose(dots.get_ydata(), signs[lead]["fraction"].sel(pixel=name))
            np.testing.assert_allclose(np.round(dots.get_xdata()), range(4))
            low, high = np.array([segment[:, 1] for segment in bars.get_segments() if len(segment)]).T
            known = signs[lead].sel(pixel=name).dropna("combination")
            np.testing.assert_allclose(low[-len(known["combination"]) :], known["fraction_low"])
            np.testing.assert_allclose(high[-len(known["combination"]) :], known["fraction_high"])
        assert [label.get_text() for label in axes.get_xticklabels()][1] == "x<0\na>0"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["lead 1 month", "lead 6 months", "chance"]


# Training and skill.


def test_training_marks_the_epoch_of_the_lowest_validation_error():
    axes = plot_training(make_history(), make_skill(), SETTINGS, "Lead 1 month").get_axes()[0]
    (best,) = [line for line in axes.lines if line.get_gid() == "best"]
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (3, 0.5)
    (persistence,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert set(persistence.get_ydata()) == {0.55}


def test_skill_shows_each_predictor_at_each_lead_and_a_gap_where_a_period_is_missing():
    skill = {6: make_skill(6), 1: make_skill(1, periods=("validation",))}
    figure = plot_skill(skill, SETTINGS)
    for period, first in (("validation", 0.31), ("test", np.nan)):
        dots = {line.get_gid(): line for line in panel(figure, f"{period.capitalize()} samples").lines}
        np.testing.assert_allclose(dots["emulator"].get_ydata(), [first, 0.36])
        assert set(PREDICTORS) <= set(dots)
        assert "bound" not in dots


def test_skill_shows_the_bound_where_it_is_known():
    known = make_skill(6)
    bound = known.sel(predictor=["emulator"]).assign_coords(predictor=["bound"])
    bound["rmse_mean"] = 0 * bound["rmse_mean"] + 0.125
    skill = {1: make_skill(1), 6: xr.concat([known, bound], "predictor", data_vars="minimal")}
    dots = {line.get_gid(): line for line in panel(plot_skill(skill, SETTINGS), "Test samples").lines}
    np.testing.assert_allclose(dots["bound"].get_ydata(), [np.nan, 0.125])


# One lead, one method, one period, one place; and saving.


def test_figures_are_made_from_the_least_there_can_be():
    skill, instance = make_skill(periods=("validation",)), make_instance(methods=("deeplift",), places="A")
    methods = plot_methods(instance, skill, SETTINGS)
    assert sum("DeepLIFT" in axes.get_title() for axes in methods.get_axes()) == 2
    shown = plot_instance(instance, skill, SETTINGS)
    assert sum("heatmap" in axes.get_title() for axes in shown.get_axes()) == 1
    assert all("test" not in axes.get_title() for axes in plot_skill_maps(skill, SETTINGS).get_axes())
    assert all("Test" not in axes.get_title() for axes in plot_skill({1: skill}, SETTINGS).get_axes())


def test_saved_files_are_whole_and_the_same_each_time(tmp_path):
    for turn in ("first", "second"):
        files = [tmp_path / f"{turn}.{suffix}" for suffix in ("png", "pdf", "txt")]
        style.save_figure(figure_of("group", beats=0), SETTINGS, "What −1 is.", *files)
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        first, second = ((tmp_path / turn).with_suffix(suffix).read_bytes() for turn in ("first", "second"))
        assert first.startswith(start)
        assert first == second
    assert (tmp_path / "first.txt").read_text(encoding="utf-8") == "What −1 is.\n"
    assert len(list(tmp_path.iterdir())) == 6


def test_a_figure_that_fails_to_save_leaves_nothing(tmp_path, monkeypatch):
    figure = figure_of("forecast")

    def fail(path, **_):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        style.save_figure(figure, SETTINGS, "", tmp_path / "a.png", tmp_path / "a.pdf", tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_text_is_legible():
    for name in FIGURES:
        figure = figure_of(name)
        for axes in figure.get_axes():
            sizes = [axes.title.get_size(), *(label.get_size() for label in axes.get_xticklabels())]
            assert min(sizes) >= 8
