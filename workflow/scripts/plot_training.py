"""Draw the learning curves of one emulator."""

import pandas as pd

from sealiency.config.figures import Figures
from sealiency.figures.style import save_figure
from sealiency.figures.training import plot_training
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG, the PDF and the caption."""
    settings = Figures(**job.params.figures)
    title = f"Lead {job.wildcards.lead} months, seed {job.wildcards.seed}"
    figure = plot_training(pd.read_csv(job.input.history), read_netcdf(job.input.skill), settings, title)
    save_figure(figure, settings, job.params.caption, job.output.png, job.output.pdf, job.output.caption)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
