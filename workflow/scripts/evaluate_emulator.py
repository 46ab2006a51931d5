"""Compare an emulator with its linear rivals, and with the bound where it is known."""

from functools import partial

from sealiency.config.data import Region, Samples, SyntheticWorld
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.files import write_analysis
from sealiency.logs import log_job
from sealiency.skill.evaluation import evaluate_emulator
from sealiency.worlds.ocean_bound import forecast_best
from sealiency.worlds.ocean_truth import read_world


def main(job):
    """Write the skill file."""
    record, emulator = PreparedRecord(job.input.prepared), load_emulator(job.input.emulator, job.threads)
    inputs = {"prepared": job.input.prepared, "emulator": job.input.emulator}
    best = None
    for path in job.input.propagator:
        inputs["propagator"] = path
        world = read_world(path, SyntheticWorld(**job.params.synthetic), Region(**job.params.region), record)
        best = partial(forecast_best, world, record, emulator.lead)
    skill = evaluate_emulator(emulator, record, record.split(emulator.lead, Samples(**job.params.samples)), best)
    write_analysis(skill, job.output[0], job.rule, job.params, inputs, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
