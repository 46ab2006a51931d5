"""Which months of history and which neighbours suffice for a forecast: skill of predictors that are given so many and no more."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, Split
from sealiency.emulators.linear.window_ridge import WindowRidge
from sealiency.progress import track

# A choice suffices whose error on validation is within this share of the least of its kind.
TOLERANCE = 0.01


def measure_sufficiency(
    record: PreparedRecord,
    split: Split,
    lead: int,
    history: int,
    months: Sequence[int],
    neighbours: Sequence[int],
    skill: Mapping[tuple[int, int], Sequence[xr.Dataset]],
) -> xr.Dataset:
    """Fit a ridge regression for each choice of months and neighbours, and set the emulators' skill beside.

    Parameters
    ----------
    record
        Prepared record.
    split
        Samples of each period of the lead.
    lead, history
        Lead and months of input.
    months, neighbours
        Numbers of months, and of cells of a square.
    skill
        By months and neighbours, the skill of the emulators that were given as much, one a seed.

    Returns
    -------
    xarray.Dataset
        `ridge` (period, months, neighbours) and `emulator` (seed, period, months, neighbours): root mean squared error over samples
        and ocean cells, weighted by area, standardised units.

    Notes
    -----
    The fewest that suffice (`find_fewest`) are chosen on validation.
    """
    windows, ocean = SampleWindows(record.anomaly, lead, history), record.ocean.numpy()
    area = record.area
    first = next(iter(skill.values()))
    periods = [str(name) for name in first[0]["period"].values]
    seeds = [int(scores.attrs["seed"]) for scores in first]
    shape = (len(periods), len(months), len(neighbours))
    ridge, emulator = np.zeros(shape), np.zeros((len(seeds), *shape))
    choices = [(row, column) for row in range(len(months)) for column in range(len(neighbours))]
    for row, column in track(choices, "fitting regressions", len(choices), "regression"):
        few, cells = months[row], neighbours[column]
        model = WindowRidge.fit(windows, split.training, ocean, few, round(cells**0.5))
        for at, period in enumerate(periods):
            samples = getattr(split, period)
            errors = model.forecast(samples) - windows.targets(samples).numpy()[:, ocean]
            ridge[at, row, column] = np.sqrt(np.average((errors**2).mean(0), weights=area))
            for seed, scores in enumerate(skill[few, cells]):
                emulator[seed, at, row, column] = float(scores["rmse_mean"].sel(period=period, predictor="emulator"))
    what = "root mean squared error over samples and ocean cells, weighted by area, of"
    axes = ("period", "months", "neighbours")
    return xr.Dataset(
        {
            "ridge": (axes, ridge, {"long_name": f"{what} ridge regression", "units": "1"}),
            "emulator": (("seed", *axes), emulator, {"long_name": f"{what} the emulator", "units": "1"}),
        },
        coords={
            "seed": ("seed", seeds, {"long_name": "training seed", "units": "1"}),
            "period": ("period", periods, {"long_name": "period of the samples"}),
            "months": ("months", list(months), {"long_name": "months of history, the last ones", "units": "1"}),
            "neighbours": ("neighbours", list(neighbours), {"long_name": "cells of the square", "units": "1"}),
        },
        attrs={
            "title": f"Skill by months of history and neighbours, lead {lead}",
            "lead": lead,
            "tolerance": TOLERANCE,
        },
    )


def find_fewest(rmse: xr.DataArray) -> tuple[int, int]:
    """Return the fewest months, and with them the fewest neighbours, that suffice.

    Parameters
    ----------
    rmse
        Error on validation of one kind of predictor, of shape (months, neighbours).
    """
    enough = rmse <= (1 + TOLERANCE) * rmse.min()
    at_months = int(np.argmax(enough.any("neighbours").values))
    at_cells = int(np.argmax(enough.isel(months=at_months).values))
    return int(rmse["months"][at_months]), int(rmse["neighbours"][at_cells])
