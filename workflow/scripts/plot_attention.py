"""Draw attention maps beside class activation maps and heatmaps."""

from sealiency.config.figures import Figures
from sealiency.figures.attention import plot_attention
from sealiency.figures.style import save_figure
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG, the PDF and the caption."""
    settings = Figures(**job.params.figures)
    figure = plot_attention(read_netcdf(job.input[0]))
    save_figure(figure, settings, job.params.caption, job.output.png, job.output.pdf, job.output.caption)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
