import pickle

import numpy as np
import pytest
import xarray as xr

from sealiency.config.data import Region
from sealiency.data.regridding import TARGET_LAT, TARGET_LON, build_regridder, to_unit_vectors
from sealiency.errors import SealiencyError

PAPER = Region(south=0, north=70, west=-100, east=25)
# What the flat triangle of three cells 2 degrees apart takes off a linear function of place: 1 - cos(1.5 degrees).
FLAT = 1 - np.cos(np.deg2rad(1.5))


def make_axes(region: Region) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(region.south + 0.5, region.north), np.arange(region.west + 0.5, region.east)


def build(lat: np.ndarray, lon: np.ndarray, region: Region):
    return build_regridder(lat, lon, *make_axes(region), region, "source.nc")


def make_grid(step: float = 2, pole: tuple[float, float] = (75, -40)) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes and longitudes of a grid around a displaced pole, which ends 4 degrees before its two poles."""
    lat, lon = np.meshgrid(np.arange(-86, 86.1, step), np.arange(0, 360, step), indexing="ij")
    tilt, turn = np.deg2rad(90 - pole[0]), np.deg2rad(pole[1])
    about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    x, y, z = np.moveaxis(to_unit_vectors(lat, lon) @ about_y.T @ about_z.T, -1, 0)
    return np.rad2deg(np.arcsin(z)), np.rad2deg(np.arctan2(y, x)) % 360


def make_rows(offset: float, region: Region, margin: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Cells on the target's meridians, `offset` degrees south of the targets."""
    lat = np.arange(region.south - margin, region.north + margin) + 0.5 - offset
    return np.meshgrid(lat, np.arange(region.west - margin, region.east + margin) + 0.5, indexing="ij")


def slope(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Linear in the place on the unit sphere, so that all that is lost is the triangle's flatness."""
    return to_unit_vectors(lat, lon) @ np.array([0.6, -0.3, 0.5])


@pytest.mark.parametrize(
    "region",
    [
        PAPER,
        Region(south=-60, north=60, west=150, east=210),
        Region(south=-80, north=80, west=-180, east=180),
        Region(south=60, north=90, west=0, east=360),
    ],
)
def test_smooth_field_comes_back_on_a_displaced_pole(region):
    lat, lon = make_grid()
    regridded = build(lat, lon, region)(slope(lat, lon)[None])[0]
    exact = slope(*np.meshgrid(*make_axes(region), indexing="ij"))
    # The grid ends around its pole, where nothing is made up.
    pole = to_unit_vectors(np.array(75), np.array(-40))
    away = np.rad2deg(np.arccos(np.abs(to_unit_vectors(*np.meshgrid(*make_axes(region), indexing="ij")) @ pole)))
    assert np.isfinite(regridded[away > 4]).all()
    assert not np.isfinite(regridded[away < 2]).any()
    # Inside the grid; at its end a target takes its nearest cell, at most 0.4 diagonals away.
    assert np.abs(regridded - exact)[away > 4].max() <= FLAT
    assert np.abs(regridded - exact)[np.isfinite(regridded)].max() <= np.deg2rad(2 * 2**0.5 * 0.4)


@pytest.mark.parametrize("shift", [0, 17, 90])
@pytest.mark.parametrize("turned", [False, True])
def test_seam_and_order_of_the_cells_do_not_matter(shift, turned):
    lat, lon = make_grid()
    values = slope(lat, lon)
    expected = build(lat, lon, PAPER)(values[None])
    arrays = [np.roll(array, shift, axis=1) for array in (lat, (lon + 180) % 360 - 180, values)]
    lat, lon, values = (array.T[::-1] if turned else array for array in arrays)
    regridded = build(lat, lon, PAPER)(values[None])
    np.testing.assert_array_equal(np.isnan(regridded), np.isnan(expected))
    np.testing.assert_allclose(regridded, expected, atol=2 * FLAT)


def test_target_on_a_cell_takes_its_value():
    region = Region(south=10, north=14, west=-4, east=3)
    lat, lon = make_rows(0, region)
    values = np.arange(lat.size, dtype=float).reshape(lat.shape)
    np.testing.assert_allclose(build(lat, lon, region)(values[None])[0], values[2:-2, 2:-2], rtol=1e-9)


def test_target_between_two_cells_takes_their_mean_by_distance_and_the_nearer_decides_on_land():
    region = Region(south=10, north=14, west=-4, east=3)
    lat, lon = make_rows(0.25, region)
    # A chord of one degree departs from its arc by less than one part in ten thousand.
    values = np.arange(lat.size, dtype=float).reshape(lat.shape)
    south, north = values[2:-2, 2:-2].copy(), values[3:-1, 2:-2].copy()
    np.testing.assert_allclose(build(lat, lon, region)(values[None])[0], 0.75 * south + 0.25 * north, rtol=1e-4)
    # Row 4 is land: the target row that has 3/4 of its weight there is land; the one with 1/4 takes the other cell.
    values[4] = np.nan
    expected = 0.75 * south + 0.25 * north
    expected[2], expected[1] = np.nan, south[1]
    np.testing.assert_allclose(build(lat, lon, region)(values[None])[0], expected, rtol=1e-4)


def test_target_inside_a_square_has_its_bilinear_weights():
    region = Region(south=-2, north=2, west=-4, east=3)
    lat, lon = make_rows(0.25, region)
    values = np.random.default_rng(0).normal(size=lat.shape)
    # Each target lies a quarter of a cell north and east of one of the centres.
    south, north = values[2:-2], values[3:-1]
    expected = (9 * south[:, 2:-2] + 3 * south[:, 3:-1] + 3 * north[:, 2:-2] + north[:, 3:-1]) / 16
    regridded = build(lat, lon - 0.25, region)(values[None])[0]
    np.testing.assert_allclose(regridded, expected, atol=1e-3)
    # A land corner of weight 9/16 makes land; the others are left out of the mean.
    values[4, 5] = np.nan
    regridded = build(lat, lon - 0.25, region)(values[None])[0]
    assert np.argwhere(np.isnan(regridded)).tolist() == [[2, 3]]
    corners = values[[4, 4, 5, 5], [4, 5, 4, 5]]
    assert regridded[2, 2] == pytest.approx((9 * corners[0] + 3 * corners[2] + corners[3]) / 13, abs=1e-3)


def test_cell_half_on_land_is_ocean():
    region = Region(south=-1, north=1, west=-4, east=3)
    lat, lon = make_rows(0.5, region)
    values = np.where(lat >= 0, 7.0, np.nan)
    assert lat[2, 0] == -1
    np.testing.assert_allclose(build(lat, lon, region)(values[None])[0], np.full((2, 7), 7.0), rtol=1e-12)
    values[lat <= 0] = np.nan
    np.testing.assert_array_equal(
        np.isnan(build(lat, lon, region)(values[None])[0]), np.repeat([[True], [False]], 7, axis=1)
    )


@pytest.mark.parametrize("missing", [np.nan, 9.969209968386869e36, 1e20])
def test_each_month_has_its_own_mask(missing):
    region = Region(south=10, north=14, west=-4, east=3)
    lat, lon = make_rows(0, region)
    values = np.full((3, *lat.shape), 5, np.float32)
    values[1, 4, 5] = missing
    regridded = build(lat, lon, region)(values)
    expected = np.full((3, 4, 7), 5.0)
    expected[1, 2, 3] = np.nan
    np.testing.assert_allclose(regridded, expected, rtol=1e-12)
    assert regridded.dtype == np.float64


def test_copies_of_cells_fill_each_other():
    lat, lon = make_grid()
    values = slope(lat, lon)
    expected = build(lat, lon, PAPER)(values[None])
    # Two columns more, as on the overlap of many ocean grids, and empty on one side or the other.
    wide = [np.concatenate([array, array[:, :2]], axis=1) for array in (lat, lon, values)]
    for empty in (slice(None, 2), slice(-2, None)):
        holed = wide[2].copy()
        holed[:, empty] = np.nan
        regridded = build(*wide[:2], PAPER)(holed[None])
        np.testing.assert_array_equal(np.isnan(regridded), np.isnan(expected))
        np.testing.assert_allclose(regridded, expected, atol=2 * FLAT)


@pytest.mark.parametrize("unknown", [np.nan, 9.969209968386869e36, 0])
def test_land_without_coordinates_poisons_nothing(unknown):
    lat, lon = make_grid(1)
    # A continent of 20 degrees around 20 N, 30 W.
    middle = to_unit_vectors(np.array(20), np.array(-30))
    land = to_unit_vectors(lat, lon) @ middle > np.cos(np.deg2rad(20))
    inland = to_unit_vectors(lat, lon) @ middle > np.cos(np.deg2rad(15))
    values = np.where(land, np.nan, slope(lat, lon))
    known = build(lat, lon, PAPER)(values[None])[0]
    # Without the coordinates inland, nothing changes: the coast has its cells.
    holed = [np.where(inland, unknown, array) for array in (lat, lon)]
    regridded = build(*holed, PAPER)(values[None])[0]
    np.testing.assert_array_equal(np.isnan(regridded), np.isnan(known))
    np.testing.assert_allclose(regridded, known, atol=2 * FLAT)
    # Without those of the coast as well, the coast moves by less than a cell and no value is far from its place.
    holed = [np.where(land, unknown, array) for array in (lat, lon)]
    regridded = build(*holed, PAPER)(values[None])[0]
    targets = np.meshgrid(*make_axes(PAPER), indexing="ij")
    inwards = 20 - np.rad2deg(np.arccos(to_unit_vectors(*targets) @ middle))
    assert np.isnan(regridded[inwards > 1]).all()
    np.testing.assert_array_equal(np.isnan(regridded[inwards < -1]), np.isnan(known[inwards < -1]))
    ocean = np.isfinite(regridded)
    assert np.abs(regridded - slope(*targets))[ocean].max() < np.deg2rad(1)
    differing = np.isnan(regridded) != np.isnan(known)
    assert differing.sum() < 0.4 * (np.abs(inwards) < 1).sum()


@pytest.mark.parametrize(
    ("region", "place"),
    [
        (Region(south=10, north=33, west=-50, east=-30), "31.5 N, -49.5 E"),
        (Region(south=5, north=30, west=-50, east=-30), "5.5 N, -49.5 E"),
        (Region(south=10, north=30, west=-50, east=-22), "10.5 N, -27.5 E"),
        (Region(south=10, north=30, west=-55, east=-30), "10.5 N, -54.5 E"),
        (Region(south=10, north=30, west=100, east=120), "10.5 N, 100.5 E"),
    ],
)
def test_region_outside_the_grid_is_refused(region, place):
    # The last cells are centred on 9.8 N, 30.8 N, 50.9 W and 28.9 W.
    lat, lon = np.meshgrid(np.arange(9.8, 31), np.arange(-51.2, -29) + 0.3, indexing="ij")
    assert np.isfinite(build(lat, lon, Region(south=10, north=30, west=-50, east=-30))(np.ones((1, *lat.shape)))).all()
    with pytest.raises(SealiencyError, match=rf"^source.nc: data.region asks for .* no cells near {place}"):
        build(lat, lon, region)


def test_antarctica_needs_no_cells():
    lat, lon = make_grid()
    lat[lat < -75] = np.nan
    regridded = build(lat, lon, Region(south=-90, north=-60, west=-180, east=180))(slope(lat, lon)[None])[0]
    assert np.isnan(regridded[:14]).all()
    assert np.isfinite(regridded[-10:]).all()


def test_grid_without_coordinates_is_refused():
    lat, lon = np.full((2, 5, 6), np.nan)
    with pytest.raises(SealiencyError, match=r"^source.nc: 0 cells have coordinates"):
        build(lat, lon, PAPER)


def test_weights_can_be_sent_to_another_process():
    lat, lon = make_grid()
    regridder = build(lat, lon, PAPER)
    values = slope(lat, lon)[None]
    content = pickle.dumps(regridder)
    # A task carries the weights of its region alone.
    assert len(content) < 2**20
    np.testing.assert_array_equal(pickle.loads(content)(values), regridder(values))


# --- real grids ---


def read_places(path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with xr.open_dataset(path, decode_times=False) as dataset:
        coordinates = [dataset["tos"].cf[key].values for key in ("latitude", "longitude")]
        return *coordinates, dataset["tos"].values[0]


def place_waves(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """A field of 0..30 degC whose largest slope, some 0.5 degC a degree, is that of a front."""
    phi, theta = np.deg2rad(lat), np.deg2rad(lon)
    return 15 + 10 * np.cos(phi) * np.cos(theta) * np.sin(2 * phi) + 5 * np.sin(2 * theta) * np.cos(phi) ** 2


@pytest.mark.parametrize(
    ("model", "error"), [("CESM2-FV2", 0.0013), ("FGOALS-f3-L", 0.006), ("MPI-ESM-1-2-HAM", 0.003)]
)
def test_analytic_field_on_a_real_grid_comes_back(shared_data, model, error):
    (path,) = (shared_data / "cmip6_samples").glob(f"tos_Omon_{model}_*.nc")
    lat, lon, sst = read_places(path)
    known = np.abs(lat) <= 90
    waves = np.full(lat.shape, np.nan)
    waves[known] = place_waves(lat[known], lon[known])
    exact = place_waves(*np.meshgrid(*make_axes(PAPER), indexing="ij"))
    regridder = build(lat, lon, PAPER)
    ocean = np.isfinite(regridder(sst[None])[0])
    # With values on land as well, every ocean cell has all its corners but those few in the gaps.
    away = np.abs(regridder(waves[None])[0] - exact)[ocean]
    assert (away > error).sum() <= 4
    assert away.max() < 0.1
    # With land as the model has it, the outer half cell of the coast is extrapolated.
    coast = np.abs(regridder(np.where(np.isfinite(sst), waves, np.nan)[None])[0] - exact)[ocean]
    assert coast.max() < 0.2
    assert np.quantile(coast, 0.99) < 0.06


def test_grid_is_that_of_the_gr_product(shared_data):
    with xr.open_dataset(shared_data / "cmip6_samples/CESM2_grid_variables.nc") as dataset:
        np.testing.assert_array_equal(dataset["lat"], TARGET_LAT)
        np.testing.assert_array_equal(dataset["lon"], TARGET_LON)
