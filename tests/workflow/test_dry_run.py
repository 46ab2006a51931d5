"""The attribution's jobs: planned by thousands, printed by a dry run, and not made anew by how they are scheduled."""

import json
import re

import pytest

from small_run import Workflow

pytestmark = pytest.mark.workflow

PLANNED = "checking that every pixel, sample and lead exists"
END = {"writing the summary", "writing the report"}
TITLE = "Attribution plan"

# Every ocean pixel of the demo's grid: 1,338 of 35 x 62.
EVERY_PIXEL = {
    "leads": [1, 6],
    "data": {
        "region": {"south": 0, "north": 70, "west": -100, "east": 24},
        "synthetic": {"resolution": 2, "years": 120, "years_per_file": 60},
    },
    "samples": {"training": 1056, "validation": 100},
    "instance": {"compared": {"name": "coast", "lat": 59, "lon": -43}},
    "attribution": {"pixels": "all"},
}


def dry_run(folder, **attribution) -> str:
    settings = {**EVERY_PIXEL, "attribution": {**EVERY_PIXEL["attribution"], **attribution}}
    answer = Workflow(folder, {"run": {"name": "planned"}, **settings}).run("--dry-run")
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


def test_ten_thousand_shards_are_planned(tmp_path):
    said = dry_run(tmp_path, pixel_blocks=152, sample_chunks=33)
    shards = 152 * 33 * 2
    assert re.search(rf"^attribute_pixels +{shards}$", said, flags=re.MULTILINE)
    assert len(re.findall(r"^Job \d+: attributing lead", said, flags=re.MULTILINE)) == shards
    assert said.count(TITLE) == 1
    assert f"152 pixel blocks x 33 sample chunks x 2 leads x 1 seed = {shards:,}" in said


def test_five_thousand_listed_pixels_fit_into_a_command(tmp_path):
    # 35 x 62 cells, some of them under several names.
    pixels = [{"name": f"p{n}", "row": n // 62 % 35, "column": n % 62} for n in range(5000)]
    settings = {**EVERY_PIXEL, "run": {"name": "planned"}, "attribution": {"pixels": pixels, "sample_chunks": 1}}
    run = Workflow(tmp_path, settings)
    answer = run.run("--dry-run", "--printshellcmds")
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert re.search(r"^attribute_pixels +10000$", answer.stdout, flags=re.MULTILINE)
    commands = re.findall(r"^.*reduce_shards.py.*$", answer.stdout, flags=re.MULTILINE)
    assert len(commands) == 2
    # Linux allows 131,072 bytes for one argument, which the whole command is to the shell.
    assert max(map(len, commands)) < 5000
    answer = run.run("results/planned/plan_reduction/plan.json")
    assert answer.returncode == 0, answer.stdout[-3000:]
    plan = json.loads((run.results / "plan_reduction" / "plan.json").read_text())
    assert plan["blocks"] == [pixel["name"] for pixel in pixels]


def test_jobs_are_as_many_as_their_duration_asks_for(tmp_path):
    for minutes in (30, 2):
        said = dry_run(tmp_path, job_minutes=minutes)
        (blocks, chunks, shards) = map(
            int, re.search(r"(\d+) pixel blocks? x (\d+) sample chunks? .*= (\d+)", said).groups()
        )
        assert shards == blocks * chunks * 2
        assert re.search(rf"^attribute_pixels +{shards}$", said, flags=re.MULTILINE)
        # Blocks are of equal size, so that each falls short of what a job might hold; the start comes on top.
        assert 0.6 * minutes < float(re.search(r"([\d.]+) minutes", said).group(1)) < minutes + 0.4


def test_a_real_run_prints_no_plan(finished):
    assert TITLE not in (finished.folder / "said.txt").read_text()


def test_a_dry_run_without_attribution_prints_no_plan(workflow):
    answer = workflow.run("--dry-run", "prepare_record")
    assert answer.returncode == 0
    assert TITLE not in answer.stdout


def test_scheduling_makes_no_shard_anew(finished):
    assert finished.planned(attribution={"job_minutes": 5, "ranks": 3, "heatmaps": True}) <= {PLANNED} | END
    assert finished.planned(attribution={"memory_gb": 1}) == {PLANNED} | END


def test_a_calibration_of_another_run_is_refused_before_anything_runs(workflow):
    (workflow.folder).mkdir(parents=True)
    (workflow.folder / "speed.json").write_text("{}")
    workflow.settings["attribution"]["calibration"] = "speed.json"
    answer = workflow.run("--dry-run")
    assert answer.returncode != 0
    assert "attribution.calibration: speed.json: not a file of `sealiency calibrate`" in answer.stdout
    assert "Traceback" not in answer.stdout
