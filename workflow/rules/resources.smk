"""What jobs ask for: memory, run time, cores and GPUs, within what the site gives."""

from sealiency.attribution.speed import THREADS
from sealiency.resources import ANALYSIS_MINUTES, TRAINING_THREADS, analysis_memory_mb, ask_gpus
from sealiency.site.settings import VARIABLE as SITE_VARIABLE
from sealiency.site.settings import read_site
from sealiency.site.slurm import wait_for_slurm

# The Slurm profile names its site file; elsewhere nothing limits what a job may ask for.
SITE = checked(read_site, os.environ[SITE_VARIABLE]) if SITE_VARIABLE in os.environ else None
HAS_GPUS = not SITE or bool(SITE.gpu_partitions)
TRAINING_GPUS = ask_gpus(CONFIG.training.device) if HAS_GPUS else 0
ATTRIBUTION_GPUS = ask_gpus(CONFIG.attribution.device) if HAS_GPUS else 0
ANALYSIS_MB = analysis_memory_mb(CONFIG, PLAN.grid)


def ask(memory_mb, minutes, threads=1, gpus=0):
    """Return the memory, run time (a number, or a function of wildcards), cores and GPUs of a job as its resources.

    Each attempt gets more time and memory than the one before, as far as the site's partitions go.
    """

    def grow(wildcards, attempt):
        if attempt > 1 and workflow.is_main_process and not workflow.local_exec:
            # While Slurm is down a submission fails within a second; a job must not use up its tries on that.
            wait_for_slurm()
        wanted = attempt * memory_mb, attempt * (minutes(wildcards) if callable(minutes) else minutes)
        return SITE.clip(*wanted, gpus, threads) if SITE else wanted

    return {
        "mem_mb": lambda wildcards, attempt: grow(wildcards, attempt)[0],
        "runtime": lambda wildcards, attempt: grow(wildcards, attempt)[1],
        # What Slurm is asked for: `threads` are cut down to the cores of the machine on which Snakemake runs.
        "cpus_per_task": threads,
        "gpu": gpus,
    }
