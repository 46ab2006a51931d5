"""Fit regressions on few months and neighbours, and set the skill of emulators that see as much beside."""

from pathlib import Path

from sealiency.config.data import Samples
from sealiency.config.sufficiency import Sufficiency
from sealiency.data.prepare import PreparedRecord
from sealiency.experiments.sufficiency import measure_sufficiency
from sealiency.files import read_netcdf, write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the table."""
    record, sufficiency = PreparedRecord(job.input.prepared), Sufficiency(**job.params.sufficiency)
    lead, samples = int(job.wildcards.lead), Samples(**job.params.samples)
    choices = [(months, cells) for months in sufficiency.months for cells in sufficiency.neighbours]
    skill = {choice: [] for choice in choices}
    # By months, then neighbours, then seeds, as the rule lists them.
    for number, path in enumerate(job.input.skill):
        skill[choices[number // len(job.params.seeds)]].append(read_netcdf(path))
    measured = measure_sufficiency(
        record,
        record.split(lead, samples),
        lead,
        samples.history,
        sufficiency.months,
        sufficiency.neighbours,
        skill,
    )
    inputs = {Path(path).parent.name: path for path in job.input.skill} | {"prepared": job.input.prepared}
    write_analysis(measured, job.output[0], job.rule, job.params, inputs, job.params.seeds[0])


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
