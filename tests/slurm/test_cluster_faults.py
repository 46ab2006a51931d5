"""What goes wrong on clusters, done on purpose; each run ends with the bytes of the undisturbed one."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from accounting import DONE, find_script, list_jobs, list_queue, list_states, strike, wait_for
from cluster import GPU_NODES, Cluster

from small_run import Workflow

pytestmark = pytest.mark.slurm

EMULATOR = "results/small/train_emulator/lead6_seed0/emulator.pt"
MEANS = "results/small/reduce_shards/lead6_seed0/deeplift/attributions.nc"
SHARDS = "attribute_pixels"
TRAINING = "train_emulator"
STARTED: list[subprocess.Popen[str]] = []


def start(run: Workflow, *arguments: str) -> subprocess.Popen[str]:
    run.folder.mkdir(parents=True, exist_ok=True)
    with open(run.folder / "said.txt", "a") as said:
        STARTED.append(run.start(*arguments, stdout=said))
    return STARTED[-1]


def finish(run: Workflow, process: subprocess.Popen[str]) -> str:
    """Wait for a run, which must end well, and return what it said."""
    status = process.wait(timeout=400)
    said = (run.folder / "said.txt").read_text()
    assert status == 0, said
    return said


def assert_same(run: Workflow, undisturbed: Workflow, *names: str) -> None:
    for name in names:
        assert (run.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes(), name


def stop_daemons(cluster: Cluster) -> None:
    for daemon in ("slurmctld", "slurmdbd"):
        cluster.kill(daemon)


def start_daemons(cluster: Cluster) -> None:
    cluster.start_slurmdbd()
    cluster.start_slurmctld()


@pytest.fixture(autouse=True)
def _none_left(cluster: Cluster):
    """End what a failed test leaves, which would disturb the next."""
    yield
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    STARTED.clear()
    subprocess.run(["scancel", "--user=root"], env=cluster.environment)


@pytest.fixture
def nodes_back(cluster: Cluster):
    """Bring every node back at the end."""
    yield
    for node in GPU_NODES:
        if not (cluster.folder / f"{node}.process").exists():
            cluster.start_node(node)
    wait_for(lambda: "idle" in cluster.call("sinfo", "-h", "-p", "gpu", "-o", "%T"), "the nodes to come back")


def test_shards_that_fail_hang_outgrow_their_memory_or_lose_their_node(cluster, undisturbed, copy_run, nodes_back):
    run = copy_run(SHARDS, "reduce_shards")
    for node in GPU_NODES:
        cluster.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    process = start(run, MEANS)
    pending = wait_for(
        lambda: len(jobs := list_queue(cluster, run, SHARDS, "PENDING")) == 6 and jobs, "six shards to queue"
    )
    large = pending[0]
    cluster.call("scontrol", "update", f"jobid={large.number}", "MinMemoryNode=150")
    for node in GPU_NODES:
        cluster.call("scontrol", "update", f"nodename={node}", "state=resume")
    wait_for(lambda: list_states(cluster, run, SHARDS).get(large.shard) == ["FAILED"], "the large shard to fail")
    first = wait_for(lambda: len(jobs := list_queue(cluster, run, SHARDS)) >= 4 and jobs, "four shards to run")
    hanging = first[0]
    (lost,) = set(GPU_NODES) - {hanging.node}
    on_lost = [job for job in first if job.node == lost]
    cluster.kill(lost)
    strike(hanging, SHARDS, signal.SIGSTOP)
    cluster.call("scontrol", "update", f"jobid={hanging.number}", "TimeLimit=1")
    spared = {large.shard, hanging.shard, *(job.shard for job in on_lost)}
    failing = wait_for(
        lambda: [job for job in list_queue(cluster, run, SHARDS) if job.shard not in spared], "another shard to run"
    )[0]
    strike(failing, SHARDS, signal.SIGKILL)
    finish(run, process)
    assert_same(run, undisturbed, MEANS)
    states = list_states(cluster, run, SHARDS)
    assert len(states) == 6
    assert all(tries[-1] == DONE for tries in states.values())
    (node,) = [job.node for job in list_jobs(cluster, run) if job.number == large.number]
    assert f"StepId={large.number}.batch exceeded memory limit" in (cluster.folder / f"{node}.log").read_text()
    assert states[large.shard][0] == "FAILED"
    assert states[hanging.shard] == ["TIMEOUT", DONE]
    assert states[failing.shard] == ["FAILED", DONE]
    assert on_lost
    assert all("NODE_FAIL" in states[job.shard] for job in on_lost)
    # A lost node costs its own shards and no more.
    assert all(tries == [DONE] for shard, tries in states.items() if shard not in spared | {failing.shard})
    asked = {job.number: int(job.resources["mem"][:-1]) for job in list_jobs(cluster, run) if job.what == hanging.what}
    first_try, second_try = (asked[number] for number in sorted(asked))
    assert second_try == 2 * first_try


def test_training_that_slurm_queues_again_and_daemons_that_go_away(cluster, undisturbed, copy_run):
    run = copy_run(TRAINING, SHARDS, "reduce_shards")
    process = start(run, MEANS)
    checkpoint = run.results / TRAINING / "lead6_seed0" / "checkpoint.pt"
    wait_for(checkpoint.exists, "the first checkpoint")
    (training,) = list_queue(cluster, run, TRAINING)
    cluster.call("scontrol", "requeue", str(training.number))
    wait_for(
        lambda: (jobs := list_queue(cluster, run, SHARDS)) and all(find_script(job, SHARDS) for job in jobs),
        "shards to run",
    )
    log = (run.results / "logs" / TRAINING / "lead6_seed0.log").read_text()
    # The signal reached it within an epoch, or, rarely, between two.
    assert re.search(r"resuming after (\d+ of \d+ batches of )?epoch \d", log), log
    stop_daemons(cluster)
    time.sleep(20)
    start_daemons(cluster)
    finish(run, process)
    assert_same(run, undisturbed, MEANS)
    (tries,) = list_states(cluster, run, TRAINING).values()
    assert tries == ["REQUEUED", DONE]
    # Those that run do not notice; one that starts meanwhile may fail, and is tried again.
    states = list_states(cluster, run, SHARDS)
    assert len(states) == 6
    assert all(tries in ([DONE], ["FAILED", DONE]) for tries in states.values()), states
    assert sum(tries == [DONE] for tries in states.values()) >= 2


def test_a_killed_snakemake_is_started_again_with_the_same_command(cluster, undisturbed, copy_run):
    run = copy_run(SHARDS, "reduce_shards")
    process = start(run, MEANS)
    killed = wait_for(lambda: list_queue(cluster, run, SHARDS), "shards to run")[0]
    strike(killed, SHARDS, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = [job for job in list_jobs(cluster, run) if job.state in ("RUNNING", "PENDING")]
    assert killed.number in {job.number for job in left}
    said = finish(run, start(run, MEANS))
    assert "unlocked" in said
    assert "cancelling" in said
    assert_same(run, undisturbed, MEANS)
    jobs = {job.number: job for job in list_jobs(cluster, run)}
    assert jobs[killed.number].state == "CANCELLED"
    # No job of the first Snakemake was still there when the second one submitted its own.
    last = max(job.number for job in left)
    assert max(jobs[job.number].ended for job in left) <= min(jobs[n].submitted for n in jobs if n > last)
    assert cluster.call("squeue", "--noheader") == ""


@pytest.fixture
def scratch(tmp_path: Path):
    """Return a small file system of its own."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (2**20, 2**10, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def test_a_full_scratch_is_named_and_the_run_goes_on_when_there_is_room(cluster, undisturbed, copy_run, scratch: Path):
    run = copy_run("reduce_shards")
    results = run.folder / "results"
    results.rename(run.folder / "copied")
    results.symlink_to(scratch)
    subprocess.run(["cp", "-a", f"{run.folder / 'copied'}/.", str(scratch)], check=True)
    shard = next((run.results / SHARDS).rglob("*.h5"))
    shard.unlink()
    process = start(run, MEANS, "--retries", "0")
    (job,) = wait_for(lambda: list_queue(cluster, run, SHARDS), "the shard to run")
    strike(job, SHARDS, signal.SIGSTOP)
    ballast = fill(scratch)
    strike(job, SHARDS, signal.SIGCONT)
    assert process.wait(timeout=200) != 0
    assert "no space left" in (run.folder / "said.txt").read_text()
    assert not shard.exists()
    # While it is full, nothing is even submitted.
    answer = run.run(MEANS)
    assert answer.returncode != 0
    assert "no space left" in answer.stdout
    ballast.unlink()
    finish(run, start(run, MEANS))
    assert_same(run, undisturbed, MEANS)
    assert list_states(cluster, run, SHARDS) == {job.shard: ["FAILED", DONE]}
