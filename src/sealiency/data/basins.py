"""Ocean basins that the user leaves out of the prepared record, from a file that labels each cell with its basin."""

import numpy as np
import xarray as xr

from sealiency.config.data import Basins
from sealiency.data.reading.coordinates import find_coordinates
from sealiency.errors import SealiencyError


def exclude_basins(ocean: xr.DataArray, basins: Basins | None) -> xr.DataArray:
    """Return the ocean mask, of shape (lat, lon), without the cells of excluded basins.

    Parameters
    ----------
    ocean
        True on ocean cells, of shape (lat, lon), with its axes in degrees.
    basins
        The file of labels and the labels that are excluded; None excludes nothing.

    Raises
    ------
    SealiencyError
        If the file cannot be read, lacks the variable, has no grid of rows and columns or does not cover the region.
    """
    if basins is None:
        return ocean
    try:
        dataset = xr.load_dataset(basins.path, engine="netcdf4", decode_times=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise SealiencyError(f"{basins.path}: data.basins.path cannot be read ({error}); name a NetCDF file") from None
    if basins.variable not in dataset:
        raise SealiencyError(
            f"{basins.path}: data.basins.variable = {basins.variable!r} is not in the file, which holds "
            f"{sorted(map(str, dataset.data_vars))}; name one of them"
        )
    labels = dataset[basins.variable]
    places, _ = find_coordinates(dataset, labels, basins.path, ("latitude", "longitude"))
    lat, lon = places["latitude"], places["longitude"]
    if not (lat.ndim == lon.ndim == 1 and lat.dims != lon.dims):
        raise SealiencyError(
            f"{basins.path}: {basins.variable} needs rows of latitude and columns of longitude; regrid it"
        )
    labels = labels.drop_vars(list(labels.coords)).rename({lat.dims[0]: "lat", lon.dims[0]: "lon"})
    labels = labels.assign_coords(lat=lat.values, lon=lon.values)
    for dim in set(labels.dims) - {"lat", "lon"}:
        labels = labels.isel({dim: 0})
    # Turned about the region's middle, so that a cell at either edge finds its neighbour.
    middle = float(ocean["lon"].mean())
    turned = labels["lon"] - 360 * np.round((labels["lon"] - middle) / 360)
    labels = labels.assign_coords(lon=turned).sortby(["lat", "lon"])
    nearest = labels.sel(lat=ocean["lat"], lon=ocean["lon"], method="nearest").transpose("lat", "lon")
    for axis in ("lat", "lon"):
        step = float(np.abs(np.diff(labels[axis].values)).max(initial=0))
        if float(np.abs(nearest[axis].values - ocean[axis].values).max()) > step:
            raise SealiencyError(f"{basins.path}: its labels do not cover the {axis} of data.region; name another file")
    # By position: the labels' own coordinates differ from the record's, and xarray would align them.
    return ocean & ~nearest.isin(basins.exclude).values
