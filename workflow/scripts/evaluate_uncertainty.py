"""Compare the variance that an emulator forecasts with its errors, and attribute it to the input."""

from sealiency.config.attribution import Attribution
from sealiency.config.data import Samples
from sealiency.data.places import list_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.files import write_analysis
from sealiency.logs import log_job
from sealiency.skill.uncertainty import evaluate_uncertainty


def main(job):
    """Write the comparison."""
    record, emulator = PreparedRecord(job.input.prepared), load_emulator(job.input.emulator, job.threads)
    attribution = Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb))
    pixels = list_pixels(attribution, record.ocean.numpy(), record.lat, record.lon)
    split = record.split(emulator.lead, Samples(**job.params.samples))
    uncertainty = evaluate_uncertainty(emulator, record, split, pixels, attribution)
    write_analysis(uncertainty, job.output[0], job.rule, job.params, job.input, emulator.seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
