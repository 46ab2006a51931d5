"""Asking Slurm, and saying what was found."""

import logging
import re
import subprocess
import time
from typing import Literal, NamedTuple

from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
# A controller that is busy answers late; one that is gone, never.
TIMEOUT = 60
SECONDS_BETWEEN_QUESTIONS = 5
LONGEST_OUTAGE = 3600
# An answer is good for so long: a thousand jobs may be tried again at once.
ANSWERED_FOR = 30


_answered: list[float] = []


class Finding(NamedTuple):
    """What one check found."""

    status: Literal["ok", "warning", "fails"]
    name: str
    """Name of the check."""
    text: str
    """What was found."""
    mend: str = ""
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.status:8} {self.name}: " + "; ".join(part for part in (self.text, self.mend) if part)


class SlurmError(SealiencyError):
    """A command of Slurm failed; the message is its own."""


def call(*words: str, script: str | None = None) -> str:
    """Run a command and return what it prints.

    Parameters
    ----------
    words
        The command.
    script
        What it reads from standard input.

    Raises
    ------
    SlurmError
        If it is missing, fails or does not answer.
    """
    try:
        done = subprocess.run(words, input=script or "", capture_output=True, text=True, timeout=TIMEOUT)
    except OSError as error:
        raise SlurmError(f"{words[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{words[0]} did not answer within {TIMEOUT} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SlurmError(f"`{' '.join(words)}` says: {' '.join(said[-3:]) or f'exit status {done.returncode}'}")
    return done.stdout


def wait_for_slurm() -> None:
    """Return when the controller and the accounting answer: at once unless they are down, and after an hour in any case."""
    start = time.monotonic()
    if _answered and start - _answered[-1] < ANSWERED_FOR:
        return
    told = False
    while time.monotonic() - start < LONGEST_OUTAGE:
        try:
            # What the plugin needs for a submission: it looks the account up each time.
            call("scontrol", "ping")
            call("sacctmgr", "--noheader", "list", "cluster")
        except SlurmError as error:
            if not told:
                LOGGER.warning("waiting for Slurm: %s", error)
            told = True
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
        else:
            break
    _answered[:] = [time.monotonic()]


def parse_records(text: str) -> list[dict[str, str]]:
    """Return the records of `scontrol --oneliner show ...` as values by key, one record a line."""
    return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines() if "=" in line]


def read_configuration() -> dict[str, str]:
    """Return Slurm's own settings by name."""
    return dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", call("scontrol", "show", "config"), re.MULTILINE))


def count_gpus(gres: str) -> dict[str, int]:
    """Return the GPUs of a node's `Gres` by type; the type is empty where Slurm knows none."""
    counts: dict[str, int] = {}
    for model, count in re.findall(r"(?:^|,)gpu(?::([A-Za-z0-9_.-]+))?:(\d+)", gres):
        counts[model] = counts.get(model, 0) + int(count)
    return counts
