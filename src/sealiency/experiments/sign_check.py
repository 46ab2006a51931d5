"""What the sign of an attribution means, tested by taking inputs away.

The reading of Xu et al. (2021): a positive attribution raises the output and a negative one lowers it, whatever the sign of
the input. So without the inputs of positive attribution the output must be lower, without those of negative attribution
higher.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sealiency.attribution.attributor import Attributor
from sealiency.attribution.completeness import check_completeness, measure_completeness
from sealiency.attribution.explanation import make_attributor
from sealiency.claims.bootstrap import draw_blocks
from sealiency.config.attribution import Attribution, SignCheck
from sealiency.conventions import LATITUDE, LONGITUDE
from sealiency.data.places import list_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, Split, choose_samples
from sealiency.emulators.emulator import Emulator

# Name: sign of the input, sign of the attribution.
COMBINATIONS = {"x>0, a>0": (1, 1), "x<0, a>0": (-1, 1), "x>0, a<0": (1, -1), "x<0, a<0": (-1, -1)}
DRAWS = 1000
BOOTSTRAP_SEED = 0


def check_signs(
    emulator: Emulator, record: PreparedRecord, split: Split, settings: SignCheck, attribution: Attribution
) -> xr.Dataset:
    """Set the inputs of each combination of signs to zero, forecast again, and compare with what the signs say.

    Attributions are relative to the zero baseline, whatever `attribution.baseline_samples` says, because zero is what takes
    the inputs' place.

    Parameters
    ----------
    emulator, record, split
        Emulator, prepared record and samples of its lead.
    settings
        How many samples are tested.
    attribution
        How attributions are made; `pixels` is a list.

    Returns
    -------
    xarray.Dataset
        By combination of the signs of input x and attribution a, and by pixel: `actual_change` and `predicted_change`
        (combination, pixel, sample), the change of the forecast without these inputs and minus the sum of their
        attributions, NaN where a sample has no such input; their means over samples, `mean_actual_change` and
        `mean_predicted_change`; `tested`, the number of samples that have such inputs; `fraction` of these in which the
        forecast falls (a > 0) or rises (a < 0), and the 95 % interval `fraction_low`, `fraction_high` of the moving-block
        bootstrap over samples, which has no width where all samples or none move so. Float64, changes in
        standardised units.

    Raises
    ------
    SealiencyError
        If a pixel does not exist, or the method does not serve the network or breaks completeness.
    """
    samples = choose_samples(split.validation, min(settings.samples, len(split.validation)))
    inputs = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(samples)
    ocean = record.ocean.numpy()
    pixels = list_pixels(attribution, ocean, record.lat, record.lon)
    attribution = attribution.model_copy(update={"baseline_samples": 0})
    attributor = make_attributor(emulator, record, attribution, attribution.method)
    flat = [row * ocean.shape[1] + column for _, row, column in pixels]
    named = [f"{name} (row {row}, column {column})" for name, row, column in pixels]
    actual, predicted = remove_inputs(attributor, inputs, flat, samples, named, emulator.lead)
    block = choose_run(samples, emulator.history + record.filter_width)
    fraction, low, high = measure_agreement(actual, block)
    tested = np.isfinite(actual).sum(2)
    units = {"units": "1"}
    axes = ("combination", "pixel")

    def average(values: np.ndarray) -> np.ndarray:
        return np.divide(np.nansum(values, axis=2), tested, out=np.full(tested.shape, np.nan), where=tested > 0)

    return xr.Dataset(
        {
            "actual_change": (
                (*axes, "sample"),
                actual,
                {"long_name": "change of the forecast without the inputs of a combination", **units},
            ),
            "predicted_change": (
                (*axes, "sample"),
                predicted,
                {"long_name": "minus the summed attributions of the inputs of a combination", **units},
            ),
            "mean_actual_change": (axes, average(actual), {"long_name": "mean over samples of actual_change", **units}),
            "mean_predicted_change": (
                axes,
                average(predicted),
                {"long_name": "mean over samples of predicted_change", **units},
            ),
            "tested": (axes, tested.astype(np.int32), {"long_name": "samples with inputs of a combination", **units}),
            "fraction": (
                axes,
                fraction,
                {"long_name": "fraction of samples in which the forecast moves as the attribution says", **units},
            ),
            "fraction_low": (axes, low, {"long_name": "lower end of the 95 % interval of the fraction", **units}),
            "fraction_high": (axes, high, {"long_name": "upper end of the 95 % interval of the fraction", **units}),
            "pixel_lat": ("pixel", record.lat[[row for _, row, _ in pixels]], LATITUDE),
            "pixel_lon": ("pixel", record.lon[[column for _, _, column in pixels]], LONGITUDE),
        },
        coords={
            "combination": ("combination", list(COMBINATIONS), {"long_name": "signs of input x and attribution a"}),
            "pixel": ("pixel", [name for name, _, _ in pixels], {"long_name": "explained pixel"}),
            "sample": ("sample", samples, {"long_name": "number of the validation sample", "units": "1"}),
        },
        attrs={
            "title": f"Signs of the attributions of the lead-{emulator.lead} emulator, tested by taking inputs away",
            "lead": emulator.lead,
            "method": attribution.method,
            "baseline": attributor.baseline_name,
            "precision": attributor.precision,
            "bootstrap_block": block,
            "bootstrap_draws": DRAWS,
            "bootstrap_seed": BOOTSTRAP_SEED,
            "model_sha256": emulator.model_sha256,
        },
    )


def choose_run(samples: Sequence[int], months: int) -> int:
    """Return how many samples on end share months of input, so many months long each: an eighth of all of them at most."""
    spacing = (samples[-1] - samples[0]) / max(1, len(samples) - 1)
    return max(1, min(len(samples) // 8, math.ceil(months / max(spacing, 1))))


def remove_inputs(
    attributor: Attributor,
    inputs: Tensor,
    pixels: Sequence[int],
    samples: Sequence[int],
    names: Sequence[str],
    lead: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute, set the inputs of each combination of signs to zero, and forecast again.

    Parameters
    ----------
    attributor
        Method on a network, with a zero baseline.
    inputs
        Inputs of shape (sample, lag, lat, lon).
    pixels
        Output pixels, as positions in the flattened grid.
    samples, names, lead
        Numbers of the samples, pixels in words, and lead, for the error.

    Returns
    -------
    tuple of numpy.ndarray
        Actual change of the output, and minus the sum of the removed attributions, float64 of shape (combination, pixel,
        sample); NaN where a sample has no input of the combination.

    Raises
    ------
    SealiencyError
        If the attributions break completeness.
    """
    actual = np.full((len(COMBINATIONS), len(pixels), len(inputs)), np.nan)
    predicted = actual.copy()
    before = attributor.output_difference(inputs)[:, list(pixels)].double().cpu().numpy()
    for tile in attributor.tiles(inputs, pixels):
        batch, attributions = inputs[tile.samples], tile.attributions.double().cpu()
        total, magnitude = (values.sum((2, 3, 4)).numpy() for values in (attributions, attributions.abs()))
        check_completeness(
            measure_completeness(total, magnitude, before[tile.samples, tile.pixels]),
            attributor.tolerance,
            attributor.mend,
            list(samples[tile.samples]),
            [names[at] for at in tile.pixels],
            lead,
        )
        x = tile.window.cut(batch).sign()
        for at, pixel in enumerate(tile.pixels):
            a = attributions[:, at]
            chosen = torch.stack([(x == sign) & (a.sign() == way) for sign, way in COMBINATIONS.values()])
            without = batch.repeat(len(chosen), 1, 1, 1)
            tile.window.cut(without)[chosen.flatten(0, 1)] = 0
            after = attributor.output_difference(without)[:, pixels[pixel]].double().cpu().numpy()
            empty = ~chosen.any(dim=(2, 3, 4)).numpy()
            change = after.reshape(empty.shape) - before[tile.samples, pixel]
            removed = -(a * chosen).sum((2, 3, 4)).numpy()
            actual[:, pixel, tile.samples] = np.where(empty, np.nan, change)
            predicted[:, pixel, tile.samples] = np.where(empty, np.nan, removed)
    return actual, predicted


def measure_agreement(actual: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the fraction of samples in which the output moves as the attribution's sign says, and its interval.

    Parameters
    ----------
    actual
        Change of the output, of shape (combination, pixel, sample) with combinations in the order of `COMBINATIONS`; NaN
        where there is none.
    block
        Consecutive samples that the bootstrap draws together.

    Returns
    -------
    tuple of numpy.ndarray
        Fraction, and lower and upper end of its 95 % interval, float64 of shape (combination, pixel); NaN where no sample
        has a change. An output that does not move does not move as it should.
    """
    way = np.array([way for _, way in COMBINATIONS.values()])[:, None, None]
    tested, expected = np.isfinite(actual), actual * way < 0

    def share(samples: np.ndarray) -> np.ndarray:
        right, count = (values[..., samples].sum(-1, dtype=float) for values in (expected, tested))
        return np.divide(right, count, out=np.full(count.shape, np.nan), where=count > 0)

    count = actual.shape[2]
    # A draw may hold none of few samples that have such inputs.
    drawn = share(draw_blocks(count, block, DRAWS, BOOTSTRAP_SEED))
    some = np.isfinite(drawn).any(-1)
    low, high = np.full((2, *some.shape), np.nan)
    low[some], high[some] = np.nanpercentile(drawn[some], [2.5, 97.5], axis=-1)
    return share(np.arange(count)), low, high
