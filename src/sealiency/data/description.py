"""How the prepared record is described in its file: its variables with their CF attributes, and its global attributes."""

import json

import numpy as np
import xarray as xr

from sealiency.config.data import Data
from sealiency.conventions import (
    LATITUDE,
    LEAP_SECOND_CALENDARS,
    LONGITUDE,
    TEMPERATURE,
    TEMPERATURE_DIFFERENCE,
    describe_flags,
)
from sealiency.data.samples import count_training_months
from sealiency.data.statistics import Statistics
from sealiency.provenance import describe_file

ANOMALY = {
    "long_name": "standardised anomaly of filtered sea surface temperature",
    "units": "1",
    "cell_methods": "area: mean where sea time: mean",
}


def describe_statistics(statistics: Statistics, ocean: xr.DataArray, time: xr.DataArray) -> xr.Dataset:
    """Return everything but the anomalies, as it is written."""
    axes = {"time": time, "lat": ocean["lat"], "lon": ocean["lon"]}
    prepared = xr.Dataset(coords={name: (name, axis.values) for name, axis in axes.items()})
    if statistics.trend is not None:
        prepared["trend"] = ("lat", "lon"), statistics.place(statistics.trend)
        prepared["trend"].attrs = {
            "long_name": "linear trend of the training months",
            **TEMPERATURE_DIFFERENCE,
            "units": "degC month-1",
        }
        prepared["trend_reference"] = xr.DataArray(
            -statistics.elapsed[0],
            attrs={"long_name": "months from the first month to where the trend is zero", "units": "1"},
        )
    prepared["ocean"] = ("lat", "lon"), ocean.values.astype(np.int8)
    prepared["ocean"].attrs = {
        "standard_name": "sea_binary_mask",
        **describe_flags("ocean mask: cells with data in every month", "land", "sea"),
    }
    monthly = len(statistics.climatology) > 1
    if monthly:
        prepared["month"] = ("month", np.arange(1, 13), {"long_name": "calendar month", "units": "1"})
        prepared["climatology"] = ("month", "lat", "lon"), statistics.place(statistics.climatology)
    else:
        prepared["climatology"] = ("lat", "lon"), statistics.place(statistics.climatology[0])
    prepared["climatology"].attrs = {
        "long_name": "mean filtered sea surface temperature of the training months",
        "standard_name": "sea_surface_temperature",
        **TEMPERATURE,
        # A cell method names a dimension of the variable, and the months' own is gone.
        **({"cell_methods": "month: mean (over the training months of a calendar month)"} if monthly else {}),
    }
    prepared["scale"] = xr.DataArray(
        statistics.scale,
        attrs={"long_name": "standard deviation of the training anomalies over ocean cells", **TEMPERATURE_DIFFERENCE},
    )
    prepared["lat"].attrs = {**LATITUDE, "axis": "Y"}
    prepared["lon"].attrs = {**LONGITUDE, "axis": "X"}
    prepared["time"].attrs = {"standard_name": "time", "long_name": "time", "axis": "T"}
    if time.values[0].calendar in LEAP_SECOND_CALENDARS:
        prepared["time"].attrs["units_metadata"] = "leap_seconds: unknown"
    return prepared


def encode_time(time: xr.DataArray) -> dict[str, str]:
    """Return how the times are stored: days since the first year."""
    first = time.values[0]
    return {"units": f"days since {first.year:04d}-01-01", "dtype": "float64"}


def describe_record(
    settings: Data, history: int, training: int, prepared: xr.Dataset, inputs: dict[str, str]
) -> dict[str, object]:
    """Return the global attributes.

    Parameters
    ----------
    settings
        Preparation settings.
    history, training
        Months of input of a sample and number of training samples.
    prepared
        The record, of which the months are read.
    inputs
        SHA-256 of each source file, by name.
    """
    time = prepared["time"].values
    training_months = count_training_months(history, training)
    first, last = time[0], time[training_months - 1]
    return {
        "title": "Standardised anomalies of filtered monthly sea surface temperature",
        "filter": settings.filter,
        "filter_width_months": settings.filter_width,
        "region": json.dumps(settings.region.model_dump()),
        "training_period": f"{first.year:04d}-{first.month:02d}..{last.year:04d}-{last.month:02d}",
        "training_months": training_months,
        **describe_file(
            "prepare_record",
            {"data": settings.describe_preparation(), "history": history, "training": training},
            inputs,
        ),
    }
