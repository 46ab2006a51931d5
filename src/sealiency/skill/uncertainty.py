"""How far the variance that an emulator forecasts is that of its errors, and where it comes from.

The idea of explaining the uncertainty beside the answer is that of U-CAM (Patro et al. 2019, ICCV).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
import xarray as xr
from scipy.stats import norm

from sealiency.attribution.attributor import collect_fields
from sealiency.attribution.explanation import make_attributor
from sealiency.config.attribution import Attribution
from sealiency.conventions import LAG, LATITUDE, LONGITUDE
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, Split, choose_samples
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.linear.predictor import split_training, take_targets
from sealiency.emulators.networks.forecaster import Forecaster
from sealiency.worlds.ocean_physics import Floats

# Classes of the forecast spread, each with as many forecasts, whose errors are set beside it.
CLASSES = 10
# Training samples whose variance is explained.
EXPLAINED_SAMPLES = 24
SAMPLES_AT_ONCE = 64
PREDICTORS = ("emulator", "ridge", "climatology")


def score_normal(mean: Floats, spread: Floats, observed: Floats) -> Floats:
    """Return the continuous ranked probability score of normal forecasts (Gneiting et al. 2005, Monthly Weather Review 133).

    Parameters
    ----------
    mean, spread, observed
        Means, standard deviations and observations, of shapes that broadcast, in one unit.
    """
    z = (observed - mean) / spread
    return spread * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))


def evaluate_uncertainty(
    emulator: Emulator,
    record: PreparedRecord,
    split: Split,
    pixels: Sequence[tuple[str, int, int]],
    attribution: Attribution,
) -> xr.Dataset:
    """Compare the forecast spread with the errors, and attribute the variance to the input.

    Parameters
    ----------
    emulator
        Emulator whose network has uncertainty.
    record
        Prepared record.
    split
        Samples of each period of its lead.
    pixels
        Name, row and column of each pixel whose variance is explained.
    attribution
        How it is explained.

    Returns
    -------
    xarray.Dataset
        `spread` and `error` (period, lat, lon): roots of the mean forecast variance and of the mean squared error over samples, NaN on
        land; `ratio` (period), the same over samples and ocean cells weighted by area, the former by the latter; `class_spread`
        and `class_error` (period, class), over forecasts of similar spread; `coverage` (period, width), the share of
        errors within 1 and 2 spreads; `crps` (period, predictor), the continuous ranked probability score, of the ridge
        regression with the errors of each cell on samples it was not fitted on as its spread, and of climatology;
        `spread_by_place` and `spread_by_sample`, the standard deviations of log variance over cells and over samples of the last
        period;
        `variance_attribution` (pixel, lag, lat, lon), the mean over training samples of the absolute attributions of the
        logarithm of the variance. Standardised units.
    """
    windows, ocean = SampleWindows(record.anomaly, emulator.lead, emulator.history), record.ocean.numpy()
    area = record.area
    rivals = _fit_rivals(windows, emulator.training_samples, ocean)
    periods = {name: getattr(split, name) for name in ("validation", "test") if len(getattr(split, name))}
    maps = {name: np.full((len(periods), *ocean.shape), np.nan, np.float32) for name in ("spread", "error")}
    classes = {name: np.zeros((len(periods), CLASSES)) for name in ("class_spread", "class_error")}
    ratio, coverage, crps = (
        np.zeros(len(periods)),
        np.zeros((len(periods), 2)),
        np.zeros((len(periods), len(PREDICTORS))),
    )
    by_place = by_sample = math.nan
    for at, samples in enumerate(periods.values()):
        observed = take_targets(windows, ocean, samples)
        mean, log_variance = _forecast(emulator, windows, samples, ocean)
        variance, squared = np.exp(log_variance), (mean - observed) ** 2
        maps["spread"][at, ocean], maps["error"][at, ocean] = np.sqrt(variance.mean(0)), np.sqrt(squared.mean(0))
        ratio[at] = math.sqrt(np.average(variance.mean(0), weights=area) / np.average(squared.mean(0), weights=area))
        order = np.argsort(variance, axis=None)
        for number, members in enumerate(np.array_split(order, CLASSES)):
            classes["class_spread"][at, number] = math.sqrt(variance.ravel()[members].mean())
            classes["class_error"][at, number] = math.sqrt(squared.ravel()[members].mean())
        weights = np.broadcast_to(area, squared.shape)
        coverage[at] = [np.average(squared <= width**2 * variance, weights=weights) for width in (1, 2)]
        forecasts = {"emulator": (mean, np.sqrt(variance))}
        forecasts |= {name: (forecast(samples), spread) for name, (forecast, spread) in rivals.items()}
        for rank, name in enumerate(PREDICTORS):
            crps[at, rank] = np.average(score_normal(*forecasts[name], observed), weights=weights)
        by_place, by_sample = float(log_variance.mean(0).std()), float(log_variance.std(0).mean())
    dataset = xr.Dataset(
        {
            "spread": (("period", "lat", "lon"), maps["spread"], _describe("root of the mean forecast variance")),
            "error": (("period", "lat", "lon"), maps["error"], _describe("root mean squared error")),
            "ratio": (("period",), ratio, _describe("forecast spread by root mean squared error")),
            "class_spread": (("period", "class"), classes["class_spread"], _describe("spread of a class of forecasts")),
            "class_error": (("period", "class"), classes["class_error"], _describe("error of a class of forecasts")),
            "coverage": (("period", "width"), coverage, _describe("share of errors within so many spreads")),
            "crps": (("period", "predictor"), crps, _describe("continuous ranked probability score")),
            "spread_by_place": ((), by_place, _describe("standard deviation over cells of the mean log variance")),
            "spread_by_sample": ((), by_sample, _describe("mean standard deviation over samples of log variance")),
        },
        coords={
            "period": ("period", list(periods), {"long_name": "period of the samples"}),
            "class": ("class", np.arange(CLASSES), _describe("class of forecasts, by rising spread")),
            "width": ("width", [1, 2], _describe("spreads")),
            "predictor": ("predictor", list(PREDICTORS), {"long_name": "predictor"}),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={
            "title": f"Uncertainty of the lead-{emulator.lead} emulator",
            "lead": emulator.lead,
            "model_sha256": emulator.model_sha256,
        },
    )
    dataset["ocean"] = record.statistics["ocean"]
    return dataset.merge(_explain(emulator, record, pixels, attribution))


def _describe(what: str) -> dict[str, str]:
    return {"long_name": what, "units": "1"}


def _forecast(emulator: Emulator, windows: SampleWindows, samples: range, ocean: np.ndarray) -> tuple[Floats, Floats]:
    """Return forecasts and logarithms of variances, of shape (sample, cell)."""
    found = []
    with torch.inference_mode():
        for start in range(samples.start, samples.stop, SAMPLES_AT_ONCE):
            both = emulator.network.forecast_both(
                windows.inputs(range(start, min(start + SAMPLES_AT_ONCE, samples.stop)))
            )
            found.append([part[:, 0].double().numpy()[:, ocean] for part in both if part is not None])
    mean, log_variance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return mean, log_variance


def _fit_rivals(windows: SampleWindows, training: range, ocean: np.ndarray) -> dict:
    """Return what forecasts, and the spread, of the rivals by name."""
    fitted, held_out = split_training(windows, training)
    ridge = PixelRidge.fit(windows, training, ocean)
    tried = PixelRidge.fit_with(windows, fitted, ocean, ridge.penalty)
    missed = tried.forecast(held_out) - take_targets(windows, ocean, held_out)
    targets = take_targets(windows, ocean, training)
    average, deviation = targets.mean(0), targets.std(0)
    # A cell under ice may never have missed.
    least = 1e-6
    return {
        "ridge": (ridge.forecast, np.maximum(np.sqrt((missed**2).mean(0)), least)),
        "climatology": (
            lambda samples: np.broadcast_to(average, (len(samples), len(average))),
            np.maximum(deviation, least),
        ),
    }


def _explain(
    emulator: Emulator, record: PreparedRecord, pixels: Sequence[tuple[str, int, int]], attribution: Attribution
) -> xr.Dataset:
    variance = replace(emulator, network=cast("Forecaster", emulator.network.take_part("variance")))
    chosen = choose_samples(record.training_samples, min(EXPLAINED_SAMPLES, len(record.training_samples)))
    inputs = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(chosen)
    flat = [row * record.ocean.shape[1] + column for _, row, column in pixels]
    attributor = make_attributor(variance, record, attribution, attribution.method)
    means = collect_fields(attributor, inputs, flat).abs().mean(1).numpy()
    names, pixel_rows, pixel_columns = zip(*pixels, strict=True)
    return xr.Dataset(
        {
            "variance_attribution": (
                ("pixel", "lag", "lat", "lon"),
                means.astype(np.float32),
                _describe("mean absolute attribution of log variance"),
            ),
            "pixel_lat": ("pixel", record.lat[list(pixel_rows)], LATITUDE),
            "pixel_lon": ("pixel", record.lon[list(pixel_columns)], LONGITUDE),
        },
        coords={
            "pixel": ("pixel", list(names), {"long_name": "explained pixel"}),
            "lag": ("lag", np.arange(-emulator.history, 0, dtype=np.int32), LAG),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
    )
