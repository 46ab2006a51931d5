"""Prepare standardised anomalies from monthly sea surface temperature."""

from pathlib import Path

from sealiency.config.data import Data
from sealiency.data.prepare import prepare_record
from sealiency.logs import log_job


def main(job):
    """Write the prepared record."""
    settings = Data(**job.params.data)
    basins = settings.basins.path if settings.basins else None
    prepare_record(
        paths=[*job.input.files, *(path for path in job.params.unnamed if path != basins)],
        settings=settings,
        history=job.params.samples["history"],
        training=job.params.samples["training"],
        target=Path(job.output[0]),
        threads=job.threads,
        scheduler=job.resources.dask_scheduler or None,
        checksums=job.params.checksums,
        source_dataset=job.params.source_dataset,
    )


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
