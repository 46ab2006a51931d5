"""Draw skill by lead and predictor."""

from sealiency.config.figures import Figures
from sealiency.figures.skill import plot_skill
from sealiency.figures.style import save_figure
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG and the PDF."""
    settings = Figures(**job.params.figures)
    skill = {int(dataset.attrs["lead"]): dataset for dataset in map(read_netcdf, job.input.skill)}
    save_figure(plot_skill(skill, settings), job.output.png, job.output.pdf, settings)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
