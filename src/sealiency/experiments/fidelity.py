"""Fidelity of attributions on a world whose best linear predictor is known.

An attribution is faithful as far as it agrees with the ideal weights times the input, and a gradient as far as it agrees with
the ideal weights.
"""

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from sealiency.attribution.explanation import make_attributor
from sealiency.attribution.methods import METHODS
from sealiency.config.attribution import Attribution
from sealiency.conventions import LAG, LATITUDE, LONGITUDE
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.emulators.controls import randomise
from sealiency.emulators.emulator import Emulator, hash_weights
from sealiency.worlds.ocean_physics import Floats
from sealiency.worlds.ocean_truth import RIDGE

LOGGER = logging.getLogger(__name__)
# Integrated gradients take seconds a sample; twelve samples of the demo's training period share no input month.
SAMPLES = 12
# What is compared with the ideal weights themselves, not with the weights times the input.
GRADIENTS = ("guided_backprop", "saliency")
# Occlusion needs more than a thousand forecasts a sample.
MEASURED = tuple(name for name in METHODS if name != "occlusion")
CORE_SHARE = 0.9
BATCH = 32


def name_emulators(
    kinds: Sequence[str], emulators: Sequence[Emulator], record: PreparedRecord, randomise: bool
) -> dict[str, Emulator]:
    """Return emulators by kind and seed, such as `trained_seed0`, with one of random weights beside each where asked for.

    Parameters
    ----------
    kinds, emulators
        Kind of each emulator, such as `trained` or `random`, and the emulators.
    record
        The prepared record they were trained on.
    randomise
        Whether to draw random weights, for a record that has no such emulator files.
    """
    named = {}
    for kind, emulator in zip(kinds, emulators, strict=True):
        named[f"{kind}_seed{emulator.seed}"] = emulator
        if randomise:
            named[f"random_seed{emulator.seed}"] = randomise_emulator(emulator, record, emulator.seed)
    return named


def randomise_emulator(emulator: Emulator, record: PreparedRecord, seed: int) -> Emulator:
    """Return a copy of an emulator with every weight drawn anew, for a record that has no such emulator file.

    Parameters
    ----------
    emulator, record
        Emulator, and the prepared record it was trained on.
    seed
        Seed of the weights.
    """
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    training = record.training_samples
    network = copy.deepcopy(emulator.network)
    starts = range(0, len(training), BATCH)
    wanted = windows.targets(training)
    with torch.no_grad():
        skips = [network.forecast_skip(windows.inputs(training[start : start + BATCH])) for start in starts]
    wanted -= torch.cat(skips)
    rms = math.sqrt(float((wanted[:, record.ocean].double() ** 2).mean()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        randomise(
            network, lambda: (windows.inputs(training[start : start + BATCH]) for start in starts), record.ocean, rms
        )
    return replace(emulator, network=network, seed=seed, model_sha256=hash_weights(network.state_dict()))


def measure_fidelity(
    emulators: Mapping[str, Emulator],
    record: PreparedRecord,
    ideal: Floats,
    pixels: Sequence[tuple[str, int, int]],
    attribution: Attribution,
    methods: Sequence[str] = MEASURED,
    samples: int = SAMPLES,
) -> xr.Dataset:
    """Compare the attributions of emulators with those of the ideal linear predictor, sample by sample.

    Parameters
    ----------
    emulators
        Emulators of one lead by name, such as `trained` or `random`.
    record
        The prepared record they were trained on.
    ideal
        Ideal weights of each pixel, of shape (pixel, lag, lat, lon); see `find_ideal_weights`.
    pixels
        Name, row and column of each pixel.
    attribution
        How attributions are made.
    methods
        Names of the methods.
    samples
        Training samples compared, spread evenly over the training period; all of them where there are fewer.

    Returns
    -------
    xarray.Dataset
        By emulator, method, pixel and sample, float64: `correlation`, Pearson's with the ideal attribution, over all lags
        and ocean cells; `map_correlation`, the same after sums over lags; `core_share`, the share of the absolute
        attribution in the fewest cells and lags that hold 90 % of the ideal's. NaN where a map is constant. The ideal is
        the weights times the input, for `GRADIENTS` the weights. Also `core_fraction` (method, pixel, sample), the share
        that attributions spread evenly would have, and `ideal_weight` (pixel, lag, lat, lon), float32.

    Raises
    ------
    SealiencyError
        If an emulator was trained on another record, or a method does not serve its network.
    """
    chosen = choose_samples(record.training_samples, min(samples, len(record.training_samples)))
    first = next(iter(emulators.values()))
    inputs = SampleWindows(record.anomaly, first.lead, first.history).inputs(chosen)
    ocean = record.ocean.numpy()
    flat = [row * ocean.shape[1] + column for _, row, column in pixels]
    weights, values = ideal[..., ocean], inputs.numpy()[..., ocean].astype(np.float64)
    shape = (len(emulators), len(methods), len(pixels), len(chosen))
    scores = {name: np.full(shape, np.nan) for name in ("correlation", "map_correlation", "core_share")}
    fraction = np.full(shape[1:], np.nan)
    for at_emulator, emulator in enumerate(emulators.values()):
        for at_method, method in enumerate(methods):
            attributor = make_attributor(emulator, record, attribution, method)
            for tile in attributor.tiles(inputs, flat):
                rows, columns = (slice(*span) for span in tile.window)
                for at, sample in enumerate(range(len(chosen))[tile.samples]):
                    for number, pixel in enumerate(tile.pixels):
                        field = np.zeros((first.history, *ocean.shape))
                        field[:, rows, columns] = tile.attributions[at, number].double().cpu().numpy()
                        found = field[:, ocean]
                        wanted = weights[pixel] if method in GRADIENTS else weights[pixel] * values[sample]
                        place = (at_emulator, at_method, pixel, sample)
                        core = find_core(wanted, CORE_SHARE)
                        scores["correlation"][place] = correlate(found, wanted)
                        scores["map_correlation"][place] = correlate(found.sum(0), wanted.sum(0))
                        total = np.abs(found).sum()
                        scores["core_share"][place] = np.abs(found[core]).sum() / total if total else np.nan
                        fraction[place[1:]] = core.mean()
    return _describe(emulators, record, ideal, pixels, methods, chosen, scores, fraction)


def correlate(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation over all values of two arrays of one shape, NaN where one is constant."""
    one, other = one.ravel() - one.mean(), other.ravel() - other.mean()
    power = math.sqrt((one @ one) * (other @ other))
    return float(one @ other) / power if power else math.nan


def find_core(values: Floats, share: float) -> np.ndarray:
    """Return which are the fewest values that hold a share of the sum of all absolute values, bool of their shape."""
    size = np.abs(values).ravel()
    order = np.argsort(-size, kind="stable")
    within = np.cumsum(size[order])
    core = np.zeros(size.shape, bool)
    core[order[: int(np.searchsorted(within, share * within[-1])) + 1]] = True
    return core.reshape(values.shape)


def _describe(
    emulators: Mapping[str, Emulator],
    record: PreparedRecord,
    ideal: Floats,
    pixels: Sequence[tuple[str, int, int]],
    methods: Sequence[str],
    samples: Sequence[int],
    scores: Mapping[str, Floats],
    fraction: Floats,
) -> xr.Dataset:
    axes = ("emulator", "method", "pixel", "sample")
    long_names = {
        "correlation": "correlation of attribution and ideal over lags and ocean cells",
        "map_correlation": "correlation of attribution and ideal, summed over lags, over ocean cells",
        "core_share": f"share of the absolute attribution where {CORE_SHARE:.0%} of the ideal's lies",
    }
    first = next(iter(emulators.values()))
    rows, columns = (np.array([pixel[axis] for pixel in pixels]) for axis in (1, 2))
    dataset = xr.Dataset(
        {name: (axes, values, {"long_name": long_names[name], "units": "1"}) for name, values in scores.items()},
        coords={
            "emulator": ("emulator", list(emulators), {"long_name": "emulator"}),
            "method": ("method", list(methods), {"long_name": "attribution method"}),
            "pixel": ("pixel", [name for name, _, _ in pixels], {"long_name": "explained pixel"}),
            "sample": ("sample", list(samples), {"long_name": "number of the training sample", "units": "1"}),
            "lag": ("lag", np.arange(-first.history, 0, dtype=np.int32), LAG),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={
            "title": f"Agreement of attributions with the best linear predictor of the synthetic world, lead {first.lead}",
            "lead": first.lead,
            "filter": record.attributes["filter"],
            "filter_width_months": record.filter_width,
            # Without a filter the weights are exact.
            "ridge": RIDGE if record.filter_width > 1 else 0.0,
        },
    )
    dataset["core_fraction"] = (
        axes[1:],
        fraction,
        {"long_name": f"fraction of lags and ocean cells where {CORE_SHARE:.0%} of the ideal lies", "units": "1"},
    )
    dataset["ideal_weight"] = (
        ("pixel", "lag", "lat", "lon"),
        ideal.astype(np.float32),
        {"long_name": "weight of the best linear predictor", "units": "1"},
    )
    dataset["pixel_lat"] = ("pixel", record.lat[rows], LATITUDE)
    dataset["pixel_lon"] = ("pixel", record.lon[columns], LONGITUDE)
    dataset["model_sha256"] = (
        "emulator",
        [emulator.model_sha256 for emulator in emulators.values()],
        {"long_name": "SHA-256 of the weights of an emulator"},
    )
    return dataset
