"""Fetch and verify one file of the CMIP6 archive, and link to it."""

from pathlib import Path

from sealiency.config.run import parse_configuration
from sealiency.esgf.fetch import fetch_file
from sealiency.esgf.manifest import read_manifest
from sealiency.logs import log_job


def main(job):
    """Link to the verified file, which lies in the archive's folder or on a mirror."""
    # From the configuration, because where a file comes from is no reason to prepare the record again.
    settings = parse_configuration(job.config, "configuration").data.esgf
    on_site = [folder for folder in job.resources.mirrors.split(":") if folder]
    settings = settings.model_copy(update={"mirrors": [*on_site, *settings.mirrors]})
    manifest = read_manifest(settings)
    file = manifest.find(job.wildcards.file, job.params.sha256)
    Path(job.output[0]).symlink_to(fetch_file(file, manifest, settings).resolve())


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
