"""Correlate the heatmaps of attribution methods on one emulator."""

from sealiency.config.attribution import Attribution, Instance
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.agreement import compare_methods
from sealiency.files import write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the correlations."""
    emulator = load_emulator(job.input.emulator, job.threads)
    agreement = compare_methods(
        emulator,
        PreparedRecord(job.input.prepared),
        Instance(**job.params.instance),
        Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb)),
        job.wildcards.control.rstrip("_") or "none",
    )
    write_analysis(agreement, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
