"""Reading one pixel out of the reduced attributions of many."""

from pathlib import Path

import numpy as np
import xarray as xr

from sealiency.config.attribution import Pixel
from sealiency.data.places import locate_pixel
from sealiency.errors import SealiencyError


def read_heatmaps(path: str | Path, pixel: str, compared: Pixel) -> xr.Dataset:
    """Read the mean attributions of one pixel, without reading those of the others.

    Parameters
    ----------
    path
        NetCDF file of the reduction.
    pixel
        Name of the pixel; "compared" stands for the explained pixel nearest to `compared`.
    compared
        Place to look for.

    Returns
    -------
    xarray.Dataset
        The file's variables with a `pixel` dimension of length 1.

    Raises
    ------
    SealiencyError
        If the file holds no such pixel.
    """
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        names = dataset["pixel"].values.tolist()
        if pixel in names:
            at = names.index(pixel)
        elif pixel != "compared":
            raise SealiencyError(f"{path}: holds no pixel {pixel}; run the attribution again")
        else:
            rows, columns = dataset["pixel_row"].values, dataset["pixel_column"].values
            lat, lon = dataset["lat"].values, dataset["lon"].values
            # All ocean pixels are there, so they are the ocean.
            ocean = np.zeros((len(lat), len(lon)), bool)
            ocean[rows, columns] = True
            row, column = locate_pixel(compared, ocean, lat, lon, "instance.compared")
            at = int(np.hypot(rows - row, columns - column).argmin())
        return dataset.isel(pixel=[at]).load()
