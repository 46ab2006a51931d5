"""Ablate a box of the input and compare the forecasts."""

from sealiency.config.attribution import Ablation
from sealiency.config.data import Samples
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.ablation import ablate_region
from sealiency.files import write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the ablation."""
    record, emulator = PreparedRecord(job.input.prepared), load_emulator(job.input.emulator, job.threads)
    split = record.split(emulator.lead, Samples(**job.params.samples))
    ablation = ablate_region(emulator, record, split, Ablation(**job.params.ablation))
    write_analysis(ablation, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
