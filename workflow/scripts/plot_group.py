"""Draw the mean heatmaps of one pixel and its monthly contributions at every lead."""

from sealiency.attribution.heatmaps import read_heatmaps
from sealiency.config.attribution import Pixel
from sealiency.config.figures import Figures
from sealiency.figures.group import plot_group
from sealiency.figures.style import save_figure
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG, the PDF and the caption."""
    settings = Figures(**job.params.figures)
    skill = {int(dataset.attrs["lead"]): dataset for dataset in map(read_netcdf, job.input.skill)}
    compared = Pixel(**job.params.compared)
    heatmaps = [read_heatmaps(path, job.wildcards.pixel, compared) for path in job.input.attributions]
    by_lead = {int(dataset.attrs["lead"]): dataset for dataset in heatmaps}
    pixel = str(heatmaps[0]["pixel"].values[0])
    figure = plot_group(skill, by_lead, pixel, settings, int(job.wildcards.lead))
    save_figure(figure, settings, job.params.caption, job.output.png, job.output.pdf, job.output.caption)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
