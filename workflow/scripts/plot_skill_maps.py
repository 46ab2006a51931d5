"""Draw maps of the emulator's skill."""

from sealiency.config.figures import Figures
from sealiency.figures.skill import plot_skill_maps
from sealiency.figures.style import save_figure
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG and the PDF."""
    settings = Figures(**job.params.figures)
    save_figure(plot_skill_maps(read_netcdf(job.input.skill), settings), job.output.png, job.output.pdf, settings)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
