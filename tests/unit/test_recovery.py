"""What a killed Snakemake left is tidied up, and what a living one holds is left alone."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealiency.errors import SealiencyError
from sealiency.recovery import Presence

RUN = "results/mine"
KILLED = """
import os, signal, sys
from pathlib import Path
from sealiency.recovery import Presence
presence = Presence(Path(sys.argv[1]), sys.argv[2])
if sys.argv[3]:
    presence.take_over(sys.argv[3])
os.kill(os.getpid(), signal.SIGKILL)
"""
# Stand-ins for Slurm's commands: the queue is a file of job ids, and every call is written down.
SQUEUE = "cat {folder}/queue; echo squeue $@ >> {folder}/calls"
SCANCEL = "echo scancel $@ >> {folder}/calls; {after}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return Snakemake's folder, with the locks of two runs."""
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    (folder / "locks" / "0.input.lock").write_text(f"/data/sst.nc\n{RUN}/prepare_record/prepared.nc\n")
    (folder / "locks" / "0.output.lock").write_text(f"{RUN}/report.html\n")
    (folder / "locks" / "1.output.lock").write_text(f"{RUN}-other/report.html\n/scratch/{RUN}/report.html\n")
    return folder


@pytest.fixture
def start(folder: Path):
    """Return a function that starts on a run as Snakemake does, in this process."""
    started = []

    def start(run: str = RUN) -> Presence:
        started.append(Presence(folder, run))
        return started[-1]

    yield start
    for presence in started:
        presence.leave()


def kill_one(folder: Path, slurm_run: str = "", run: str = RUN) -> None:
    """Let a process start on a run and be killed."""
    subprocess.run([sys.executable, "-c", KILLED, str(folder), run, slurm_run], check=False)


def stand_in(monkeypatch, tmp_path: Path, squeue: str = SQUEUE, after: str = "> {folder}/queue") -> None:
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (("squeue", squeue), ("scancel", SCANCEL.replace("{after}", after))):
        (commands / name).write_text("#!/bin/sh\n" + text.format(folder=tmp_path) + "\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")


def count_locks(folder: Path) -> int:
    return len(list((folder / "locks").iterdir()))


def test_locks_of_a_killed_snakemake_are_removed_and_those_of_other_runs_stay(folder, start):
    kill_one(folder)
    start().release_locks()
    assert [path.name for path in (folder / "locks").iterdir()] == ["1.output.lock"]


def test_locks_of_a_living_snakemake_stay(folder, start):
    kill_one(folder)
    start()
    start().release_locks()
    assert count_locks(folder) == 3


def test_locks_without_a_killed_snakemake_stay(folder, start):
    start("results/other").release_locks()
    start().leave()
    kill_one(folder, run="results/other")
    start().release_locks()
    assert count_locks(folder) == 3


def test_locks_of_another_machine_stay_and_are_named(folder, start, caplog):
    kill_one(folder)
    presence = start()
    (presence.marks / "login9.12.7.json").write_text(json.dumps({"slurm_run": "a-1"}))
    with caplog.at_level(logging.WARNING):
        presence.release_locks()
    assert count_locks(folder) == 3
    for words in ("login9, process 12", "scancel --name=a-1", "--unlock"):
        assert words in caplog.text


def test_jobs_of_killed_snakemakes_are_cancelled_and_forgotten(folder, start, monkeypatch, tmp_path):
    kill_one(folder, "a-1")
    # The second was killed before it had cancelled the jobs of the first.
    kill_one(folder)
    (tmp_path / "queue").write_text("7\n8\n")
    stand_in(monkeypatch, tmp_path)
    presence = start()
    presence.take_over("a-3")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"squeue --noheader --format=%i {'--name=a-1'}", "scancel --name=a-1", calls[0]]
    assert list(presence.marks.iterdir()) == [presence.path]
    assert json.loads(presence.path.read_text()) == {"slurm_run": "a-3"}
    presence.leave()
    assert not list(presence.marks.iterdir())


def test_jobs_of_a_living_snakemake_are_left_alone(folder, start, monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path)
    (tmp_path / "queue").write_text("7\n")
    first = start()
    first.take_over("a-1")
    start().take_over("a-2")
    assert not (tmp_path / "calls").exists()
    assert first.path.exists()


def test_a_run_without_slurm_asks_nothing_of_it(folder, start, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    kill_one(folder)
    start().take_over(None)


@pytest.mark.parametrize(
    ("squeue", "said"),
    [("echo no controller >&2; exit 1", "says: no controller, so jobs.*start again"), (None, "no squeue here")],
)
def test_jobs_that_cannot_be_looked_for_stay_on_record(folder, start, monkeypatch, tmp_path, squeue, said):
    kill_one(folder, "a-1")
    if squeue:
        stand_in(monkeypatch, tmp_path, squeue)
    else:
        monkeypatch.setenv("PATH", "/nowhere")
    presence = start()
    with pytest.raises(SealiencyError, match=said):
        presence.take_over("a-2")
    (killed,) = presence.find_others()
    assert (killed.state, killed.read_slurm_run()) == ("dead", "a-1")


def test_jobs_that_do_not_end_are_named(folder, start, monkeypatch, tmp_path):
    kill_one(folder, "a-1")
    (tmp_path / "queue").write_text("7\n")
    stand_in(monkeypatch, tmp_path, after="true")
    monkeypatch.setattr("sealiency.recovery.LONGEST_WAIT", 0)
    with pytest.raises(SealiencyError, match="Slurm jobs 7 of a Snakemake that was killed do not end"):
        start().take_over(None)
