"""The checks that need a compute node: one short job each, submitted together by `running`.

To add one, write a function in `probe.py`, a class here that says what the job asks for and judges what it printed, and
add the class to `JOBS`.
"""

import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import sealiency
from sealiency.config.run import Configuration
from sealiency.site.settings import Site
from sealiency.site.slurm import Finding, SlurmError, call

NAME = "sealiency_check"
MINUTES, MEMORY_MB = 5, 4000
SLOW, TOO_SLOW = 100, 10  # MB/s
END = "SEALIENCY_END"
# What the plugin's own job step leaves of Slurm's environment, so that a launcher is tried as the workflow starts it.
SCRIPT = """#!/bin/bash
for name in ${{!SLURM_*}} ${{!SRUN_*}} ${{!SBATCH_*}}; do
    case $name in
        SLURM_JOB_ID | SLURM_JOBID | SLURM_CLUSTER_NAME | SLURM_SUBMIT_DIR | SLURM_SUBMIT_HOST) ;;
        *) unset "$name" ;;
    esac
done
{command}
echo {end} $?
"""


@dataclass(frozen=True)
class Context:
    """What the checks are about."""

    site_file: Path
    site: Site
    folder: Path
    """Where results go."""
    configuration: Configuration | None = None

    @property
    def devices(self) -> set[str]:
        """Devices that training and attribution ask for."""
        settings = self.configuration or Configuration()
        return {settings.training.device, settings.attribution.device}


class JobCheck(ABC):
    """A job, and what its output means."""

    name: ClassVar[str]
    gpus: ClassVar[int] = 0
    tasks: ClassVar[int] = 1

    def skip(self, context: Context) -> Finding | None:
        """Return why there is nothing to submit, or None."""
        return None

    def launch(self, site: Site) -> str:
        """Return the command that starts the probe within the job."""
        return "srun -n1 --nodes=1 --cpus-per-task=1 --cpu-bind=q" + (f" --gpus={self.gpus}" if self.gpus else "")

    @abstractmethod
    def judge(self, context: Context, printed: list[dict[str, Any]]) -> Iterator[Finding]:
        """Give findings on what each process of the job printed."""

    def fail(self, text: str, mend: str = "") -> Finding:
        """Return a failure of this check."""
        return Finding("fails", self.name, text, mend)

    def submit(self, context: Context, scratch: Path) -> str:
        """Submit the job and return its number."""
        site = context.site
        partition = site.choose_partition(
            memory_mb=MEMORY_MB, minutes=MINUTES, gpus=self.gpus, tasks=self.tasks, mpi=self.tasks > 1
        )
        if partition is None:
            raise SlurmError(f"no partition of {context.site_file} takes {MEMORY_MB} MB for {MINUTES} minutes")
        options = {
            "job-name": NAME,
            "export": "ALL",
            "output": str(scratch / f"{self.name}.out"),
            "chdir": str(scratch),
            "time": str(MINUTES),
            "mem": str(MEMORY_MB),
            "ntasks": str(self.tasks),
            "cpus-per-task": "1",
            "partition": partition,
            "account": site.account,
            "qos": site.qos,
            "gpus": f"{site.gpu_model}:{self.gpus}" if site.gpu_model and self.gpus else str(self.gpus or "") or None,
        }
        words = [f"--{key}={value}" for key, value in options.items() if value]
        command = f"{self.launch(site)} {shlex.quote(sys.executable)} -m sealiency.site.probe {self.name} ."
        answer = call("sbatch", "--parsable", "--no-requeue", *words, script=SCRIPT.format(command=command, end=END))
        # On several clusters the number is followed by the cluster's name.
        return answer.strip().splitlines()[-1].split(";")[0]


class SoftwareJob(JobCheck):
    """The same Python and sealiency as here, and what they need."""

    name = "software"

    def judge(self, context: Context, printed: list[dict[str, Any]]) -> Iterator[Finding]:
        """Compare versions with those of this process."""
        found = printed[0]
        here = sys.version.split()[0], sealiency.__version__
        if (found["python"], found["sealiency"]) != here:
            yield self.fail(
                f"a job has Python {found['python']} and sealiency {found['sealiency']}, here are {here[0]} and {here[1]}",
                f"install sealiency where compute nodes see it; the job's is {found['file']}",
            )
        for module, failure in found["failures"].items():
            yield self.fail(
                f"a job cannot import {module} ({failure})", "install it anew, or load the modules it was built with"
            )
        if not found["failures"]:
            versions = f"Python {found['python']}, sealiency {found['sealiency']}"
            yield Finding("ok", self.name, f"a job has {versions}, mpi4py, torch and h5py")


class GpuJob(JobCheck):
    """One GPU, from Slurm to PyTorch."""

    name = "gpu"
    gpus = 1

    def skip(self, context: Context) -> Finding | None:
        """Return a finding where no GPU is to be had or wanted."""
        if context.devices == {"cpu"}:
            return Finding("ok", self.name, "training.device and attribution.device are cpu, so no GPU is asked for")
        if context.site.gpu_partitions:
            return None
        if "cuda" in context.devices:
            return self.fail(
                f"{context.site_file} has no partition with max_gpu above 0, but the configuration says device: cuda",
                "add the partition, or set device: auto",
            )
        return Finding(
            "warning",
            self.name,
            f"{context.site_file} has no partition with max_gpu above 0, so training and attribution use processors",
            "add one if there are GPUs",
        )

    def judge(self, context: Context, printed: list[dict[str, Any]]) -> Iterator[Finding]:
        """Follow the GPU from Slurm to PyTorch."""
        found = printed[0]
        if not found["visible"]:
            yield self.fail(
                "a job with one GPU has no CUDA_VISIBLE_DEVICES",
                "ask the support whether GPUs are asked for by --gpus, and see `scontrol show config | grep Gres`",
            )
        elif not found["name"]:
            driver = f"the driver shows {found['driver']!r}" if found["driver"] else "there is no nvidia-smi"
            yield self.fail(
                f"Slurm gives a GPU (CUDA_VISIBLE_DEVICES={found['visible']}), {driver}, and PyTorch {found['torch']} sees none",
                "install a CUDA build of PyTorch, or set training.device and attribution.device to cpu",
            )
        else:
            yield Finding("ok", self.name, f"PyTorch {found['torch']} sees {found['name']}")


class MpiJob(JobCheck):
    """Two ranks through the site's launcher."""

    name = "mpi"
    tasks = 2

    def launch(self, site: Site) -> str:
        """Return the site's launcher."""
        return f"{site.mpi} -n {self.tasks}"

    def judge(self, context: Context, printed: list[dict[str, Any]]) -> Iterator[Finding]:
        """Compare the number of ranks that each rank sees."""
        sizes = [found["size"] for found in printed]
        library = printed[0]["library"]
        if sizes == [self.tasks] * self.tasks:
            yield Finding(
                "ok", self.name, f"`{context.site.mpi}` starts {self.tasks} ranks that see each other ({library})"
            )
            return
        yield self.fail(
            f"`{context.site.mpi} -n {self.tasks}` starts {len(sizes)} programs of size {', '.join(map(str, sizes))} "
            f"instead of {self.tasks} ranks of one program ({library})",
            f"set mpi in {context.site_file} to `srun --mpi=TYPE`; {_list_mpi_types()}; the mpich wheel needs pmi2, "
            "mpi4py built against the site's MPI needs that MPI's own",
        )


class FolderJob(JobCheck):
    """The folder of results, seen from both sides."""

    name = "folder"

    def judge(self, context: Context, printed: list[dict[str, Any]]) -> Iterator[Finding]:
        """Judge what the job read, and how fast it wrote."""
        found = printed[0]
        speed = f"{found['speed']:,.0f} MB/s"
        move = "set run.folder to a folder on the machine's scratch file system"
        if found["received"] != NAME:
            yield self.fail(f"a job does not see the files that are written here in {context.folder}", move)
        elif found["speed"] < TOO_SLOW:
            yield self.fail(f"a job writes {speed} in {context.folder}", move)
        elif found["speed"] < SLOW:
            yield Finding("warning", self.name, f"a job writes only {speed} in {context.folder}", move)
        else:
            yield Finding("ok", self.name, f"{context.folder} is shared with compute nodes; a job writes {speed}")


JOBS: tuple[JobCheck, ...] = (SoftwareJob(), GpuJob(), MpiJob(), FolderJob())


def _list_mpi_types() -> str:
    try:
        return f"this Slurm has {', '.join(parse_mpi_types(_ask_mpi_types()))}"
    except SlurmError:
        return "`srun --mpi=list` names the types"


def _ask_mpi_types() -> str:
    # Older versions list them on standard error.
    return call("sh", "-c", "srun --mpi=list 2>&1")


def parse_mpi_types(text: str) -> list[str]:
    """Return the types that `srun --mpi=list` names."""
    lines = [line.removeprefix("srun:").strip() for line in text.splitlines()]
    return [line for line in lines if line and " " not in line]
