"""Test by intervention what the signs of attributions mean."""

from sealiency.config.attribution import Attribution, SignCheck
from sealiency.config.data import Samples
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.sign_check import check_signs
from sealiency.files import write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the test."""
    record, emulator = PreparedRecord(job.input.prepared), load_emulator(job.input.emulator, job.threads)
    signs = check_signs(
        emulator,
        record,
        record.split(emulator.lead, Samples(**job.params.samples)),
        SignCheck(**job.params.sign_check),
        Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb)),
    )
    write_analysis(signs, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
