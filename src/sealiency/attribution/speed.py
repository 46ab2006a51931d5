"""How fast attribution works, and on what grid: measured by `sealiency calibrate`, or assumed.

Snakemake reads this at every start, so it imports nothing heavy.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import netCDF4
import numpy as np

from sealiency.attribution.size import NetworkSize, find_size
from sealiency.config.run import Configuration
from sealiency.errors import SealiencyError
from sealiency.naming import expand_path

# Processor threads of one job: many jobs of one thread keep the cores busier than few of many.
THREADS = 1
# Assumptions where nothing was measured: attributions a second on the paper's network and grid in float32, by device.
ENGINE_SPEEDS = {"cpu": 75.0, "cuda": 2000.0}
PRECISION_FACTORS = {"float32": 1.0, "float64": 0.4, "bfloat16": 2.0, "tf32": 2.0}
# Of one forecast by the network of Table 1, 36 months on 70 x 125 cells.
PAPER_MULTIPLICATIONS = 1_138_317_624
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

    def find_size(self, configuration: Configuration) -> NetworkSize:
        """Return how large the network is on this grid; see `sealiency.attribution.size.find_size`."""
        return find_size(configuration.network, configuration.samples.history, (self.rows, self.columns))


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
    own = grid.find_size(configuration).multiplications
    threads = 1 if kind == "cuda" else THREADS
    return Speed(
        attributions_per_second=threads * speed * min(GREATEST_GAIN, PAPER_MULTIPLICATIONS / max(1, own)),
        start_seconds=START_SECONDS,
        device="one GPU" if kind == "cuda" else f"{THREADS} core",
        on_gpu=kind == "cuda",
    )


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
        **{
            f"network.{key}": value
            for key, value in configuration.network.model_dump(mode="json", exclude={"weights"}).items()
        },
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
