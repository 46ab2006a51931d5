import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sealiency.errors import SealiencyError
from sealiency.site.running import LATENCY_WAIT
from sealiency.site.settings import Partition, Site, find_site, parse_minutes, read_site
from sealiency.site.slurm import wait_for_slurm

PROFILE = Path(__file__).parents[2] / "profiles/slurm"
MINIMAL = {"partitions": {"cpu": {}}, "mpi": "srun --mpi=pmi2"}
GPUS = {"cpu": {}, "gpu": {"max_gpu": 2, "available_gpu_models": ["a100"]}}


def write(path: Path, **settings) -> Path:
    path.write_text(yaml.safe_dump(MINIMAL | settings))
    return path


@pytest.mark.parametrize("name", ["site.pmi2.yaml", "site.pmix.yaml"])
def test_the_shipped_examples_are_valid_and_have_every_key(name):
    settings = yaml.safe_load((PROFILE / name).read_text())
    assert read_site(PROFILE / name).gpu_partitions
    assert set(settings) == set(Site.model_fields)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"acount": "x"}, "acount = 'x': unknown key; did you mean `account`?"),
        ({"account": 1234}, "account = 1234: needs text; put it in quotes"),
        ({"partitions": {}}, "partitions: dictionary should have at least 1 item"),
        ({"partitions": {"cpu": {"max_runtime": "2:00"}}}, "partitions.cpu.max_runtime = '2:00': needs minutes"),
        ({"partitions": {"cpu": {"max_mem_mb": "16000"}}}, "partitions.cpu.max_mem_mb = '16000'"),
        ({"partitions": {"cpu": {"max_threads": None}}}, "partitions.cpu.max_threads = None"),
        ({"partitions": {"cpu": {"max_memory": 1}}}, "partitions.cpu.max_memory = 1: unknown key"),
        ({"gpu_model": "a100"}, "gpu_model = 'a100', but no partition has max_gpu above 0"),
        ({"gpu_model": "v100", "partitions": GPUS}, "gpu_model = 'v100' is in no partition's available_gpu_models"),
        ({"mirrors": ["/a:/b"]}, "'/a:/b' is no folder"),
        ({"jobs": 0}, "jobs = 0"),
    ],
)
def test_problems_are_named_with_file_key_value_and_mend(settings, message, tmp_path):
    path = write(tmp_path / "site.yaml", **settings)
    with pytest.raises(SealiencyError) as error:
        read_site(path)
    assert str(error.value).startswith(f"{path}: 1 problem(s)\n- ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        (90, 90),
        ("90", 90),
        ("12h", 720),
        ("2d", 2880),
        ("1d2h30m", 1590),
        ("01:30:00", 90),
        ("1-12:00:00", 2160),
        ("2-12", 3600),
    ],
)
def test_run_times_are_read_as_the_plugin_reads_them(time, minutes):
    assert parse_minutes(time) == minutes
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    assert plugin.parse_time_to_minutes(time) == minutes


@pytest.mark.parametrize("time", ["", "2:00", "soon", "1-", "12 hours"])
def test_what_is_no_run_time_is_refused(time):
    with pytest.raises(ValueError, match="is no run time"):
        parse_minutes(time)


def test_limits_are_those_of_the_plugin():
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm.partitions")
    assert set(Partition.model_fields) == {field.name for field in dataclasses.fields(plugin.PartitionLimits)}


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("gpus", [0, 1, 3])
@pytest.mark.parametrize("minutes", [30, 600, 5000])
@pytest.mark.parametrize("memory_mb", [1000, 300_000])
def test_the_partition_is_the_one_that_the_plugin_picks(threads, gpus, minutes, memory_mb):
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm.partitions")
    path = PROFILE / "site.pmix.yaml"
    resources = {"mem_mb": memory_mb, "runtime": minutes, "gpu": gpus, "gpu_model": read_site(path).gpu_model}

    class Job:
        name = "job"

    job = Job()
    job.threads, job.resources = threads, resources
    scores = {partition.name: partition.score_job_fit(job) for partition in plugin.read_partition_file(path)}
    best = max((name for name in scores if scores[name] is not None), key=lambda name: scores[name], default=None)
    chosen = read_site(path).choose_partition(memory_mb=memory_mb, minutes=minutes, threads=threads, gpus=gpus)
    assert chosen == best


def test_the_file_is_looked_for_in_three_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEALIENCY_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    with pytest.raises(SealiencyError, match=r"copy profiles/slurm/site\.pmi2\.yaml or .* and adapt it"):
        find_site()
    named = (
        tmp_path / "settings/snakemake/slurm/site.yaml",
        tmp_path / "profiles/slurm/site.yaml",
        tmp_path / "my.yaml",
    )
    for path in named:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        if path.name == "my.yaml":
            monkeypatch.setenv("SEALIENCY_SITE", "my.yaml")
        assert find_site() == path
    named[-1].unlink()
    with pytest.raises(SealiencyError, match=r"SEALIENCY_SITE = 'my\.yaml': there is no such file"):
        find_site()


def read_profile() -> dict:
    profiles = pytest.importorskip("snakemake.profiles")
    with open(PROFILE / "config.yaml") as stream:
        return profiles.ProfileConfigFileParser().parse(stream)


def evaluate(assignment: str) -> object:
    """What Snakemake makes of NAME=VALUE."""
    from snakemake.resources import Resource, Resources

    name, value = Resources.decode_arg(assignment)
    return Resource.cli_evaluator(name, value, wildcards=None, input=None, attempt=1, threads=1, async_run=None)


@pytest.mark.parametrize("account", ["climate", "ab-123", "1234", "0123", "1e5", "input", "max", "a.b", "it's"])
def test_texts_reach_slurm_as_they_are(account, tmp_path, monkeypatch):
    site = write(tmp_path / "site.yaml", account=account, mpi="srun --mpi=pmix -l", mirrors=["/a b", "/c"])
    monkeypatch.setenv("SEALIENCY_SITE", str(site))
    profile = read_profile()
    assert [evaluate(entry) for entry in profile["default-resources"]] == [1, account]
    resources = {entry.split("=")[0]: evaluate(entry.split(":", 1)[1]) for entry in profile["set-resources"]}
    assert resources["reduce_shards:mpi"] == "srun --mpi=pmix -l"
    assert resources["fetch_file:mirrors"] == "/a b:/c"
    assert resources["train_emulator:slurm_extra"] == "--requeue --signal=TERM@120"
    assert profile["slurm-partition-config"] == str(site)


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, {}),
        ({"partitions": GPUS, "gpu_model": "a100"}, {"gpu_model": "a100"}),
    ],
)
def test_rules_on_gpus_ask_for_the_site_s_model(settings, asked, tmp_path, monkeypatch):
    monkeypatch.setenv("SEALIENCY_SITE", str(write(tmp_path / "site.yaml", **settings)))
    entries = [
        entry.split(":", 1)[1] for entry in read_profile()["set-resources"] if entry.startswith("attribute_pixels:")
    ]
    assert {entry.split("=")[0]: evaluate(entry) for entry in entries} == asked


def test_the_checks_know_the_profile(tmp_path, monkeypatch):
    monkeypatch.setenv("SEALIENCY_SITE", str(write(tmp_path / "site.yaml")))
    assert int(read_profile()["latency-wait"]) == LATENCY_WAIT


def test_snakemake_takes_every_option_and_a_missing_site_file_ends_it_with_one_message(tmp_path, monkeypatch):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'a'\n    shell: 'touch a'\n")
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--profile", str(PROFILE)]
    monkeypatch.setenv("SEALIENCY_SITE", "none.yaml")
    missing = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[1:] == [
        "SEALIENCY_SITE = 'none.yaml': there is no such file; correct the variable, or unset it"
    ]
    # Snakemake's option parser for the plugin needs one of Slurm's commands to have a default.
    for name in ("sinfo", "sacct", "scontrol"):
        if not shutil.which(name):
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SEALIENCY_SITE", str(write(tmp_path / "site.yaml", account="1e5")))
    planned = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    assert "slurm_account=1e5" in planned.stdout + planned.stderr


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        # What some partition takes stays as it is.
        ((8000, 100, 0), (8000, 100)),
        ((900_000, 1000, 0), (900_000, 1000)),
        ((8000, 9000, 0), (8000, 9000)),
        # Long and large at once: the partition that comes closer gives both limits.
        ((900_000, 2000, 0), (900_000, 1440)),
        ((120_000, 9000, 0), (100_000, 9000)),
        ((2_000_000, 20, 0), (1_000_000, 20)),
        # Jobs with GPUs go to their partitions alone.
        ((80_000, 1000, 1), (64_000, 600)),
    ],
)
def test_no_job_asks_for_more_than_a_partition_gives(asked, given):
    partitions = {
        "long": {"max_runtime": 10_080, "max_mem_mb": 100_000},
        "large": {"max_runtime": "1d", "max_mem_mb": 1_000_000},
        "gpu": {"max_runtime": 600, "max_mem_mb": 64_000, "max_gpu": 4},
    }
    assert Site.model_validate(MINIMAL | {"partitions": partitions}).clip(*asked) == given


def test_without_limits_or_gpu_partitions_a_job_gets_what_it_asks_for():
    assert Site.model_validate(MINIMAL).clip(10**7, 10**6, 1) == (10**7, 10**6)


@pytest.fixture
def controller(tmp_path, monkeypatch):
    """Return a file with one line for each question; the controller is back at the third."""
    commands = tmp_path / "commands"
    commands.mkdir()
    ping = f"echo x >> {tmp_path}/asked; [ $(wc -l < {tmp_path}/asked) -ge 3 ] || {{ echo down >&2; exit 1; }}"
    for name, text in (("scontrol", ping), ("sacctmgr", "true")):
        (commands / name).write_text(f"#!/bin/sh\n{text}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr("sealiency.site.slurm.SECONDS_BETWEEN_QUESTIONS", 0.01)
    monkeypatch.setattr("sealiency.site.slurm._answered", [])
    return tmp_path / "asked"


def test_a_retry_waits_until_slurm_answers_and_a_thousand_ask_once(controller, caplog):
    for _ in range(1000):
        wait_for_slurm()
    assert controller.read_text() == "x\n" * 3
    assert [record.message for record in caplog.records] == ["waiting for Slurm: `scontrol ping` says: down"]


def test_nobody_waits_for_ever(controller, monkeypatch):
    monkeypatch.setattr("sealiency.site.slurm.LONGEST_OUTAGE", 0)
    wait_for_slurm()
    assert not controller.exists()
