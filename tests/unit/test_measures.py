import numpy as np
import pytest
import xarray as xr

from sealiency.claims.measures import count_draws, measure_survey, summarise_seeds

EDGES = [0, 100, 200, 1000]
LAGS = range(-24, 0)


def make_survey(values: np.ndarray, lat=(0.0, 60.0), block_samples=(2, 2, 1)) -> xr.Dataset:
    """Return a survey with absolute attributions of shape (pixel, block, lag, distance), two thirds of them positive."""
    axes = ("pixel", "bootstrap_block", "lag", "distance")
    edges = np.array([*EDGES, 20015.0])
    return xr.Dataset(
        {
            "radial_positive": (axes, values * 2 / 3),
            "radial_negative": (axes, values / 3),
            "block_samples": ("bootstrap_block", list(block_samples)),
            "distance_bounds": (("distance", "bounds"), np.stack([edges[:-1], edges[1:]], 1)),
            "pixel_lat": ("pixel", list(lat)),
        },
        coords={"lag": list(LAGS)},
    )


def test_shares_and_ages_by_hand():
    values = np.zeros((2, 3, 24, 4))
    values[0, :, -1, 0] = 3.0
    values[0, :, -13, 3] = 1.0
    values[1, :, -2, 1] = 5.0
    # Area counts: 1 at the equator, one half at 60 degrees.
    measured = measure_survey(make_survey(values), np.ones((1, 3)), far_km=1000)
    assert measured["recent_share"] == pytest.approx([0.75 * 2 / 3])
    assert measured["old_share"] == pytest.approx([0.25 * 2 / 3])
    assert measured["far_share"] == pytest.approx([0.25 * 2 / 3])
    assert measured["mean_lag"] == pytest.approx([(0.75 + 13 * 0.25) * 2 / 3 + 2 / 3])


def test_what_is_far_is_unknown_without_a_bin_that_begins_there():
    survey = make_survey(np.ones((2, 3, 24, 4)))
    assert measure_survey(survey, np.ones((1, 3)), far_km=500)["far_share"] == pytest.approx([0.25])
    assert np.isnan(measure_survey(survey, np.ones((1, 3)), far_km=1001)["far_share"]).all()


def test_the_twelfth_month_is_not_older_than_twelve():
    values = np.zeros((2, 3, 24, 4))
    values[:, :, -12, 0] = 1.0
    assert measure_survey(make_survey(values), np.ones((1, 3)), 1000)["old_share"] == [0]


def test_median_radius_is_infinite_where_most_pixels_reach_the_open_bin():
    values = np.zeros((3, 3, 24, 4))
    values[0, :, -1, 0] = 1.0
    values[1:, :, -1, 3] = 1.0
    measured = measure_survey(make_survey(values, lat=(0.0, 0.0, 0.0)), np.ones((1, 3)), 1000)
    assert measured["radius_50"] == [np.inf]
    values[1, :, -1, 3], values[1, :, -1, 1] = 0.0, 1.0
    measured = measure_survey(make_survey(values, lat=(0.0, 0.0, 0.0)), np.ones((1, 3)), 1000)
    assert measured["radius_50"] == pytest.approx([150])


def test_blocks_count_by_their_samples_and_draws():
    values = np.zeros((2, 3, 24, 4))
    values[:, 0, -1, 0] = 1.0
    values[:, 1, -2, 0] = 1.0
    values[:, 2, -3, 0] = 1.0
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    # Blocks of 2, 2 and 1 samples.
    measured = measure_survey(make_survey(values), counts, 1000)
    assert measured["recent_share"] == pytest.approx([2 / 5, 1, 0])
    assert measured["mean_lag"] == pytest.approx([(2 + 4 + 3) / 5, 1, (4 + 6) / 4])


def test_equal_curves_correlate_and_opposite_ones_do_not():
    rng = np.random.default_rng(0)
    curve = rng.uniform(size=24)
    values = np.zeros((2, 3, 24, 4))
    values[:, :, :, 0] = curve
    measured = measure_survey(make_survey(values), np.ones((1, 3)), 1000)
    assert measured["common_variance"] == pytest.approx([1])
    assert measured["pattern_correlation"] == pytest.approx([1])
    values[1, :, :, 0] = 2 * curve.mean() - curve
    measured = measure_survey(make_survey(values), np.ones((1, 3)), 1000)
    # One pattern explains both, with opposite signs.
    assert measured["common_variance"] == pytest.approx([1])
    assert measured["pattern_correlation"] == pytest.approx([-1])


def test_comparison_of_curves_equals_numpy_s_correlations():
    values = np.random.default_rng(1).uniform(size=(6, 3, 24, 4))
    measured = measure_survey(make_survey(values, lat=np.zeros(6)), np.ones((1, 3)), 1000)
    curves = (values * np.array([2, 2, 1])[:, None, None]).sum((1, 3))
    correlation = np.corrcoef(curves)
    assert measured["pattern_correlation"] == pytest.approx([correlation[~np.eye(6, dtype=bool)].mean()])
    shares = curves / curves.sum(1, keepdims=True)
    centred = shares - shares.mean(1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(centred @ centred.T)
    assert measured["common_variance"] == pytest.approx([eigenvalues[-1] / eigenvalues.sum()])


def test_one_pixel_has_no_curve_to_compare_with():
    measured = measure_survey(make_survey(np.ones((1, 3, 24, 4)), lat=(0.0,)), np.ones((1, 3)), 1000)
    assert np.isnan(measured["common_variance"]).all()
    assert np.isnan(measured["pattern_correlation"]).all()


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_survey_with_a_pixel_without_attributions_has_no_measures(nothing):
    values = np.ones((2, 3, 24, 4))
    values[1] = nothing
    measured = measure_survey(make_survey(values), np.ones((4, 3)), 1000)
    assert all(np.isnan(series).all() and series.shape == (4,) for series in measured.values())
    assert set(measured) == set(measure_survey(make_survey(np.ones((2, 3, 24, 4))), np.ones((4, 3)), 1000))


def test_first_row_of_counts_is_the_sample_itself_and_every_draw_is_as_long():
    counts = count_draws(27, 50, seed=3)
    assert counts.shape == (51, 27)
    assert (counts[0] == 1).all()
    assert (counts.sum(1) == 27).all()
    assert (counts[1:] != 1).any(1).all()
    np.testing.assert_array_equal(counts, count_draws(27, 50, seed=3))
    # Runs of three: a block that is drawn inside the record has a neighbour that is drawn as well.
    alone = (counts[1:, 1:-1] > 0) & (counts[1:, :-2] == 0) & (counts[1:, 2:] == 0)
    assert not alone.any()


def test_interval_holds_that_of_every_seed():
    draws = np.arange(1000.0)
    measure = summarise_seeds([np.array([5.0, *draws]), np.array([7.0, *(draws + 100)])])
    assert measure.value == 6
    assert measure.seeds == [5, 7]
    # The value of the first seed lies below its draws' interval.
    assert measure.low == 5
    assert measure.high == pytest.approx(1075, abs=2)


def test_value_that_no_draw_reaches_lies_in_the_interval_and_a_seed_without_one_leaves_none():
    measure = summarise_seeds([np.array([0.99, *np.linspace(0.9, 0.95, 100)])])
    assert (measure.low < 0.91, measure.high) == (True, 0.99)
    broken = summarise_seeds([np.ones(101), np.full(101, np.nan), np.ones(101)])
    assert np.isnan([broken.value, broken.low, broken.high]).all()


def test_infinite_draws_leave_an_infinite_end():
    measure = summarise_seeds([np.array([1.0, *np.ones(900), *np.full(100, np.inf)])])
    assert (measure.low, measure.high) == (1, np.inf)
