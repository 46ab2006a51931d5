"""The site file: account, partitions and launcher of one supercomputer.

The Slurm profile reads it at every start of Snakemake, so this imports nothing heavy. The file itself is what the Slurm
plugin is given as its partition configuration, so the limits of a partition have the plugin's own names.
"""

import math
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from sealiency.config.base import Section
from sealiency.config.run import describe_problems, read_settings
from sealiency.errors import SealiencyError

VARIABLE = "SEALIENCY_SITE"
FILE = Path("profiles/slurm/site.yaml")
EXAMPLES = "profiles/slurm/site.pmi2.yaml or profiles/slurm/site.pmix.yaml"

# The plugin compares limits as they are in the file, so a number in quotes is none.
Limit = Annotated[float, Field(gt=0, strict=True)]
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d+):(\d+)|(\d+)-(\d+)(?::(\d+))?")
_UNITS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?")


class Partition(Section):
    """What one job may ask of a partition; a limit that is left out is none."""

    model_config = ConfigDict(allow_inf_nan=True)

    max_runtime: Limit | str = math.inf
    """Longest run time: minutes, or text such as "12h", "2d" or "1-12:00:00"."""
    max_mem_mb: Limit = math.inf
    """Most memory of a job on one node, MB."""
    max_mem_mb_per_cpu: Limit = math.inf
    """Most memory for each processor core, MB."""
    max_cpus_per_task: Limit = math.inf
    """Most processor cores of a task."""
    max_threads: Limit = math.inf
    """Most threads of a job: processor cores of a node."""
    max_nodes: Limit = math.inf
    """Most nodes of a job."""
    max_tasks: Limit = math.inf
    """Most tasks of a job."""
    max_tasks_per_node: Limit = math.inf
    """Most tasks of a job on one node."""
    max_gpu: int = Field(default=0, ge=0, strict=True)
    """Most GPUs of a job; a partition with more than 0 is a GPU partition."""
    available_gpu_models: list[str] = []
    """Types of its GPUs, as Slurm names them."""
    max_cpus_per_gpu: Limit = math.inf
    """Most processor cores for each GPU."""
    supports_mpi: bool = Field(default=True, strict=True)
    """Whether MPI jobs may run here."""
    max_mpi_tasks: Limit = math.inf
    """Most tasks of an MPI job."""
    available_constraints: list[str] = []
    """Features of its nodes, as Slurm names them."""

    @field_validator("max_runtime")
    @classmethod
    def _check_runtime(cls, runtime: float | str) -> float | str:
        try:
            parse_minutes(runtime)
        except ValueError:
            raise ValueError('needs minutes as a number, or text such as "12h", "2d" or "1-12:00:00"') from None
        return runtime

    @property
    def max_minutes(self) -> float:
        """Longest run time, minutes."""
        return parse_minutes(self.max_runtime)


class Site(Section):
    """One supercomputer."""

    account: str | None = Field(default=None, pattern=r"^[^\s,]+$")
    """Account that jobs are charged to; null takes the one of your latest job."""
    qos: str | None = Field(default=None, pattern=r"^[^\s,]+$")
    """Quality of service of all jobs; null takes Slurm's default."""
    partitions: dict[str, Partition] = Field(min_length=1)
    """Partitions by name, with the limits of a job; each job goes to the one that fits it best."""
    gpu_model: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.]+$")
    """Type of GPU to ask for, as Slurm names it; null takes any."""
    mpi: str = Field(min_length=1)
    """Command that starts MPI programs, to which `-n RANKS` is added."""
    mirrors: list[str] = []
    """Folders that hold a local copy of the CMIP6 archive, asked before any server."""
    jobs: int = Field(default=100, ge=1, strict=True)
    """Jobs that are queued or running at once."""

    @field_validator("account", "qos", "gpu_model", mode="before")
    @classmethod
    def _check_quoted(cls, name: Any) -> Any:
        if not isinstance(name, str | None):
            raise ValueError("needs text; put it in quotes")
        return name

    @field_validator("mirrors")
    @classmethod
    def _check_mirrors(cls, mirrors: list[str]) -> list[str]:
        if wrong := [mirror for mirror in mirrors if ":" in mirror or not mirror]:
            raise ValueError(f"{wrong[0]!r} is no folder that can be used; give a path without a colon")
        return mirrors

    @model_validator(mode="after")
    def _check_gpu_model(self) -> Self:
        if self.gpu_model is None:
            return self
        if not self.gpu_partitions:
            raise ValueError(f"gpu_model = {self.gpu_model!r}, but no partition has max_gpu above 0; give one, or null")
        if not any(self._has_model(partition) for partition in self.gpu_partitions.values()):
            raise ValueError(
                f"gpu_model = {self.gpu_model!r} is in no partition's available_gpu_models; add it there, or correct it"
            )
        return self

    @property
    def gpu_partitions(self) -> dict[str, Partition]:
        """Partitions with GPUs."""
        return {name: partition for name, partition in self.partitions.items() if partition.max_gpu}

    def clip(self, memory_mb: float, minutes: float, gpus: int, threads: int = 1) -> tuple[int, int]:
        """Return the memory, MB, and run time, minutes, of a job, lowered to what the partition that comes closest gives.

        More than any partition gives would wait for ever, or be refused.
        """
        limits = [(p.max_mem_mb, p.max_minutes) for p in self._serving(gpus, threads)]
        most = min(limits, key=lambda limit: max(1, memory_mb / limit[0], minutes / limit[1]))
        return int(min(memory_mb, most[0])), int(min(minutes, most[1]))

    def _serving(self, gpus: int, threads: int) -> list[Partition]:
        # A job without GPUs goes to their partitions only where there is no other.
        kind = [p for p in self.partitions.values() if bool(p.max_gpu) == bool(gpus)] or list(self.partitions.values())
        fitting = [
            p for p in kind if threads <= min(p.max_threads, p.max_cpus_per_task) and (not gpus or self._has_model(p))
        ]
        return fitting or kind

    def _has_model(self, partition: Partition) -> bool:
        # A partition that names no model may have any.
        models = partition.available_gpu_models
        return not (self.gpu_model and models) or self.gpu_model in models

    def choose_partition(
        self,
        *,
        memory_mb: float = 0,
        minutes: float = 0,
        threads: int = 1,
        gpus: int = 0,
        tasks: int = 0,
        mpi: bool = False,
    ) -> str | None:
        """Return the partition that the Slurm plugin picks for a job, or None where nothing fits.

        The plugin takes the one whose limits the job comes closest to, and avoids GPU partitions for jobs without one.
        """
        scores: dict[str, float] = {}
        for name, limits in self.partitions.items():
            asked = [
                (memory_mb, limits.max_mem_mb),
                (minutes, limits.max_minutes),
                (tasks, limits.max_tasks),
                (threads, limits.max_threads),
                # The plugin counts threads twice.
                (threads, limits.max_threads),
                (threads, limits.max_cpus_per_task),
                (gpus, limits.max_gpu if gpus else math.inf),
            ]
            fits = all(wanted <= limit for wanted, limit in asked)
            if not fits or (mpi and not limits.supports_mpi) or (gpus and not self._has_model(limits)):
                continue
            scores[name] = sum(wanted / limit for wanted, limit in asked) - (limits.max_gpu > 0 and not gpus)
        return max(scores, key=lambda name: scores[name]) if scores else None


def parse_minutes(time: float | str) -> float:
    """Return a run time in minutes: a number, text with units or Slurm's days-hours:minutes:seconds.

    Raises
    ------
    ValueError
        If it is none of these. Slurm and its plugin read "2:00" differently, so that is refused too.
    """
    if not isinstance(time, str):
        return time
    text = time.strip()
    if text.isdecimal():
        return float(text)
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds, whole_days, more_hours, more_minutes = (
            int(part or 0) for part in clock.groups()
        )
        return 1440.0 * (days + whole_days) + 60 * (hours + more_hours) + minutes + more_minutes + seconds / 60
    if text and (units := _UNITS.fullmatch(text)):
        days, hours, minutes = (int(part or 0) for part in units.groups())
        return 1440.0 * days + 60 * hours + minutes
    raise ValueError(f"{time!r} is no run time")


def find_site() -> Path:
    """Return the absolute path of the site file.

    It is what the environment variable SEALIENCY_SITE names, else profiles/slurm/site.yaml below the working directory,
    else slurm/site.yaml in Snakemake's folder of profiles, where a link to profiles/slurm serves `--profile slurm`.

    Raises
    ------
    SealiencyError
        If there is none.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise SealiencyError(f"{VARIABLE} = {named!r}: there is no such file; correct the variable, or unset it")
        return Path(named).absolute()
    linked = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "snakemake/slurm/site.yaml"
    for path in (FILE, linked):
        if path.is_file():
            return path.absolute()
    raise SealiencyError(
        f"{FILE}: there is no such file below {Path.cwd()}, nor {linked}; copy {EXAMPLES} to {FILE} and adapt it, or name "
        f"your site file in the environment variable {VARIABLE}"
    )


def read_site(path: str | Path) -> Site:
    """Read and check a site file.

    Raises
    ------
    SealiencyError
        If anything in it is unknown or impossible; the message lists every problem, one a line.
    """
    settings = read_settings(path, "keys such as `partitions:`")
    try:
        return Site.model_validate(settings)
    except ValidationError as error:
        problems = describe_problems(error.errors(), Site, f"{EXAMPLES} has every key")
    raise SealiencyError("\n".join([f"{path}: {len(problems)} problem(s)", *problems])) from None


def read_profile_site() -> tuple[Path, Site]:
    """Return the site file and what it says, for the Slurm profile; bad input ends Snakemake with the one clear message."""
    try:
        path = find_site()
        # The workflow reads it too, here and in every job, and asks for no more than it allows.
        os.environ[VARIABLE] = str(path)
        return path, read_site(path)
    except SealiencyError as error:
        # Snakemake would bury any other exception below its usage.
        sys.exit(str(error))


def quote(text: str) -> str:
    """Return a text so that Snakemake, which evaluates resources as Python, takes it as it is."""
    return repr(text)
