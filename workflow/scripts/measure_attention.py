"""Compare emulators that attend to a map of their own with those that do not."""

from pathlib import Path

from sealiency.config.attention import Attention
from sealiency.config.attribution import Instance
from sealiency.data.places import locate_pixel
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import load_emulator
from sealiency.experiments.attention import measure_attention
from sealiency.files import read_netcdf, write_analysis
from sealiency.logs import log_job


def main(job):
    """Write the comparison."""
    record, settings = PreparedRecord(job.input.prepared), Attention(**job.params.attention)
    plain, attending = (
        [load_emulator(path, job.threads) for path in paths] for paths in (job.input.plain, job.input.attending)
    )
    skill = [[read_netcdf(path) for path in paths] for paths in (job.input.plain_skill, job.input.attending_skill)]
    pixel = Instance(**job.params.compared).compared
    place = locate_pixel(pixel, record.ocean.numpy(), record.lat, record.lon, "instance.compared")
    measured = measure_attention(plain, attending, skill, record, place, settings.samples, settings.integration_steps)
    files = (*job.input.plain, *job.input.attending, *job.input.plain_skill, *job.input.attending_skill)
    inputs = {f"{Path(path).parent.name}/{Path(path).name}": path for path in files} | {"prepared": job.input.prepared}
    write_analysis(measured, job.output[0], job.rule, job.params, inputs, plain[0].seed)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
