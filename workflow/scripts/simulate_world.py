"""Simulate the synthetic world and write its monthly files and its propagator."""

from pathlib import Path

from sealiency.config.data import Region, SyntheticWorld
from sealiency.logs import log_job
from sealiency.provenance import describe_file
from sealiency.worlds.ocean import simulate_world


def main(job):
    """Write the files into the folder of the propagator."""
    settings = SyntheticWorld(**job.params.synthetic)
    provenance = describe_file(
        job.rule, {"synthetic": job.params.synthetic, "region": job.params.region}, {}, seed=settings.seed
    )
    simulate_world(settings, Region(**job.params.region), Path(job.output.propagator).parent, provenance)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
