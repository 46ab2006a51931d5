import os
from pathlib import Path

import pytest
import yaml

from sealiency.cli import main
from sealiency.config.run import parse_configuration
from sealiency.site.check import SITE_CHECKS, check_requests, check_site, check_space, read_context, run_check
from sealiency.site.jobs import NAME, Context, FolderJob, GpuJob, MpiJob, SoftwareJob, parse_mpi_types
from sealiency.site.running import check_jobs
from sealiency.site.slurm import count_gpus

CONFIG = "ClusterName = test\nAccountingStorageType   = accounting_storage/slurmdbd\n"
PARTITIONS = """\
PartitionName=cpu AllowAccounts=ALL AllowQos=ALL MaxTime=02:00:00 MaxMemPerNode=UNLIMITED MaxCPUsPerNode=UNLIMITED State=UP
PartitionName=gpu AllowAccounts=climate,ocean AllowQos=ALL MaxTime=UNLIMITED MaxMemPerNode=8000 State=UP
"""
NODES = """\
NodeName=c1 CPUTot=8 Gres=(null) OS=Linux 6.1 #1 RealMemory=16000 State=IDLE Partitions=cpu
NodeName=g1 CPUTot=8 Gres=gpu:a100:2(S:0-1) RealMemory=16000 State=MIXED Partitions=gpu
"""
SITE = {
    "account": "climate",
    "partitions": {
        "cpu": {"max_runtime": 120, "max_mem_mb": 16000, "max_threads": 8},
        "gpu": {
            "max_runtime": 1000,
            "max_mem_mb": 8000,
            "max_threads": 8,
            "max_gpu": 2,
            "available_gpu_models": ["a100"],
        },
    },
    "mpi": "srun --mpi=none",
}
# `sbatch` runs the job at once, and `srun` starts programs that know nothing of each other.
STAND_INS = {
    "sinfo": "echo slurm 1.0",
    "scontrol": 'for what; do :; done; cat "$SLURM/$what"',
    "sacctmgr": "echo ocean; echo climate",
    "sacct": 'for jobs; do :; done; case $jobs in [0-9]*) echo "$jobs" | tr , "\\n" | sed "s/$/|CANCELLED by 0/" ;; esac',
    "scancel": 'echo "$@" >> "$SLURM/cancelled"; : > "$SLURM/queue"',
    "squeue": 'case $* in *%T*) cat "$SLURM/states" ;; *) cat "$SLURM/queue" ;; esac',
    "srun": """
case $* in *--mpi=list*) printf 'MPI plugin types are...\\n\\tpmix\\n\\tpmi2\\nspecific pmix plugin versions: pmix_v4\\n' >&2; exit ;; esac
n=1
while :; do case $1 in -n) n=$2; shift 2 ;; -*) shift ;; *) break ;; esac; done
for _ in $(seq $n); do "$@" || exit; done""",
    "sbatch": """
for word; do case $word in --chdir=*) cd "${word#*=}" ;; --output=*) output=${word#*=} ;; esac; done
echo x >> "$SLURM/submitted"; number=$(wc -l < "$SLURM/submitted")
if [ -e "$SLURM/wait" ]; then echo "$number|$PWD" > "$SLURM/queue"; else bash -s > "$output" 2>&1; fi
echo $number""",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Folder of what the stand-ins say; PATH has nothing of Slurm but them, and the working directory is empty."""
    folder = tmp_path / "slurm"
    programs, work = folder / "bin", tmp_path / "work"
    programs.mkdir(parents=True)
    work.mkdir()
    for name, script in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    for name, text in {"config": CONFIG, "partition": PARTITIONS, "node": NODES, "states": "", "queue": ""}.items():
        (folder / name).write_text(text)
    monkeypatch.setenv("SLURM", str(folder))
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("SEALIENCY_SITE", str(write_site(folder)))
    monkeypatch.chdir(work)
    return folder


def write_site(folder: Path, **settings) -> Path:
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(SITE | settings))
    return path


def check(name: str, context: Context | None = None) -> list[str]:
    """The findings of one check of the site."""
    function = next(f for f in SITE_CHECKS if f.__name__ == f"check_{name}")
    return [str(finding) for finding in run_check(function, context or read_context(None))]


def run_job(job, tell=lambda line: None, minutes=1.0, context: Context | None = None) -> list[str]:
    return [str(finding) for finding in check_jobs(context or read_context(None), minutes, tell, (job,))]


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_sound_site_has_no_failure(slurm):
    for function in SITE_CHECKS:
        assert {finding.status for finding in run_check(function, read_context(None))} == {"ok"}


def test_missing_commands_are_named(slurm, monkeypatch):
    (slurm / "bin/sacct").unlink()
    monkeypatch.setenv("PATH", str(slurm / "bin"))
    assert check("commands")[0].startswith("fails    commands: sacct not found; work on a login node")


def test_a_controller_that_does_not_answer_fails_with_its_own_words(slurm):
    (slurm / "bin/scontrol").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    assert "Unable to contact slurm controller" in check("controller")[0]


@pytest.mark.parametrize("storage", ["accounting_storage/none", "(null)"])
def test_without_accounting_nothing_is_submitted(slurm, storage, capsys):
    edit(slurm / "config", "accounting_storage/slurmdbd", storage)
    assert main(["check-site"]) == 1
    printed = capsys.readouterr().out
    assert f"fails    accounting: AccountingStorageType = {storage}" in printed
    assert "warning  jobs: none was submitted" in printed
    assert not (slurm / "submitted").exists()


def test_an_account_of_someone_else_fails_and_ones_own_are_named(slurm):
    write_site(slurm, account="weather")
    assert check("account") == [
        f"fails    account: account = 'weather' is none of yours; set one of climate, ocean in {slurm / 'site.yaml'}"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        ("partition", "=cpu", "=batch", "partition cpu: there is none of this name; this machine has batch, gpu"),
        ("partition", "State=UP", "State=DOWN", "partition cpu: is DOWN"),
        ("partition", "climate,ocean", "ocean", "partition gpu: does not take 'climate'; it takes ocean"),
        (
            "partition",
            "02:00:00",
            "01:00:00",
            "partition cpu: max_runtime = 120, but Slurm allows 60; set max_runtime: 60",
        ),
        ("partition", "8000", "4000", "partition gpu: max_mem_mb = 8000, but Slurm allows 4000"),
        ("node", "CPUTot=8", "CPUTot=4", "partition cpu: max_threads = 8, but Slurm allows 4"),
        ("node", "IDLE", "IDLE+DRAIN", "partition cpu: has no node that works"),
        ("node", "a100:2", "a100:1", "partition gpu: max_gpu = 2, but a node has 1"),
        ("node", "a100", "v100", "partition gpu: has no GPU of type a100; it has v100"),
    ],
)
def test_partitions_are_held_against_slurms_own(slurm, file, old, new, found):
    edit(slurm / file, old, new)
    assert any(line.startswith(f"fails    {found}") for line in check("partitions"))


def test_a_limit_that_is_left_out_is_proposed(slurm):
    write_site(slurm, partitions={"cpu": {"max_mem_mb": 16000, "max_threads": 8}})
    assert check("partitions") == [
        f"warning  partition cpu: max_runtime is not given; set max_runtime: 120 in {slurm / 'site.yaml'}"
    ]


@pytest.mark.parametrize(
    ("gres", "counts"),
    [("gpu:2", {"": 2}), ("gpu:a100:4(S:0-1),gpu:v100:2", {"a100": 4, "v100": 2}), ("(null)", {}), ("shard:gpu:4", {})],
)
def test_gpus_are_counted_by_type(gres, counts):
    assert count_gpus(gres) == counts


def test_ranks_that_do_not_see_each_other_fail_and_the_types_are_named(slurm, tmp_path):
    (found,) = [line for line in run_job(MpiJob()) if " mpi:" in line]
    assert found.startswith("fails    mpi: `srun --mpi=none -n 2` starts 2 programs of size 1, 1 instead of 2 ranks")
    assert "this Slurm has pmix, pmi2;" in found
    assert not list(Path().iterdir())


def test_types_are_read_in_both_layouts():
    assert parse_mpi_types("srun: MPI types are...\nsrun: pmi2\nsrun: none\n") == ["pmi2", "none"]


def test_the_folder_is_shared_and_its_speed_measured(slurm):
    (found,) = [line for line in run_job(FolderJob()) if " folder:" in line]
    assert f"{Path().absolute()}" in found
    assert "MB/s" in found
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("received", "speed", "status"),
    [(NAME, 500.0, "ok"), (NAME, 50.0, "warning"), (NAME, 5.0, "fails"), (None, 500.0, "fails")],
)
def test_a_folder_is_judged_by_what_arrives_and_how_fast(slurm, received, speed, status):
    (finding,) = FolderJob().judge(read_context(None), [{"received": received, "speed": speed}])
    assert finding.status == status


@pytest.mark.parametrize(
    ("visible", "name", "status"), [("0", "NVIDIA A100", "ok"), ("0", None, "fails"), (None, "NVIDIA A100", "fails")]
)
def test_a_gpu_is_followed_from_slurm_to_pytorch(slurm, visible, name, status):
    printed = {"visible": visible, "driver": None, "torch": "2.9", "name": name}
    (finding,) = GpuJob().judge(read_context(None), [printed])
    assert finding.status == status


def test_no_gpu_is_asked_for_where_none_is_wanted(slurm):
    settings = {"training": {"device": "cpu"}, "attribution": {"device": "cpu"}}
    context = Context(Path("site.yaml"), read_context(None).site, Path(), parse_configuration(settings, "test"))
    assert run_job(GpuJob(), context=context)[0].startswith(
        "ok       gpu: training.device and attribution.device are cpu"
    )
    assert not (slurm / "submitted").exists()


def test_another_sealiency_and_missing_modules_fail(slurm):
    printed = {"python": "3.0", "sealiency": "0.0", "file": "/x", "failures": {"torch": "ImportError: no"}}
    findings = list(SoftwareJob().judge(read_context(None), [printed]))
    assert [finding.status for finding in findings] == ["fails", "fails"]
    assert "cannot import torch (ImportError: no)" in findings[1].text


def test_a_job_that_dies_shows_its_last_words(slurm):
    write_site(slurm, mpi="echo Invalid MPI type; false")
    (found,) = [line for line in run_job(MpiJob()) if " mpi:" in line]
    assert found == "fails    mpi: the job ended as ENDED: Invalid MPI type"


def test_what_sbatch_refuses_is_passed_on(slurm):
    (slurm / "bin/sbatch").write_text("#!/bin/sh\necho Invalid qos specification >&2; exit 1\n")
    assert "Invalid qos specification" in run_job(FolderJob())[0]


def test_a_folder_that_cannot_be_written_fails(slurm):
    Path("file").touch()
    context = Context(Path("site.yaml"), read_context(None).site, Path("file/results").absolute())
    assert "cannot be written" in run_job(FolderJob(), context=context)[0]


def test_a_job_that_waits_too_long_is_cancelled_with_its_reason(slurm):
    (slurm / "wait").touch()
    (slurm / "states").write_text("1|PENDING|Priority\n")
    told: list[str] = []
    found = run_job(FolderJob(), told.append, minutes=1e-9)
    assert found[0].startswith("fails    folder: the job still waits: Priority; it was cancelled")
    assert "ok       recorded" in found[1]
    assert (slurm / "cancelled").read_text() == "1\n"
    assert not list(Path().iterdir())


def test_an_interruption_leaves_no_job_and_no_file(slurm, monkeypatch):
    (slurm / "wait").touch()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sealiency.site.running._wait", interrupt)
    assert main(["check-site"]) == 130
    # The stand-in's queue knows the last job only.
    assert (slurm / "cancelled").read_text() == "4\n"
    assert not list(Path().iterdir())


def test_what_the_plan_needs_is_held_against_disk_and_partitions(slurm):
    configuration = parse_configuration({"attribution": {"memory_gb": 4, "device": "cpu"}}, "test")
    site = read_context(None).site
    context = Context(Path("site.yaml"), site, Path().absolute(), configuration)
    assert [finding.status for finding in check_space(context)] == ["ok"]
    assert [finding.status for finding in check_requests(context)] == ["ok"] * 4
    cpu = site.partitions["cpu"]

    def check(**limits) -> list[str]:
        small = site.model_copy(update={"partitions": {"cpu": cpu.model_copy(update=limits)}})
        return [finding.status for finding in check_requests(Context(Path("site.yaml"), small, Path(), configuration))]

    # By training, attribution, evaluation and reduction. Memory is wanted at once; time may come in pieces.
    assert check(max_mem_mb=4000.0) == ["fails", "fails", "ok", "ok"]
    assert check(max_runtime=14) == ["warning", "ok", "warning", "warning"]
    assert check(max_runtime=9000, max_threads=4) == ["fails", "ok", "fails", "ok"]
    assert check(max_runtime=9000, supports_mpi=False) == ["ok", "ok", "ok", "fails"]


def test_what_only_another_type_of_gpu_gives_is_not_promised(slurm):
    configuration = parse_configuration({}, "test")
    site = read_context(None).site
    gpu = site.partitions["gpu"].model_copy(update={"max_mem_mb": 100.0})
    other = gpu.model_copy(update={"max_mem_mb": 1e6, "available_gpu_models": ["v100"]})
    partitions = {"cpu": site.partitions["cpu"], "gpu": gpu, "other": other}
    typed = site.model_copy(update={"partitions": partitions, "gpu_model": "a100"})
    found = check_requests(Context(Path("site.yaml"), typed, Path(), configuration))
    assert [finding.status for finding in found][:2] == ["fails", "fails"]


def test_every_check_gives_a_line(slurm, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"training": {"device": "cpu"}, "attribution": {"device": "cpu"}}))
    names = [finding.name for finding in check_site(config, 1, lambda line: None)]
    assert names == [
        *("site", "commands", "controller", "accounting", "account", "partition cpu", "partition gpu"),
        *("gpu", "software", "mpi", "folder", "recorded", "space", *["requests"] * 4),
    ]
