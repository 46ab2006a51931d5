"""Records that would be silently wrong: what is told of them, and what is refused."""

import logging
import re

import numpy as np
import pytest
import xarray as xr

from sealiency.data.checks import find_land
from sealiency.data.prepare import prepare_record
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf
from small_world import BOX, HISTORY, LAT, LON, describe_files, make_sst, prepare_sst, write_sst

# The sea around Iberia.
IBERIA = {"south": 35, "north": 45, "west": -14, "east": -2}
IBERIA_LAT, IBERIA_LON = np.arange(35.5, 45), np.arange(-13.5, -2)


def make_coast(value: float | None) -> xr.Dataset:
    """SST around Iberia, whose inland cells hold NaN or a number."""
    land = find_land(IBERIA_LAT, IBERIA_LON)
    assert 10 < land.sum() < 40
    sst = make_sst(lat=IBERIA_LAT, lon=IBERIA_LON, land=())
    sst["tos"].values[:, land] = np.nan if value is None else value
    return sst


def prepare(sst: xr.Dataset, folder, **settings) -> xr.Dataset:
    return read_netcdf(prepare_sst(sst, folder, **{"coastline": "present", **settings}))


def refuse(sst: xr.Dataset, folder, words: str, **settings) -> None:
    with pytest.raises(SealiencyError, match=words):
        prepare(sst, folder, **settings)
    assert [path.name for path in folder.iterdir()] == ["source.nc"]


def find_warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- land that holds numbers ---


@pytest.mark.parametrize("value", [0.0, -1.8, -9.99])
def test_land_of_a_plausible_number_is_no_ocean(tmp_path, caplog, value):
    (tmp_path / "missing").mkdir()
    expected = prepare(make_coast(None), tmp_path / "missing", region=IBERIA)
    with caplog.at_level(logging.INFO):
        found = prepare(make_coast(value), tmp_path, region=IBERIA)
    land = find_land(IBERIA_LAT, IBERIA_LON)
    np.testing.assert_array_equal(found["ocean"], ~land)
    for name in ("ocean", "scale", "anomaly", "climatology"):
        np.testing.assert_array_equal(found[name], expected[name])
    row, column = np.argwhere(land)[0]
    assert (
        f"{land.sum()} cells never change ({land.sum()} of them hold {value:g} degC, such as that at {IBERIA_LAT[row]:g} N, "
        f"{IBERIA_LON[column]:g} E) and count as land"
    ) in caplog.text


def test_land_whose_numbers_change_is_refused(tmp_path):
    land = find_land(IBERIA_LAT, IBERIA_LON)
    sst = make_coast(0.0)
    sst["tos"].values[40:, land] = 0.1
    refuse(
        sst,
        tmp_path,
        rf"source.nc and the other files have data in {land.sum()} cells that are land, such as 0 degC at .* in 1950-01; .*"
        "data.files.missing.*data.coastline: any",
        region=IBERIA,
    )
    (tmp_path / "any").mkdir()
    assert prepare(sst, tmp_path / "any", region=IBERIA, coastline="any")["ocean"].all()


def test_counts_of_land_are_always_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        prepare_sst(make_sst(), tmp_path)
    assert re.search(
        r"96 months, 8 x 10 cells, 77 ocean; 0 cells with data in some months only count as land; 0 cells that never change "
        r"count as land; 0 ocean cells lie on land by the packaged sea fraction",
        caplog.text,
    )


def bend_coast(sst: xr.Dataset) -> xr.Dataset:
    """The coast on a sheared grid, whose places need two dimensions."""
    lat = IBERIA_LAT[:, None] + 0.02 * np.arange(12)
    lon = np.broadcast_to(IBERIA_LON, lat.shape)
    tos = sst["tos"].rename(lat="j", lon="i").drop_vars(["j", "i", "lat", "lon"], errors="ignore")
    places = {"lat": (("j", "i"), lat, sst["lat"].attrs), "lon": (("j", "i"), lon, sst["lon"].attrs)}
    return tos.to_dataset().assign_coords(places)


def test_land_of_a_number_is_left_out_before_regridding(tmp_path, caplog):
    # Interpolated first, it would be mixed into the coasts and change with them.
    region = {"south": 36, "north": 44, "west": -13, "east": -3}
    results = {}
    for name, value in (("missing", None), ("zero", 0.0)):
        (tmp_path / name).mkdir()
        results[name] = prepare(bend_coast(make_coast(value)), tmp_path / name, region=region)
    land = find_land(IBERIA_LAT, IBERIA_LON)
    assert re.search(
        r"(\d+) cells of the source grid never change \(\1 of them hold 0\) and count as land", caplog.text
    )
    assert 40 < int(results["zero"]["ocean"].sum()) < 80 - 5
    for name in ("ocean", "scale", "anomaly"):
        np.testing.assert_array_equal(results["zero"][name], results["missing"][name])
    # A cell that holds still for long and then changes is sea.
    caplog.clear()
    late = make_coast(0.0)
    late["tos"].values[-2, land] += 0.5
    (tmp_path / "late").mkdir()
    with pytest.raises(SealiencyError, match=r"cells that are land"):
        prepare(bend_coast(late), tmp_path / "late", region=region)
    assert "cells of the source grid" not in caplog.text


@pytest.mark.parametrize(
    ("lat", "lon", "expected"),
    [
        ([50.5], [-102.5], [True]),
        ([50.5], [-45.5], [False]),
        # The Great Lakes are no sea, Hudson Bay is.
        ([47.5], [-87.5], [True]),
        ([60.5], [-85.5], [False]),
        # A coast may lie a cell elsewhere.
        ([50.5, 51.5], [-127.5, -126.5, -125.5], [False, False, False]),
        # A wide cell is land only where all of it is.
        ([45.0, 50.0], [-105.0, -100.0, -60.0], [True, True, False]),
    ],
)
def test_land_by_the_packaged_sea_fraction(lat, lon, expected):
    assert find_land(np.sort(np.array(lat)), np.array(lon))[0].tolist() == expected


def test_real_grids_have_little_sea_on_land(shared_data, caplog, tmp_path):
    paths = [str(shared_data / f"cobesst2/cobesst2_sst_{year}.nc") for year in range(1950, 1954)]
    data = describe_files(paths, {}, "sst", filter_months=12)
    with caplog.at_level(logging.INFO):
        prepare_record(paths, data, HISTORY, 20, tmp_path / "prepared.nc")
    # Great Lakes.
    assert "5435 ocean; 0 cells with data in some months only count as land; 0 cells that never change" in caplog.text
    assert "31 ocean cells lie on land" in caplog.text


# --- months ---


@pytest.mark.parametrize("value", [0.0, 12.5])
def test_month_of_one_value_is_refused(tmp_path, value):
    sst = make_sst()
    sst["tos"].values[50] = np.where(np.isnan(sst["tos"].values[50]), np.nan, value)
    refuse(sst, tmp_path, rf"source.nc: month 1954-03 holds one constant value, {value:g} degC, in every cell")


def test_month_of_one_value_is_refused_beside_land_of_another(tmp_path):
    sst = make_coast(-1.8)
    sst["tos"].values[50][~find_land(IBERIA_LAT, IBERIA_LON)] = 0.0
    refuse(sst, tmp_path, r"month 1954-03 holds one constant value, 0 degC", region=IBERIA)


def test_sea_that_is_frozen_everywhere_is_no_fault(tmp_path):
    sst = make_sst()
    sst["tos"].values[50] = np.where(np.isnan(sst["tos"].values[50]), np.nan, -1.8)
    assert prepare(sst, tmp_path)["ocean"].sum() == 77


def test_month_without_data_is_named_with_its_file(tmp_path):
    sst = make_sst()
    sst["tos"].values[33] = np.nan
    refuse(
        sst, tmp_path, r"source.nc: month 1952-10 has no cell with data in data.region 40..48 N, -50..-40 E; get the"
    )


def test_month_that_lacks_columns_is_named_with_its_file_and_share(tmp_path, caplog):
    sst = make_sst()
    sst["tos"].values[20, :, :2] = np.nan
    sst["tos"].values[60, :, 0] = np.nan
    parts = [write_sst(sst.isel(time=slice(48 * n, 48 * n + 48)), tmp_path / f"part{n}.nc") for n in range(2)]
    data = describe_files(parts, filter_months=3)
    prepare_record(parts, data, HISTORY, 24, tmp_path / "out/prepared.nc")
    # Two of the first two columns' 16 cells are land in all months; 14 of 77 are lost.
    assert (
        f"14 cells (18.2% of those with data) lack data in some month and count as land; the most are missing in 1951-09: "
        f"18.2%, in {parts[0]}"
    ) in caplog.text
    strict = data.model_copy(update={"largest_loss": 0.18})
    with pytest.raises(
        SealiencyError, match=r"in 1951-09: 18.2%, in .*part0.nc. That is more than data.largest_loss = 0.18"
    ):
        prepare_record(parts, strict, HISTORY, 24, tmp_path / "other/prepared.nc")
    assert list((tmp_path / "other").iterdir()) == []


def test_values_missing_at_random_are_refused(tmp_path):
    sst = make_sst()
    sst["tos"] = sst["tos"].where(np.random.default_rng(0).random(sst["tos"].shape) > 0.05)
    refuse(
        sst,
        tmp_path,
        r"7\d cells \(9\d.\d% of those with data\) lack data in some month .*more than data.largest_loss = 0.3",
    )


# --- values ---


def test_unusual_values_are_told_with_count_place_and_month(tmp_path, caplog):
    sst = make_sst()
    sst["tos"].values[[10, 30], 3, 4] = 36.5, 38
    sst["tos"].values[70, 5, 6] = -3
    # A cell that is land in the end is nobody's concern.
    sst["tos"].values[5, 7, 7], sst["tos"].values[6, 7, 7] = 50, np.nan
    prepare_sst(sst, tmp_path)
    assert (
        "3 values in 2 ocean cells lie outside -2.5 to 36 degC; the farthest is 38 degC at 43.5 N, -45.5 E in 1952-07"
        in (caplog.text)
    )


def test_nothing_is_told_of_a_sound_record(tmp_path, caplog):
    prepare_sst(make_sst(), tmp_path, coastline="present")
    assert not find_warnings(caplog)


@pytest.mark.parametrize("marker", [-1000.0, 99.0])
def test_impossible_value_proposes_the_setting_that_mends_it(tmp_path, marker):
    sst = make_sst()
    sst["tos"].values[40, 2, 2] = marker
    refuse(
        sst,
        tmp_path,
        rf"source.nc: month 1953-05 holds a sea surface temperature of {marker:g} degC at 42.5 N, -47.5 E; if this value marks "
        rf"missing data, set data.files.missing: \[{marker:g}\]",
    )


def test_anomalies_are_told_or_meant(tmp_path, caplog):
    sst = make_sst()
    sst["tos"] = (0.2 * (sst["tos"] - sst["tos"].mean("time"))).assign_attrs(sst["tos"].attrs)
    prepared = prepare(sst, tmp_path)
    assert "the files seem to hold anomalies, not temperatures; set data.files.anomalies: true" in caplog.text
    caplog.clear()
    source = str(tmp_path / "source.nc")
    target = tmp_path / "meant.nc"
    prepare_record([source], describe_files([source], BOX, filter_months=3, anomalies=True), HISTORY, 24, target)
    assert not find_warnings(caplog)
    np.testing.assert_array_equal(read_netcdf(target)["anomaly"], prepared["anomaly"])


def test_anomalies_in_kelvin_are_not_shifted(tmp_path):
    sst = make_sst()
    sst["tos"] = (sst["tos"] - 15).assign_attrs(sst["tos"].attrs | {"units": "K"})
    refuse(sst, tmp_path, r"its units are K, but its values are not: .* or set data.files.anomalies: true")
    source = write_sst(sst, tmp_path / "source.nc")
    data = describe_files([source], filter_months=3, anomalies=True)
    prepare_record([source], data, HISTORY, 24, tmp_path / "prepared.nc")
    climatology = read_netcdf(tmp_path / "prepared.nc")["climatology"].values
    assert np.nanmax(np.abs(climatology)) < 10
    assert LAT.size * LON.size == climatology.size
