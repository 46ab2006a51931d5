"""Which month a mean belongs to, whatever the files make of time."""

import logging

import cftime
import numpy as np
import pytest
import xarray as xr

from sealiency.errors import SealiencyError
from small_world import make_sst, open_files, write_sst

MONTHS = 15
FIRST_OF_MONTH = "every time stamp lies at 00:00 on the first of a month"


@pytest.fixture
def sst() -> xr.Dataset:
    return make_sst(months=MONTHS, calendar="standard")


def edges(count: int = MONTHS + 1) -> np.ndarray:
    """Days from 1950-01-01 to the first of each month."""
    start = cftime.datetime(1950, 1, 1, calendar="standard")
    firsts = [cftime.datetime(1950 + n // 12, n % 12 + 1, 1, calendar="standard") for n in range(count)]
    return np.array([(first - start).days for first in firsts], float)


def stamp(sst: xr.Dataset, values, units="days since 1950-01-01", bounds=None, bounds_attrs=None) -> xr.Dataset:
    """Give the months time stamps, and bounds if there are any."""
    attrs = {"standard_name": "time", "units": units} | ({"bounds": "time_bnds"} if bounds is not None else {})
    stamped = sst.assign_coords(time=("time", values, attrs))
    if bounds is not None:
        stamped["time_bnds"] = (("time", "bnds"), bounds, bounds_attrs or {})
    return stamped


def read_months(dataset: xr.Dataset, path, **settings) -> list[str]:
    time = open_files([write_sst(dataset, path)], **settings)["time"].values
    return [f"{date.year}-{date.month:02d}" for date in time]


EXPECTED = [f"{1950 + n // 12}-{n % 12 + 1:02d}" for n in range(MONTHS)]
BOUNDS = np.stack([edges()[:-1], edges()[1:]], axis=1)


# --- bounds ---


@pytest.mark.parametrize("attrs", [{}, {"units": "days"}, {"units": "days since 1950-01-01"}], ids=str)
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_bounds_tell_the_month_wherever_the_stamp_lies(tmp_path, caplog, sst, attrs, place):
    stamps = {"start": BOUNDS[:, 0], "middle": BOUNDS.mean(axis=1), "end": BOUNDS[:, 1]}[place]
    assert read_months(stamp(sst, stamps, bounds=BOUNDS, bounds_attrs=attrs), tmp_path / "a.nc") == EXPECTED
    assert "time" not in caplog.text


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (np.full((MONTHS, 2), np.nan), "hold missing values"),
        (np.zeros((MONTHS, 2)), "are not those of one month (one spans 0 days)"),
        (np.full((MONTHS, 2), 1e9), "hold no times"),
        (np.stack([np.zeros(MONTHS), BOUNDS[:, 1]], axis=1), "are not those of one month (one spans 59 days)"),
        (BOUNDS - 31, "neither hold nor touch its stamps (such as 1950-01-16)"),
    ],
    ids=["missing", "zero", "huge", "cumulative", "a month early"],
)
def test_bounds_that_cannot_be_are_told_and_not_used(tmp_path, caplog, sst, bounds, words):
    path = tmp_path / "a.nc"
    assert read_months(stamp(sst, BOUNDS.mean(axis=1), bounds=bounds), path) == EXPECTED
    assert f"{path}: the bounds of time, 'time_bnds', {words}" in caplog.text
    assert "not used" in caplog.text


def test_error_about_months_recalls_the_bounds(tmp_path, sst):
    stamps = BOUNDS.mean(axis=1)
    stamps[5:] += 40
    path = write_sst(stamp(sst, stamps, bounds=np.zeros((MONTHS, 2))), tmp_path / "a.nc")
    with pytest.raises(
        SealiencyError, match=r"missing after 1950-05.*Note that the bounds of time, 'time_bnds', are not"
    ):
        open_files([path])


# --- stamps ---


@pytest.mark.parametrize(
    ("setting", "stamps", "told"),
    [
        (None, edges()[:-1], True),
        ("start", edges()[:-1], False),
        ("end", edges()[1:], False),
        ("end", edges()[1:] - 1, False),
        ("middle", edges()[:-1] + 14, False),
        (None, edges()[:-1] + 0.5, False),
    ],
)
def test_stamps_without_bounds(tmp_path, caplog, sst, setting, stamps, told):
    assert read_months(stamp(sst, stamps), tmp_path / "a.nc", stamp=setting) == EXPECTED
    assert (FIRST_OF_MONTH in caplog.text) == told
    assert ("data.files.stamp: end" in caplog.text) == told


def test_many_files_are_told_of_once(tmp_path, caplog, sst):
    dataset = stamp(sst, edges()[:-1])
    open_files([write_sst(dataset.isel(time=[n]), tmp_path / f"{n:02d}.nc") for n in range(MONTHS)])
    (line,) = (record.getMessage() for record in caplog.records if FIRST_OF_MONTH in record.getMessage())
    assert f"00.nc and {MONTHS - 1} more: " in line


def test_seconds_in_single_precision_are_rounded_to_the_day(tmp_path, sst):
    seconds = np.float32(86400 * (edges()[:-1] + 54786))
    decoded = xr.coding.times.decode_cf_datetime(seconds, "seconds since 1800-01-01", "standard", use_cftime=True)
    # Some fall on the evening before.
    assert any(date.day != 1 for date in decoded)
    file = stamp(sst, seconds, "seconds since 1800-01-01")
    assert read_months(file, tmp_path / "a.nc", stamp="start") == EXPECTED


def test_missing_stamp_is_named(tmp_path, sst):
    stamps = edges()[:-1] + 14
    stamps[4] = np.nan
    path = write_sst(stamp(sst, stamps), tmp_path / "a.nc", encoding={"time": {"_FillValue": -1.0}})
    with pytest.raises(SealiencyError, match=r"a.nc: 1 of its 15 time stamps hold no time \(number 5 is -1"):
        open_files([path])


# --- units ---


@pytest.mark.parametrize(
    ("values", "units"),
    [
        (np.arange(MONTHS), "months since 1950-01-01"),
        (np.arange(MONTHS) + 0.5, "months since 1950-01-01 00:00:00"),
        (np.arange(MONTHS) + 600, "month since 1900-01-15"),
        (1950 + np.arange(MONTHS) / 12 - 1900, "years since 1900-01-01"),
        (1950 + (np.arange(MONTHS) + 0.5) / 12 - 1900, "common_years since 1900-01-01"),
        (np.array([int(month.replace("-", "")) for month in EXPECTED]), None),
        (np.array([int(month.replace("-", "")) for month in EXPECTED], np.int32), "YYYYMM"),
        (np.array([int(month.replace("-", "") + "16") + 0.5 for month in EXPECTED]), "day as %Y%m%d.%f"),
        (np.array([f"{month}-01" for month in EXPECTED]), None),
    ],
    ids=str,
)
def test_whole_months_need_no_calendar(tmp_path, sst, values, units):
    dataset = sst.assign_coords(time=("time", values, {"standard_name": "time"} | ({"units": units} if units else {})))
    if units == "common_years since 1900-01-01":
        dataset["time"].attrs["units"] = "years since 1900-01-01"
    assert read_months(dataset, tmp_path / "a.nc") == EXPECTED


def test_whole_months_may_mark_the_end(tmp_path, sst):
    dataset = stamp(sst, np.arange(1, MONTHS + 1), "months since 1950-01-01")
    assert read_months(dataset, tmp_path / "a.nc", stamp="end") == EXPECTED


@pytest.mark.parametrize(
    ("values", "units", "words"),
    [
        (
            np.arange(MONTHS) + 0.3,
            "months since 1950-01-01",
            r"time in 'months since 1950-01-01' holds parts of a month",
        ),
        (np.arange(MONTHS), "fortnights since 1950-01-01", r"its time has units 'fortnights since .*cannot be decoded"),
        (np.arange(MONTHS), "days since the flood", r"its time has units 'days since the flood'.*cannot be decoded"),
        (np.arange(MONTHS), "days", r"time has no units such as 'days since 1850-01-01' \(its units are 'days'"),
    ],
)
def test_other_units_of_time_are_what_the_error_is_about(tmp_path, sst, values, units, words):
    path = write_sst(stamp(sst, values, units), tmp_path / "a.nc")
    with pytest.raises(SealiencyError, match=f"a.nc: {words}"):
        open_files([path])


def test_unknown_calendar_is_named(tmp_path, sst):
    dataset = stamp(sst, edges()[:-1])
    dataset["time"].attrs["calendar"] = "mayan"
    with pytest.raises(SealiencyError, match=r"a.nc: its time has units .* and calendar 'mayan'"):
        open_files([write_sst(dataset, tmp_path / "a.nc")])


def test_scalar_time_is_one_more_dimension(tmp_path, sst):
    paths = [write_sst(sst.isel(time=n), tmp_path / f"{n:02d}.nc") for n in range(MONTHS)]
    record = open_files(paths)
    np.testing.assert_array_equal(record.values, sst["tos"].values)


# --- files together ---


def test_files_of_two_calendars_are_joined_by_year_and_month(tmp_path, caplog):
    early, late = make_sst(months=12, calendar="360_day"), make_sst(months=12, start=(1951, 1), calendar="standard")
    paths = [write_sst(late, tmp_path / "b.nc"), write_sst(early, tmp_path / "a.nc")]
    record = open_files(paths)
    np.testing.assert_array_equal(record.values, np.concatenate([early["tos"].values, late["tos"].values]))
    assert {date.calendar for date in record["time"].values} == {"standard"}
    assert [(date.year, date.month) for date in record["time"].values[[0, 11, 12]]] == [
        (1950, 1),
        (1950, 12),
        (1951, 1),
    ]
    assert "360_day in 1 file(s), standard in 1 file(s)" in caplog.text


@pytest.mark.parametrize(
    "parts", [(slice(0, 12), slice(6, 15)), (slice(0, 15), slice(3, 5))], ids=["overlap", "inside"]
)
def test_equal_months_of_two_files_are_taken_once_and_told(tmp_path, caplog, sst, parts):
    paths = [write_sst(sst.isel(time=part), tmp_path / f"{n}.nc") for n, part in enumerate(parts)]
    record = open_files(paths)
    np.testing.assert_array_equal(record.values, sst["tos"].values)
    number = 15 - 9 if parts[0].stop == 12 else 2
    assert f"{number} month(s) stand twice with equal values and are taken once, such as 1950-" in caplog.text
    assert record["path"].values[0] == paths[0]


def test_unequal_months_are_refused_with_the_largest_difference(tmp_path, sst):
    other = sst.isel(time=slice(11, 15)).copy(deep=True)
    other["tos"][0, 3, 4] += 0.25
    other["tos"][0, 3, 5] -= 0.5
    paths = [write_sst(sst.isel(time=slice(0, 12)), tmp_path / "a.nc"), write_sst(other, tmp_path / "b.nc")]
    message = (
        r"b.nc: month 1950-12 stands twice \(also in .*a.nc\), .* differ by up to 0.5 degC, at 43.5 N, -44.5 E; leave"
    )
    with pytest.raises(SealiencyError, match=message):
        open_files(paths)
    other["tos"][0] = sst["tos"][11]
    other["tos"][0, 6, 6] = np.nan
    write_sst(other, tmp_path / "c.nc")
    with pytest.raises(
        SealiencyError, match=r"differ by up to 1 cell\(s\) that only one of them has, at 46.5 N, -43.5 E"
    ):
        open_files([paths[0], str(tmp_path / "c.nc")])


def test_month_that_stands_twice_in_one_file_with_other_values_is_refused(tmp_path, sst):
    twice = xr.concat([sst.isel(time=slice(0, 3)), sst.isel(time=[2]) + 1], "time", combine_attrs="override")
    twice["tos"].attrs = sst["tos"].attrs
    with pytest.raises(SealiencyError, match=r"a.nc: month 1950-03 stands twice .* differ by up to 1 degC"):
        open_files([write_sst(twice, tmp_path / "a.nc")])


def test_ersst_as_it_is_published(tmp_path, caplog):
    # One file a month: 360_day to 2007 and standard after, minutes or days since the month itself, a singleton level.
    lat, lon = np.arange(-88.0, 90, 2), np.arange(0.0, 360, 2)
    paths, values = [], []
    for number in range(2007 * 12 + 9, 2008 * 12 + 4):
        year, month = number // 12, number % 12 + 1
        calendar, units = ("360_day", "minutes") if year < 2008 else ("standard", "days")
        field = make_sst(months=1, lat=lat, lon=lon, seed=number)["tos"].values[0].astype("f4")
        values.append(field)
        dataset = xr.Dataset(
            {
                "sst": (
                    ("time", "lev", "lat", "lon"),
                    field[None, None],
                    {
                        "units": "degree_C",
                        "valid_min": np.float32(-3),
                        "valid_max": np.float32(45),
                        "long_name": "ERSSTv5",
                    },
                )
            },
            coords={
                "time": ("time", [0.0], {"units": f"{units} since {year}-{month:02d}-01 00:00", "calendar": calendar}),
                "lev": ("lev", [0.0]),
                "lat": ("lat", lat, {"units": "degrees_north"}),
                "lon": ("lon", lon, {"units": "degrees_east"}),
            },
        )
        path = tmp_path / f"ersst.v5.{year}{month:02d}.nc"
        paths.append(write_sst(dataset, path, encoding={"sst": {"_FillValue": np.float32(-999)}}))
    with caplog.at_level(logging.INFO):
        record = open_files(paths, variable="sst", region={"south": -90, "north": 90, "west": 0, "east": 360})
    assert record.shape == (7, 89, 180)
    np.testing.assert_array_equal(record.values, np.float64(values))
    assert [f"{date.year}-{date.month}" for date in record["time"].values[[0, 2, 3, 6]]] == [
        "2007-10",
        "2007-12",
        "2008-1",
        "2008-4",
    ]
    assert "joined by year and month" in caplog.text
