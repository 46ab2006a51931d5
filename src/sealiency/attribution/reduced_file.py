"""The file of mean attributions, as the reduction defines it before it writes the means of one pixel after another.

It is CF NetCDF of these variables, in standardised units where no other is named:

=========================================  ==================================  =====================================
`radial_positive`, `radial_negative`       pixel, bootstrap_block, lag,        sum over the cells of a distance bin,
                                           distance                            mean over the samples of a block
`monthly_positive`, `monthly_negative`,    pixel, lag                          sum over space, mean over all samples
`monthly_all`
`positive_mean`, `negative_mean`           pixel, lag, lat, lon                mean over all samples, where the shards
                                                                               hold heatmaps
`completeness`                             pixel                               worst error of all samples
`distance`, `distance_bounds` (km)         distance; distance, bounds          great-circle distance from the pixel
`block_samples`, `first_sample`            bootstrap_block                     number of samples, and of the first one
=========================================  ==================================  =====================================
"""

from dataclasses import asdict
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from sealiency.attribution.collection import ShardSet
from sealiency.config.attribution import FARTHEST_KM
from sealiency.conventions import AXES, LAG, MONTHLY, RADIAL

SIGNS = ("positive", "negative")


def define_file(file: netCDF4.Dataset, shards: ShardSet, grid: xr.Dataset, provenance: dict[str, Any]) -> None:
    """Define all variables, and write the coordinates.

    Parameters
    ----------
    file
        NetCDF file that is still empty.
    shards
        What is reduced, from `collect_shards`.
    grid
        `ocean(lat, lon)` with its axes.
    provenance
        Attributes to store.
    """
    identity = shards.identity
    pixels = [pixel for block in shards.pixels for pixel in block]
    names = np.array([name.encode() for name, _, _ in pixels])
    edges = np.array([*identity.distance_edges, FARTHEST_KM])
    sizes = {
        "pixel": len(pixels),
        "bootstrap_block": len(shards.block_samples),
        "lag": identity.history,
        "distance": len(edges) - 1,
        "bounds": 2,
        "lat": identity.rows,
        "lon": identity.columns,
        "characters": names.dtype.itemsize,
    }
    for name, size in sizes.items():
        file.createDimension(name, size)
    places = {axis: np.array([pixel[at] for pixel in pixels]) for at, axis in enumerate(("lat", "lon"), start=1)}
    first_samples = np.array(shards.samples)[np.cumsum([0, *shards.block_samples[:-1]])]
    distance_attributes = {
        "long_name": "great-circle distance from the explained pixel",
        "units": "km",
        "bounds": "distance_bounds",
    }
    coordinates: list[tuple[str, tuple[str, ...], Any, np.ndarray, dict[str, str]]] = [
        (
            "pixel", ("pixel", "characters"), "S1", names.view("S1").reshape(len(pixels), -1),
            {"long_name": "explained pixel", "_Encoding": "utf-8"},
        ),
        ("lag", ("lag",), "i4", np.arange(-identity.history, 0), LAG),
        ("distance", ("distance",), "f8", (edges[:-1] + edges[1:]) / 2, distance_attributes),
        ("distance_bounds", ("distance", "bounds"), "f8", np.stack([edges[:-1], edges[1:]], 1), {}),
        ("lat", ("lat",), "f8", grid["lat"].values, grid["lat"].attrs),
        ("lon", ("lon",), "f8", grid["lon"].values, grid["lon"].attrs),
        ("ocean", ("lat", "lon"), "i1", grid["ocean"].values, grid["ocean"].attrs),
        (
            "block_samples", ("bootstrap_block",), "i4", np.array(shards.block_samples),
            {"long_name": "number of samples in the bootstrap block", "units": "1"},
        ),
        (
            "first_sample", ("bootstrap_block",), "i4", first_samples,
            {"long_name": "number of the first sample of the bootstrap block", "units": "1"},
        ),
    ]  # fmt: skip
    for axis, index, attributes in AXES:
        index_attributes = {"long_name": f"index of the pixel along {axis}", "units": "1"}
        coordinates += [
            (f"pixel_{index}", ("pixel",), "i4", places[axis], index_attributes),
            (f"pixel_{axis}", ("pixel",), "f8", grid[axis].values[places[axis]], attributes),
        ]
    for name, dims, dtype, values, attributes in coordinates:
        variable = file.createVariable(name, dtype, dims)
        variable[:] = values
        variable.setncatts(attributes)
    _define_means(file, sizes, identity.heatmaps)
    # What the variables themselves tell is left out, and the name that the provenance has too gets another.
    shown = asdict(identity)
    shown["shard_settings_sha256"] = shown.pop("settings_sha256")
    for key in ("rows", "columns", "history", "heatmaps", "distance_edges"):
        del shown[key]
    file.setncatts(
        {
            "title": f"Mean attributions of the lead-{identity.lead} emulator over training samples",
            "samples": len(shards.samples),
            "completeness_error": shards.completeness_error,
            **shown,
            **provenance,
        }
    )


def _define_means(file: netCDF4.Dataset, sizes: dict[str, int], heatmaps: bool) -> None:
    radial = {
        "dims": ("pixel", "bootstrap_block", "lag", "distance"),
        "coordinates": "pixel_lat pixel_lon block_samples first_sample",
    }
    monthly = {"dims": ("pixel", "lag"), "coordinates": "pixel_lat pixel_lon"}
    heatmap = {"dims": ("pixel", "lag", "lat", "lon"), "coordinates": "pixel_lat pixel_lon", "units": "1"}
    variables: dict[str, dict[str, Any]] = {
        **{f"radial_{name}": radial | attributes for name, attributes in RADIAL.items()},
        **{f"monthly_{name}": monthly | attributes for name, attributes in MONTHLY.items()},
    }
    if heatmaps:
        for sign in SIGNS:
            variables[f"{sign}_mean"] = {
                "long_name": f"mean over samples of the {sign} part of the attribution", **heatmap,
            }  # fmt: skip
    variables["completeness"] = {
        "long_name": "largest relative error of completeness of the pixel over samples",
        "dims": ("pixel",),
        "coordinates": "pixel_lat pixel_lon",
        "units": "1",
    }
    for name, attributes in variables.items():
        dims = attributes.pop("dims")
        dtype = np.dtype("<f8" if name == "completeness" else "<f4")
        packed = len(dims) == 4
        variable = file.createVariable(
            name,
            dtype,
            dims,
            zlib=packed,
            complevel=1,
            shuffle=packed,
            # One pixel is one chunk, so that it is read without the others.
            chunksizes=(1, *(sizes[dim] for dim in dims[1:])) if packed else None,
            fill_value=dtype.type(np.nan),
        )
        variable.setncatts(attributes)
