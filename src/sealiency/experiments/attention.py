"""Emulators that attend to a map of their own, beside those that do not: skill, and what their maps agree with.

An attention map is not of one pixel. Beside it stand the class activation map of the same features (Grad-CAM, Selvaraju et al. 2017),
and the mean heatmap of one pixel by integrated gradients, which need no rule of the engine.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sealiency.conventions import LATITUDE, LONGITUDE
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.networks.dilated import DilatedNet
from sealiency.experiments.fidelity import correlate
from sealiency.progress import track
from sealiency.worlds.ocean_physics import Floats

KINDS = ("plain", "attention")
MAPS = ("attention", "activation", "heatmap")


def integrate_gradients(network: torch.nn.Module, sample: Tensor, pixel: tuple[int, int], steps: int) -> Tensor:
    """Return the integrated gradients of one pixel from an input of zeros (Sundararajan et al. 2017), by autograd.

    Parameters
    ----------
    network
        Network in evaluation mode.
    sample
        Input, of shape (lag, lat, lon).
    pixel
        Row and column.
    steps
        Nodes of the Gauss-Legendre quadrature.

    Returns
    -------
    Tensor
        Attributions, of the input's shape.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places, shares = (torch.from_numpy(part).to(sample) for part in ((nodes + 1) / 2, weights / 2))
    path = (places[:, None, None, None] * sample).requires_grad_()
    (gradient,) = torch.autograd.grad(network(path)[:, 0, *pixel].sum(), path)
    return sample * (shares[:, None, None, None] * gradient).sum(0)


def measure_attention(
    plain: Sequence[Emulator],
    attending: Sequence[Emulator],
    skill: Sequence[Sequence[xr.Dataset]],
    record: PreparedRecord,
    pixel: tuple[int, int],
    samples: int,
    steps: int,
) -> xr.Dataset:
    """Compare emulators of one lead with attention and without, seed by seed.

    Parameters
    ----------
    plain, attending
        Emulators without and with attention, one a seed.
    skill
        Skill of both, in the same order.
    record
        Prepared record.
    pixel
        Row and column of the pixel whose heatmaps are made.
    samples
        Training samples, spread evenly over the training period.
    steps
        Steps of the integrated gradients.

    Returns
    -------
    xarray.Dataset
        `rmse` (kind, seed, period), standardised units; `mean_map` (kind, seed, map, lat, lon), means over samples: the attention map (NaN without
        attention), the class activation map, and the absolute integrated gradients of the pixel summed over lags, NaN on land; `stability`
        (kind, map), the mean correlation between the maps of two seeds over the sea; `agreement` (kind, seed, map), the
        correlation of each map with the heatmap of the emulator of the same seed without attention; `completeness` (kind,
        seed), the worst difference between the sum of the integrated gradients and the change of the forecast.
    """
    ocean = record.ocean.numpy()
    chosen = choose_samples(record.training_samples, min(samples, len(record.training_samples)))
    inputs = SampleWindows(record.anomaly, plain[0].lead, plain[0].history).inputs(chosen)
    periods = [str(name) for name in skill[0][0]["period"].values]
    seeds = [emulator.seed for emulator in plain]
    maps = np.full((len(KINDS), len(seeds), len(MAPS), *ocean.shape), np.nan)
    rmse, completeness = np.zeros((len(KINDS), len(seeds), len(periods))), np.zeros((len(KINDS), len(seeds)))
    work = [(kind, seed) for kind in range(len(KINDS)) for seed in range(len(seeds))]
    for kind, seed in track(work, "explaining emulators", len(work), "emulator"):
        network = (plain, attending)[kind][seed].network
        assert isinstance(network, DilatedNet)
        scores = skill[kind][seed]["rmse_mean"].sel(predictor="emulator")
        rmse[kind, seed] = [float(scores.sel(period=period)) for period in periods]
        heat, completeness[kind, seed] = _explain(network, inputs, pixel, steps)
        attention, activation = _map_features(network, inputs, pixel)
        maps[kind, seed][:, ocean] = np.stack([attention, activation, heat])[:, ocean]
    stability = np.full((len(KINDS), len(MAPS)), np.nan)
    agreement = np.full((len(KINDS), len(seeds), len(MAPS)), np.nan)
    for kind in range(len(KINDS)):
        for name in range(len(MAPS)):
            sea = maps[kind, :, name][:, ocean]
            if len(seeds) > 1:
                stability[kind, name] = np.mean([correlate(one, other) for one, other in combinations(sea, 2)])
            agreement[kind, :, name] = [
                correlate(field, reference) for field, reference in zip(sea, maps[0, :, -1][:, ocean], strict=True)
            ]
    return _describe(record, plain[0].lead, pixel, seeds, periods, rmse, maps, stability, agreement, completeness)


def _explain(network: DilatedNet, inputs: Tensor, pixel: tuple[int, int], steps: int) -> tuple[Floats, float]:
    """Return the mean absolute integrated gradients, of shape (lat, lon), and the worst error of completeness."""
    heat, worst = torch.zeros(inputs.shape[2:], dtype=torch.float64), 0.0
    for sample in inputs:
        attribution = integrate_gradients(network, sample, pixel, steps).detach().double()
        with torch.no_grad():
            change = network(torch.stack([sample, torch.zeros_like(sample)]))[:, 0, *pixel].double()
        worst = max(worst, abs(float(attribution.sum() - (change[0] - change[1]))))
        heat += attribution.abs().sum(0) / len(inputs)
    return heat.numpy(), worst


def _map_features(network: DilatedNet, inputs: Tensor, pixel: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the mean attention map, NaN without attention, and the mean class activation map of the pixel, of shape (lat, lon)."""
    attention, activation = (np.zeros(inputs.shape[2:]) for _ in range(2))
    for sample in inputs:
        place = network.geography().detach()
        features = network.find_features(network.take_months(sample[None]), place).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(network.compose(features, place)[0, 0, *pixel], features)
        mean = gradient.mean((2, 3), keepdim=True)
        activation += (mean * features).sum(1)[0].relu().detach().double().numpy() / len(inputs)
        if network.attention is None:
            attention += np.nan
        else:
            attention += network.attention.attend(features)[0, 0].detach().double().numpy() / len(inputs)
    return attention, activation


def _describe(
    record: PreparedRecord,
    lead: int,
    pixel: tuple[int, int],
    seeds: list[int],
    periods: list[str],
    rmse: Floats,
    maps: Floats,
    stability: Floats,
    agreement: Floats,
    completeness: Floats,
) -> xr.Dataset:
    def describe(what: str) -> dict[str, str]:
        return {"long_name": what, "units": "1"}

    dataset = xr.Dataset(
        {
            "rmse": (("kind", "seed", "period"), rmse, describe("root mean squared error of the emulator")),
            "mean_map": (
                ("kind", "seed", "map", "lat", "lon"),
                maps.astype(np.float32),
                describe("mean over training samples of the map"),
            ),
            "stability": (("kind", "map"), stability, describe("mean correlation between the maps of two seeds")),
            "agreement": (
                ("kind", "seed", "map"),
                agreement,
                describe("correlation with the heatmap of the emulator without attention"),
            ),
            "completeness": (("kind", "seed"), completeness, describe("worst error of completeness")),
        },
        coords={
            "kind": ("kind", list(KINDS), {"long_name": "kind of emulator"}),
            "seed": ("seed", seeds, describe("training seed")),
            "period": ("period", periods, {"long_name": "period of the samples"}),
            "map": ("map", list(MAPS), {"long_name": "kind of map"}),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={"title": f"Emulators with attention and without, lead {lead}", "lead": lead},
    )
    dataset["ocean"] = record.statistics["ocean"]
    dataset["pixel_lat"] = ((), record.lat[pixel[0]], LATITUDE)
    dataset["pixel_lon"] = ((), record.lon[pixel[1]], LONGITUDE)
    return dataset
