"""What a Snakemake that was killed leaves behind: its locks, and the Slurm jobs that it had submitted.

Each run's folder holds a record of the Snakemake that works, or last worked, on it.
"""

import json
import logging
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from sealiency.errors import SealiencyError
from sealiency.site.slurm import SlurmError, call

LOGGER = logging.getLogger(__name__)
RECORD = "snakemake.json"
# Slurm ends a job half a minute after it told it to (KillWait), and then tidies up.
LONGEST_WAIT = 300.0


@dataclass(frozen=True)
class Master:
    """A Snakemake that works on a run.

    Attributes
    ----------
    host, process, started
        Where it runs: host name, process id, and the process's start in seconds since 1970.
    slurm_runs
        Names of the Slurm jobs that it, and killed ones before it, may have submitted.
    """

    host: str
    process: int
    started: float
    slurm_runs: list[str] = field(default_factory=list)

    @classmethod
    def current(cls, slurm_runs: Sequence[str] = ()) -> "Master":
        """Return this process."""
        process = psutil.Process()
        return cls(socket.gethostname(), process.pid, process.create_time(), list(slurm_runs))

    def is_here(self) -> bool:
        """Return whether it ran on this machine, where one can see whether it still does."""
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Return whether it still runs, if it ran on this machine."""
        try:
            return abs(psutil.Process(self.process).create_time() - self.started) < 1
        except psutil.NoSuchProcess:
            return False


def release_locks(folder: Path, locks: Path) -> None:
    """Remove the locks that a killed Snakemake left on a run, where it is certain that it is dead.

    Parameters
    ----------
    folder
        The run's folder.
    locks
        Snakemake's folder of locks, each a list of files.
    """
    master = _read(folder)
    if master is None or (master.is_here() and master.is_alive()):
        return
    held = [path for path in sorted(locks.glob("*.lock")) if f"{folder}/" in path.read_text(encoding="utf-8")]
    if held and not master.is_here():
        LOGGER.warning(
            "%s is locked by a Snakemake on %s, process %d. If that one no longer runs, add --unlock once",
            folder,
            master.host,
            master.process,
        )
        return
    for path in held:
        path.unlink(missing_ok=True)
    if held:
        LOGGER.warning("%s was locked by a Snakemake that was killed (process %d); unlocked", folder, master.process)


def take_over(folder: Path, slurm_run: str | None) -> None:
    """Record that this process works on a run, and cancel what jobs killed ones left in Slurm's queue.

    A job that outlived its Snakemake would go on writing what this one makes again. What it had finished stays.

    Parameters
    ----------
    folder
        The run's folder; whoever calls holds Snakemake's lock on its files.
    slurm_run
        Name of all Slurm jobs that this process will submit; None if it submits none.

    Raises
    ------
    SealiencyError
        If Slurm does not answer, or the jobs do not end; they stay on record.
    """
    earlier = _read(folder)
    own = [slurm_run] if slurm_run else []
    left = earlier.slurm_runs if earlier else []
    _write(folder, Master.current([*left, *own]))
    if left:
        _cancel_jobs(left, folder / RECORD)
        _write(folder, Master.current(own))


def _cancel_jobs(names: Sequence[str], record: Path) -> None:
    if shutil.which("squeue") is None:
        raise SealiencyError(
            f"{record}: an earlier Snakemake submitted Slurm jobs, and there is no squeue here to look for them; start "
            f"where Slurm is, or, if none of the jobs {', '.join(names)} is left, delete this file"
        )
    deadline = time.monotonic() + LONGEST_WAIT
    jobs: list[str] = []
    while found := _ask("squeue", "--noheader", "--format=%i", f"--name={','.join(names)}").split():
        if new := [job for job in found if job not in jobs]:
            LOGGER.warning("cancelling %d Slurm job(s) that a killed Snakemake left: %s", len(new), " ".join(new))
            _ask("scancel", *new)
            jobs += new
        if time.monotonic() > deadline:
            raise SealiencyError(
                f"{record}: Slurm jobs {' '.join(found)} of an earlier Snakemake do not end; start again when they are gone"
            )
        time.sleep(1)


def _ask(*command: str) -> str:
    try:
        return call(*command)
    except SlurmError as error:
        raise SealiencyError(
            f"{error}, so jobs that a killed Snakemake left cannot be cancelled; start again when Slurm answers"
        ) from None


def _read(folder: Path) -> Master | None:
    try:
        return Master(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise SealiencyError(f"{folder / RECORD}: not a record of a Snakemake ({error}); delete it") from None


def _write(folder: Path, master: Master) -> None:
    # Here, because it takes a second to import and most starts write nothing.
    from sealiency.files import write_whole

    with write_whole(folder / RECORD) as partial:
        partial.write_text(json.dumps(asdict(master)), encoding="utf-8")
