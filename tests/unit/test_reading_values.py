"""Packing, missing values, units, names: what other people's files say of their values."""

import numpy as np
import pytest
import xarray as xr

from sealiency.errors import SealiencyError
from small_world import BOX, LAT, LON, make_sst, open_files, write_sst

LAND = np.isnan(make_sst(months=2)["tos"].values[0])


@pytest.fixture
def sst() -> xr.Dataset:
    return make_sst(months=24)


def fill(sst: xr.Dataset, value: float, **attrs) -> xr.Dataset:
    """Write land as a number, with attributes that tell of it."""
    sst["tos"] = sst["tos"].fillna(value).assign_attrs(sst["tos"].attrs | attrs)
    return sst


def pack(sst: xr.Dataset, land: int | None, scale=0.001, offset=15.0, dtype="i2", **attrs) -> xr.Dataset:
    """Pack as whole numbers, land as one of them."""
    packed = np.round((sst["tos"].values - offset) / float(scale))
    packed[np.isnan(packed)] = -32767 if land is None else land
    attrs = {"units": "degC", "scale_factor": scale, "add_offset": offset} | attrs
    sst["tos"] = (("time", "lat", "lon"), packed.astype(dtype), attrs)
    return sst


def read(dataset: xr.Dataset, path, **settings) -> np.ndarray:
    # Written as it is: xarray would take the attributes that tell of missing values for its own.
    encoding = {"tos": {"_FillValue": None}} if "_FillValue" not in dataset["tos"].attrs else {}
    return open_files([write_sst(dataset, path, encoding=encoding)], variable="tos", **settings).values


# --- missing values ---


@pytest.mark.parametrize(
    ("land", "attrs"),
    [
        (-9.99, {"valid_range": [-2.0, 45.0]}),
        (-9.99, {"valid_min": -2.0}),
        (99.0, {"valid_max": 45.0}),
        (-9.99, {"valid_range": "-2 45"}),
        (-9.99, {"missing_value": "-9.99"}),
        (-9.99, {"missing_value": [-9.99, -8.88]}),
        (-9.99, {"_FillValue": -9.99}),
    ],
    ids=str,
)
def test_land_outside_what_is_valid_is_missing(tmp_path, sst, land, attrs):
    expected = sst["tos"].values.copy()
    np.testing.assert_array_equal(read(fill(sst, land, **attrs), tmp_path / "a.nc"), expected)


@pytest.mark.parametrize(
    ("land", "attrs"),
    [
        # Of the packed type: in packed units.
        (-20000, {"valid_range": np.array([-17000, 20000], "i2")}),
        (-20000, {"valid_min": np.int16(-17000)}),
        (30000, {"valid_max": np.int32(29000)}),
        (-20000, {"missing_value": np.int16(-20000)}),
        (-20000, {"_FillValue": np.int16(-20000)}),
        # Of the scale factor's type: in degC; -20000 is -5 degC.
        (-20000, {"valid_range": np.array([-2.0, 45.0])}),
        (-20000, {"valid_min": np.float32(-2)}),
        (-20000, {"missing_value": -5.0}),
        (-20000, {"missing_value": "-5.0"}),
        # Too far from any temperature that the packing holds, so packed whatever its type.
        (-32767, {"missing_value": -32767.0}),
        # Nothing declared: the default fill value, and what lies beyond it.
        (-32767, {}),
        (-32768, {}),
        (-20000, {"valid_min": "-17000"}),
        (-20000, {"scale_factor": "0.001", "add_offset": "15.0", "_FillValue": np.int16(-20000)}),
    ],
    ids=str,
)
def test_packed_land_is_missing(tmp_path, sst, land, attrs):
    expected = sst["tos"].values.copy()
    values = read(pack(sst, land, **attrs), tmp_path / "a.nc")
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    np.testing.assert_allclose(values, expected, atol=0.00051)


def test_default_fill_value_counts_beside_what_the_user_names(tmp_path, sst):
    dataset = pack(sst, -32767)
    dataset["tos"][3, 2, 2] = -20000
    values = read(dataset, tmp_path / "a.nc", missing=[-5])
    assert np.isnan(values[3, 2, 2])
    np.testing.assert_array_equal(np.isnan(values[4]), LAND)


def test_packed_unsigned_numbers(tmp_path, sst):
    expected = sst["tos"].values.copy()
    dataset = pack(sst, 65535, scale=0.001, offset=0.0, dtype="u2")
    dataset["tos"] = dataset["tos"].copy(data=dataset["tos"].values.view("i2"))
    dataset["tos"].attrs |= {"_Unsigned": "true", "_FillValue": np.int16(-1)}
    # Above 32767, so a signed number would be negative.
    dataset["tos"].attrs["add_offset"] = -20.0
    values = read(dataset, tmp_path / "a.nc")
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    np.testing.assert_allclose(values, expected - 20, atol=0.00051)


def test_user_may_name_missing_values(tmp_path, sst):
    expected = sst["tos"].values.copy()
    sst["tos"][3, 2, 2] = -1000
    expected[3, 2, 2] = np.nan
    values = read(fill(sst, -1e30), tmp_path / "a.nc", missing=[-1000])
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("name", ["scale_factor", "missing_value", "valid_range"])
def test_attribute_that_is_no_number_is_refused_by_name(tmp_path, sst, name):
    with pytest.raises(SealiencyError, match=rf"a.nc: tos has {name} = 'unknown', which is no number; correct"):
        read(fill(sst, -9.99, **{name: "unknown"}), tmp_path / "a.nc")


# --- units ---


@pytest.mark.parametrize(
    "units",
    ["degreeC", "degreesC", "deg C", "degrees C", "°C", "CELSIUS", "degrees_celsius", "Celsius", "C", "deg_C", "degree_Celsius",
     "degree Celsius", "degc", "degrees Celsius"],
)  # fmt: skip
def test_spellings_of_celsius(tmp_path, sst, units):
    expected = sst["tos"].values.copy()
    sst["tos"].attrs["units"] = units
    np.testing.assert_array_equal(read(sst, tmp_path / "a.nc"), expected)


@pytest.mark.parametrize("units", ["K", "kelvins", "degree_K", "KELVIN", "degK", "deg K", "degrees_kelvin", "Kelvin"])
@pytest.mark.parametrize("anomalies", [False, True])
def test_spellings_of_kelvin(tmp_path, sst, units, anomalies):
    expected = sst["tos"].values - (0 if anomalies else 273.15)
    sst["tos"].attrs["units"] = units
    np.testing.assert_array_equal(read(sst, tmp_path / "a.nc", anomalies=anomalies), expected)


@pytest.mark.parametrize("units", ["degF", "mK", "0.01 K", "degrees", "1", "K s-1"])
def test_other_units_stay_refused(tmp_path, sst, units):
    sst["tos"].attrs["units"] = units
    with pytest.raises(SealiencyError, match=f"tos has units '{units}', which is no temperature in degC or K"):
        read(sst, tmp_path / "a.nc")


# --- names ---


@pytest.mark.parametrize(
    "name", ["unknown", "", "sea_surface_subskin_temperature", "sea_water_temperature", "surface_temperature"]
)
def test_named_variable_serves(tmp_path, sst, name):
    expected = sst["tos"].values.copy()
    sst["tos"].attrs["standard_name"] = name
    np.testing.assert_array_equal(read(sst, tmp_path / "a.nc"), expected)


@pytest.mark.parametrize(
    "name",
    ["air_temperature", "sea_ice_surface_temperature", "soil_temperature", "sea_surface_temperature standard_error"],
)
def test_named_variable_that_is_something_else_is_refused(tmp_path, sst, name):
    sst["tos"].attrs["standard_name"] = name
    with pytest.raises(SealiencyError, match=f"has the standard name '{name}', which is no sea surface temperature"):
        read(sst, tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("lat", "lon", "time"),
    [
        ("lat", "lon", "time"),
        ("latitude", "longitude", "time"),
        ("nav_lat", "nav_lon", "time_counter"),
        ("y", "x", "t"),
    ],
)
def test_coordinates_without_attributes_are_found_by_name(tmp_path, caplog, sst, lat, lon, time):
    expected = sst["tos"].values.copy()
    bare = sst.rename(lat=lat, lon=lon, time=time)
    for name in (lat, lon, time):
        bare[name].attrs = {}
    record = open_files([write_sst(bare, tmp_path / "a.nc")])
    np.testing.assert_array_equal(record.values, expected)
    np.testing.assert_array_equal(record["lat"], LAT)
    np.testing.assert_array_equal(record["lon"], LON)
    # Time is told by its units, which xarray writes.
    for name, axis, how in ((lat, "latitude", "name"), (lon, "longitude", "name"), (time, "time", "units")):
        assert f"{name!r} is taken for the {axis} by its {how}" in caplog.text


def test_coordinates_are_found_by_units_before_names(tmp_path, sst):
    odd = sst.rename(lat="lon", lon="lat")
    odd["lon"].attrs, odd["lat"].attrs = {"units": "degrees_north"}, {"units": "degree_E"}
    np.testing.assert_array_equal(open_files([write_sst(odd, tmp_path / "a.nc")]).values, sst["tos"].values)


def test_ambiguous_coordinates_are_listed(tmp_path, sst):
    dims = sst.rename(lat="row").drop_vars("row")
    dims["nav_lat"], dims["gphit"] = ("row", LAT), ("row", LAT)
    with pytest.raises(
        SealiencyError, match=r"2 candidates for its latitude: \['gphit', 'nav_lat'\]; name the right one"
    ):
        open_files([write_sst(dims, tmp_path / "a.nc")])


def test_places_of_a_curvilinear_grid_may_be_plain_variables(tmp_path, sst):
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    tos = sst["tos"].rename(lat="y", lon="x").drop_vars(["y", "x", "lat", "lon"], errors="ignore")
    dataset = xr.Dataset({"tos": tos, "nav_lat": (("y", "x"), lat), "nav_lon": (("y", "x"), lon)})
    np.testing.assert_array_equal(open_files([write_sst(dataset, tmp_path / "a.nc")]).values, sst["tos"].values)


# --- grids ---


def test_coordinates_that_differ_by_rounding_are_one_grid(tmp_path, sst):
    parts = [sst.isel(time=slice(8 * n, 8 * n + 8)) for n in range(3)]
    parts[1] = parts[1].assign_coords(lat=("lat", LAT + 5e-6, sst["lat"].attrs)).isel(lat=slice(None, None, -1))
    parts[2] = parts[2].assign_coords(lon=("lon", (LON - 2e-8) % 360, sst["lon"].attrs))
    paths = [write_sst(part, tmp_path / f"{n}.nc") for n, part in enumerate(parts)]
    record = open_files(paths)
    np.testing.assert_array_equal(record.values, sst["tos"].values)
    np.testing.assert_array_equal(record["lat"], LAT)


@pytest.mark.parametrize("bad", [0, 2])
def test_file_that_differs_from_most_is_the_one_named(tmp_path, bad):
    paths = []
    for number in range(4):
        lat = np.arange(39.75, 49) if number == bad else LAT
        part = make_sst(months=6, start=(1950 + number // 2, 6 * (number % 2) + 1), lat=lat)
        paths.append(write_sst(part, tmp_path / f"part{number}.nc"))
    with pytest.raises(
        SealiencyError, match=rf"part{bad}.nc: lat differs from that of .* and 2 more; give files of one grid"
    ):
        open_files(paths)


WORLD_LAT, WORLD_LON = np.arange(-85.0, 90, 10), np.arange(0.0, 361, 10)
GLOBE = {"south": -90, "north": 90, "west": 0, "east": 360}


@pytest.mark.parametrize("west", [0.0, -180.0])
@pytest.mark.parametrize("gap", [None, "first", "last"])
def test_meridian_that_stands_twice_is_taken_once(tmp_path, caplog, west, gap):
    sst = make_sst(months=3, lat=WORLD_LAT, lon=WORLD_LON + west, land=())
    sst["tos"][:, :, -1] = sst["tos"][:, :, 0]
    expected = sst["tos"].values[:, :, :-1].copy()
    if gap:
        sst["tos"][:, 4:9, 0 if gap == "first" else -1] = np.nan
    record = open_files([write_sst(sst, tmp_path / "a.nc")], region=GLOBE | {"west": west, "east": west + 360})
    assert record.shape == (3, 18, 36)
    np.testing.assert_array_equal(record.values, expected)
    assert f"1 place(s) stand twice along lon (such as {west:g} and {west + 360:g} degrees)" in caplog.text


def test_meridian_that_stands_twice_with_other_values_is_refused(tmp_path):
    sst = make_sst(months=3, lat=WORLD_LAT, lon=WORLD_LON, land=())
    sst["tos"][:, :, -1] = sst["tos"][:, :, 0] + 0.5
    with pytest.raises(
        SealiencyError, match=r"0 and 360 degrees are one place, but the values there differ by up to 0.5"
    ):
        open_files([write_sst(sst, tmp_path / "a.nc")], region=GLOBE).values  # noqa: B018


@pytest.mark.parametrize("row", [0, -1])
def test_grid_that_ends_a_row_short_is_refused(tmp_path, sst, row):
    short = sst.isel(lat=slice(1, None) if row == 0 else slice(0, -1))
    with pytest.raises(SealiencyError, match=r"data.region asks for latitude 40..48, but the grid covers"):
        open_files([write_sst(short, tmp_path / "a.nc")])


def test_last_row_at_a_pole_covers_it(tmp_path):
    sst = make_sst(months=3, lat=np.arange(-88.0, 90, 2), lon=np.arange(0.0, 360, 2), land=())
    assert open_files([write_sst(sst, tmp_path / "a.nc")], region=GLOBE).shape == (3, 89, 180)


def test_stretched_latitudes_are_no_hole(tmp_path):
    steps = np.concatenate([np.linspace(1, 0.3, 20), np.linspace(0.3, 1, 20)])
    lat = -steps.sum() / 2 + np.cumsum(steps)
    sst = make_sst(months=3, lat=lat, lon=LON)
    record = open_files(
        [write_sst(sst, tmp_path / "a.nc")], region={"south": -10, "north": 10, "west": -50, "east": -40}
    )
    assert record.shape == (3, int((np.abs(lat) <= 10).sum()), 10)


@pytest.mark.parametrize(
    ("step", "words"), [(4.0, "about 3.5 degrees wide; the 1-degree"), (8.0, "too wide to be regridded")]
)
def test_wide_cells_of_a_curvilinear_grid_are_told_or_refused(tmp_path, caplog, step, words):
    # Sheared a little, so that the places need two dimensions.
    lat = np.arange(44 - 3 * step, 44 + 3.5 * step, step)[:, None] + 0.01 * np.arange(7)
    lon = np.broadcast_to(np.arange(-45 - 3 * step, -45 + 3.5 * step, step), lat.shape)
    sst = make_sst(months=3, lat=lat[:, 0], lon=lon[0], land=())
    places = {"lat": (("j", "i"), lat, sst["lat"].attrs), "lon": (("j", "i"), lon, sst["lon"].attrs)}
    tos = sst["tos"].rename(lat="j", lon="i").drop_vars(["j", "i", "lat", "lon"], errors="ignore")
    path = write_sst(tos.to_dataset().assign_coords(places), tmp_path / "a.nc")
    if step < 5:
        assert open_files([path], region=BOX).shape == (3, 8, 10)
        assert words in caplog.text
    else:
        with pytest.raises(SealiencyError, match=words):
            open_files([path], region=BOX)
