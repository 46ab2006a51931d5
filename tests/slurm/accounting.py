"""What Slurm's own accounting says of a run."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster, find_processes

from small_run import Workflow

FIELDS = "JobIDRaw,State,Partition,AllocTRES,NodeList,Comment,Submit,End,WorkDir"
DONE = "COMPLETED"


@dataclass(frozen=True)
class Job:
    """One job, or one of its tries where Slurm queued it again."""

    number: int
    state: str
    partition: str
    resources: dict[str, str]
    node: str
    what: str
    """The rule and its wildcards."""
    submitted: str = ""
    ended: str = ""

    @property
    def rule(self) -> str:
        return self.what.split("_wildcards")[0].removeprefix("rule_")

    @property
    def shard(self) -> str:
        return self.what.split("_wildcards_")[-1]

    @property
    def gpus(self) -> int:
        return int(self.resources.get("gres/gpu", 0))


def list_jobs(cluster: Cluster, run: Workflow) -> list[Job]:
    """Return every try of every job of a run, in the order of submission."""
    said = cluster.call(
        "sacct", "--duplicates", "-X", "-P", "-n", "-S", "now-1hours", "-E", "now", f"--format={FIELDS}"
    )
    jobs = []
    for line in said.splitlines():
        number, state, partition, resources, node, what, submitted, ended, folder = line.split("|")
        if Path(folder) == run.folder:
            held = dict(pair.split("=") for pair in resources.split(",") if pair)
            jobs.append(Job(int(number), state.split()[0], partition, held, node, what, submitted, ended))
    return sorted(jobs, key=lambda job: job.number)


def list_queue(cluster: Cluster, run: Workflow, rule: str, state: str = "RUNNING") -> list[Job]:
    """Return the jobs of a rule that run or wait; accounting learns the rule of a job only when it starts."""
    jobs = []
    for line in cluster.call("squeue", "--noheader", "--format=%i|%T|%P|%N|%Z|%k").splitlines():
        number, found, partition, node, folder, what = line.strip().split("|")
        job = Job(int(number), found, partition, {}, node, what)
        if Path(folder) == run.folder and job.rule == rule and found == state:
            jobs.append(job)
    return sorted(jobs, key=lambda job: job.number)


def list_states(cluster: Cluster, run: Workflow, rule: str) -> dict[str, list[str]]:
    """Return the states of all tries of a rule's jobs, by shard, that is by wildcards."""
    states: dict[str, list[str]] = {}
    for job in list_jobs(cluster, run):
        if job.rule == rule:
            states.setdefault(job.shard, []).append(job.state)
    return states


def find_script(job: Job, script: str) -> list[int]:
    """Return the processes of a job that run a rule's script."""
    found = []
    for pid in find_processes(f"SLURM_JOB_ID={job.number}"):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            # Snakemake runs a copy of the script under a random name.
            if len(words) > 1 and words[1].endswith(f".{script}.py"):
                found.append(pid)
    return found


def strike(job: Job, script: str, number: signal.Signals) -> None:
    """Send a signal to the script of a job, as soon as it runs."""
    for pid in wait_for(lambda: find_script(job, script), f"{job.what} to run"):
        os.kill(pid, number)


def wait_for(condition: Callable, what: str, seconds: float = 180):
    """Return what a condition gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)
    return found
