"""The bound of predictability of the synthetic world."""

import itertools

import numpy as np
import pytest

from sealiency.config.data import Data, Region, SyntheticWorld
from sealiency.data.prepare import PreparedRecord, prepare_record
from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.naming import name_world_files
from sealiency.worlds.ocean import simulate_anomalies, simulate_world
from sealiency.worlds.ocean_bound import forecast_best
from sealiency.worlds.ocean_truth import read_world

SETTINGS = SyntheticWorld(resolution=5, years=60, years_per_file=30, seed=3)
REGION = Region(south=5, north=65, west=-80, east=0)
HISTORY, TRAINING = 36, 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bound")
    simulate_world(SETTINGS, REGION, folder, {})
    return folder


@pytest.fixture(scope="module", params=["trailing", "centred", "unfiltered", "later"])
def record(request, folder):
    """A record of the world: its filter is a mean over 12 months or a centred one over 5, and one begins in year 11."""
    chosen = {
        "trailing": {},
        "centred": {"filter": "centred_mean", "filter_months": 5, "climatology": "monthly", "trend": "linear"},
        "unfiltered": {"filter": "none", "climatology": "monthly"},
        "later": {"first_month": "0011-04"},
    }[request.param]
    target = folder / f"{request.param}.nc"
    paths = [str(folder / name) for name in name_world_files(SETTINGS)]
    prepare_record(paths, Data(region=REGION, **chosen), history=HISTORY, training=TRAINING, target=target)
    return PreparedRecord(target)


@pytest.fixture(scope="module")
def world(record, folder):
    return read_world(folder / "propagator.nc", SETTINGS, REGION, record)


@pytest.fixture(scope="module")
def months(world):
    """Every raw month of the world, in K, by its name."""
    years = list(itertools.islice(simulate_anomalies(world.propagator, world.forcing, SETTINGS.seed), SETTINGS.years))
    return {f"{year + 1:04d}-{month + 1:02d}": years[year][month] for year in range(len(years)) for month in range(12)}


def _name_raw_months(record, number):
    """Return the raw months of a filtered month, from what its stamp means."""
    names = [f"{year:04d}-{month:02d}" for year in range(1, 61) for month in range(1, 13)]
    width, stamp = record.filter_width, names.index(record.months[number])
    start = {1: stamp, 5: stamp - 2, 12: stamp - 11}[width]
    return names[start : start + width]


@pytest.mark.parametrize("lead", [1, 6, 14])
def test_the_bound_is_the_propagator_on_the_raw_months_by_hand(record, world, months, lead):
    samples = range(100, 105)
    error = forecast_best(world, record, lead, samples) - _observe(record, lead, samples)
    names = list(months)
    for k, found in zip(samples, error, strict=True):
        last = names.index(_name_raw_months(record, k - 1)[-1])
        expected = np.zeros_like(months["0001-01"])
        for name in _name_raw_months(record, k + lead - 1):
            state = months[names[last]]
            for _ in range(names.index(name) - last):
                state = world.propagator @ state
            expected += (state if names.index(name) > last else months[name]) - months[name]
        cells = np.argsort(world.positions)
        np.testing.assert_allclose(found, expected[cells] / record.filter_width / record.scale, atol=1e-10)


def _observe(record, lead, samples):
    return SampleWindows(record.anomaly, lead, HISTORY).targets(samples).numpy()[:, record.ocean.numpy()]


def test_no_regression_is_better_on_test(record, world):
    ocean = record.ocean.numpy()
    samples = range(HISTORY + TRAINING + 60, len(record.months) - 6)
    for lead in (1, 6):
        windows = SampleWindows(record.anomaly, lead, HISTORY)
        ridge = PixelRidge.fit(windows, range(HISTORY, HISTORY + TRAINING), ocean)
        observed = _observe(record, lead, samples)
        errors = [
            np.sqrt(((forecast - observed) ** 2).mean())
            for forecast in (forecast_best(world, record, lead, samples), ridge.forecast(samples))
        ]
        assert errors[0] < 0.97 * errors[1]
