"""Compare attributions with those of the synthetic world's best linear predictor."""

from pathlib import Path

from sealiency.config.attribution import Attribution
from sealiency.config.data import Region, SyntheticWorld
from sealiency.config.findings import Findings
from sealiency.data.places import list_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.fidelity import measure_fidelity, name_emulators
from sealiency.files import write_analysis
from sealiency.logs import log_job
from sealiency.worlds.ocean_truth import find_ideal_weights, read_world


def main(job):
    """Write the comparison."""
    record = PreparedRecord(job.input.prepared)
    loaded = [load_emulator(path, job.threads) for path in job.input.emulators]
    emulators = name_emulators(job.params.kinds, loaded, record, job.params.randomise)
    trained = next(iter(emulators.values()))
    attribution = Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb))
    pixels = list_pixels(attribution, record.ocean.numpy(), record.lat, record.lon)
    world = read_world(
        job.input.propagator, SyntheticWorld(**job.params.synthetic), Region(**job.params.region), record
    )
    ideal = find_ideal_weights(world, record, pixels, trained.lead, trained.history, Findings(**job.params.findings))
    fidelity = measure_fidelity(emulators, record, ideal, pixels, attribution)
    inputs = {Path(path).parent.name: path for path in (*job.input.emulators, job.input.prepared, job.input.propagator)}
    write_analysis(fidelity, job.output[0], job.rule, job.params, inputs, trained.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
