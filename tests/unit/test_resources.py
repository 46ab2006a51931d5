"""What jobs ask for grows with what they work on."""

import pytest

from sealiency.attribution.speed import PAPER_MULTIPLICATIONS, Grid
from sealiency.config.run import Configuration
from sealiency.resources import (
    analysis_memory_mb,
    ask_gpus,
    estimate_record_mb,
    training_memory_mb,
    training_minutes,
)

GRID = Grid(70, 125, 5321)


def configure(**sections) -> Configuration:
    data = {"region": {"south": 0, "north": 70, "west": -100, "east": 25}}
    return Configuration.model_validate({"data": data, **sections})


def test_a_gpu_is_asked_for_unless_the_processor_is_wanted():
    assert [ask_gpus(device) for device in ("auto", "cuda", "cpu")] == [1, 1, 0]


def test_the_record_is_four_bytes_a_month_and_cell():
    samples = {"training": 100, "validation": 50, "test": 14}
    # 36 + 100 + 50 + 14 months on 8,750 cells: 7.0 MB.
    assert estimate_record_mb(configure(samples=samples), GRID) == 7
    assert estimate_record_mb(configure(samples={**samples, "test": "rest"}), GRID) == 11


def test_memory_grows_with_the_record_and_the_batch():
    small, long = configure(), configure(samples={"training": 9000})
    assert analysis_memory_mb(long, GRID) > analysis_memory_mb(small, GRID) + 1000
    wide = configure(training={"batch_size": 256})
    extra = training_memory_mb(wide, GRID) - training_memory_mb(small, GRID)
    # Twice the batch of 128 adds the activations of 128 samples more, as much as the first 128 took.
    assert extra == pytest.approx(training_memory_mb(small, GRID) - analysis_memory_mb(small, GRID), abs=2)
    assert extra > 1000


def test_training_time_is_three_times_what_its_operations_take():
    samples = {"training": 1200, "validation": 300, "test": 0}
    configuration = configure(samples=samples)
    operations = 6 * PAPER_MULTIPLICATIONS * 1300 * 100
    assert training_minutes(configuration, GRID, 100, 0) - 15 == pytest.approx(3 * operations / 2e11 / 60, abs=1)
    assert training_minutes(configuration, GRID, 100, 1) < training_minutes(configuration, GRID, 100, 0) / 5
