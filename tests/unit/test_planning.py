"""The division of the attribution into jobs."""

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealiency.attribution import calibration, planning, speed
from sealiency.attribution.planning import ShardPlan, check_record_grid, plan_shards
from sealiency.attribution.speed import Grid, describe_measured, estimate_grid, read_calibration
from sealiency.cli import main
from sealiency.config.attribution import Attribution, Pixel
from sealiency.config.data import Region, SyntheticWorld
from sealiency.config.run import Configuration, parse_configuration
from sealiency.errors import SealiencyError
from sealiency.worlds.ocean_physics import find_ocean_cells
from small_world import HISTORY, NETWORK, SAMPLES, make_sst, prepare_sst

GRID = Grid(rows=50, columns=100, ocean_cells=3000)


def configure(training: int = 100, leads: tuple[int, ...] = (1, 6), **attribution) -> Configuration:
    """Return a run of every ocean pixel with bootstrap blocks of 10 samples."""
    return parse_configuration(
        {
            "leads": list(leads),
            "samples": {"history": 10, "training": training},
            "training": {"epochs": 1, "dropout": 0.0},
            "ablation": {"months": [-1]},
            "attribution": {"pixels": "all", "bootstrap_block": 10, "distance_edges": [0, 500], **attribution},
        },
        "my.yaml",
    )


def write_calibration(path, configuration: Configuration, grid: Grid = GRID, **changes) -> str:
    """Write a file as `sealiency calibrate` does, for that many attributions a second."""
    measured = {
        "attributions_per_second": 100.0,
        "start_seconds": 20.0,
        "device": "a processor",
        "on_gpu": False,
        "threads": 1,
        "rows": grid.rows,
        "columns": grid.columns,
        "ocean_cells": grid.ocean_cells,
        "settings": describe_measured(configuration),
    }
    path.write_text(json.dumps(measured | changes))
    return str(path)


def plan(
    folder, attributions_per_second: float = 100.0, grid: Grid = GRID, training: int = 100, **attribution
) -> ShardPlan:
    path = write_calibration(
        folder / "speed.json", configure(training, **attribution), grid, attributions_per_second=attributions_per_second
    )
    return plan_shards(configure(training, calibration=path, **attribution))


def divided(found: ShardPlan) -> tuple[int, int]:
    return found.attribution.pixel_blocks, found.attribution.sample_chunks


# --- blocks and chunks ---


def test_a_job_lasts_as_long_as_asked(tmp_path):
    # 100 attributions/s x 600 s = 60,000: 600 pixels of all 100 samples, 3000 / 600 = 5 blocks.
    found = plan(tmp_path, job_minutes=10)
    assert divided(found) == (5, 1)
    assert found.shards == 5 * 1 * 2 * 1
    assert found.attributions == 3000 * 100 * 2
    assert found.minutes == pytest.approx((20 + 600) / 60)
    assert found.hours == pytest.approx((10 * 20 + 6000) / 3600)
    assert found.runtime == 31


def test_samples_are_divided_only_where_64_pixels_last_too_long(tmp_path):
    # 60 s x 100 attributions/s = 6000 attributions are 60 pixels of all samples, which is too few: 64 pixels x 100 samples need two chunks.
    found = plan(tmp_path, job_minutes=1)
    assert divided(found) == (math.ceil(3000 / 64), 2)
    assert found.chunk_samples == 50
    # 64 seconds are just enough.
    assert divided(plan(tmp_path, job_minutes=64 / 60))[1] == 1


def test_blocks_have_fewer_than_64_pixels_only_where_a_bootstrap_block_of_them_lasts_too_long(tmp_path):
    # Bootstrap blocks of 10 samples: 64 pixels of one take 6.4 seconds, and 320 attributions are 32 pixels of one.
    assert divided(plan(tmp_path, job_minutes=6.4 / 60)) == (47, 10)
    assert divided(plan(tmp_path, job_minutes=3.2 / 60)) == (math.ceil(3000 / 32), 10)


def test_chunks_are_whole_bootstrap_blocks(tmp_path):
    # One chunk could not be shorter than a bootstrap block, however slow the machine, nor a block smaller than a pixel.
    assert divided(plan(tmp_path, attributions_per_second=0.1, job_minutes=1)) == (3000, 10)
    # 95 samples make 10 blocks; in 3 chunks the largest has 4 of them.
    assert plan(tmp_path, training=95, pixel_blocks=47, sample_chunks=3).chunk_samples == 40


def test_sums_of_a_block_fit_half_of_the_memory(tmp_path):
    # One pixel: 8 bytes x (2 x 10 blocks x 10 lags x 2 bins + 2 x 10 lags x 5000 cells) = 803,200 bytes.
    found = plan(tmp_path, heatmaps=True, memory_gb=0.0803200, job_minutes=1000)
    assert found.block_pixels == 50
    assert divided(found) == (60, 1)
    without = plan(tmp_path, heatmaps=False, memory_gb=0.0803200, job_minutes=1000)
    assert divided(without) == (1, 1)


def test_one_pixel_that_exceeds_the_memory_is_refused(tmp_path):
    # Fewer than twice the 803,200 bytes of a pixel.
    message = r"attribution.memory_gb = 0.0016: the sums of one pixel take 803 kB.*at least 0.002, or heatmaps: false"
    with pytest.raises(SealiencyError, match=message):
        plan(tmp_path, heatmaps=True, memory_gb=0.0016)
    assert plan(tmp_path, heatmaps=True, memory_gb=0.0017).block_pixels == 1


def test_given_numbers_stay(tmp_path):
    assert divided(plan(tmp_path, pixel_blocks=7, sample_chunks=3)) == (7, 3)
    # 429 pixels of one bootstrap block of 10 samples are 4290 of the 6000 attributions of a job, those of two too many.
    assert divided(plan(tmp_path, pixel_blocks=7, job_minutes=1)) == (7, 10)
    # 6000 attributions of 40 samples are 150 pixels.
    assert divided(plan(tmp_path, sample_chunks=3, job_minutes=1)) == (20, 3)


def test_listed_pixels_are_blocks_of_their_own(tmp_path):
    pixels = [{"name": name, "row": 1, "column": 1} for name in ("a", "b", "c")]
    assert divided(plan(tmp_path, pixels=pixels, job_minutes=10)) == (3, 1)
    assert divided(plan(tmp_path, pixels=pixels, attributions_per_second=1, job_minutes=0.5)) == (3, 4)


@given(
    attributions_per_second=st.floats(1e-3, 1e6),
    minutes=st.floats(0.01, 1e4),
    cells=st.integers(1, 10_000),
    training=st.integers(1, 2000),
    memory=st.floats(0.01, 100),
    heatmaps=st.booleans(),
)
def test_every_plan_can_be_carried_out(
    tmp_path_factory, attributions_per_second, minutes, cells, training, memory, heatmaps
):
    grid = Grid(100, 100, cells)
    settings = {"job_minutes": minutes, "memory_gb": memory, "heatmaps": heatmaps}
    found = plan(tmp_path_factory.getbasetemp(), attributions_per_second, grid, training, **settings)
    blocks, chunks = divided(found)
    assert 1 <= blocks <= cells
    assert 1 <= chunks <= math.ceil(training / 10)
    # The checks that later stages make of numbers given by hand hold for those found.
    configure(training, sample_chunks=chunks)
    check_record_grid(grid, found.attribution, 10, training, grid)
    # No job lasts longer than asked, unless it is one bootstrap block of one pixel.
    if (found.block_pixels, found.chunk_samples) != (1, min(10, training)):
        assert found.block_pixels * found.chunk_samples <= attributions_per_second * minutes * 60
    # Samples are divided only where the job would be too long as it is, and blocks are not larger than needed.
    if chunks > 1:
        assert found.block_pixels <= planning.FEWEST_PIXELS
        assert found.block_pixels * training > attributions_per_second * minutes * 60


def test_the_largest_settings_do_not_overflow(tmp_path):
    assert divided(plan(tmp_path, attributions_per_second=9e299, job_minutes=1e308, memory_gb=1e6)) == (1, 1)


@pytest.mark.parametrize("calibrated", [False, True])
def test_more_blocks_than_cells_are_refused(tmp_path, calibrated):
    def find(blocks):
        if calibrated:
            return plan(tmp_path, pixel_blocks=blocks)
        return plan_shards(parse_configuration({"attribution": {"pixels": "all", "pixel_blocks": blocks}}, "my.yaml"))

    grid = GRID if calibrated else estimate_grid(Configuration())
    most = grid.rows * grid.columns
    assert find(most).attribution.pixel_blocks == most
    with pytest.raises(SealiencyError) as caught:
        find(most + 1)
    message = (
        f"attribution.pixel_blocks = {most + 1} exceeds the {most} cells of the grid of {grid.rows} x {grid.columns}"
    )
    assert f"{message}; lower it" in str(caught.value)
    assert ("sealiency calibrate" in str(caught.value)) is not calibrated


# --- memory and disk ---


def test_disk_is_counted_before_compression(tmp_path):
    found = plan(tmp_path, heatmaps=True, pixel_blocks=10, sample_chunks=2)
    radial, maps = 2 * 10 * 10 * 2, 2 * 10 * 5000
    # Every chunk has maps of its own, but no bootstrap block is in two of them.
    assert found.shard_bytes == 2 * 3000 * 8 * (radial + 2 * maps)
    assert found.reduced_bytes == 2 * 3000 * 4 * (radial + maps + 3 * 10)


def test_memory_holds_the_inputs_too(tmp_path):
    found = plan(tmp_path, memory_gb=2, pixel_blocks=10, sample_chunks=2)
    assert found.memory_mb == 2000 + planning.OVERHEAD_MB + 50 * 10 * 5000 * 4 // 10**6


def test_baselines_whose_activations_are_clearly_too_many_are_refused():
    def find(baselines, memory=4.0, precision="float32", method="deeplift_shap", methods=("deeplift",)):
        attribution = {"method": method, "baseline_samples": baselines, "memory_gb": memory, "precision": precision}
        settings = {
            "data": {"synthetic": {"resolution": 1}},
            "attribution": attribution,
            "instance": {"methods": list(methods)},
        }
        return plan_shards(parse_configuration(settings, "my.yaml"))

    # The paper's network on 70 x 125 cells: 2 x 4 bytes x 3,916,152 activations = 31.3 MB a baseline, of which
    # 2205 cells of 768 channels, 576 of 1104, 2304 of 552 and 8750 of 36.
    each = 8 * (2205 * 768 + 576 * 1104 + 2304 * 552 + 8750 * 36)
    most = int(2e9 // each)
    find(most)
    message = (
        rf"attribution.baseline_samples = {most + 1}: .*memory_gb = 4; lower it, or raise memory_gb to "
        rf"{math.ceil((most + 1) * each * 4 / 1e9)}$"
    )
    with pytest.raises(SealiencyError, match=message):
        find(most + 1)
    find(most + 1, memory=8)
    with pytest.raises(SealiencyError, match=r"baseline_samples"):
        find(most // 2 + 1, precision="float64")
    # The comparison of methods uses them too; nothing else does.
    find(most + 1, method="deeplift")
    with pytest.raises(SealiencyError, match=r"baseline_samples"):
        find(most + 1, method="deeplift", methods=("deeplift", "deeplift_shap"))
    # One baseline is held at no more than a pass needs.
    find(1, memory=0.03)


# --- what is assumed ---


def test_a_grid_is_that_of_the_embedded_world():
    for resolution in (1, 2, 5):
        for region in (
            Region(),
            Region(south=-30, north=10, west=150, east=290),
            Region(south=-90, north=90, west=0, east=360),
        ):
            data = Configuration().data.model_copy(
                update={"region": region, "synthetic": SyntheticWorld(resolution=resolution)}
            )
            index = find_ocean_cells(resolution, region).index
            grid = estimate_grid(Configuration().model_copy(update={"data": data}))
            assert grid == Grid(*index.shape, int((index >= 0).sum()))


def test_any_other_record_is_taken_for_one_of_one_degree():
    files = {"source": "files", "files": {"paths": ["a.nc"]}}
    grid = estimate_grid(parse_configuration({"data": files}, "my.yaml"))
    assert (grid.rows, grid.columns) == (70, 125)
    assert 5000 < grid.ocean_cells < 5600


def test_speed_is_assumed_by_method_and_precision():
    def assume(**attribution):
        configuration = parse_configuration({"attribution": attribution}, "my.yaml")
        return speed.assume_speed(configuration, Grid(70, 125, 5400)).attributions_per_second

    assert assume() == 75
    assert assume(precision="bfloat16") > assume() > assume(precision="float64")
    assert assume(method="deeplift_shap", baseline_samples=5) == 15
    assert assume(method="integrated_gradients", integration_steps=5) == 15
    assert assume(method="integrated_gradients", integration_steps=64) == pytest.approx(75 / 64)
    assert assume(device="cuda") > 10 * assume()


def test_planning_imports_nothing_heavy():
    code = "import sys, sealiency.attribution.planning; print({'torch', 'xarray', 'scipy', 'h5py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# --- the plan in words ---


def test_the_plan_says_what_is_measured_and_what_assumed(tmp_path):
    said = plan(tmp_path, job_minutes=10).describe()
    assert "5 pixel blocks x 1 sample chunk x 2 leads x 1 seed = 10" in said
    assert "100 attributions a second on a processor (measured: " in said
    assert "1.72 core hours" in said
    assert "assumed" not in said
    said = plan_shards(configure()).describe()
    assert said.count("assumed") == 2
    assert "measured:" not in said
    assert "sealiency calibrate" in said


def test_hours_on_a_gpu_are_gpu_hours(tmp_path):
    path = write_calibration(tmp_path / "speed.json", configure(), on_gpu=True, device="H100")
    assert "GPU hours" in plan_shards(configure(calibration=path)).describe()


# --- calibration ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"method": "integrated_gradients"},
            "attribution.method = 'deeplift', the configuration has 'integrated_gradients'",
        ),
        ({"precision": "float64"}, "attribution.precision = 'float32', the configuration has 'float64'"),
        (
            {"pixels": [{"name": "a", "row": 1, "column": 1}]},
            "attribution.pixels = 'all', the configuration has 'listed'",
        ),
        ({"device": "cuda"}, "on a processor, the configuration has attribution.device = cuda"),
    ],
)
def test_calibration_of_other_attribution_settings_is_refused(tmp_path, changes, words):
    path = write_calibration(tmp_path / "speed.json", configure())
    with pytest.raises(SealiencyError) as caught:
        plan_shards(configure(calibration=path, **changes))
    assert words in str(caught.value)
    assert "`sealiency calibrate CONFIG --output FILE` again" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("network", {"growth_rate": 8}, "network.growth_rate = 16, the configuration has 8"),
        ("samples", {"history": 12, "training": 100}, "samples.history = 10, the configuration has 12"),
        ("data", {"region": Region(north=60)}, "data.region.north = 70.0, the configuration has 60.0"),
        ("data", {"synthetic": SyntheticWorld(resolution=1)}, "resolution = 2, the configuration has 1"),
    ],
)
def test_calibration_of_another_network_or_grid_is_refused(tmp_path, section, changes, words):
    path = write_calibration(tmp_path / "speed.json", configure())
    configuration = configure()
    other = configuration.model_copy(update={section: getattr(configuration, section).model_copy(update=changes)})
    with pytest.raises(SealiencyError, match=words):
        read_calibration(path, other)


def test_calibration_does_not_depend_on_what_leaves_speed_alone(tmp_path):
    path = write_calibration(tmp_path / "speed.json", configure())
    found = plan_shards(configure(calibration=path, leads=(3,), integration_steps=9, baseline_samples=4))
    assert found.speed.attributions_per_second == 100


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": 1}'])
def test_a_file_that_is_no_calibration_is_refused(tmp_path, text):
    path = tmp_path / "speed.json"
    path.write_text(text)
    with pytest.raises(
        SealiencyError, match=r"attribution.calibration: .*speed.json: not a file of `sealiency calibrate`"
    ):
        plan_shards(configure(calibration=str(path)))


def test_a_missing_calibration_is_named(tmp_path):
    with pytest.raises(SealiencyError, match=r"none.json: No such file.*run `sealiency calibrate"):
        plan_shards(configure(calibration=str(tmp_path / "none.json")))


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("attributions_per_second", value, "a finite number from 1e-6")
        for value in (0, -1, 1e-320, math.nan, math.inf, True, "100", None, 10**400)
    ]
    + [
        ("start_seconds", value, "a finite number from 0")
        for value in (-1e9, math.nan, math.inf, False, "20", None, 10**400)
    ]
    + [("ocean_cells", value, "a whole number from 1") for value in (0, -5, 2.5, math.inf, math.nan, True, 10**400)]
    + [("rows", 0, "a whole number from 1"), ("columns", 1e3, "a whole number from 1")]
    + [("on_gpu", value, "true or false") for value in ("no", 0, None)],
    ids=lambda value: str(value)[:20],
)
def test_a_calibration_of_impossible_values_is_refused(tmp_path, key, value, wanted):
    path = write_calibration(tmp_path / "speed.json", configure(), **{key: value})
    with pytest.raises(SealiencyError) as caught:
        plan_shards(configure(calibration=path))
    assert f"attribution.calibration: {path}: {key} = {value!r} is not {wanted}. Run `sealiency" in str(caught.value)


def test_a_calibration_without_start_up_is_none_the_worse(tmp_path):
    path = write_calibration(tmp_path / "speed.json", configure(), start_seconds=0, attributions_per_second=1e-6)
    assert plan_shards(configure(calibration=path)).speed.start_seconds == 0


@pytest.fixture
def prepared_run(tmp_path, monkeypatch):
    """Return the settings of a run whose record, and nothing else, is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibration, "SECONDS", 0.02)
    folder = tmp_path / "results" / "run" / "prepare_record"
    folder.mkdir(parents=True)
    prepare_sst(make_sst(), folder)
    return {
        "leads": [2],
        "data": {"region": {"south": 40, "north": 48, "west": -50, "east": -40}},
        "samples": SAMPLES.model_dump(),
        "network": {**NETWORK.model_dump(mode="json"), "skip": "persistence"},
        "training": {"epochs": 1, "dropout": 0},
        "instance": {"compared": {"name": "p", "lat": 45, "lon": -45}},
        "ablation": {"months": [-1]},
    }


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients"])
@pytest.mark.parametrize("pixels", ["all", [{"name": "a", "row": 3, "column": 4}]], ids=["all", "listed"])
def test_a_calibration_serves_the_run_that_it_was_made_for(prepared_run, tmp_path, method, pixels, capsys):
    attribution = {"pixels": pixels, "method": method, "integration_steps": 8}
    (tmp_path / "my.yaml").write_text(json.dumps({**prepared_run, "attribution": attribution}))
    assert main(["calibrate", "my.yaml", "--output", "speed.json"]) == 0
    measured = json.loads((tmp_path / "speed.json").read_text())
    assert measured["attributions_per_second"] > 0
    assert measured["start_seconds"] > 0
    assert (measured["rows"], measured["columns"], measured["ocean_cells"]) == (8, 10, 77)
    assert measured["threads"] == speed.THREADS
    (tmp_path / "my.yaml").write_text(
        json.dumps({**prepared_run, "attribution": {**attribution, "calibration": "speed.json"}})
    )
    assert main(["plan", "my.yaml"]) == 0
    assert "measured: speed.json" in capsys.readouterr().out


def test_calibration_needs_the_prepared_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("run: {name: other}\n")
    assert main(["calibrate", "my.yaml", "--output", "speed.json"]) == 1
    said = capsys.readouterr().err
    assert "results/other/prepare_record/prepared.nc: the record is not prepared yet" in said
    assert "snakemake prepare_record --configfile" in said
    assert not (tmp_path / "speed.json").exists()


# --- the plan and the record ---


def test_a_measured_plan_must_be_of_the_records_grid():
    attribution = Attribution(pixels="all", pixel_blocks=10, sample_chunks=1, calibration="speed.json")
    check_record_grid(GRID, attribution, 10, 100, GRID)
    message = r"speed.json was measured on 50 x 100 cells, 3,000 of them ocean; the record has 50 x 100 cells, 2,999"
    with pytest.raises(SealiencyError, match=message):
        check_record_grid(GRID, attribution, 10, 100, Grid(50, 100, 2999))


def test_an_assumed_plan_on_another_grid_is_told(caplog):
    attribution = Attribution(pixels="all", pixel_blocks=10, sample_chunks=1)
    check_record_grid(GRID, attribution, 10, 100, Grid(100, 200, 12000))
    assert "planned for 50 x 100 cells" in caplog.text


def test_a_block_whose_sums_exceed_the_memory_is_refused():
    # As above, but with the default distance bins: 8 x (2 x 10 x 10 x 28 + 100,000) = 844,800 bytes a pixel, 591 in 0.5 GB.
    attribution = Attribution(
        pixels="all", pixel_blocks=5, sample_chunks=1, heatmaps=True, bootstrap_block=10, memory_gb=1
    )
    with pytest.raises(SealiencyError, match=r"pixel_blocks = 5: .*memory_gb = 1; set at least 6 blocks"):
        check_record_grid(GRID, attribution, 10, 100, GRID)
    check_record_grid(GRID, attribution.model_copy(update={"pixel_blocks": 6}), 10, 100, GRID)


def test_a_listed_pixel_fits_whatever_the_number_of_ocean_cells():
    pixels = [Pixel(name="a", row=1, column=1)]
    attribution = Attribution(pixels=pixels, pixel_blocks=1, sample_chunks=1, heatmaps=True)
    check_record_grid(GRID, attribution, HISTORY, 100, GRID)
