"""Draw maps of where the attributions of every explained pixel lie in time and space."""

import xarray as xr

from sealiency.config.figures import Figures
from sealiency.figures.attribution_maps import plot_attribution_maps
from sealiency.figures.style import save_figure
from sealiency.files import read_netcdf
from sealiency.logs import log_job


def main(job):
    """Write the PNG, the PDF and the caption."""
    settings = Figures(**job.params.figures)
    # Lazily: the radial sums of every pixel may not fit into memory.
    with xr.open_dataset(job.input.attributions, engine="netcdf4") as attributions:
        figure = plot_attribution_maps(attributions, read_netcdf(job.input.skill), settings)
    save_figure(figure, settings, job.params.caption, job.output.png, job.output.pdf, job.output.caption)


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
