"""Draw the sign check of all leads."""

from sealiency.config.figures import Figures
from sealiency.figures.sign_check import plot_sign_check
from sealiency.figures.style import save_figure
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG, the PDF and the caption."""
    settings = Figures(**job.params.figures)
    signs, skill = (
        {int(dataset.attrs["lead"]): dataset for dataset in map(read_netcdf, files)}
        for files in (job.input.signs, job.input.skill)
    )
    figure = plot_sign_check(signs, skill, settings)
    save_figure(figure, settings, job.params.caption, job.output.png, job.output.pdf, job.output.caption)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
