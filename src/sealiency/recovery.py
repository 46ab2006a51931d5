"""What a Snakemake that was killed leaves behind: its locks, and the Slurm jobs that it had submitted.

Every Snakemake that starts on a run leaves a mark: a file that the operating system keeps locked for as long as the process
lives, and that the process removes at its end. A mark that nobody holds is that of a killed one.
"""

import atexit
import fcntl
import json
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sealiency.errors import SealiencyError
from sealiency.site.slurm import SlurmError, call

LOGGER = logging.getLogger(__name__)
# Slurm ends a job half a minute after it told it to (KillWait), and then tidies up.
LONGEST_WAIT = 300.0


@dataclass(frozen=True)
class Other:
    """Another Snakemake that was started on the run.

    Attributes
    ----------
    path : pathlib.Path
        Its mark.
    host, process : str
        Where it runs, or ran.
    state : str
        Whether it lives; of another machine's nobody can tell.
    """

    path: Path
    host: str
    process: str
    state: Literal["alive", "dead", "elsewhere"]

    def read_slurm_run(self) -> str | None:
        """Return the name of the Slurm jobs that it submitted, or None if there are none."""
        with suppress(ValueError, OSError):
            return json.loads(self.path.read_text(encoding="utf-8"))["slurm_run"]
        # Killed before it had written anything, hence before it submitted anything.
        return None


class Presence:
    """The mark of this process on a run.

    Parameters
    ----------
    folder
        Snakemake's folder in the working directory, such as .snakemake.
    run
        The run's folder.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.run = run
        self.locks = folder / "locks"
        self.marks = folder / "sealiency" / re.sub(r"[^A-Za-z0-9_-]", "-", run)
        self.host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
        self.marks.mkdir(parents=True, exist_ok=True)
        # The time tells it from a killed process that had the same number.
        self.path = self.marks / f"{self.host}.{os.getpid()}.{time.time_ns()}.json"
        self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115
        fcntl.flock(self._file, fcntl.LOCK_EX)
        atexit.register(self.leave)

    def leave(self) -> None:
        """Remove the mark."""
        self.path.unlink(missing_ok=True)
        self._file.close()

    def find_others(self) -> list[Other]:
        """Return the other Snakemakes that live, or were killed, on the run."""
        others = []
        for path in sorted(self.marks.glob("*.json")):
            if path != self.path:
                host, process, _ = path.stem.split(".")
                others.append(Other(path, host, process, self._judge(path, host)))
        return others

    def _judge(self, path: Path, host: str) -> Literal["alive", "dead", "elsewhere"]:
        if host != self.host:
            return "elsewhere"
        try:
            with open(path, encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Held; or a file system that cannot say.
            return "alive"
        return "dead"

    def release_locks(self) -> None:
        """Remove the locks that a killed Snakemake left on the run, if no other one can hold them."""
        others = self.find_others()
        held = [path for path in sorted(self.locks.glob("*.lock")) if self._is_locked_by(path)]
        for other in others:
            if other.state == "elsewhere":
                LOGGER.warning(
                    "a Snakemake on %s, process %s, works on %s, or was killed. If it no longer runs, cancel its Slurm jobs "
                    "with `scancel --name=%s`, delete %s and add --unlock once",
                    other.host,
                    other.process,
                    self.run,
                    other.read_slurm_run(),
                    other.path,
                )
        if held and others and all(other.state == "dead" for other in others):
            for path in held:
                path.unlink(missing_ok=True)
            LOGGER.warning("%s was locked by a Snakemake that was killed; unlocked", self.run)

    def _is_locked_by(self, path: Path) -> bool:
        try:
            names = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return any(name.startswith(f"{self.run}/") for name in names)

    def take_over(self, slurm_run: str | None) -> None:
        """Cancel what killed Snakemakes left in Slurm's queue, and note the name of the jobs that this one will submit.

        A job that outlived its Snakemake would go on writing what this one makes again. What it had finished stays.

        Parameters
        ----------
        slurm_run
            Name of all Slurm jobs that this process will submit; None if it submits none.

        Raises
        ------
        SealiencyError
            If Slurm does not answer, or the jobs do not end; their marks stay.
        """
        json.dump({"slurm_run": slurm_run}, self._file)
        self._file.flush()
        os.fsync(self._file.fileno())
        dead = [other for other in self.find_others() if other.state == "dead"]
        if names := [name for other in dead if (name := other.read_slurm_run())]:
            _cancel_jobs(names, self.marks)
        for other in dead:
            other.path.unlink(missing_ok=True)


def _cancel_jobs(names: Sequence[str], marks: Path) -> None:
    if shutil.which("squeue") is None:
        raise SealiencyError(
            f"{marks}: a Snakemake that was killed had submitted Slurm jobs, and there is no squeue here to look for them; "
            f"start where Slurm is, or, if none of the jobs named {', '.join(names)} is left, delete this folder"
        )
    which = f"--name={','.join(names)}"
    deadline = time.monotonic() + LONGEST_WAIT
    told = False
    try:
        while found := call("squeue", "--noheader", "--format=%i", which).split():
            if not told:
                LOGGER.warning("cancelling %d Slurm job(s) that a killed Snakemake left", len(found))
                call("scancel", which)
                told = True
            if time.monotonic() > deadline:
                raise SealiencyError(
                    f"{marks}: Slurm jobs {' '.join(found)} of a Snakemake that was killed do not end; start again when they "
                    "are gone"
                )
            time.sleep(1)
    except SlurmError as error:
        raise SealiencyError(
            f"{error}, so jobs that a killed Snakemake left cannot be cancelled; start again when Slurm answers"
        ) from None
