"""Attribute a thin grid of ocean pixels with one emulator, for the findings."""

from sealiency.attribution.survey import survey_pixels
from sealiency.config.attribution import Attribution
from sealiency.config.findings import Findings
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.files import write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the survey."""
    emulator = load_emulator(job.input.emulator, job.threads)
    survey = survey_pixels(
        emulator,
        PreparedRecord(job.input.prepared),
        Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb)),
        Findings(**job.params.findings),
        job.wildcards.control.rstrip("_") or "none",
    )
    write_analysis(survey, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
