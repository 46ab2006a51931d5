"""The ablation experiment: what a forecast loses when a box of its input is replaced by the climatology."""

import numpy as np
import torch
import xarray as xr

from sealiency.config.attribution import Ablation
from sealiency.data.prepare import PreparedRecord
from sealiency.data.reading import crop_region
from sealiency.data.samples import SampleWindows, Split, choose_validation_sample
from sealiency.errors import SealiencyError
from sealiency.models.emulator import Emulator

SAMPLES_AT_ONCE = 32


def find_box(settings: Ablation, record: PreparedRecord) -> np.ndarray:
    """Return the ablated box as bool of shape (lat, lon).

    Raises
    ------
    SealiencyError
        If the box lies outside the region or holds no ocean.
    """
    cells = xr.DataArray(
        np.arange(record.ocean.numel()).reshape(record.ocean.shape),
        dims=("lat", "lon"),
        coords={"lat": record.lat, "lon": record.lon},
    )
    box = np.isin(cells.values, crop_region(cells, settings.region, "prepared record", "ablation.region").values)
    if not (box & record.ocean.numpy()).any():
        raise SealiencyError(f"ablation.region {settings.region} holds no ocean cell; choose another box")
    return box


def ablate_region(emulator: Emulator, record: PreparedRecord, split: Split, settings: Ablation) -> xr.Dataset:
    """Set a box of the input to zero in some months and compare the forecasts.

    Parameters
    ----------
    emulator, record, split
        Emulator, prepared record and samples of its lead.
    settings
        Box, months and sample.

    Returns
    -------
    xarray.Dataset
        Of the configured sample: `ablated_input(lag, lat, lon)`, `forecast`, `ablated_forecast` and their `difference`
        (lat, lon); `mean_absolute_difference(lat, lon)` over all validation samples; `ablated(lat, lon)`, the box.
        Float32, in standardised units.

    Raises
    ------
    SealiencyError
        If the sample does not exist, or the box lies outside the region or holds no ocean.
    """
    emulator.check_record(record.sha256)
    sample = choose_validation_sample(split, settings.sample, "ablation.sample")
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    box = find_box(settings, record)
    lags = list(range(-emulator.history, 0))
    months = lags if settings.months == "all" else settings.months
    kept = torch.ones(emulator.history, *box.shape)
    for month in months:
        kept[lags.index(month), torch.from_numpy(box)] = 0

    def compare(samples: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inputs = windows.inputs(samples)
        ablated = inputs * kept
        return ablated.numpy(), emulator.forecast(inputs).numpy(), emulator.forecast(ablated).numpy()

    total = np.zeros(box.shape)
    for start in range(split.validation.start, split.validation.stop, SAMPLES_AT_ONCE):
        _, before, after = compare(range(start, min(start + SAMPLES_AT_ONCE, split.validation.stop)))
        total += np.abs(after.astype(np.float64) - before).sum(0)
    ablated_input, forecast, ablated_forecast = (values[0] for values in compare(range(sample, sample + 1)))
    units, axes = {"units": "1"}, ("lat", "lon")
    dataset = xr.Dataset(
        {
            "ablated_input": (("lag", *axes), ablated_input, {"long_name": "input anomaly after ablation", **units}),
            "forecast": (axes, forecast, {"long_name": "forecast anomaly, not masked", **units}),
            "ablated_forecast": (axes, ablated_forecast, {"long_name": "forecast anomaly after ablation", **units}),
            "difference": (axes, ablated_forecast - forecast, {"long_name": "forecast after minus before", **units}),
            "mean_absolute_difference": (
                axes,
                (total / len(split.validation)).astype(np.float32),
                {"long_name": "mean over validation samples of the absolute difference", **units},
            ),
            "ablated": (axes, box.astype(np.int8), {"long_name": "ablated box", **units}),
            "ocean": record.statistics["ocean"],
        },
        coords={
            "lag": np.array(lags, dtype=np.int32),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": f"Ablation experiment with the lead-{emulator.lead} emulator",
            "lead": emulator.lead,
            "months": "all" if settings.months == "all" else ", ".join(str(month) for month in sorted(months)),
            "sample": sample,
            "target_month": record.months[sample + emulator.lead - 1],
            "model_sha256": emulator.model_sha256,
        },
    )
    dataset["lag"].attrs = {"long_name": "month of input relative to the first month after it", "units": "month"}
    return dataset
