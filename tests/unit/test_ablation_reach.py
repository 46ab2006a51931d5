"""What takes the place of the ablated box, and how far away the forecast changes."""

import numpy as np
import pytest
import torch

import sealiency.experiments.ablation as ablation_module
from sealiency.config.attribution import Ablation
from sealiency.config.data import Region
from sealiency.data.places import EARTH_RADIUS, measure_distance_from
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.errors import SealiencyError
from sealiency.experiments.ablation import ablate_region
from small_world import HISTORY, LAT, LON, NETWORK, SAMPLES, TRAINING, disturb, make_sst, prepare_sst

BOX = Region(south=42, north=44, west=-46, east=-43)
ROWS, COLUMNS = slice(2, 4), slice(4, 7)
LEAD = TRAINING.lead
# Months that a training sample reads: numbers 0 up to the last input of the last one.
TRAINING_MONTHS = HISTORY + SAMPLES.training - 1


@pytest.fixture
def split(record):
    return record.split(LEAD, SAMPLES)


def ablate(emulator, record, split, **settings):
    return ablate_region(emulator, record, split, Ablation(region=BOX, **settings))


# --- replacements ---


def test_climatology_is_the_mean_of_the_calendar_month_over_the_training_months(emulator, record, split):
    ablated = ablate(emulator, record, split, replacement="climatology", months=[-2, -5], sample=3)
    k = split.validation[3]
    expected = record.anomaly[k - HISTORY : k].numpy().copy()
    for lag in (-2, -5):
        same = [m for m in range(TRAINING_MONTHS) if record.months[m][-2:] == record.months[k + lag][-2:]]
        assert len(same) >= 2
        mean = np.mean([record.anomaly[m].numpy().astype(float) for m in same], axis=0)
        expected[lag, ROWS, COLUMNS] = mean[ROWS, COLUMNS]
    np.testing.assert_allclose(ablated["ablated_input"].values, expected, atol=1e-6)
    # The filter of 3 months leaves the seasonal cycle in, so it is not zero.
    assert np.abs(ablated["ablated_input"].sel(lag=-2).values[ROWS, COLUMNS]).min() > 0.05
    assert ablated.attrs["replacement"] == "climatology"


def test_climatology_needs_every_calendar_month(emulator, record, split, monkeypatch):
    monkeypatch.setattr(record, "training_samples", range(HISTORY, HISTORY + 4))
    with pytest.raises(SealiencyError, match=r"the 9 training months lack calendar month\(s\) \[\d+, \d+, \d+\]"):
        ablate(emulator, record, split, replacement="climatology")


def test_noise_is_the_box_of_a_training_sample(emulator, record, split):
    ablated = ablate(emulator, record, split, replacement="noise", months=[-1, -4], sample=2, seed=5)
    donor, k = ablated.attrs["noise_sample"], split.validation[2]
    assert donor in split.training
    assert ablated.attrs["noise_seed"] == 5
    expected = record.anomaly[k - HISTORY : k].numpy().copy()
    for lag in (-1, -4):
        expected[lag, ROWS, COLUMNS] = record.anomaly[donor + lag].numpy()[ROWS, COLUMNS]
    np.testing.assert_array_equal(ablated["ablated_input"].values, expected)


def test_noise_differs_by_sample_and_by_seed(emulator, record, split):
    donors = {
        seed: [
            ablate(emulator, record, split, replacement="noise", sample=sample, seed=seed).attrs["noise_sample"]
            for sample in range(4)
        ]
        for seed in (0, 1)
    }
    assert len(set(donors[0])) > 1
    assert donors[0] != donors[1]


def test_noise_is_the_same_whatever_the_batch(emulator, record, split, monkeypatch):
    asked = {"replacement": "noise", "sample": 7}
    whole = ablate(emulator, record, split, **asked)
    monkeypatch.setattr(ablation_module, "SAMPLES_AT_ONCE", 3)
    parts = ablate(emulator, record, split, **asked)
    np.testing.assert_array_equal(whole["ablated_input"], parts["ablated_input"])
    for name in ("mean_absolute_difference", "decay"):
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-5, atol=1e-8)
    other = ablate(emulator, record, split, **asked, seed=1)
    assert np.abs(other["mean_absolute_difference"] - parts["mean_absolute_difference"]).max() > 1e-4


def test_zero_is_the_default(emulator, record, split):
    ablated = ablate(emulator, record, split)
    assert ablated.attrs["replacement"] == "zero"
    assert not ablated["ablated_input"].values[:, ROWS, COLUMNS].any()
    assert "noise_seed" not in ablated.attrs


# --- decay ---


def test_distance_is_that_to_the_nearest_cell():
    cells = np.zeros((LAT.size, LON.size), bool)
    cells[2, 3] = cells[6, 8] = True
    distance = measure_distance_from(cells, LAT, LON)
    degree = EARTH_RADIUS * np.pi / 180
    assert (distance == 0).sum() == 2
    assert distance[0, 3] == pytest.approx(2 * degree)
    assert distance[7, 8] == pytest.approx(degree)
    # Along a circle of latitude the great circle is a little shorter.
    assert distance[6, 9] == pytest.approx(degree * np.cos(np.deg2rad(LAT[6])), rel=1e-4)


def test_decay_is_the_mean_over_samples_and_ocean_cells_weighted_by_area(emulator, record, split):
    ablated = ablate(emulator, record, split)
    bounds, ocean = ablated["distance_bounds"].values, record.ocean.numpy()
    width = EARTH_RADIUS * np.pi / 180
    np.testing.assert_allclose(np.diff(bounds, axis=1)[:, 0], [width / 2, *[width] * (len(bounds) - 1)])
    np.testing.assert_array_equal(bounds[1:, 0], bounds[:-1, 1])
    box = np.zeros_like(ocean)
    box[ROWS, COLUMNS] = True
    distance = measure_distance_from(box, LAT, LON)
    difference = ablated["mean_absolute_difference"].values
    for at, (low, high) in enumerate(bounds):
        cells = [(i, j) for i, j in np.argwhere(ocean) if low <= distance[i, j] < high]
        assert int(ablated["decay_cells"][at]) == len(cells)
        weights = [np.cos(np.deg2rad(LAT[i])) for i, _ in cells]
        expected = sum(w * difference[cell] for w, cell in zip(weights, map(tuple, cells), strict=True)) / sum(weights)
        assert float(ablated["decay"][at]) == pytest.approx(expected, rel=1e-4)
    assert int(ablated["decay_cells"].sum()) == ocean.sum()
    # The first bin is the box itself.
    assert int(ablated["decay_cells"][0]) == box.sum()


def make_strip(tmp_path, land=()):
    """Return an emulator, record and split of 4 rows and 110 columns, which the network does not see across."""
    lat, lon = LAT[:4], np.arange(-99.5, 10)
    sst = make_sst(months=60, lat=lat, lon=lon, land=land)
    region = Region(south=40, north=44, west=-100, east=10)
    record = PreparedRecord(prepare_sst(sst, tmp_path, region=region, training=10))
    emulator = Emulator(
        disturb(DenseNet(NETWORK, HISTORY, (4, 110))),
        record.ocean,
        LEAD,
        0,
        HISTORY,
        record.training_samples,
        record.sha256,
        "",
    )
    return emulator, record, record.split(LEAD, SAMPLES.model_copy(update={"training": 10, "validation": 2}))


STRIP_BOX = Ablation(region=Region(south=40, north=44, west=-100, east=-95))


def test_a_bin_without_ocean_has_no_decay_and_beyond_the_reach_it_is_zero(tmp_path):
    # Columns 8 to 12 are land: 4 to 8 columns from the box, at least 3.03 and at most 6.1 cells of 111 km.
    emulator, record, split = make_strip(tmp_path, land=[(i, j) for i in range(4) for j in range(8, 13)])
    ablated = ablate_region(emulator, record, split, STRIP_BOX)
    decay = ablated["decay"].values
    np.testing.assert_array_equal(np.isnan(decay), ablated["decay_cells"].values == 0)
    assert np.isnan(decay).any()
    limit = ablated.attrs["zero_beyond_km"]
    beyond = ablated["distance_bounds"].values[:, 0] > limit
    assert beyond.any()
    assert (decay[beyond] == 0).all()
    reach = ablated["reach"].values.astype(bool)
    distance = measure_distance_from(ablated["ablated"].values.astype(bool) & record.ocean.numpy(), LAT[:4], record.lon)
    assert limit == distance[reach].max()
    assert not reach[distance > limit].any()


def test_a_network_that_reaches_farther_than_its_structure_is_refused(tmp_path):
    emulator, record, split = make_strip(tmp_path)
    ablate_region(emulator, record, split, STRIP_BOX)
    # A mean over the whole field reaches everything, and the graph knows nothing of it.
    emulator.network.layers.convolution.register_forward_hook(
        lambda module, given, out: out if torch.compiler.is_exporting() else out + out.mean((2, 3), True)
    )
    with pytest.raises(
        SealiencyError, match=r"at row \d, column \d+ changes by .* no farther than its structure allows"
    ):
        ablate_region(emulator, record, split, STRIP_BOX)


def test_land_in_the_box_counts_as_no_part_of_it(tmp_path):
    # Land is zero before and after: columns 2 to 4 of the box hold nothing that could be ablated.
    emulator, record, split = make_strip(tmp_path, land=[(i, j) for i in range(4) for j in range(2, 5)])
    ablated = ablate_region(emulator, record, split, STRIP_BOX)
    narrow = Ablation(region=Region(south=40, north=44, west=-100, east=-98))
    same = ablate_region(emulator, record, split, narrow)
    np.testing.assert_array_equal(ablated["reach"], same["reach"])
    np.testing.assert_array_equal(ablated["decay"], same["decay"])
    assert torch.equal(torch.from_numpy(ablated["forecast"].values), torch.from_numpy(same["forecast"].values))
