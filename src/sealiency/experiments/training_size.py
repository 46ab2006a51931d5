"""How skill, and the agreement of attributions with the known answer, grow with the number of training samples.

The claim form is that of Kerzendorf et al. (2021, The Astrophysical Journal Letters 910): the error of an emulator against the
intrinsic limit.
"""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from sealiency.attribution.attributor import collect_fields
from sealiency.attribution.explanation import make_attributor
from sealiency.config.attribution import Attribution
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.experiments.fidelity import SAMPLES, correlate
from sealiency.experiments.scales import SCALES, aggregate
from sealiency.worlds.ocean_physics import Floats

EXPLAINED = ("emulator", "ridge")


def measure_training_size(
    emulators: Sequence[Emulator],
    skill: Sequence[xr.Dataset],
    record: PreparedRecord,
    ideal: Floats,
    pixels: Sequence[tuple[str, int, int]],
    attribution: Attribution,
) -> xr.Dataset:
    """Collect the skill of emulators of one lead, and compare their attributions with those of the best linear predictor.

    Parameters
    ----------
    emulators
        Emulators by number of training samples and seed: every number with every seed.
    skill
        The skill of each emulator.
    record
        The prepared record.
    ideal
        Weights of the best linear predictor of each pixel, of shape (pixel, lag, lat, lon).
    pixels
        Name, row and column of each pixel.
    attribution
        How attributions are made.

    Returns
    -------
    xarray.Dataset
        `rmse` (size, seed, period, predictor), standardised units; `agreement` (size, seed, explained, scale), float64: Pearson's
        correlation of the attributions of the emulator, and of the ridge regression fitted on the same samples, with those of
        the best linear predictor, once both are summed over boxes of `cells` cells a side and runs of `months` months, where
        there is sea; the mean over pixels and samples.
    """
    sizes = sorted({len(emulator.training_samples) for emulator in emulators})
    seeds = sorted({emulator.seed for emulator in emulators})
    chosen = choose_samples(record.training_samples, min(SAMPLES, len(record.training_samples)))
    first = emulators[0]
    inputs = SampleWindows(record.anomaly, first.lead, first.history).inputs(chosen)
    wanted = ideal[:, None] * inputs.numpy().astype(np.float64)
    periods, predictors = (skill[0][name].values for name in ("period", "predictor"))
    rmse = np.full((len(sizes), len(seeds), len(periods), len(predictors)), np.nan)
    agreement = np.full((len(sizes), len(seeds), len(EXPLAINED), len(SCALES)), np.nan)
    for emulator, scores in zip(emulators, skill, strict=True):
        at = sizes.index(len(emulator.training_samples)), seeds.index(emulator.seed)
        rmse[at] = scores["rmse_mean"].values
        found = (
            _explain(emulator, record, inputs, pixels, attribution),
            _explain_ridge(emulator, record, inputs, pixels),
        )
        for explained, fields in enumerate(found):
            agreement[(*at, explained)] = _compare(fields, wanted, record.ocean.numpy())
    return xr.Dataset(
        {
            "rmse": (
                ("size", "seed", "period", "predictor"),
                rmse,
                {"long_name": "root mean squared error over samples and ocean cells, weighted by area", "units": "1"},
            ),
            "agreement": (
                ("size", "seed", "explained", "scale"),
                agreement,
                {"long_name": "correlation of attributions with those of the best linear predictor", "units": "1"},
            ),
            "cells": (
                "scale",
                [cells for cells, _ in SCALES],
                {"long_name": "cells along a side of a box", "units": "1"},
            ),
            "months": ("scale", [months for _, months in SCALES], {"long_name": "months of a run", "units": "month"}),
        },
        coords={
            "size": ("size", sizes, {"long_name": "number of training samples", "units": "1"}),
            "seed": ("seed", seeds, {"long_name": "training seed", "units": "1"}),
            "period": skill[0]["period"],
            "predictor": skill[0]["predictor"],
            "explained": ("explained", list(EXPLAINED), {"long_name": "predictor that is explained"}),
        },
        attrs={
            "title": f"Skill and agreement of attributions by the number of training samples, lead {first.lead}",
            "lead": first.lead,
            "method": attribution.method,
            "cell_degrees": abs(float(record.lat[1] - record.lat[0])),
        },
    )


def _explain(
    emulator: Emulator,
    record: PreparedRecord,
    inputs: torch.Tensor,
    pixels: Sequence[tuple[str, int, int]],
    attribution: Attribution,
) -> Floats:
    """Return attributions, of shape (pixel, sample, lag, lat, lon)."""
    flat = [row * inputs.shape[3] + column for _, row, column in pixels]
    attributor = make_attributor(emulator, record, attribution, attribution.method)
    return collect_fields(attributor, inputs, flat).numpy()


def _explain_ridge(
    emulator: Emulator, record: PreparedRecord, inputs: torch.Tensor, pixels: Sequence[tuple[str, int, int]]
) -> Floats:
    """Return the attributions, weight times anomaly, of the ridge regression on each pixel's own months."""
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    fields = np.zeros((len(pixels), *inputs.shape))
    for number, (_, row, column) in enumerate(pixels):
        alone = np.zeros(record.ocean.shape, bool)
        alone[row, column] = True
        ridge = PixelRidge.fit(windows, emulator.training_samples, alone)
        fields[number, :, :, row, column] = ridge.weights[0] * inputs[:, :, row, column].double().numpy()
    return fields


def _compare(found: Floats, wanted: Floats, ocean: np.ndarray) -> list[float]:
    """Return the agreement at each scale, the mean over pixels and samples."""
    agreement = []
    for cells, months in SCALES:
        sea = aggregate(ocean[None].astype(float), cells, 1)[0] > 0
        one, other = (aggregate(fields, cells, months)[..., sea] for fields in (found, wanted))
        pairs = zip(one.reshape(-1, *one.shape[2:]), other.reshape(-1, *other.shape[2:]), strict=True)
        agreement.append(float(np.mean([correlate(*pair) for pair in pairs])))
    return agreement
