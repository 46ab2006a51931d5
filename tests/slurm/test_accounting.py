"""The workflow through the shipped profile, as Slurm's own accounting tells it."""

import csv
import re
import subprocess
import sys

import pytest
from accounting import DONE, list_jobs

pytestmark = pytest.mark.slurm

LOCAL = {"plan_run", "plan_reduction", "write_summary", "write_report"}
ON_GPUS = {"train_emulator": 1, "attribute_pixels": 6}
ON_GPUS |= dict.fromkeys(("explain_instance", "check_signs", "survey_pixels", "compare_methods"), 1)
CORES = dict.fromkeys(("train_emulator", "explain_instance", "evaluate_emulator", "ablate_region"), 8)
CORES |= {"prepare_record": 2, "prepare_unfiltered": 2, "reduce_shards": 2}


@pytest.fixture(scope="module")
def jobs(cluster, undisturbed):
    # These tests come first: a restarted controller may spoil what accounting knew of the GPUs of earlier jobs.
    return list_jobs(cluster, undisturbed)


def test_every_job_ended_well_at_its_first_try(jobs, undisturbed):
    assert {job.state for job in jobs} == {DONE}
    assert len({job.what for job in jobs}) == len(jobs)
    said = (undisturbed.folder / "said.txt").read_text()
    table = said.split("Job stats:")[1].split("total")[0]
    made = set(re.findall(r"^([a-z_]+) +\d+$", table, flags=re.MULTILINE))
    assert {"prepare_record", "reduce_shards", "plot_group"} | LOCAL < made
    assert {job.rule for job in jobs} == made - LOCAL - {"all"}
    assert (undisturbed.results / "report.html").exists()


def test_jobs_that_use_gpus_get_one_each_and_no_others_do(jobs):
    for job in jobs:
        assert job.gpus == (job.rule in ON_GPUS), job
        assert job.partition == ("gpu" if job.rule in ON_GPUS else "cpu"), job
    assert {rule: sum(job.rule == rule for job in jobs) for rule in ON_GPUS} == ON_GPUS


def test_a_job_gets_the_memory_and_cores_that_its_rule_asks_for(jobs, undisturbed):
    with open(undisturbed.results / "write_summary" / "usage.csv") as table:
        asked = {row["rule"]: row for row in csv.DictReader(table)}
    for job in jobs:
        row = asked[job.rule]
        assert job.resources["mem"] == f"{row['memory_asked_mb']}M"
        assert int(row["gpus"] or 0) == job.gpus
        assert row["attempts"] == row["jobs"]
        # The machine on which Snakemake runs has fewer cores.
        assert job.resources["cpu"] == str(CORES.get(job.rule, 1))
    assert 0 < float(asked["attribute_pixels"]["memory_used_mb"]) < float(asked["attribute_pixels"]["memory_asked_mb"])


def test_the_reduction_is_one_step_of_two_ranks(cluster, jobs):
    (job,) = [job for job in jobs if job.rule == "reduce_shards"]
    steps = cluster.call("sacct", "-P", "-n", "-j", str(job.number), "--format=JobName,NTasks,AllocCPUS").splitlines()
    assert "python|2|2" in steps


def test_nothing_is_left_in_the_queue_and_nothing_is_made_twice(cluster, jobs, undisturbed):
    assert cluster.call("squeue", "--noheader") == ""
    answer = undisturbed.run()
    assert answer.returncode == 0
    assert "Nothing to be done" in answer.stdout
    assert len(list_jobs(cluster, undisturbed)) == len(jobs)


def test_the_site_is_found_sound_but_for_gpus_that_only_slurm_believes_in(cluster, undisturbed):
    configuration = undisturbed.folder / "configuration.yaml"
    command = [sys.executable, "-m", "sealiency.cli", "check-site", "--config", str(configuration)]
    answer = subprocess.run(
        command, cwd=undisturbed.folder, env=undisturbed.environment, capture_output=True, text=True
    )
    lines = [line for line in answer.stdout.splitlines() if line.startswith(("ok", "warning", "fails"))]
    assert answer.returncode == 1
    (fault,) = [line for line in lines if line.startswith("fails")]
    assert "PyTorch" in fault
    assert "sees none" in fault
    assert sum(line.startswith("ok") for line in lines) >= 12
    assert any("mpi" in line and line.startswith("ok") for line in lines)
