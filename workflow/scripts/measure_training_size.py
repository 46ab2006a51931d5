"""Compare emulators trained on different numbers of samples with their rivals, the bound and the best linear predictor."""

from pathlib import Path

from sealiency.config.attribution import Attribution
from sealiency.config.data import Region, SyntheticWorld
from sealiency.config.findings import Findings
from sealiency.data.places import list_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.training_size import measure_training_size
from sealiency.files import read_netcdf, write_analysis
from sealiency.logs import log_job
from sealiency.worlds.ocean_truth import find_ideal_weights, read_world


def main(job):
    """Write the comparison."""
    record = PreparedRecord(job.input.prepared)
    emulators = [load_emulator(path, job.threads) for path in job.input.emulators]
    first = emulators[0]
    attribution = Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb))
    pixels = list_pixels(attribution, record.ocean.numpy(), record.lat, record.lon)
    world = read_world(
        job.input.propagator, SyntheticWorld(**job.params.synthetic), Region(**job.params.region), record
    )
    ideal = find_ideal_weights(world, record, pixels, first.lead, first.history, Findings(**job.params.findings))
    skill = [read_netcdf(path) for path in job.input.skill]
    measured = measure_training_size(emulators, skill, record, ideal, pixels, attribution)
    inputs = {f"{Path(path).parent.name}/{Path(path).name}": path for path in (*job.input.emulators, *job.input.skill)}
    inputs |= {"prepared": job.input.prepared, "propagator": job.input.propagator}
    write_analysis(measured, job.output[0], job.rule, job.params, inputs, first.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
