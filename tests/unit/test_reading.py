import gzip
import logging
import subprocess
import sys
from importlib import resources

import dask
import netCDF4
import numpy as np
import pytest
import xarray as xr

from sealiency.config.data import Region
from sealiency.data.prepare import prepare_record
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf, sha256
from small_world import BOX, HISTORY, LAT, LON, describe_files, make_sst, open_files, prepare_sst, write_sst

# Across Greenwich, and a grid around the world at 5 degrees.
GREENWICH = Region(south=40, north=60, west=-20, east=15)
WORLD_LAT, WORLD_LON = np.arange(-87.5, 90, 5), np.arange(2.5, 360, 5)


def open_one(dataset: xr.Dataset, path, region: Region = BOX, variable=None, **options) -> xr.DataArray:
    return open_files([write_sst(dataset, path, **options)], region, variable)


def refuse(dataset: xr.Dataset, path, message: str, **options) -> str:
    with pytest.raises(SealiencyError, match=message) as caught:
        open_one(dataset, path, **options)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.fixture
def sst() -> xr.Dataset:
    return make_sst(months=24)


# --- values ---


@pytest.mark.parametrize("chunk", [5, 120])
def test_values_are_those_of_the_file(tmp_path, monkeypatch, sst, chunk):
    monkeypatch.setattr("sealiency.data.reading.file.MONTHS_PER_CHUNK", chunk)
    record = open_one(sst, tmp_path / "a.nc")
    assert record.dims == ("time", "lat", "lon")
    assert record.dtype == np.float64
    assert record.chunks is not None
    assert record.attrs["units"] == "degC"
    np.testing.assert_array_equal(record.values, sst["tos"].values)
    np.testing.assert_array_equal(record["lat"], LAT)
    np.testing.assert_array_equal(record["lon"], LON)


def test_kelvin_becomes_celsius(tmp_path, sst):
    expected = sst["tos"].values
    sst["tos"] = (sst["tos"] + 273.15).assign_attrs(sst["tos"].attrs | {"units": "K"})
    np.testing.assert_allclose(open_one(sst, tmp_path / "a.nc").values, expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_land_may_be_a_fill_value(tmp_path, sst, dtype):
    encoding = {"dtype": dtype, "_FillValue": np.array(-9999, dtype)[()]}
    if dtype == "i2":
        encoding |= {"scale_factor": 0.01, "add_offset": 5.0}
    record = open_one(sst, tmp_path / "a.nc", encoding={"tos": encoding})
    np.testing.assert_array_equal(np.isnan(record.values), np.isnan(sst["tos"].values))
    np.testing.assert_allclose(record.values, sst["tos"].values, atol=0.0051)


@pytest.mark.parametrize("value", [9.969209968386869e36, 1e20])
def test_land_of_an_undeclared_fill_value_never_counts_as_sea(tmp_path, sst, value):
    # NetCDF's own default, and a common one, with no attribute that says so.
    land = sst["tos"].isnull().values
    sst["tos"] = sst["tos"].fillna(value)
    path = write_sst(sst, tmp_path / "a.nc", encoding={"tos": {"_FillValue": None}})
    values = open_files([path]).values
    assert land.any()
    np.testing.assert_array_equal(np.isnan(values), land)


def test_all_files_make_one_record_in_order_of_time(tmp_path, sst):
    paths = [
        write_sst(sst.isel(time=part), tmp_path / f"{name}.nc")
        for name, part in (("c", slice(0, 5)), ("a", slice(5, 20)), ("b", slice(20, 24)))
    ]
    record = open_files(sorted(paths))
    np.testing.assert_array_equal(record.values, sst["tos"].values)


def test_months_outside_the_wanted_ones_are_left_out(tmp_path, sst):
    path = write_sst(sst, tmp_path / "a.nc")
    record = open_files([path], first_month="1950-03", last_month="1951-02")
    np.testing.assert_array_equal(record.values, sst["tos"].values[2:14])
    with pytest.raises(SealiencyError, match=r"data.last_month = 1952-01: outside the record 1950-01..1951-12"):
        open_files([path], last_month="1952-01")


# --- the grid ---


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("notation", [0, -180])
def test_crop_across_greenwich_is_the_same_in_every_notation(tmp_path, descending, notation):
    sst = make_sst(months=3, lat=WORLD_LAT, lon=WORLD_LON, land=((26, 0),))
    # Each value tells its place.
    place = 1000 * WORLD_LAT[:, None] + ((WORLD_LON + 180) % 360 - 180)[None]
    sst["tos"].values[:] = np.where(np.isnan(sst["tos"]), np.nan, place)
    file = sst.assign_coords(lon=(("lon",), (WORLD_LON - notation) % 360 + notation, sst["lon"].attrs)).sortby("lon")
    if descending:
        file = file.sortby("lat", ascending=False)
    record = open_one(file, tmp_path / "a.nc", region=GREENWICH)
    lat, lon = np.array([42.5, 47.5, 52.5, 57.5]), np.arange(-17.5, 15, 5)
    np.testing.assert_array_equal(record["lat"], lat)
    np.testing.assert_array_equal(record["lon"], lon)
    expected = np.broadcast_to(1000 * lat[:, None] + lon[None], (3, 4, 7)).copy()
    expected[:, 0, 4] = np.nan
    np.testing.assert_array_equal(record.values, expected)


def test_region_around_the_world(tmp_path):
    sst = make_sst(months=3, lat=WORLD_LAT, lon=WORLD_LON, land=())
    record = open_one(sst, tmp_path / "a.nc", region=Region(south=-90, north=90, west=-180, east=180))
    assert record.shape == (3, 36, 72)
    assert record["lon"].values[[0, -1]].tolist() == [-177.5, 177.5]


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (Region(south=30, north=48, west=-50, east=-40), "latitude 30..48, but the grid covers 40.5..47.5"),
        (Region(south=40, north=60, west=-50, east=-40), "latitude 40..60"),
        (Region(south=40, north=48, west=-60, east=-40), "longitude -60..-40, but the grid covers -49.5..-40.5"),
        (Region(south=40, north=48, west=-50, east=-20), "longitude -50..-20"),
        (Region(south=40, north=48, west=100, east=120), "longitude 100..120"),
        (Region(south=-10, north=10, west=-50, east=-40), "latitude -10..10"),
    ],
)
def test_region_outside_the_file_is_refused(tmp_path, sst, region, words):
    refuse(sst, tmp_path / "a.nc", f"data.region asks for {words}", region=region)


def test_region_over_a_hole_in_the_file_is_refused(tmp_path, sst):
    refuse(sst.isel(lon=[0, 1, 2, 8, 9]), tmp_path / "a.nc", "data.region asks for longitude")


def test_cell_on_the_edge_is_kept_whatever_its_rounding(tmp_path):
    # Centres on the edges of the region, in single precision: 310.1 is a little more, 40.6 a little more or less.
    lat, lon = np.float32(40.6 + np.arange(8)), np.float32(310.1 + np.arange(10))
    region = Region(south=40.6, north=47.6, west=-49.9, east=-40.9)
    assert open_one(make_sst(months=3, lat=lat, lon=lon), tmp_path / "a.nc", region=region).shape == (3, 8, 10)
    lon = np.float32(310.4 + np.arange(10))
    region = Region(south=40.6, north=47.6, west=-49.6, east=-40.6)
    assert open_one(make_sst(months=3, lat=lat, lon=lon), tmp_path / "b.nc", region=region).shape == (3, 8, 10)


@pytest.mark.parametrize("extra", [{}, {"depth": 0.5}], ids=["plain", "with a scalar coordinate"])
def test_coordinates_may_have_other_names_than_their_dimensions(tmp_path, sst, extra):
    y_x = {"lat": ("y", LAT, sst["lat"].attrs), "lon": ("x", LON, sst["lon"].attrs)}
    dataset = sst.drop_vars(["lat", "lon"]).rename(lat="y", lon="x").assign_coords(y_x | extra)
    record = open_one(dataset, tmp_path / "a.nc")
    np.testing.assert_array_equal(record["lat"], LAT)
    np.testing.assert_array_equal(record["lon"], LON)
    np.testing.assert_array_equal(record.values, sst["tos"].values)


def test_coordinates_are_known_by_their_attributes(tmp_path, sst):
    dataset = sst.rename(lat="breite", lon="laenge", time="zeit", tos="wasser")
    np.testing.assert_array_equal(open_one(dataset, tmp_path / "a.nc").values, sst["tos"].values)


def test_level_of_size_one_is_dropped_and_more_are_refused(tmp_path, sst):
    one = sst.assign(tos=sst["tos"].expand_dims(lev=[5.0]))
    np.testing.assert_array_equal(open_one(one, tmp_path / "a.nc").values, sst["tos"].values)
    two = xr.concat([one, one.assign_coords(lev=[15.0])], "lev")
    refuse(two, tmp_path / "b.nc", "select one level of")


def bend(
    sst: xr.Dataset, lat: np.ndarray, lon: np.ndarray, names=("lat", "lon"), dims=("j", "i"), flip: bool = False
) -> xr.Dataset:
    """Give SST coordinates of two dimensions, in the order of the dimensions or in the other."""
    tos = (
        sst["tos"]
        .rename(lat=dims[0], lon=dims[1])
        .drop_vars(dims, errors="ignore")
        .drop_vars(["lat", "lon"], errors="ignore")
    )
    places = {}
    for name, key, values in zip(names, ("lat", "lon"), (lat, lon), strict=True):
        places[name] = (dims[::-1], values.T, sst[key].attrs) if flip else (dims, values, sst[key].attrs)
    return tos.drop_vars([name for name in tos.coords if name != "time"]).assign_coords(places).to_dataset()


@pytest.mark.parametrize("missing", [None, np.nan, 9.969209968386869e36])
@pytest.mark.parametrize("flip", [False, True])
def test_straight_coordinates_of_two_dimensions_are_read_as_they_are(tmp_path, sst, missing, flip):
    lat, lon = np.meshgrid(LAT, LON % 360, indexing="ij")
    if missing is not None:
        lat[0, 0:2] = lon[0, 0:2] = missing
    dataset = bend(sst, lat, lon, flip=flip)
    if flip:
        dataset = dataset.transpose("i", "j", "time")
    encoding = {name: {"_FillValue": None} for name in ("lat", "lon")}
    record = open_one(dataset, tmp_path / "a.nc", encoding=encoding)
    np.testing.assert_array_equal(record["lat"], LAT)
    np.testing.assert_allclose(record["lon"], LON)
    np.testing.assert_array_equal(record.values, sst["tos"].values)
    assert record.attrs["regridding"] == "none"


@pytest.mark.parametrize(
    ("names", "dims", "calendar"),
    [
        (("lat", "lon"), ("nlat", "nlon"), "noleap"),
        (("latitude", "longitude"), ("j", "i"), "365_day"),
        (("nav_lat", "nav_lon"), ("y", "x"), "360_day"),
        (("breite", "laenge"), ("lat", "lon"), "gregorian"),
        (("latitude", "longitude"), ("x", "y"), "proleptic_gregorian"),
        (("lat", "lon"), ("rlat", "rlon"), "standard"),
    ],
)
def test_curvilinear_grid_is_regridded_whatever_its_names(tmp_path, caplog, names, dims, calendar):
    # Cells of one degree, sheared: a row rises by one degree in ten.
    lat = np.arange(36.2, 53)[:, None] + 0.1 * np.arange(18)
    lon = np.broadcast_to(np.arange(-53.7, -36), lat.shape)
    sst = make_sst(months=15, calendar=calendar, lat=lat[:, 0], lon=lon[0], land=())
    sst["tos"].values[:] = (10 + 0.5 * lat + 0.25 * lon)[None] + np.arange(15)[:, None, None]
    sst["tos"].values[3] = 1e20
    dataset = bend(sst, lat, lon % 360, names, dims)
    if names[0] == "breite":
        # Numbers of the cells that look like degrees.
        numbers = {dim: (dim, np.arange(18.0)[: dataset.sizes[dim]], sst[dim].attrs) for dim in dims}
        dataset = dataset.assign_coords(numbers)
    with caplog.at_level(logging.INFO):
        record = open_one(dataset, tmp_path / "a.nc")
    expected = 10 + 0.5 * LAT[:, None] + 0.25 * LON[None] + np.arange(15)[:, None, None]
    expected[3] = np.nan
    assert record.dims == ("time", "lat", "lon")
    np.testing.assert_array_equal(record["lat"], LAT)
    np.testing.assert_array_equal(record["lon"], LON)
    np.testing.assert_allclose(record.values, expected, atol=2e-3)
    assert record.attrs["units"] == "degC"
    assert record.attrs["regridding"].startswith("bilinear from 17 x 18 cells to 1 degree (scipy ")
    (message,) = (line.getMessage() for line in caplog.records if line.name == "sealiency.data.reading.record")
    assert "a.nc" in message
    assert record.attrs["regridding"] in message


def test_regridding_of_many_files_is_in_kelvin_too_and_runs_in_other_processes(tmp_path):
    lat, lon = np.meshgrid(np.arange(36.2, 53), np.arange(-53.7, -36), indexing="ij")
    lat = lat + 0.1 * np.arange(lat.shape[1])
    sst = make_sst(months=24, lat=lat[:, 0], lon=lon[0], land=((8, 8), (8, 9), (9, 8), (9, 9)))
    expected = open_one(bend(sst, lat, lon), tmp_path / "whole.nc").values
    assert np.isnan(expected).any()
    sst["tos"] = (sst["tos"] + 273.15).assign_attrs(sst["tos"].attrs | {"units": "K"})
    bent = bend(sst, lat, lon)
    paths = [
        write_sst(bent.isel(time=part), tmp_path / f"{name}.nc")
        for name, part in (("b", slice(0, 12)), ("a", slice(12, 24)))
    ]
    record = open_files(paths)
    assert record.chunks == ((12, 12), (8,), (10,))
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_allclose(record.values, expected, atol=1e-9)
    other = bend(sst, lat + 0.1, lon).isel(time=slice(12, 24))
    paths[1] = write_sst(other, tmp_path / "other.nc")
    with pytest.raises(SealiencyError, match=r"other.nc: lat differs from that of .*b.nc"):
        open_files(paths)


def test_region_outside_a_curvilinear_grid_is_refused(tmp_path):
    lat, lon = np.meshgrid(np.arange(42.2, 53), np.arange(-53.7, -36), indexing="ij")
    sst = make_sst(months=3, lat=lat[:, 0], lon=lon[0])
    refuse(
        bend(sst, lat + 0.01 * lon, lon),
        tmp_path / "a.nc",
        r"data.region asks for latitude 40..48, .* no cells near 40.5 N",
    )


def test_cells_without_rows_are_refused(tmp_path, sst):
    dataset = sst.stack(cell=("lat", "lon")).drop_vars(["cell", "lat", "lon"])
    places = [array.ravel() for array in np.meshgrid(LAT, LON, indexing="ij")]
    dataset = dataset.assign_coords(
        {name: ("cell", place, sst[name].attrs) for name, place in zip(("lat", "lon"), places, strict=True)}
    )
    refuse(dataset, tmp_path / "a.nc", r"a grid of rows and columns is needed.* take the gr product")


@pytest.mark.parametrize(("stored", "read"), [(1, 120), (50, 100), (130, 130)])
def test_chunks_of_a_file_are_read_whole(tmp_path, stored, read):
    dataset = make_sst(months=260)
    record = open_one(dataset, tmp_path / "a.nc", encoding={"tos": {"chunksizes": (stored, 8, 10)}})
    assert record.chunksizes["time"][0] == read
    np.testing.assert_array_equal(record.values, dataset["tos"].values)


def test_coordinate_without_attributes_is_refused(tmp_path, sst):
    dataset = sst.rename(lat="breite")
    dataset["breite"].attrs = {}
    refuse(dataset, tmp_path / "a.nc", "no latitude coordinate that CF attributes, units or a name tell")


def test_files_of_two_grids_are_refused(tmp_path, sst):
    other = make_sst(months=12, start=(1952, 1), lat=np.arange(39.75, 49))
    paths = [write_sst(sst, tmp_path / "a.nc"), write_sst(other, tmp_path / "b.nc")]
    with pytest.raises(SealiencyError, match=r"b.nc: lat differs from that of .*a.nc"):
        open_files(paths)


# --- time ---


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "proleptic_gregorian", "all_leap"])
@pytest.mark.parametrize("start", [(1, 1), (401, 7), (1999, 12)])
def test_any_calendar_and_year(tmp_path, calendar, start):
    sst = make_sst(months=15, start=start, calendar=calendar)
    record = open_one(sst, tmp_path / "a.nc")
    months = [date.year * 12 + date.month - 1 for date in record["time"].values]
    first = start[0] * 12 + start[1] - 1
    assert months == list(range(first, first + 15))
    assert record["time"].values[0].calendar == calendar


def test_missing_month_is_named_with_its_files(tmp_path, sst):
    paths = [
        write_sst(sst.isel(time=slice(0, 7)), tmp_path / "a.nc"),
        write_sst(sst.isel(time=slice(9, 24)), tmp_path / "b.nc"),
    ]
    message = r"a.nc: 2 month\(s\) missing after 1950-07; the next is 1950-10 in .*b.nc"
    with pytest.raises(SealiencyError, match=message):
        open_files(paths)
    refuse(sst.isel(time=[0, 1, 3, 4]), tmp_path / "c.nc", r"1 month\(s\) missing after 1950-02; the next is 1950-04")


def test_months_out_of_order_are_refused(tmp_path, sst):
    refuse(sst.isel(time=slice(None, None, -1)), tmp_path / "a.nc", "interleaved or out of order")


def test_interleaved_files_are_refused(tmp_path, sst):
    paths = [write_sst(sst.isel(time=slice(n, None, 2)), tmp_path / f"{n}.nc") for n in (0, 1)]
    with pytest.raises(SealiencyError, match="interleaved or out of order"):
        open_files(paths)


def test_time_without_units_is_refused(tmp_path, sst):
    dataset = sst.assign_coords(time=("time", np.arange(24.0), {"standard_name": "time"}))
    refuse(dataset, tmp_path / "a.nc", "time has no units such as 'days since 1850-01-01'")


def test_file_of_no_months_is_refused(tmp_path, sst):
    empty = sst.isel(time=slice(0, 0))
    empty["time"].encoding = {"units": "days since 1950-01-01", "calendar": "noleap", "dtype": "f8"}
    refuse(empty, tmp_path / "a.nc", r"a\.nc: .*(time|month)")


# --- the variable ---


def test_wrong_name_lists_what_there_is(tmp_path, sst):
    dataset = sst.assign(salt=sst["tos"] * 2)
    refuse(dataset, tmp_path / "a.nc", r"variable 'sst' is not in .* \['salt', 'tos'\]", variable="sst")


def test_variable_may_be_named(tmp_path, sst):
    dataset = sst.assign(other=(sst["tos"] + 1).assign_attrs(units="degC"))
    record = open_one(dataset, tmp_path / "a.nc", variable="other")
    np.testing.assert_array_equal(record.values, sst["tos"].values + 1)


@pytest.mark.parametrize("count", [0, 2])
def test_variable_that_must_be_guessed_is_refused(tmp_path, sst, count):
    if count:
        sst["again"] = sst["tos"]
    else:
        del sst["tos"].attrs["standard_name"]
    refuse(sst, tmp_path / "a.nc", rf"{count} variables have a standard name of sea surface temperature")


@pytest.mark.parametrize("units", ["m s-1", "", "degF"])
def test_other_units_are_refused(tmp_path, sst, units):
    sst["tos"].attrs["units"] = units
    refuse(sst, tmp_path / "a.nc", f"tos has units '{units}', which is no temperature in degC or K")


def test_month_is_that_of_the_middle_of_its_bounds(tmp_path, sst):
    # Some models stamp a mean with its last instant: January with the first of February.
    start = np.array([date.replace(day=1) for date in sst["time"].values])
    end = np.append(start[1:], start[-1].replace(year=start[-1].year + 1, month=1))
    sst["time_bnds"] = (("time", "bnds"), np.stack([start, end], axis=1))
    sst = sst.assign_coords(time=("time", end, {"bounds": "time_bnds"}))
    record = open_one(sst, tmp_path / "a.nc")
    assert [(date.year, date.month) for date in record["time"].values[:2]] == [(1950, 1), (1950, 2)]
    assert [(date.year, date.month) for date in record["time"].values[-1:]] == [(1951, 12)]


def test_variable_that_says_it_is_something_else_is_refused(tmp_path, sst):
    sst["tos"].attrs |= {"standard_name": "air_temperature", "units": "K"}
    refuse(sst, tmp_path / "a.nc", "standard name 'air_temperature', which is no sea surface", variable="tos")


# --- damage ---


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_64BIT"])
@pytest.mark.parametrize("lost", ["half", "100 bytes"])
def test_truncated_file_is_refused(tmp_path, sst, kind, lost):
    path = tmp_path / "a.nc"
    write_sst(sst, path, format=kind, unlimited_dims=["time"])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if lost == "half" else -100])
    # The classic format has no checks of its own: a reader sees zeros beyond the end.
    with pytest.raises(SealiencyError, match=r"a\.nc: [^/]*truncated|a\.nc: .*may be truncated"):
        open_files([str(path)]).values  # noqa: B018


def test_file_whose_length_cannot_be_checked_is_refused(tmp_path):
    netCDF4.Dataset(tmp_path / "a.nc", "w", format="NETCDF3_64BIT_DATA").close()
    with pytest.raises(SealiencyError, match=r"a\.nc: a CDF-5 file.*nccopy"):
        open_files([str(tmp_path / "a.nc")])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"empty \(0 bytes\); get it again"),
        (b"<html>404 not found</html>", "a web page or XML, not a readable NetCDF file; .* get it again"),
        (b"\n<!DOCTYPE html><html>", "a web page or XML"),
        (b"1950 1 12.5 12.7\n", r"not a readable NetCDF file \(it begins with b'1950 1 1'\)"),
        (gzip.compress(b"CDF\x01"), "compressed with gzip; unpack it with gunzip"),
        (b"GRIB\x00\x00\x00\x02", "a GRIB file; convert it to NetCDF, for example with cdo -f nc4 copy"),
        (b"PK\x03\x04 and more", "a zip archive; unpack it with unzip"),
    ],
)
def test_file_that_is_no_netcdf_says_what_it_is(tmp_path, content, words):
    path = tmp_path / "a.nc"
    path.write_bytes(content)
    with pytest.raises(SealiencyError, match=f"a.nc: {words}"):
        open_files([str(path)])


def test_folder_is_refused_in_its_own_words(tmp_path):
    with pytest.raises(SealiencyError, match=rf"{tmp_path}: a folder; name the files in it, such as {tmp_path}/\*.nc"):
        open_files([str(tmp_path)])


def test_file_that_another_process_writes_is_refused_in_its_own_words(tmp_path, sst):
    path = write_sst(sst, tmp_path / "a.nc")
    hold = f"import netCDF4, sys; d = netCDF4.Dataset({path!r}, 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(SealiencyError, match=r"a.nc: another process holds it open for writing; wait"):
            open_files([path])
        process.communicate("")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_is_read_like_any_other(tmp_path, version):
    # 96 months, prepared from either.
    sst = make_sst()
    expected = prepare_sst(sst, tmp_path)
    store = tmp_path / "sst.zarr"
    sst.to_zarr(store, zarr_format=version, consolidated=False)
    np.testing.assert_array_equal(open_files([str(store)]).values, sst["tos"].values)
    prepare_record([str(store)], describe_files([str(store)], filter_months=3), HISTORY, 24, tmp_path / "again.nc")
    np.testing.assert_array_equal(read_netcdf(tmp_path / "again.nc")["anomaly"], read_netcdf(expected)["anomaly"])
    first = read_netcdf(tmp_path / "again.nc").attrs["inputs_sha256"]
    chunk = next(path for path in sorted(store.rglob("*")) if path.is_file() and path.stat().st_size > 1000)
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert sha256(store) not in first


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SealiencyError, match=r"none.nc: no such file; correct its path or get it again"):
        open_files([str(tmp_path / "none.nc")])


# --- real files ---


def test_real_record_on_the_box_of_the_paper(shared_data):
    paths = [str(shared_data / f"cobesst2/cobesst2_sst_{year}.nc") for year in (1951, 1950)]
    record = open_files(paths, Region(), "sst")
    assert record.shape == (24, 70, 125)
    assert int(record.notnull().all("time").sum()) == 5435
    assert record["lat"].values[[0, -1]].tolist() == [0.5, 69.5]
    assert record["lon"].values[[0, -1]].tolist() == [-99.5, 24.5]
    with xr.open_dataset(paths[1]) as raw:
        # East and west of Greenwich, in January 1950.
        for lat, lon in ((55.5, 3.5), (55.5, -43.5), (10.5, -30.5)):
            expected = float(raw["sst"].isel(time=0).sel(lat=lat, lon=lon % 360))
            assert float(record.isel(time=0).sel(lat=lat, lon=lon)) == expected
    assert record["time"].values[0].strftime("%Y-%m") == "1950-01"


@pytest.mark.parametrize(
    ("model", "grid", "ocean", "differing"),
    [
        ("CESM2-FV2", "384 x 320", 5306, 167),
        ("FGOALS-f3-L", "218 x 360", 5255, 500),
        ("MPI-ESM-1-2-HAM", "220 x 256", 5331, 196),
    ],
)
def test_real_native_grids_are_regridded(shared_data, model, grid, ocean, differing):
    (path,) = (shared_data / "cmip6_samples").glob(f"tos_Omon_{model}_*.nc")
    record = open_files([str(path)], Region())
    assert record.shape == (1, 70, 125)
    assert record["lat"].values[[0, -1]].tolist() == [0.5, 69.5]
    assert record["lon"].values[[0, -1]].tolist() == [-99.5, 24.5]
    assert record.attrs["regridding"].startswith(f"bilinear from {grid} cells")
    field = record.isel(time=0).load()
    # January: ice in the north, the warm pool of the tropics, the Gulf Stream warmer than the Labrador Sea.
    assert -2 < float(field.min()) < -1.5
    assert 27 < float(field.max()) < 32
    assert float(field.sel(lat=36.5, lon=-70.5)) > float(field.sel(lat=55.5, lon=-53.5)) + 8
    assert field.sel(lat=22.5, lon=[-100.5, 0.5], method="nearest").isnull().all()
    # No column is lost at the grid's own seam or at Greenwich: the open Atlantic has none without data.
    assert field.sel(lat=slice(25, 34), lon=slice(-75, -20)).notnull().all()
    assert field.sel(lat=slice(0, 3), lon=slice(-5, 5)).notnull().all()
    # The mask is the model's own, but near that of elevation data: a cell or so at the coasts.
    with resources.as_file(resources.files("sealiency.data") / "sea_area_fraction_1deg.nc") as name:
        fraction = xr.load_dataset(name)["sftof"].sel(lat=record["lat"], lon=record["lon"] % 360)
    mask = field.notnull().values
    assert abs(int(mask.sum()) - ocean) <= 5
    assert int((mask != (fraction.values >= 50)).sum()) <= differing + 10


def test_real_file_without_temperature_is_refused(shared_data):
    path = shared_data / "cmip6_samples/CESM2_grid_variables.nc"
    with pytest.raises(SealiencyError, match=r"0 variables have a standard name .*areacello"):
        open_files([str(path)], Region())
