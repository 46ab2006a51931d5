"""Compare an emulator with persistence, damped persistence and ridge regression."""

from sealiency.config.data import Samples
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.files import write_analysis
from sealiency.logs import log_job
from sealiency.skill.evaluation import evaluate_emulator


def main(job):
    """Write the skill file."""
    record, emulator = PreparedRecord(job.input.prepared), load_emulator(job.input.emulator, job.threads)
    skill = evaluate_emulator(emulator, record, record.split(emulator.lead, Samples(**job.params.samples)))
    write_analysis(skill, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
