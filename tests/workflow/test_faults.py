"""Bad input ends a run with one clear error and a non-zero status; a killed run goes on to the same result."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from small_run import Workflow, merge

pytestmark = pytest.mark.workflow

PLAN = "results/small/plan_run/plan.json"
HEATMAPS = Path("reduce_shards/lead6_seed0/deeplift/attributions.nc")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributon": {}}, ["attributon", "unknown key", "`attribution`"]),
        ({"leads": [0]}, ["leads.0 = 0", "greater than or equal to 1"]),
        (
            {"attribution": {"pixels": [{"name": "far", "lat": 10, "lon": -40}]}},
            ["pixel far at 10 N, -40 E", "outside data.region"],
        ),
        ({"data": {"files": {"paths": ["nowhere/*.nc"]}}}, ["data.files.paths", "'nowhere/*.nc' names no file"]),
    ],
)
def test_an_impossible_setting_is_refused_before_anything_runs(workflow, changes, said):
    answer = Workflow(workflow.folder, merge(workflow.settings, changes)).run()
    assert answer.returncode != 0
    for words in said:
        assert words in answer.stdout
    assert "Traceback" not in answer.stdout
    assert not workflow.results.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"region": {"south": 35, "north": 95 - 4, "west": -60, "east": -25}}}, ["data.region.north = 91"]),
        ({"samples": {"training": 150}}, ["at lead 6 need 336 months", "the record has 240"]),
        (
            {"attribution": {"pixels": [{"name": "out", "row": 99, "column": 3}]}},
            ["pixel out at row 99, column 3 lies outside the region of 25 rows and 35 columns"],
        ),
        ({"instance": {"sample": 20}}, ["instance.sample = 20", "20 samples"]),
    ],
)
def test_a_setting_that_does_not_fit_the_record_is_refused_before_training(workflow, changes, said):
    answer = Workflow(workflow.folder, merge(workflow.settings, changes)).run()
    assert answer.returncode != 0
    for words in said:
        assert words in answer.stdout
    assert "Traceback" not in answer.stdout
    assert not (workflow.results / "train_emulator").exists()


def damage_by_removing(folder: Path) -> None:
    (folder / "sst_1955.nc").unlink()


def damage_by_doubling(folder: Path) -> None:
    with xr.open_dataset(folder / "sst_1955.nc") as dataset:
        other = dataset.load()
    other["sst"] += 0.5
    other.to_netcdf(folder / "sst_copy.nc")


def damage_by_truncating(folder: Path) -> None:
    whole = (folder / "sst_1955.nc").read_bytes()
    (folder / "sst_1955.nc").unlink()
    (folder / "sst_1955.nc").write_bytes(whole[: len(whole) // 2])


def damage_by_emptying(folder: Path) -> None:
    for path in folder.iterdir():
        with xr.open_dataset(path) as dataset:
            empty = dataset.load()
        empty["sst"] = empty["sst"].where(False)
        path.unlink()
        empty.to_netcdf(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_by_removing, ["sst_1954.nc", "12 month(s) missing after 1954-12", "1956-01"]),
        (damage_by_doubling, ["sst_copy.nc", "month 1955-01 stands twice", "sst_1955.nc", "differ by up to 0.5"]),
        (damage_by_truncating, ["sst_1955.nc", "not a readable NetCDF file", "truncated"]),
        (damage_by_emptying, ["no cell with data in every month"]),
    ],
)
def test_damaged_input_is_named(workflow, damage, said):
    damage(Path(workflow.settings["data"]["files"]["paths"][0]).parent)
    answer = workflow.run(PLAN)
    assert answer.returncode != 0
    for words in said:
        assert words in answer.stdout
    assert "Traceback" not in answer.stdout
    assert not (workflow.results / "prepare_record" / "prepared.nc").exists()
    # Last of all, the cause of each failed job in plain words.
    failed, cause, log = answer.stdout.rstrip().splitlines()[-3:]
    assert failed == "The run failed:"
    assert cause.startswith("- preparing anomalies: ")
    assert all(words in cause for words in said)
    assert log == "  log: results/small/logs/prepare_record.log"


def test_a_shard_of_another_model_is_refused_and_nothing_is_lost(finished, tmp_path):
    copy = Workflow(tmp_path / "copy", finished.settings)
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    shards = copy.results / "attribute_pixels"
    other = shards / "lead1_seed0" / "deeplift" / "pixels-north_samples-0001.h5"
    shutil.copyfile(other, shards / "lead6_seed0" / "deeplift" / other.name)
    answer = copy.run(str((copy.results / HEATMAPS).relative_to(copy.folder)))
    assert answer.returncode != 0
    assert f"lead6_seed0/deeplift/{other.name}: a shard of another model" in answer.stdout
    assert "Traceback" not in answer.stdout
    assert len(list(shards.rglob("*.h5"))) == 8


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_run_killed_at_every_stage_ends_with_the_same_heatmaps(finished, workflow):
    # Long enough that a kill falls inside: the results must equal those of a run that was never disturbed.
    results, stage = workflow.results, "lead6_seed0"
    target = str((results / HEATMAPS).relative_to(workflow.folder))
    moments = {
        "training": lambda: (results / "train_emulator" / stage / "checkpoint.pt").exists(),
        "attribution": lambda: any((results / "attribute_pixels" / stage / "deeplift").glob(".*.part.h5")),
        "reduction": lambda: (results / "logs" / "reduce_shards" / f"{stage}.log").exists(),
    }
    for name, reached in moments.items():
        with open(workflow.folder.parent / f"{name}.txt", "w") as said:
            process = workflow.start(target, stdout=said)
            wait_for(reached, process)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert not (results / HEATMAPS).exists()
    assert (results / "train_emulator" / stage / "emulator.pt").exists()
    answer = workflow.run(target)
    assert answer.returncode == 0, answer.stdout
    killed, undisturbed = (xr.open_dataset(run.results / HEATMAPS) for run in (workflow, finished))
    for name in ("positive_mean", "negative_mean", "monthly_all"):
        np.testing.assert_array_equal(killed[name], undisturbed[name])
    assert killed.attrs["model_sha256"] == undisturbed.attrs["model_sha256"]
