"""What ends a training job before its time: a signal, or a later job that took its place."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealiency.errors import SealiencyError
from sealiency.files import write_whole

# Slurm sends one of them ahead of the time limit or of a preemption.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(SystemExit):
    """A signal asked to stop; the exit status is the shell's for it.

    A SystemExit passes by all that catches errors, for nothing went wrong.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextmanager
def collect_signals() -> Iterator[list[int]]:
    """Give a list that the signals to stop are added to, instead of ending the process.

    Outside the main thread, where Python handles no signals, the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, lambda got, _: received.append(got)) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def claim(owner: Path, begin: bool = False) -> None:
    """Hold a folder for this Slurm job, the later one of two that would write the same; outside Slurm do nothing.

    Parameters
    ----------
    owner
        File that holds the id of the job that works there, and is removed when it is done.
    begin
        Whether the job begins, so that the file may be missing.

    Raises
    ------
    SealiencyError
        If a job of a higher id, hence a later one, works there or is done.
    """
    job = int(os.environ.get("SLURM_JOB_ID", 0))
    if not job:
        return
    try:
        holder = int(owner.read_text())
    except FileNotFoundError:
        holder = 0
    if holder > job:
        raise SealiencyError(
            f"Slurm job {job} was replaced by job {holder}, which trains the same emulator; nothing to mend, this one "
            f"ends (only if job {holder} is of another cluster or long gone: delete {owner})"
        )
    if not (holder or begin):
        raise SealiencyError(
            f"Slurm job {job} was replaced by another, which has trained the same emulator; nothing to mend, this one ends"
        )
    if holder < job:
        with write_whole(owner) as partial:
            partial.write_text(f"{job}\n")
