"""What a killed Snakemake left is tidied up, and what a living one holds is left alone."""

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sealiency.errors import SealiencyError
from sealiency.recovery import RECORD, Master, release_locks, take_over

# Stand-ins for Slurm's commands: the queue is a file of job ids, and every call is written down.
SQUEUE = "cat {folder}/queue; echo squeue $@ >> {folder}/calls"
SCANCEL = "echo scancel $@ >> {folder}/calls; {after}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def locks(tmp_path: Path, run: Path) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "0.input.lock").write_text(f"/data/sst.nc\n{run}/prepare_record/prepared.nc\n")
    (folder / "0.output.lock").write_text(f"{run}/report.html\n")
    (folder / "1.output.lock").write_text(f"{run}-other/report.html\n")
    return folder


def write_record(run: Path, **changes) -> None:
    current = Master.current()
    known = {"host": current.host, "process": current.process, "started": current.started, "slurm_runs": []}
    (run / RECORD).write_text(json.dumps(known | changes))


def end_process() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def stand_in(monkeypatch, tmp_path: Path, squeue: str = SQUEUE, after: str = "> {folder}/queue") -> None:
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (("squeue", squeue), ("scancel", SCANCEL.replace("{after}", after))):
        (commands / name).write_text("#!/bin/sh\n" + text.format(folder=tmp_path) + "\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")


def names(locks: Path) -> list[str]:
    return sorted(path.name for path in locks.iterdir())


def test_locks_of_a_dead_snakemake_are_removed_and_those_of_other_runs_stay(run, locks):
    write_record(run, process=end_process())
    release_locks(run, locks)
    assert names(locks) == ["1.output.lock"]


def test_a_number_that_another_process_got_since_counts_as_dead(run, locks):
    write_record(run, started=Master.current().started - 60)
    release_locks(run, locks)
    assert names(locks) == ["1.output.lock"]


def test_locks_of_a_living_snakemake_stay(run, locks):
    write_record(run)
    release_locks(run, locks)
    assert len(names(locks)) == 3


def test_locks_of_another_machine_stay_and_are_named(run, locks, caplog):
    write_record(run, host="login9", process=12)
    with caplog.at_level(logging.WARNING):
        release_locks(run, locks)
    assert len(names(locks)) == 3
    assert "login9, process 12" in caplog.text
    assert "--unlock" in caplog.text


def test_nothing_happens_without_a_record_or_locks(run, locks, tmp_path):
    release_locks(run, locks)
    assert len(names(locks)) == 3
    write_record(run, process=end_process())
    release_locks(run, tmp_path / "none")


def test_a_damaged_record_is_named(run, locks):
    (run / RECORD).write_text('{"host": 1')
    with pytest.raises(SealiencyError, match=f"{RECORD}: not a record.*delete it"):
        release_locks(run, locks)


def test_jobs_of_killed_snakemakes_are_cancelled_and_forgotten(run, monkeypatch, tmp_path):
    write_record(run, slurm_runs=["a-1", "a-2"])
    (tmp_path / "queue").write_text("7\n8\n")
    stand_in(monkeypatch, tmp_path)
    take_over(run, "a-3")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].endswith("--name=a-1,a-2")
    assert calls[1] == "scancel 7 8"
    assert len(calls) == 3
    master = Master(**json.loads((run / RECORD).read_text()))
    assert (master.host, master.process, master.slurm_runs) == (socket.gethostname(), os.getpid(), ["a-3"])
    assert master.is_alive()


def test_a_run_without_slurm_asks_nothing_of_it(run, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    take_over(run, None)
    take_over(run, None)
    assert json.loads((run / RECORD).read_text())["slurm_runs"] == []


@pytest.mark.parametrize(
    ("squeue", "said"),
    [
        ("echo no controller >&2; exit 1", "squeue .*says: no controller, so jobs.*start again"),
        (None, "no squeue here"),
    ],
)
def test_jobs_that_cannot_be_looked_for_stay_on_record(run, monkeypatch, tmp_path, squeue, said):
    write_record(run, slurm_runs=["a-1"])
    if squeue:
        stand_in(monkeypatch, tmp_path, squeue)
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SealiencyError, match=said):
        take_over(run, "a-2")
    assert json.loads((run / RECORD).read_text())["slurm_runs"] == ["a-1", "a-2"]


def test_jobs_that_do_not_end_are_named(run, monkeypatch, tmp_path):
    write_record(run, slurm_runs=["a-1"])
    (tmp_path / "queue").write_text("7\n")
    stand_in(monkeypatch, tmp_path, after="true")
    monkeypatch.setattr("sealiency.recovery.LONGEST_WAIT", 0)
    with pytest.raises(SealiencyError, match="Slurm jobs 7 of an earlier Snakemake do not end"):
        take_over(run, None)
