"""What a survey of pixels is laid out on, whoever predicts: an emulator or a linear null."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sealiency.config.attribution import FARTHEST_KM
from sealiency.conventions import AXES, LAG
from sealiency.data.prepare import PreparedRecord


def describe_survey(
    record: PreparedRecord,
    pixels: Sequence[tuple[str, int, int]],
    blocks: Sequence[Sequence[int]],
    distance_edges: Sequence[float],
) -> xr.Dataset:
    """Return the coordinates of a survey, those that reduced attributions have, without data.

    Parameters
    ----------
    record
        The record whose pixels are surveyed.
    pixels
        Name, row and column of each pixel.
    blocks
        Numbers of the samples of each bootstrap block.
    distance_edges
        Lower edges of the distance bins, km, ascending from 0; the last bin is open.

    Returns
    -------
    xarray.Dataset
        `pixel`, `pixel_row`, `pixel_column`, `pixel_lat` and `pixel_lon` (degrees), `lag` (months), `distance` with
        `distance_bounds` (km), `block_samples` and `first_sample` (bootstrap_block).
    """
    edges = np.array([*distance_edges, FARTHEST_KM])
    dataset = xr.Dataset(
        {"distance_bounds": (("distance", "bounds"), np.stack([edges[:-1], edges[1:]], 1))},
        coords={
            "pixel": ("pixel", [name for name, _, _ in pixels], {"long_name": "explained pixel"}),
            "lag": ("lag", np.arange(-record.training_samples.start, 0, dtype=np.int32), LAG),
            "distance": (
                "distance",
                (edges[:-1] + edges[1:]) / 2,
                {
                    "long_name": "great-circle distance from the explained pixel",
                    "units": "km",
                    "bounds": "distance_bounds",
                },
            ),
            "block_samples": (
                "bootstrap_block",
                np.array([len(block) for block in blocks], np.int32),
                {"long_name": "number of samples in the bootstrap block", "units": "1"},
            ),
            "first_sample": (
                "bootstrap_block",
                np.array([block[0] for block in blocks], np.int32),
                {"long_name": "number of the first sample of the bootstrap block", "units": "1"},
            ),
        },
    )
    for at, (axis, index, attributes) in enumerate(AXES, start=1):
        places = np.array([pixel[at] for pixel in pixels], np.int32)
        index_attributes = {"long_name": f"index of the pixel along {axis}", "units": "1"}
        dataset = dataset.assign_coords(
            {
                f"pixel_{index}": ("pixel", places, index_attributes),
                f"pixel_{axis}": ("pixel", record.statistics[axis].values[places], attributes),
            }
        )
    return dataset
