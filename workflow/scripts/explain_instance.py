"""Explain one forecast by several methods and at three places."""

from sealiency.config.attribution import Attribution, Instance
from sealiency.config.data import Samples
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.instance import explain_instance
from sealiency.files import write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the explanation."""
    record, emulator = PreparedRecord(job.input.prepared), load_emulator(job.input.emulator, job.threads)
    instance = explain_instance(
        emulator,
        record,
        record.split(emulator.lead, Samples(**job.params.samples)),
        Instance(**job.params.instance),
        Attribution(**job.params.attribution),
    )
    write_analysis(instance, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
