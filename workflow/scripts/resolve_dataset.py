"""Ask the CMIP6 archive's indices for the data set and pin the answer."""

from sealiency.config.esgf import Esgf
from sealiency.esgf.resolve import resolve_dataset
from sealiency.logs import log_job


def main(job):
    """Write the manifest."""
    resolve_dataset(Esgf(**job.params.esgf))


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
