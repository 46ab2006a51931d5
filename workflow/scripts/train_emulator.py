"""Train one emulator; a run that was cut short goes on from its checkpoint."""

from pathlib import Path

from sealiency.config.data import Samples
from sealiency.config.emulator import LeadTraining
from sealiency.config.networks import parse_network
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.training import train_and_save
from sealiency.logs import log_job


def main(job):
    """Write the emulator and its training history."""
    train_and_save(
        record=PreparedRecord(job.input.prepared),
        network=parse_network(job.params.network),
        settings=LeadTraining(**job.params.training),
        samples=Samples(**job.params.samples, test=0),
        code=job.params.code,
        threads=job.threads,
        emulator=Path(job.output.emulator),
        history=Path(job.output.history),
    )


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
