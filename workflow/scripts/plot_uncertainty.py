"""Draw the uncertainty of an emulator."""

from sealiency.config.figures import Figures
from sealiency.figures.style import save_figure
from sealiency.figures.uncertainty import plot_uncertainty
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG, the PDF and the caption."""
    settings = Figures(**job.params.figures)
    figure = plot_uncertainty(read_netcdf(job.input.uncertainty), read_netcdf(job.input.skill), settings)
    save_figure(figure, settings, job.params.caption, job.output.png, job.output.pdf, job.output.caption)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
