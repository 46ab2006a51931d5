import os
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import LocalCluster

from cf_check import find_faults
from sealiency.config.data import Basins, Data, Files, Region
from sealiency.data import prepare
from sealiency.data.basins import exclude_basins
from sealiency.data.prepare import PreparedRecord, prepare_record
from sealiency.data.reading.record import open_record
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf, sha256
from small_world import BOX, HISTORY, LAT, LON, make_sst, open_files, prepare_sst, write_sst

TRAINING_MONTHS = HISTORY + 24 - 1
ROOT = Path(__file__).parents[2]


def average(values: np.ndarray, width: int, before: int) -> np.ndarray:
    """Mean of `width` months, of which `before` lie before the month it is given to."""
    return np.stack(
        [values[m - before : m - before + width].mean(0) for m in range(before, len(values) - width + before + 1)]
    )


def restore(prepared: xr.Dataset) -> np.ndarray:
    """Filtered SST in degC from what is stored, as the documentation says."""
    climatology = prepared["climatology"]
    if "month" in climatology.dims:
        climatology = climatology.sel(month=prepared["time"].dt.month)
    restored = prepared["anomaly"].astype(np.float64) * prepared["scale"] + climatology
    if "trend" in prepared:
        months = xr.DataArray(np.arange(prepared.sizes["time"]), dims="time") - prepared["trend_reference"]
        restored = restored + prepared["trend"] * months
    return restored.transpose("time", "lat", "lon").values


# --- the filter ---


@pytest.mark.parametrize("chunk", [8, 120])
@pytest.mark.parametrize(
    ("kind", "width", "before"),
    [("trailing_mean", 12, 11), ("trailing_mean", 3, 2), ("centred_mean", 12, 6), ("centred_mean", 5, 2)],
)
def test_filter_is_the_plain_mean_of_its_months(tmp_path, monkeypatch, kind, width, before, chunk):
    monkeypatch.setattr(prepare, "MONTHS_PER_CHUNK", chunk)
    monkeypatch.setattr("sealiency.data.reading.file.MONTHS_PER_CHUNK", chunk)
    sst = make_sst(months=42)
    path = prepare_sst(sst, tmp_path, filter=kind, filter_months=width)
    expected = average(sst["tos"].values, width, before)
    np.testing.assert_allclose(restore(read_netcdf(path)), expected, atol=2e-6)
    # A filtered month carries the name of the month that the mean is given to.
    first = PreparedRecord(path).months[0]
    assert first == f"{1950 + before // 12}-{before % 12 + 1:02d}"
    assert len(PreparedRecord(path).months) == 42 - width + 1


def test_no_filter_keeps_every_month(tmp_path):
    sst = make_sst(months=48)
    path = prepare_sst(sst, tmp_path, filter="none", climatology="monthly")
    assert PreparedRecord(path).months[0] == "1950-01"
    np.testing.assert_allclose(restore(read_netcdf(path)), sst["tos"].values, atol=2e-6)


def test_filter_over_files_of_one_month_each(tmp_path):
    sst = make_sst(months=40)
    paths = [write_sst(sst.isel(time=[m]), tmp_path / f"{m:03d}.nc") for m in range(40)]
    data = Data(source="files", files=Files(paths=paths), region=BOX, filter_months=12)
    prepare_record(paths, data, HISTORY, 20, tmp_path / "prepared.nc")
    expected = average(sst["tos"].values, 12, 11)
    np.testing.assert_allclose(restore(read_netcdf(tmp_path / "prepared.nc")), expected, atol=2e-6)


# --- the statistics ---


@pytest.mark.parametrize(
    "settings",
    [{}, {"trend": "linear"}, {"climatology": "monthly"}, {"climatology": "monthly", "trend": "linear"}],
    ids=str,
)
def test_stored_statistics_give_back_filtered_sst(tmp_path, settings):
    sst = make_sst()
    prepared = read_netcdf(prepare_sst(sst, tmp_path, **settings))
    np.testing.assert_allclose(restore(prepared), average(sst["tos"].values, 3, 2), atol=5e-6)


@pytest.mark.parametrize("settings", [{"trend": "linear"}, {"climatology": "monthly"}], ids=str)
def test_statistics_come_from_the_training_months_alone(tmp_path, settings):
    sst = make_sst()
    changed = sst.copy(deep=True)
    # The last filtered training month is made of raw months up to this one.
    changed["tos"][TRAINING_MONTHS + 3 - 1 :] += 7.0
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    before = read_netcdf(prepare_sst(sst, tmp_path / "before", **settings))
    after = read_netcdf(prepare_sst(changed, tmp_path / "after", **settings))
    for name in {"climatology", "trend", "scale"} & set(before):
        assert before[name].values.tobytes() == after[name].values.tobytes(), name
    training = slice(0, TRAINING_MONTHS)
    first, second = before["anomaly"].values, after["anomaly"].values
    assert first[training].tobytes() == second[training].tobytes()
    assert (np.abs(second - first)[TRAINING_MONTHS:, 4, 4] > 0.1).all()


def test_mean_and_scale_by_hand(tmp_path):
    sst = make_sst()
    prepared = read_netcdf(prepare_sst(sst, tmp_path))
    training = average(sst["tos"].values, 3, 2)[:TRAINING_MONTHS]
    mean = training.mean(0)
    np.testing.assert_allclose(prepared["climatology"].values, mean, rtol=1e-12)
    ocean = ~np.isnan(mean)
    assert float(prepared["scale"]) == pytest.approx((training - mean)[:, ocean].std(), rel=1e-12)


def test_monthly_climatology_by_hand(tmp_path):
    sst = make_sst(start=(1950, 4))
    prepared = read_netcdf(prepare_sst(sst, tmp_path, filter="none", climatology="monthly"))
    training = sst["tos"].values[:TRAINING_MONTHS, 4, 4]
    # The record begins in April.
    expected = [training[(month - 4) % 12 :: 12].mean() for month in range(1, 13)]
    assert prepared["climatology"]["month"].values.tolist() == list(range(1, 13))
    np.testing.assert_allclose(prepared["climatology"].values[:, 4, 4], expected, rtol=1e-12)


def test_linear_trend_of_a_linear_series_is_removed_whole(tmp_path):
    sst = make_sst()
    months = np.arange(96)
    sst["tos"][:, 3, 3] = 10 + 0.02 * months
    prepared = read_netcdf(prepare_sst(sst, tmp_path, trend="linear"))
    assert float(prepared["trend"][3, 3]) == pytest.approx(0.02, rel=1e-12)
    # To the end of the record, not of the training months only.
    np.testing.assert_allclose(prepared["anomaly"].values[:, 3, 3], 0, atol=1e-6)


def test_linear_trend_is_the_least_squares_line(tmp_path):
    sst = make_sst()
    prepared = read_netcdf(prepare_sst(sst, tmp_path, trend="linear"))
    training = average(sst["tos"].values, 3, 2)[:TRAINING_MONTHS, 5, 5]
    slope, _ = np.polyfit(np.arange(TRAINING_MONTHS), training, 1)
    assert float(prepared["trend"][5, 5]) == pytest.approx(slope, rel=1e-9)


def test_linear_trend_beside_a_monthly_climatology_is_removed_whole(tmp_path):
    # Twelve monthly means take up part of a slope, so both have to be fitted together.
    sst = make_sst()
    months = np.arange(96)
    sst["tos"][:, 3, 3] = 10 + 3 * np.cos(2 * np.pi * months / 12) + 0.02 * months
    settings = {"filter": "none", "climatology": "monthly", "trend": "linear"}
    prepared = read_netcdf(prepare_sst(sst, tmp_path, **settings))
    assert float(prepared["trend"][3, 3]) == pytest.approx(0.02, rel=1e-9)
    np.testing.assert_allclose(prepared["anomaly"].values[:, 3, 3], 0, atol=1e-6)


def test_monthly_climatology_of_less_than_a_year_is_refused(tmp_path):
    with pytest.raises(SealiencyError, match=r"climatology = monthly: the 11 training months"):
        prepare_sst(make_sst(), tmp_path, training=6, climatology="monthly")


def test_constant_record_is_refused(tmp_path):
    sst = make_sst()
    sst["tos"][:] = 4.0
    with pytest.raises(SealiencyError, match="one constant value"):
        prepare_sst(sst, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source.nc"]


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian", "noleap", "360_day"])
def test_prepared_record_follows_cf(tmp_path, calendar):
    settings = {"filter": "none", "climatology": "monthly", "trend": "linear"}
    assert find_faults([prepare_sst(make_sst(calendar=calendar), tmp_path, **settings)]) == []


@pytest.mark.parametrize("trend", ["none", "linear"])
@pytest.mark.parametrize("climatology", ["mean", "monthly"])
def test_anomalies_are_those_of_a_plain_least_squares_fit(tmp_path, monkeypatch, climatology, trend):
    # Blocks of 7 months begin in any calendar month, and training ends inside one.
    monkeypatch.setattr(prepare, "MONTHS_PER_CHUNK", 7)
    monkeypatch.setattr("sealiency.data.reading.file.MONTHS_PER_CHUNK", 7)
    sst = make_sst(start=(1950, 4))
    prepared = read_netcdf(prepare_sst(sst, tmp_path, climatology=climatology, trend=trend))
    filtered = average(sst["tos"].values, 3, 2)
    months = np.arange(len(filtered))
    columns = [(months + 5) % 12 == month for month in range(12)] if climatology == "monthly" else [months >= 0]
    if trend == "linear":
        columns.append(months)
    design = np.stack(columns, axis=1).astype(float)
    series = filtered.reshape(len(months), -1)[:, prepared["ocean"].values.ravel() == 1]
    fit, *_ = np.linalg.lstsq(design[:TRAINING_MONTHS], series[:TRAINING_MONTHS], rcond=None)
    rest = series - design @ fit
    rest /= rest[:TRAINING_MONTHS].std()
    anomaly = prepared["anomaly"].values.reshape(len(months), -1)[:, prepared["ocean"].values.ravel() == 1]
    np.testing.assert_allclose(anomaly, rest, rtol=1e-6, atol=1e-6)


# --- the mask ---


def test_cell_with_data_in_some_months_counts_as_land(tmp_path):
    sst = make_sst()
    sst["tos"][90, 2, 2] = np.nan
    sst["tos"][:90, 2, 3] = np.nan
    path = prepare_sst(sst, tmp_path)
    ocean = read_netcdf(path)["ocean"].values
    land = {(0, 0), (0, 1), (7, 9), (2, 2), (2, 3)}
    assert set(map(tuple, np.argwhere(ocean == 0).tolist())) == land
    prepared = read_netcdf(path)
    assert np.isnan(prepared["anomaly"].values[:, ocean == 0]).all()
    record = PreparedRecord(path)
    assert not record.anomaly.isnan().any()
    assert (record.anomaly[:, ocean == 0] == 0).all()


def test_land_does_not_enter_the_scale(tmp_path):
    wild, absent = make_sst(), make_sst()
    wild["tos"][:, 2, 2] = np.linspace(-50, 55, 96)
    wild["tos"][95, 2, 2] = np.nan
    absent["tos"][:, 2, 2] = np.nan
    scales = []
    for name, sst in (("wild", wild), ("absent", absent)):
        (tmp_path / name).mkdir()
        scales.append(float(read_netcdf(prepare_sst(sst, tmp_path / name))["scale"]))
    assert scales[0] == scales[1]


def test_a_value_that_no_sea_has_is_refused(tmp_path):
    # Land marked by -999 without _FillValue would be the coldest sea there is.
    sst = make_sst()
    sst["tos"][:, 2, 2] = -999
    with pytest.raises(
        SealiencyError,
        match=r"month 1950-01 holds .* temperature of -999 degC at 42.5 N, -47.5 E; .* data.files.missing: \[-999\]",
    ):
        prepare_sst(sst, tmp_path)


def write_basins(path: Path, lat: np.ndarray, lon: np.ndarray, labels: np.ndarray) -> Basins:
    dataset = xr.Dataset(
        {"basin": (("level", "Y", "X"), labels[None])},
        coords={
            "Y": ("Y", lat, {"units": "degrees_north"}),
            "X": ("X", lon, {"units": "degrees_east"}),
        },
    )
    dataset.to_netcdf(path)
    return Basins(path=str(path), exclude=[2, 5])


@pytest.mark.parametrize("notation", ["0..360", "-180..180", "without attributes"])
def test_excluded_basins_become_land(tmp_path, notation):
    lon = np.arange(0.5, 360) if notation == "0..360" else np.arange(-179.5, 180)
    lat = np.arange(89.5, -90, -1)
    labels = np.ones((180, 360), np.int32)
    labels[np.ix_(lat > 45, ((lon + 180) % 360 - 180) < -45)] = 2
    basins = write_basins(tmp_path / "basins.nc", lat, lon, labels)
    if notation == "without attributes":
        plain = xr.load_dataset(basins.path).rename(Y="latitude", X="longitude")
        for name in plain.coords:
            plain[name].attrs = {}
        plain.to_netcdf(basins.path)
    prepared = read_netcdf(prepare_sst(make_sst(land=()), tmp_path, basins=basins))
    ocean = prepared["ocean"].values
    assert ocean.shape == (8, 10)
    np.testing.assert_array_equal(ocean == 0, (LAT > 45)[:, None] & (LON < -45)[None])


def test_basins_on_a_finer_grid_are_taken_from_the_nearest_cell(tmp_path):
    lat, lon = np.arange(30.25, 60, 0.5), np.arange(300.25, 330, 0.5)
    labels = np.repeat(np.where(lat > 44, 5, 1)[:, None], lon.size, axis=1)
    basins = write_basins(tmp_path / "basins.nc", lat, lon, labels)
    prepared = read_netcdf(prepare_sst(make_sst(land=()), tmp_path, basins=basins))
    np.testing.assert_array_equal(prepared["ocean"].values == 0, np.repeat((LAT > 44)[:, None], 10, 1))


def test_real_basins_leave_the_pacific_out(shared_data, tmp_path):
    file = str(shared_data / "cobesst2/cobesst2_sst_1950.nc")
    ocean = open_files([file], Region(), "sst").notnull().all("time").compute()
    # The record is not read again: the mask alone is under test, on the paper's box.
    kept = exclude_basins(ocean, Basins(path=str(shared_data / "basin_mask.nc"), exclude=[2]))
    assert kept.shape == (70, 125)
    assert not kept.sel(lat=5.5, lon=-90.5)  # off Central America, in the Pacific
    assert kept.sel(lat=25.5, lon=-90.5)  # Gulf of Mexico
    assert kept.sel(lat=30.5, lon=-40.5)  # mid-Atlantic
    assert 4000 < int(kept.sum()) < 5435


def test_unknown_basin_variable_lists_what_there_is(tmp_path):
    basins = write_basins(tmp_path / "basins.nc", LAT, LON, np.ones((8, 10), np.int32))
    with pytest.raises(SealiencyError, match=r"basins.nc: data.basins.variable = 'label' .*\['basin'\]"):
        prepare_sst(make_sst(), tmp_path, basins=basins.model_copy(update={"variable": "label"}))


# --- faults ---


def test_region_without_data_is_refused_and_leaves_nothing(tmp_path):
    sst = make_sst()
    sst["tos"][:] = np.nan
    with pytest.raises(SealiencyError, match=r"40..48 N, -50..-40 E .* no cell with data in every month"):
        prepare_sst(sst, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["source.nc"]


def test_short_record_names_both_numbers_of_months(tmp_path):
    # 24 samples read 6 + 24 - 1 filtered months, made of 2 more raw ones.
    for months in (30, 31):
        (tmp_path / str(months)).mkdir()
    with pytest.raises(SealiencyError, match=r"need 31 months, the record has 30; lower samples.training"):
        prepare_sst(make_sst(months=30), tmp_path / "30")
    prepare_sst(make_sst(months=31), tmp_path / "31")


def test_damage_in_the_data_is_reported_and_leaves_nothing(tmp_path):
    path = tmp_path / "source.nc"
    sst = make_sst()
    sst.to_netcdf(path, encoding={"tos": {"zlib": True, "chunksizes": (1, 8, 10)}})
    # The header stays whole; the compressed values of some months do not.
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    data = Data(source="files", files=Files(paths=[str(path)]), region=BOX, filter_months=3)
    with pytest.raises(SealiencyError, match=r"source.nc: reading it failed|source.nc: not a readable NetCDF file"):
        prepare_record([str(path)], data, HISTORY, 24, tmp_path / "prepared.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["source.nc"]


def test_damaged_file_is_named_among_others(tmp_path, cluster_use):
    sst = make_sst()
    paths = []
    for number in range(3):
        part = sst.isel(time=slice(32 * number, 32 * number + 32))
        paths.append(
            write_sst(part, tmp_path / f"part{number}.nc", encoding={"tos": {"zlib": True, "chunksizes": (1, 8, 10)}})
        )
    with h5py.File(paths[1]) as file:
        place = file["tos"].id.get_chunk_info(20)
    content = bytearray(Path(paths[1]).read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    Path(paths[1]).write_bytes(content)
    data = Data(source="files", files=Files(paths=paths), region=BOX, filter_months=3)
    with pytest.raises(SealiencyError, match=r"part1.nc: reading it failed .* it is damaged, get it again"):
        prepare_record(paths, data, HISTORY, 24, tmp_path / "out/prepared.nc")
    assert list((tmp_path / "out").iterdir()) == []


def test_file_other_than_the_pinned_one_is_refused(tmp_path):
    source = write_sst(make_sst(), tmp_path / "source.nc")
    data = Data(source="files", files=Files(paths=[source]), region=BOX, filter_months=3)
    target = tmp_path / "out/prepared.nc"
    found = sha256(source)
    with pytest.raises(SealiencyError, match=rf"{source}: .* is {found}, but {'0' * 64} is pinned; delete it and run"):
        prepare_record([source], data, HISTORY, 24, target, checksums={"source.nc": "0" * 64})
    assert list(target.parent.iterdir()) == []
    prepare_record([source], data, HISTORY, 24, target, checksums={"source.nc": found, "other.nc": "0" * 64})
    assert found in read_netcdf(target).attrs["inputs_sha256"]


# --- long records ---


@pytest.fixture(params=["threads", "cluster"])
def cluster_use(request, monkeypatch):
    if request.param == "cluster":
        monkeypatch.setattr(prepare, "WORTH_A_CLUSTER", 0)
    return request.param


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def parts(tmp_path):
    """Two files of one record."""
    sst = make_sst()
    slices = {"early.nc": slice(0, 50), "late.nc": slice(50, 96)}
    return [write_sst(sst.isel(time=part), tmp_path / name) for name, part in slices.items()]


@pytest.fixture
def prepare_parts(tmp_path, monkeypatch, parts):
    """Prepare the two files in blocks of 8 months at most."""
    monkeypatch.setattr(prepare, "MONTHS_PER_CHUNK", 8)
    monkeypatch.setattr("sealiency.data.reading.file.MONTHS_PER_CHUNK", 8)
    settings = {"region": BOX, "filter_months": 5, "climatology": "monthly", "trend": "linear"}
    data = Data(source="files", files=Files(paths=parts), **settings)

    def run(**options) -> xr.Dataset:
        prepare_record(parts, data, HISTORY, 24, tmp_path / "prepared.nc", **options)
        return read_netcdf(tmp_path / "prepared.nc")

    return run


def test_no_bit_depends_on_who_does_the_work(monkeypatch, prepare_parts):
    results = {f"{n} threads": prepare_parts(threads=n) for n in (1, 3)}
    with LocalCluster(n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address=None) as there:
        results["a cluster that is there"] = prepare_parts(scheduler=there.scheduler_address)
    monkeypatch.setattr(prepare, "WORTH_A_CLUSTER", 0)
    results |= {f"{n} workers": prepare_parts(threads=n) for n in (1, 2)}
    expected = results.pop("1 threads")
    assert {"anomaly", "climatology", "trend", "scale", "ocean"} <= set(expected)
    for who, result in results.items():
        assert result.attrs == expected.attrs
        for name in expected.variables:
            assert result[name].equals(expected[name]), (who, name)
            assert result[name].dtype == object or result[name].values.tobytes() == expected[name].values.tobytes()


def read_noting(values: np.ndarray, log: Path, block_info=None) -> np.ndarray:
    """Return a block as it is, and note its months in a file that the workers share."""
    first, last = block_info[0]["array-location"][0]
    with open(log, "a") as stream:
        stream.write("".join(f"{month}\n" for month in range(first, last)))
    return values


def test_every_month_is_read_once(tmp_path, monkeypatch, cluster_use, prepare_parts):
    log = tmp_path / "months.txt"

    def open_noting(*arguments):
        record = open_record(*arguments)
        values = record.data.map_blocks(read_noting, log=log, dtype=float, meta=np.empty((0, 0, 0)))
        return record.copy(data=values)

    monkeypatch.setattr(prepare, "open_record", open_noting)
    prepare_parts(threads=2)
    assert sorted(map(int, log.read_text().split())) == list(range(96))


def die_once(values: np.ndarray, flag: Path) -> np.ndarray:
    if not flag.exists():
        flag.touch()
        os._exit(1)
    return values


def test_block_of_a_worker_that_died_is_read_again(tmp_path, monkeypatch, prepare_parts):
    expected = prepare_parts()
    monkeypatch.setattr(prepare, "WORTH_A_CLUSTER", 0)

    def open_dying(*arguments):
        record = open_record(*arguments)
        values = record.data.map_blocks(die_once, flag=tmp_path / "flag", dtype=float, meta=np.empty((0, 0, 0)))
        return record.copy(data=values)

    monkeypatch.setattr(prepare, "open_record", open_dying)
    result = prepare_parts()
    assert (tmp_path / "flag").exists()
    assert result["anomaly"].values.tobytes() == expected["anomaly"].values.tobytes()


LONG_RUN = """
import sys
from pathlib import Path
from sealiency.config.data import Data, Files, Region
from sealiency.data import prepare

if __name__ == "__main__":
    target, *paths = sys.argv[1:]
    prepare.WORTH_A_CLUSTER = 0
    world = Region(south=-90, north=90, west=0, east=360)
    data = Data(source="files", files=Files(paths=paths), region=world)
    prepare.prepare_record(paths, data, 36, 400, Path(target), threads=2)
"""


def test_memory_does_not_grow_with_the_record(tmp_path, benchmarks):
    from centuries import write_centuries
    from prepare import watch

    script = tmp_path / "long_run.py"
    script.write_text(LONG_RUN)
    peaks = []
    for months in (1080, 2640):
        paths = write_centuries(tmp_path / str(months), years=months // 12, coarsen=2)
        _, _, peak = watch([sys.executable, str(script), str(tmp_path / "prepared.nc"), *paths])
        peaks.append(peak)
    # Both are longer than what is in flight; 1560 months more are 0.19 GiB.
    assert peaks[1] < peaks[0] + 0.1
    assert peaks[1] < 2


# --- the file ---


def test_prepared_file_says_where_it_comes_from(prepared_path):
    prepared = read_netcdf(prepared_path)
    assert prepared["anomaly"].dtype == np.float32
    assert prepared.attrs["training_period"] == "1950-03..1952-07"
    assert prepared.attrs["filter_width_months"] == 3
    assert re.fullmatch(r'\{"source.nc": "[0-9a-f]{64}"\}', prepared.attrs["inputs_sha256"])


def test_files_of_one_name_in_two_folders_are_both_recorded(tmp_path):
    sst = make_sst()
    paths = []
    for name, part in (("early", slice(0, 50)), ("late", slice(50, 96))):
        (tmp_path / name).mkdir()
        paths.append(write_sst(sst.isel(time=part), tmp_path / name / "sst.nc"))
    data = Data(source="files", files=Files(paths=paths), region=BOX, filter_months=3)
    prepare_record(paths, data, HISTORY, 24, tmp_path / "prepared.nc")
    assert len(re.findall(r"[0-9a-f]{64}", read_netcdf(tmp_path / "prepared.nc").attrs["inputs_sha256"])) == 2


def test_record_in_memory(record, prepared_path):
    assert record.training_samples == range(6, 30)
    assert record.months[:2] == ["1950-03", "1950-04"]
    assert record.anomaly.shape == (94, 8, 10)
    assert record.filter_width == 3
    assert record.scale == float(read_netcdf(prepared_path)["scale"])
