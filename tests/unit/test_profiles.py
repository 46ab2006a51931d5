import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sealiency.claims.profiles import measure_mean_lag, measure_radius, measure_recent_share, sum_profile

EDGES = [0.0, 100.0, 200.0, 400.0, 1000.0]
HALF_EARTH = 20015.0
MASS = st.floats(0.01, 1000)


def make_bounds(edges: list[float] = EDGES) -> xr.DataArray:
    return xr.DataArray(np.column_stack([edges, [*edges[1:], HALF_EARTH]]), dims=("distance", "bounds"), name="bounds")


def make_monthly(*rows: list[float]) -> xr.Dataset:
    values = np.array(rows, np.float32)
    return xr.Dataset({"monthly_all": (("pixel", "lag"), values)}, coords={"lag": np.arange(-values.shape[1], 0)})


def make_attributions(positive: np.ndarray, negative: np.ndarray, samples: list[int]) -> xr.Dataset:
    dims = ("pixel", "bootstrap_block", "lag", "distance")
    return xr.Dataset(
        {
            "radial_positive": (dims, positive.astype(np.float32)),
            "radial_negative": (dims, negative.astype(np.float32)),
            "distance_bounds": make_bounds(),
        },
        coords={
            "pixel": [f"p{number}" for number in range(len(positive))],
            "lag": np.arange(-positive.shape[2], 0),
            "distance": make_bounds().mean("bounds").values,
            "block_samples": ("bootstrap_block", samples),
        },
    )


def radius(row: list[float], share: float, edges: list[float] = EDGES) -> float:
    profile = xr.DataArray([row], dims=("pixel", "distance"))
    return float(measure_radius(profile, make_bounds(edges), share)[0])


# Time.


def test_mean_lag_counts_months_back_from_the_first_month_after_the_input():
    lag = measure_mean_lag(make_monthly([1, 0, 0], [0, 0, 2], [1, 1, 2]))
    np.testing.assert_allclose(lag, [3, 1, (3 + 2 + 2 * 1) / 4])
    assert lag.attrs["units"] == "month"


def test_recent_share_is_that_of_the_latest_month():
    share = measure_recent_share(make_monthly([1, 0, 0], [0, 0, 2], [1, 1, 2]))
    np.testing.assert_allclose(share, [0, 1, 0.5])
    assert share.attrs["units"] == "1"


def test_pixels_without_attribution_have_neither_age_nor_share_nor_radius():
    nothing = make_monthly([0, 0, 0], [0, 3, 0])
    np.testing.assert_array_equal(measure_mean_lag(nothing), [np.nan, 2])
    np.testing.assert_array_equal(measure_recent_share(nothing), [np.nan, 0])
    assert np.isnan(radius([0, 0, 0, 0, 0], 0.5))


def test_what_is_not_a_number_does_not_vanish():
    damaged = make_monthly([1, np.nan, 1])
    assert np.isnan(measure_mean_lag(damaged)[0])
    assert np.isnan(measure_recent_share(damaged)[0])
    assert np.isnan(radius([1, np.nan, 1, 1, 0], 0.5))


@given(st.lists(MASS, min_size=2, max_size=12), st.floats(0.1, 100))
def test_mean_lag_lies_within_the_history_and_ignores_the_size(weights, size):
    months, scaled = make_monthly(weights), make_monthly([size * weight for weight in weights])
    age = float(measure_mean_lag(months)[0])
    assert 1 <= age <= len(weights)
    assert float(measure_mean_lag(scaled)[0]) == pytest.approx(age, rel=1e-5)
    assert float(measure_recent_share(scaled)[0]) == pytest.approx(float(measure_recent_share(months)[0]), rel=1e-5)


# Space.


@pytest.mark.parametrize(
    ("row", "share", "expected"),
    [
        # Half of the first bin's two units: halfway from 0 to its upper edge.
        ([2, 1, 1, 0, 0], 0.25, 50),
        ([2, 1, 1, 0, 0], 0.5, 100),
        ([2, 1, 1, 0, 0], 0.75, 200),
        ([2, 1, 1, 0, 0], 0.875, 300),
        ([2, 1, 1, 0, 0], 1.0, 400),
        # The share is reached before the empty bins.
        ([1, 0, 0, 1, 0], 0.5, 100),
        ([1, 0, 0, 1, 0], 0.75, 700),
        # Nothing near the pixel.
        ([0, 0, 4, 0, 0], 0.5, 300),
    ],
)
def test_radius_by_hand(row, share, expected):
    assert radius(row, share) == pytest.approx(expected)


def test_radius_in_the_open_last_bin_is_unknown_and_before_it_is_not():
    assert np.isnan(radius([1, 1, 1, 1, 4], 0.51))
    assert radius([1, 1, 1, 1, 4], 0.5) == pytest.approx(1000)
    assert np.isnan(radius([1.0], 0.5, edges=[0.0]))


def test_radius_names_its_share_and_unit():
    attrs = measure_radius(xr.DataArray([[1.0]], dims=("pixel", "distance")), make_bounds([0.0]), 0.9).attrs
    assert attrs == {"long_name": "distance within which 90% of the attributions lie", "units": "km"}


@given(st.lists(MASS, min_size=4, max_size=4), st.floats(0.01, 1))
def test_radius_agrees_with_the_inverse_of_the_cumulative_sum(row, share):
    reached = np.concatenate([[0], np.cumsum(row)]) / sum(row)
    assert radius([*row, 0], share) == pytest.approx(np.interp(share, reached, EDGES), rel=1e-9)


@given(st.lists(st.floats(0, 1000), min_size=5, max_size=5), st.floats(1e-3, 1e3), st.floats(0.01, 0.99))
def test_radius_ignores_the_size_and_grows_with_the_share(row, size, share):
    row = [round(mass, 3) for mass in row]
    here, scaled = radius(row, share), radius([size * mass for mass in row], share)
    # Where a bin ends just at the share, rounding may reach across the empty bins behind it.
    at_an_edge = sum(row) and np.isclose(np.cumsum(row) / sum(row), share, atol=1e-9).any()
    if not at_an_edge:
        np.testing.assert_allclose(scaled, here, rtol=1e-6)
    smaller = [radius(row, part * share) for part in (0.25, 0.5, 0.75)]
    known = [each for each in [*smaller, here] if not np.isnan(each)]
    assert known == sorted(known)
    # Once in the open bin, never out of it.
    assert np.isnan([*smaller, here][len(known) :]).all()


@given(st.integers(0, 3), MASS, st.floats(0.01, 1))
def test_all_in_one_bin_is_spread_evenly_over_it(at, mass, share):
    row = [0.0] * 5
    row[at] = mass
    low, high = make_bounds().values[at]
    assert radius(row, share) == pytest.approx(low + share * (high - low))


def test_profile_weighs_blocks_by_their_samples_and_adds_signs_and_lags():
    rng = np.random.default_rng(0)
    positive, negative = rng.uniform(size=(2, 70, 2, 3, 5))
    # More pixels than are read at once.
    profile = sum_profile(make_attributions(positive, negative, [4, 1]))
    expected = np.zeros((70, 5))
    for lag in range(3):
        for block, samples in enumerate([4, 1]):
            expected += samples * (positive + negative)[:, block, lag]
    np.testing.assert_allclose(profile, expected, rtol=1e-6)
    assert profile.dims == ("pixel", "distance")
    assert profile["pixel"].values.tolist() == [f"p{number}" for number in range(70)]


def test_radius_of_a_short_last_block_by_hand():
    # Three samples all in the first bin, one sample all in the third: half lies within 100 km * 2 / 3.
    radial = np.zeros((1, 2, 1, 5))
    radial[0, 0, 0, 0] = radial[0, 1, 0, 2] = 1
    profile = sum_profile(make_attributions(radial / 2, radial / 2, [3, 1]))
    assert float(measure_radius(profile, make_bounds(), 0.5)[0]) == pytest.approx(200 / 3)
    assert float(measure_radius(profile, make_bounds(), 0.9)[0]) == pytest.approx(200 + 200 * 0.6)


def test_a_file_is_read_as_it_lies_on_disk(tmp_path):
    positive, negative = np.random.default_rng(1).uniform(size=(2, 3, 2, 3, 5))
    attributions = make_attributions(positive, negative, [4, 1])
    attributions.to_netcdf(tmp_path / "attributions.nc")
    with xr.open_dataset(tmp_path / "attributions.nc") as dataset:
        xr.testing.assert_allclose(sum_profile(dataset), sum_profile(attributions))
        assert not dataset["radial_positive"].variable._in_memory
