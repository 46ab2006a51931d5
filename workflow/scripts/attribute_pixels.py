"""Attribute one chunk of samples for one block of pixels, into a shard of sums."""

from pathlib import Path

from sealiency.attribution.explanation import attribute_pixels
from sealiency.config.attribution import Attribution
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.logs import log_job


def main(job):
    """Write the shard."""
    attribute_pixels(
        emulator=load_emulator(job.input.emulator, job.threads),
        record=PreparedRecord(job.input.prepared),
        settings=Attribution(**job.params.attribution, memory_gb=float(job.resources.memory_gb)),
        block=job.wildcards.block,
        chunk=int(job.wildcards.chunk),
        target=Path(job.output[0]),
    )


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
