"""The ablation experiment: what a forecast loses when a box of its input is replaced, and how far away it loses it."""

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sealiency.attribution.graph.reach import find_reach
from sealiency.config.attribution import Ablation
from sealiency.conventions import LAG, describe_flags
from sealiency.data.places import EARTH_RADIUS, find_open_box, measure_distance_from
from sealiency.data.prepare import PreparedRecord
from sealiency.data.reading.grid import crop_region
from sealiency.data.samples import SampleWindows, Split, choose_validation_sample
from sealiency.emulators.emulator import Emulator
from sealiency.errors import SealiencyError

SAMPLES_AT_ONCE = 32


def find_box(settings: Ablation, record: PreparedRecord) -> np.ndarray:
    """Return the ablated box as bool of shape (lat, lon); without one in the settings, that about the open-sea pixel.

    Raises
    ------
    SealiencyError
        If the box lies outside the region or holds no ocean.
    """
    if settings.region is None:
        return find_open_box(record.ocean.numpy())
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
    """Replace a box of the input in some months and compare the forecasts.

    What takes the place of the box is, by `ablation.replacement`,

    - zero: the climatology that the anomalies were taken from;
    - climatology: the mean anomaly of the same calendar month over the training months, cell by cell;
    - noise: the box in the same months of a training sample that is drawn at random for each validation sample. A pattern
      that did occur, so the network is not shown what it never saw; it shares no raw month with the sample. What it
      keeps is the box's own distribution, what it loses is the box's relation to the rest of the input. The draw depends on
      `ablation.seed` and on the number of the sample alone.

    Parameters
    ----------
    emulator, record, split
        Emulator, prepared record and samples of its lead.
    settings
        Box, months, replacement and sample.

    Returns
    -------
    xarray.Dataset
        Of the configured sample: `ablated_input(lag, lat, lon)`, `forecast`, `ablated_forecast` and their `difference`
        (lat, lon); `mean_absolute_difference(lat, lon)` over all validation samples; `ablated(lat, lon)`, the box.
        Float32, in standardised units.
        `decay(distance)`, float64: the mean over validation samples and ocean cells, weighted by area, of the absolute
        difference by great-circle distance from the nearest ablated ocean cell, km, in bins one cell wide (but for the
        first, half as wide, which holds the box); NaN where a bin has none of the `decay_cells`.
        `reach(lat, lon)`: the cells whose forecast can depend on the box by the network's structure; the attribute
        `zero_beyond_km` is the distance of the farthest of them.

    Raises
    ------
    SealiencyError
        If the sample does not exist, the box lies outside the region or holds no ocean, the training months lack a calendar
        month that is asked for, or a forecast changes where the network's structure does not allow it.
    """
    emulator.check_record(record.sha256)
    sample = choose_validation_sample(split, settings.sample, "ablation.sample")
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    box, ocean = find_box(settings, record), record.ocean.numpy()
    lags = list(range(-emulator.history, 0))
    months = lags if settings.months == "all" else settings.months
    taken = torch.zeros(emulator.history, *box.shape, dtype=torch.bool)
    for month in months:
        taken[lags.index(month)] = torch.from_numpy(box)
    replace = _choose_replacement(settings, record, windows, split)
    # Land is zero before and after.
    reach = find_reach(emulator.network, emulator.history, box & ocean)

    def compare(samples: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inputs = windows.inputs(samples)
        ablated = torch.where(taken, replace(samples), inputs)
        return ablated.numpy(), emulator.forecast(inputs).numpy(), emulator.forecast(ablated).numpy()

    total = np.zeros(box.shape)
    for start in range(split.validation.start, split.validation.stop, SAMPLES_AT_ONCE):
        _, before, after = compare(range(start, min(start + SAMPLES_AT_ONCE, split.validation.stop)))
        total += np.abs(after.astype(np.float64) - before).sum(0)
    # Exactly zero, with no room for rounding: a cell that sees the same input is the same sum in the same order twice.
    if (beyond := ~reach & (total != 0)).any():
        row, column = np.argwhere(beyond)[0]
        raise SealiencyError(
            f"ablation of lead {emulator.lead}: the forecast at row {row}, column {column} changes by "
            f"{total[row, column] / len(split.validation):.3g} on average, but the network reaches no farther than its "
            "structure allows; this is a fault of the network or of find_reach"
        )
    difference = total / len(split.validation)
    distance = measure_distance_from(box & ocean, record.lat, record.lon)
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
                difference.astype(np.float32),
                {"long_name": "mean over validation samples of the absolute difference", **units},
            ),
            "ablated": (axes, box.astype(np.int8), describe_flags("ablated box", "kept", "ablated")),
            "reach": (
                axes,
                reach.astype(np.int8),
                describe_flags(
                    "cells whose forecast can depend on the box by the structure of the network", "beyond", "within"
                ),
            ),
            "ocean": record.statistics["ocean"],
        },
        coords={
            "lag": ("lag", np.array(lags, dtype=np.int32), LAG),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={
            "title": f"Ablation experiment with the lead-{emulator.lead} emulator",
            "lead": emulator.lead,
            "months": "all" if settings.months == "all" else ", ".join(str(month) for month in sorted(months)),
            "replacement": settings.replacement,
            "sample": sample,
            "target_month": record.months[sample + emulator.lead - 1],
            "zero_beyond_km": float(distance[reach].max()),
            "model_sha256": emulator.model_sha256,
        },
    )
    if settings.replacement == "noise":
        dataset.attrs |= {
            "noise_seed": settings.seed,
            "noise_sample": _draw_donor(settings.seed, sample, split.training),
        }
    return dataset.merge(_measure_decay(difference, distance, ocean, record.lat, record.lon), combine_attrs="override")


def _choose_replacement(
    settings: Ablation, record: PreparedRecord, windows: SampleWindows, split: Split
) -> Callable[[range], Tensor]:
    """Return a function of samples that gives what replaces their inputs, of their shape or one that broadcasts to it."""
    if settings.replacement == "climatology":
        calendar = np.array([int(month[-2:]) - 1 for month in record.months])
        # The months up to the last input of the last training sample.
        means = _average_by_month(record.anomaly[: record.training_samples.stop - 1], calendar)
        return lambda samples: means[calendar[np.asarray(samples)[:, None] + windows.lags]]
    if settings.replacement == "noise":
        return lambda samples: windows.inputs(
            [_draw_donor(settings.seed, sample, split.training) for sample in samples]
        )
    return lambda samples: torch.zeros(())


def _average_by_month(anomaly: Tensor, calendar: np.ndarray) -> Tensor:
    """Return the mean of each calendar month, float32 of shape (12, lat, lon)."""
    calendar = calendar[: len(anomaly)]
    if missing := sorted(set(range(12)) - set(calendar.tolist())):
        raise SealiencyError(
            f"ablation.replacement = climatology: the {len(anomaly)} training months lack calendar month(s) "
            f"{[month + 1 for month in missing]}; raise samples.training, or choose zero or noise"
        )
    means = [anomaly[torch.from_numpy(calendar == month)].double().mean(0) for month in range(12)]
    return torch.stack(means).float()


def _draw_donor(seed: int, sample: int, training: range) -> int:
    """Return the training sample whose box replaces that of a sample, the same whatever samples it is drawn with."""
    return training[int(np.random.default_rng([seed, sample]).integers(len(training)))]


def _measure_decay(
    difference: np.ndarray, distance: np.ndarray, ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray
) -> xr.Dataset:
    """Return the mean difference over ocean cells by distance, with its bins; fields of shape (lat, lon)."""
    # Edges lie halfway between the cells of a column, which whole cells of distance would put now here, now there.
    step = lat[1] - lat[0] if len(lat) > 1 else (lon[1] - lon[0]) * np.cos(np.deg2rad(lat[0]))
    cell = EARTH_RADIUS * np.deg2rad(float(step))
    bins = np.floor(distance[ocean] / cell + 0.5).astype(np.int64)
    edges = np.concatenate([[0.0], (np.arange(bins.max() + 1) + 0.5) * cell])
    area = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], ocean.shape)[ocean]
    total, weight = np.bincount(bins, area * difference[ocean]), np.bincount(bins, area)
    decay = np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)
    return xr.Dataset(
        {
            "decay": (
                "distance",
                decay,
                {
                    "long_name": "mean over validation samples and ocean cells of the absolute difference",
                    "cell_methods": "distance: mean (over ocean cells, weighted by area)",
                    "units": "1",
                },
            ),
            "decay_cells": (
                "distance",
                np.bincount(bins).astype(np.int32),
                {"long_name": "ocean cells in the bin", "units": "1"},
            ),
            "distance_bounds": (("distance", "bounds"), np.column_stack([edges[:-1], edges[1:]])),
        },
        coords={
            "distance": (
                "distance",
                (edges[:-1] + edges[1:]) / 2,
                {
                    "long_name": "great-circle distance from the nearest ablated cell",
                    "units": "km",
                    "bounds": "distance_bounds",
                },
            )
        },
    )
