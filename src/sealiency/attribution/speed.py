"""How fast attribution works, and on what grid: measured by `sealiency calibrate`, or assumed.

Snakemake reads this at every start, so it imports nothing heavy.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import netCDF4
import numpy as np

from sealiency.config.emulator import Network
from sealiency.config.run import Configuration
from sealiency.errors import SealiencyError
from sealiency.naming import expand_path

# Processor threads of one job: many jobs of one thread keep the cores busier than few of many.
THREADS = 1
# Assumptions where nothing was measured: attributions a second on the paper's network and grid in float32, by device.
ENGINE_SPEEDS = {"cpu": 75.0, "cuda": 2000.0}
PRECISION_FACTORS = {"float32": 1.0, "float64": 0.4, "bfloat16": 2.0, "tf32": 2.0}
PAPER_GRID = (70, 125)
PAPER_HISTORY = 36
# Small networks spend their time elsewhere than in multiplications.
GREATEST_GAIN = 10.0
START_SECONDS = 15.0
RESOLUTION = 1  # degrees

MEASURE = "run `sealiency calibrate CONFIG --output FILE` and name FILE in attribution.calibration"
CREATE = "run `sealiency calibrate CONFIG --output FILE` to make one, or set attribution.calibration: null"
RENEW = "Run `sealiency calibrate CONFIG --output FILE` again, or set attribution.calibration: null"


@dataclass(frozen=True)
class Grid:
    """The region's grid."""

    rows: int
    columns: int
    ocean_cells: int


@dataclass(frozen=True)
class Speed:
    """How fast one job works, and where."""

    attributions_per_second: float
    start_seconds: float
    """From a job's start to its first attribution."""
    device: str
    """Name of the device."""
    on_gpu: bool


def estimate_grid(configuration: Configuration) -> Grid:
    """Return the grid that the region has in the embedded world, or at 1 degree for any other record."""
    region, data = configuration.data.region, configuration.data
    side = data.synthetic.resolution if data.source == "synthetic" else RESOLUTION
    lat = -90 + side * (np.arange(180 // side) + 0.5)
    lon = side * (np.arange(360 // side) + 0.5)
    rows = (lat >= region.south) & (lat <= region.north)
    columns = (lon - region.west) % 360 <= region.east - region.west
    with resources.as_file(resources.files("sealiency.data") / "sea_area_fraction_1deg.nc") as path:
        sea = netCDF4.Dataset(path)["sftof"][:]
    ocean = sea.reshape(180 // side, side, 360 // side, side).mean(axis=(1, 3)) > 50
    # A region without sea is refused where the record is prepared.
    cells = max(1, int(ocean[np.ix_(rows, columns)].sum()))
    return Grid(max(1, int(rows.sum())), max(1, int(columns.sum())), cells)


def assume_speed(configuration: Configuration, grid: Grid) -> Speed:
    """Return the speed that the paper's network suggests, by the multiplications of a forward pass."""
    attribution = configuration.attribution
    # What `auto` finds on the machine of a job is not known here; too long a job is the worse mistake.
    kind = "cuda" if attribution.device == "cuda" else "cpu"
    speed = ENGINE_SPEEDS[kind] * PRECISION_FACTORS[attribution.precision]
    if attribution.method == "deeplift_shap":
        speed /= max(1, attribution.baseline_samples)
    if attribution.method == "integrated_gradients":
        speed /= attribution.integration_steps
    paper = count_multiplications(Network(), PAPER_HISTORY, *PAPER_GRID)
    own = count_multiplications(configuration.network, configuration.samples.history, grid.rows, grid.columns)
    threads = 1 if kind == "cuda" else THREADS
    return Speed(
        attributions_per_second=threads * speed * min(GREATEST_GAIN, paper / own),
        start_seconds=START_SECONDS,
        device="one GPU" if kind == "cuda" else f"{THREADS} core",
        on_gpu=kind == "cuda",
    )


class Layer(NamedTuple):
    """A convolution and what comes before it."""

    cells_in: int
    cells_out: int
    channels_in: int
    channels_out: int
    kernel: int


def list_layers(network: Network, history: int, rows: int, columns: int) -> list[Layer]:
    """Return the convolutions of `sealiency.emulators.networks.densenet.DenseNet`, which cannot be asked without PyTorch.

    Parameters
    ----------
    network
        Widths and depths.
    history
        Months of input.
    rows, columns
        The region's grid.
    """
    stem, growth, (first, middle, last) = network.stem_channels, network.growth_rate, network.dense_layers
    whole, half = rows * columns, math.ceil(rows / 2) * math.ceil(columns / 2)
    quarter = math.ceil(rows / 4) * math.ceil(columns / 4)
    # What the first upsampling gives.
    doubled = 4 * quarter
    after_first = stem + first * growth
    after_middle = after_first // 2 + middle * growth
    after_last = after_middle // 2 + last * growth

    def dense_block(cells: int, channels: int, layers: int) -> list[Layer]:
        return [Layer(cells, cells, channels + n * growth, growth, 3) for n in range(layers)]

    # A linear layer over cells, shared by the channels, is as much as a convolution to as many channels as there are cells.
    linear = [Layer(quarter, quarter, after_first // 2, quarter, 1)] if network.linear_bottleneck else []
    return [
        Layer(whole, half, history, stem, 5),
        *dense_block(half, stem, first),
        Layer(half, half, after_first, after_first // 2, 1),
        Layer(half, quarter, after_first // 2, after_first // 2, 3),
        *linear,
        *dense_block(quarter, after_first // 2, middle),
        Layer(quarter, quarter, after_middle, after_middle // 2, 1),
        Layer(quarter, doubled, after_middle // 2, after_middle // 2, 3),
        *dense_block(doubled, after_middle // 2, last),
        Layer(doubled, doubled, after_last, after_last // 2, 1),
        Layer(doubled, whole, after_last // 2, after_last // 4, 3),
        Layer(whole, whole, after_last // 4, 1, 3),
    ]


def count_multiplications(network: Network, history: int, rows: int, columns: int) -> int:
    """Return the multiplications of one forecast; see `list_layers` for the parameters."""
    return sum(
        layer.cells_out * layer.kernel**2 * layer.channels_in * layer.channels_out
        for layer in list_layers(network, history, rows, columns)
    )


def count_parameters(network: Network, history: int, rows: int, columns: int) -> int:
    """Return the trained numbers of the network; see `list_layers` for the parameters."""
    layers = list_layers(network, history, rows, columns)
    weights = sum(layer.kernel**2 * layer.channels_in * layer.channels_out for layer in layers)
    # The layer over all cells, listed by its multiplications, is shared by the channels.
    quarter = math.ceil(rows / 4) * math.ceil(columns / 4)
    shared = layers[0].channels_out + network.dense_layers[0] * network.growth_rate
    weights -= (shared // 2 - quarter) * quarter if network.linear_bottleneck else 0
    # Scale and shift of the batch norm before each convolution but the first; the linear layer has none.
    norms = sum(2 * layer.channels_in for layer in layers[1:]) - (2 * (shared // 2) if network.linear_bottleneck else 0)
    return weights + norms


def describe_measured(configuration: Configuration) -> dict[str, Any]:
    """Return the settings that speed depends on, as plain values: a calibration serves a run that has the same."""
    attribution, data = configuration.attribution, configuration.data
    own: dict[str, Any] = {
        "deeplift_shap": {"attribution.baseline_samples": attribution.baseline_samples},
        "integrated_gradients": {"attribution.integration_steps": attribution.integration_steps},
    }.get(attribution.method, {})
    return {
        "attribution.method": attribution.method,
        "attribution.precision": attribution.precision,
        **own,
        # One pixel at a time shares nothing with its neighbours.
        "attribution.pixels": "all" if attribution.pixels == "all" else "listed",
        "samples.history": configuration.samples.history,
        **{f"network.{key}": value for key, value in configuration.network.model_dump(mode="json").items()},
        **{f"data.region.{key}": value for key, value in data.region.model_dump(mode="json").items()},
        "data.synthetic.resolution": data.synthetic.resolution if data.source == "synthetic" else None,
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 1e9


# What a calibration measured: whether a value can be, and what it must be.
MEASURED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "attributions_per_second": (lambda value: _is_number(value) and 1e-6 <= value < 1e300, "a finite number from 1e-6"),
    "start_seconds": (lambda value: _is_number(value) and 0 <= value < 1e300, "a finite number from 0"),
    "rows": (_is_count, "a whole number from 1"),
    "columns": (_is_count, "a whole number from 1"),
    "ocean_cells": (_is_count, "a whole number from 1"),
    "on_gpu": (lambda value: isinstance(value, bool), "true or false"),
}


def read_calibration(name: str, configuration: Configuration) -> tuple[Grid, Speed]:
    """Read a file of `sealiency calibrate`.

    Parameters
    ----------
    name
        The file, as attribution.calibration names it.
    configuration
        Settings that it must have been measured with.

    Raises
    ------
    SealiencyError
        If it cannot be read, holds a number that cannot be, or was measured with another setting that speed depends on; key and values are named.
    """
    path = expand_path(name)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        settings, values = dict(found["settings"]), {key: found[key] for key in MEASURED}
        device = str(found["device"])
    except OSError as error:
        raise SealiencyError(f"attribution.calibration: {name}: {error.strerror}; {CREATE}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SealiencyError(
            f"attribution.calibration: {name}: not a file of `sealiency calibrate` ({error!r}); {CREATE}"
        ) from None
    for key, (holds, wanted) in MEASURED.items():
        if not holds(values[key]):
            raise SealiencyError(f"attribution.calibration: {name}: {key} = {values[key]!r} is not {wanted}. {RENEW}")
    grid = Grid(values["rows"], values["columns"], values["ocean_cells"])
    speed = Speed(values["attributions_per_second"], values["start_seconds"], device, values["on_gpu"])
    for key, own in describe_measured(configuration).items():
        if settings.get(key) != own:
            raise SealiencyError(
                f"attribution.calibration: {name} was measured with {key} = {settings.get(key)!r}, the configuration has "
                f"{own!r}. {RENEW}"
            )
    asked = configuration.attribution.device
    if asked != "auto" and speed.on_gpu != (asked == "cuda"):
        raise SealiencyError(
            f"attribution.calibration: {name} was measured on {speed.device}, the configuration has attribution.device = "
            f"{asked}. {RENEW}"
        )
    return grid, speed
