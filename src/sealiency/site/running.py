"""The jobs of the checks, as they run: submitted together, waited for, read and cleared away."""

import getpass
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealiency.errors import SealiencyError
from sealiency.site.jobs import END, JOBS, NAME, Context, JobCheck
from sealiency.site.probe import MARK
from sealiency.site.slurm import Finding, SlurmError, call

# Seconds; the profile's latency-wait.
LATENCY_WAIT = 60
# As squeue says it; `ENDED` stands for a job that Slurm has forgotten.
ENDED = {
    *("ENDED", "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE"),
    *("FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"),
}


def check_jobs(
    context: Context, minutes: float, tell: Callable[[str], None], jobs: tuple[JobCheck, ...] = JOBS
) -> Iterator[Finding]:
    """Submit all jobs, wait for them, and give the findings.

    Parameters
    ----------
    context
        What is checked.
    minutes
        Longest wait; jobs that have not ended by then are cancelled.
    tell
        Takes a line of progress.
    jobs
        The checks.
    """
    try:
        with _open_scratch(context.folder) as scratch:
            (scratch / "from_login").write_text(NAME)
            submitted: dict[str, JobCheck] = {}
            for job in jobs:
                if finding := job.skip(context):
                    yield finding
                    continue
                try:
                    submitted[job.submit(context, scratch)] = job
                except SlurmError as error:
                    yield job.fail(str(error), f"correct {context.site_file}")
            states = _wait(list(submitted), minutes, tell)
            _cancel(scratch)
            end = time.monotonic() + LATENCY_WAIT
            for number, job in submitted.items():
                yield from _read(job, context, scratch / f"{job.name}.out", *states[number], end)
            if submitted:
                yield _check_recorded(list(submitted))
    except OSError as error:
        yield Finding(
            "fails",
            "folder",
            f"{context.folder}: cannot be written ({error.strerror})",
            "set run.folder to a folder that you may write",
        )


def _wait(numbers: list[str], minutes: float, tell: Callable[[str], None]) -> dict[str, tuple[str, str]]:
    """Return state and reason of each job, once all have ended or the time is up."""
    states = dict.fromkeys(numbers, ("PENDING", "None"))
    told, end = "", time.monotonic() + 60 * minutes
    while numbers:
        states |= _ask_states(numbers)
        waiting = [state for state in states.values() if state[0] not in ENDED]
        if not waiting or time.monotonic() > end:
            break
        line = f"{len(waiting)} of {len(numbers)} jobs: " + ", ".join(
            sorted({state.lower() + (f" ({reason})" if state == "PENDING" else "") for state, reason in waiting})
        )
        if line != told:
            tell(line)
        told = line
        time.sleep(2)
    return states


def _ask_states(numbers: list[str]) -> dict[str, tuple[str, str]]:
    try:
        answer = call("squeue", "--noheader", "--states=all", f"--jobs={','.join(numbers)}", "--format=%i|%T|%r")
    except SlurmError as error:
        if "Invalid job id" not in str(error):
            # A controller that is busy or restarting will answer again.
            return {}
        answer = ""
    listed = {number: (state, reason) for number, state, reason in (line.split("|") for line in answer.splitlines())}
    # Slurm forgets jobs some time after they have ended.
    return {number: listed.get(number, ("ENDED", "")) for number in numbers}


def _read(job: JobCheck, context: Context, output: Path, state: str, reason: str, end: float) -> Iterator[Finding]:
    if state not in ENDED:
        where = f"still waits: {reason}" if state == "PENDING" else f"is still {state.lower()}"
        yield job.fail(f"the job {where}; it was cancelled", "wait longer with --minutes, or choose another partition")
        return
    printed = ""
    while END not in printed:
        # Listing a folder makes a network file system look again.
        printed = output.read_text(errors="replace") if output in list(output.parent.iterdir()) else ""
        # A job that was killed never comes to its end.
        if state not in ("COMPLETED", "ENDED") or time.monotonic() > end:
            break
        time.sleep(0 if END in printed else 0.5)
    lines = printed.splitlines()
    found = [json.loads(line.split(MARK, 1)[1]) for line in lines if MARK in line]
    if f"{END} 0" in lines and found:
        yield from job.judge(context, found)
    elif END in printed or lines:
        said = [line for line in lines if MARK not in line and END not in line]
        yield job.fail(f"the job ended as {state}: {' | '.join(said[-3:]) or 'it printed nothing'}")
    elif state not in ("COMPLETED", "ENDED"):
        yield job.fail(f"the job ended as {state} before it printed anything")
    else:
        yield job.fail(
            f"the job ended as {state}, and nothing it wrote appeared in {context.folder} within {LATENCY_WAIT} s",
            "set run.folder to a folder that compute nodes share",
        )


def _check_recorded(numbers: list[str]) -> Finding:
    """Return whether accounting knows the jobs, which is how Snakemake learns that one has ended."""
    end = time.monotonic() + LATENCY_WAIT
    missing = set(numbers)
    while missing and time.monotonic() < end:
        try:
            answer = call(
                "sacct",
                "--allocations",
                "--noheader",
                "--parsable2",
                "--format=JobIDRaw,State",
                "-j",
                ",".join(numbers),
            )
            ended = dict(line.split("|") for line in answer.splitlines())
        except (SlurmError, ValueError):
            ended = {}
        missing = {number for number in numbers if ended.get(number, "RUNNING") in ("PENDING", "RUNNING")}
        time.sleep(1 if missing else 0)
    if missing:
        text = (
            f"`sacct` does not say that the jobs {', '.join(sorted(missing))} have ended: Snakemake would wait for ever"
        )
        return Finding("fails", "recorded", text, "ask the support about Slurm's accounting")
    return Finding("ok", "recorded", f"`sacct` knows how the {len(numbers)} jobs ended")


@contextmanager
def _open_scratch(folder: Path) -> Iterator[Path]:
    """Give a new folder, and leave neither it nor a job of it behind."""
    # What does not exist yet will be made in the nearest folder that does.
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    scratch = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=there)).resolve()
    try:
        yield scratch
    finally:
        _cancel(scratch)
        for _ in range(10):
            # The last node to write may do so after Slurm has let go of its job.
            shutil.rmtree(scratch, ignore_errors=True)
            if not scratch.exists():
                break
            time.sleep(1)


def _cancel(scratch: Path) -> None:
    """Cancel the jobs whose working directory is this one, and wait until they are gone."""
    cancelled: set[str] = set()
    for _ in range(30):
        try:
            answer = call("squeue", "--noheader", f"--user={getpass.getuser()}", f"--name={NAME}", "--format=%i|%Z")
            left = {number for number, where in (x.split("|", 1) for x in answer.splitlines()) if where == str(scratch)}
            if new := left - cancelled:
                call("scancel", *sorted(new))
        except SealiencyError:
            return
        if not left:
            return
        cancelled |= new
        time.sleep(1)
