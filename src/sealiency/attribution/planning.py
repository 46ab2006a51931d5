"""How the attribution is divided into jobs: pixel blocks x sample chunks x leads x seeds, one shard each.

Snakemake reads this at every start, so it imports nothing heavy. What it returns depends on the configuration and on the
file of `sealiency calibrate` that it names, and never on a file of the run: the jobs of a run must not change under way.
An attribution, the unit of the work, is of one output pixel and one sample.
"""

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import netCDF4
import numpy as np

from sealiency.config.attribution import Attribution
from sealiency.config.emulator import Network
from sealiency.config.run import Configuration
from sealiency.errors import SealiencyError
from sealiency.naming import expand_path

# Processor threads of one job: many jobs of one thread keep the cores busier than few of many.
THREADS = 1
# With fewer pixels in a block, the engine's passes over each sample, which the pixels share, weigh on every attribution.
FEWEST_PIXELS = 64
# What a job holds besides its working memory and its samples' inputs: the libraries and the record.
OVERHEAD_MB = 1500
MOST_OF_EXPECTED = 3
LEAST_RUNTIME = 10
# The engine's passes against many baselines may hold a quarter; only what is clearly more is refused so early.
BASELINES_SHARE = 0.25
CLEARLY = 2

# Assumptions where nothing was measured: attributions a second on the paper's network and grid in float32, by device.
ENGINE_SPEEDS = {"cpu": 75.0, "cuda": 2000.0}
CAPTUM_SPEEDS = {"cpu": 4.5, "cuda": 250.0}
PRECISION_FACTORS = {"float32": 1.0, "float64": 0.4, "bfloat16": 2.0, "tf32": 2.0}
ENGINE_METHODS = ("deeplift", "deeplift_shap")
PAPER_GRID = (70, 125)
PAPER_HISTORY = 36
# Small networks spend their time elsewhere than in multiplications.
GREATEST_GAIN = 10.0
START_SECONDS = 15.0
RESOLUTION = 1  # degrees

LOGGER = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class ShardPlan:
    """The jobs of the attribution and what they are expected to need.

    Attributes
    ----------
    attribution : Attribution
        The settings, with numbers for every `auto`.
    leads, seeds : list of int
        One emulator for each of both.
    history : int
        Months of input.
    training : int
        Training samples.
    grid : Grid
        The region's grid, measured or assumed.
    speed : Speed
        Of one job, measured or assumed.
    calibration : str, optional
        The file in which grid and speed were measured, or None where both are assumed.
    """

    attribution: Attribution
    leads: list[int]
    seeds: list[int]
    history: int
    training: int
    grid: Grid
    speed: Speed
    calibration: str | None

    @property
    def pixels(self) -> int:
        """Pixels explained."""
        return _count_pixels(self.attribution, self.grid)

    @property
    def samples(self) -> int:
        """Samples explained."""
        return self.attribution.count_samples(self.training)

    @property
    def block_pixels(self) -> int:
        """Pixels of the largest block."""
        return math.ceil(self.pixels / int(self.attribution.pixel_blocks))

    @property
    def chunk_samples(self) -> int:
        """Samples of the largest chunk."""
        blocks = math.ceil(self.attribution.count_bootstrap_blocks(self.training) / int(self.attribution.sample_chunks))
        return min(self.samples, blocks * self.attribution.bootstrap_block)

    @property
    def shards(self) -> int:
        """Jobs, and shards, in all."""
        divided = int(self.attribution.pixel_blocks) * int(self.attribution.sample_chunks)
        return divided * len(self.leads) * len(self.seeds)

    @property
    def attributions(self) -> int:
        """Attributions in all."""
        return self.pixels * self.samples * len(self.leads) * len(self.seeds)

    @property
    def minutes(self) -> float:
        """Expected minutes of the largest job."""
        attributions = self.block_pixels * self.chunk_samples
        return (self.speed.start_seconds + attributions / self.speed.attributions_per_second) / 60

    @property
    def hours(self) -> float:
        """Expected core hours, or GPU hours, of all jobs."""
        seconds = self.shards * self.speed.start_seconds + self.attributions / self.speed.attributions_per_second
        return seconds * (1 if self.speed.on_gpu else THREADS) / 3600

    @property
    def memory_mb(self) -> int:
        """Memory to ask for one job, MB: memory_gb, half for the sums and half for the passes, and what it does not hold."""
        # Inputs are float32; attribution in float64 works on a copy.
        size = 12 if self.attribution.precision == "float64" else 4
        inputs = size * self.chunk_samples * self.history * self.grid.rows * self.grid.columns
        return math.ceil(self.attribution.memory_gb * 1e3 + OVERHEAD_MB + inputs / 1e6)

    @property
    def runtime(self) -> int:
        """Run time to ask for one job, minutes."""
        return max(LEAST_RUNTIME, math.ceil(MOST_OF_EXPECTED * self.minutes))

    @property
    def shard_bytes(self) -> int:
        """Bytes of all shards before compression."""
        emulators = len(self.leads) * len(self.seeds)
        blocks = self.attribution.count_bootstrap_blocks(self.training)
        radial = _count_radial(self.attribution, self.history, blocks)
        maps = int(self.attribution.sample_chunks) * _count_maps(self.attribution, self.history, self.grid)
        return 8 * emulators * self.pixels * (radial + maps)

    @property
    def reduced_bytes(self) -> int:
        """Bytes of the reduced files of all leads and seeds before compression."""
        emulators = len(self.leads) * len(self.seeds)
        blocks = self.attribution.count_bootstrap_blocks(self.training)
        radial = _count_radial(self.attribution, self.history, blocks)
        maps = _count_maps(self.attribution, self.history, self.grid)
        return 4 * emulators * self.pixels * (radial + maps + 3 * self.history)

    def describe(self) -> str:
        """Return the plan as a small table for people."""
        a, grid, speed = self.attribution, self.grid, self.speed
        origin = f"measured: {self.calibration}" if self.calibration else "assumed"
        unit = "GPU" if speed.on_gpu else "core"
        blocks = a.count_bootstrap_blocks(self.training)
        lines = [
            ("pixels", f"{self.pixels:,} on {grid.rows} x {grid.columns} cells" + _mark(a, origin)),
            ("samples", f"{self.samples:,} in {_number(blocks, 'bootstrap block')}"),
            (
                "shards",
                f"{_number(int(a.pixel_blocks), 'pixel block')} x {_number(int(a.sample_chunks), 'sample chunk')} x "
                f"{_number(len(self.leads), 'lead')} x {_number(len(self.seeds), 'seed')} = {self.shards:,}",
            ),
            ("attributions", f"{self.attributions:,}, each of one pixel of one sample"),
            (
                "one job",
                f"up to {_number(self.block_pixels, 'pixel')} x {_number(self.chunk_samples, 'sample')}: "
                f"{self.minutes:.1f} minutes, {self.memory_mb / 1000:.1f} GB",
            ),
            ("speed", f"{speed.attributions_per_second:,.3g} attributions a second on {speed.device} ({origin})"),
            ("in all", f"{self.hours:,.3g} {unit} hours"),
            (
                "disk",
                f"shards {_size(self.shard_bytes)}, reduced files {_size(self.reduced_bytes)}, before compression",
            ),
        ]
        if not self.calibration:
            lines.append(("", f"to plan on measured speed, {MEASURE}"))
        leads, seeds = (", ".join(map(str, numbers)) for numbers in (self.leads, self.seeds))
        title = f"Attribution plan: {a.method}, {a.precision}, lead {leads}, seed {seeds}"
        return "\n".join([title, *(f"  {name:<14}{text}" for name, text in lines)])


def plan_shards(configuration: Configuration) -> ShardPlan:
    """Divide the attribution into jobs of about attribution.job_minutes within attribution.memory_gb.

    Prefers all samples in one chunk and, for the engine's methods, blocks of 64 pixels or more; where such a job would
    last longer the samples are divided too, in whole bootstrap blocks, and only where even one of them lasts longer come
    smaller blocks of pixels. Numbers that the configuration gives stay as they are.

    Raises
    ------
    SealiencyError
        If the calibration file cannot be read or is of another run, there are more blocks than cells, or the sums of one
        pixel or the baselines exceed the memory.
    """
    attribution, training = configuration.attribution, configuration.samples.training
    if attribution.calibration is None:
        grid = estimate_grid(configuration)
        speed = assume_speed(configuration, grid)
    else:
        grid, speed = read_calibration(attribution.calibration, configuration)
    cells = grid.rows * grid.columns
    if attribution.pixels == "all" and attribution.pixel_blocks != "auto" and attribution.pixel_blocks > cells:
        mend = "lower it" if attribution.calibration else f"lower it, or, where the record has more cells, {MEASURE}"
        raise SealiencyError(
            f"attribution.pixel_blocks = {attribution.pixel_blocks} exceeds the {cells} cells of the grid of {grid.rows} x "
            f"{grid.columns}; {mend}"
        )
    _check_baselines(configuration, grid)
    work = speed.attributions_per_second * attribution.job_minutes * 60
    blocks, chunks = _divide(attribution, configuration.samples.history, training, grid, work)
    return ShardPlan(
        attribution=attribution.model_copy(update={"pixel_blocks": blocks, "sample_chunks": chunks}),
        leads=configuration.leads,
        seeds=configuration.training.seeds,
        history=configuration.samples.history,
        training=training,
        grid=grid,
        speed=speed,
        calibration=attribution.calibration,
    )


def _check_baselines(configuration: Configuration, grid: Grid) -> None:
    attribution = configuration.attribution
    baselines = attribution.baseline_samples
    if baselines < 2 or "deeplift_shap" not in (attribution.method, *configuration.instance.methods):
        return
    size = 8 if attribution.precision == "float64" else 4
    layers = _list_layers(configuration.network, configuration.samples.history, grid.rows, grid.columns)
    # Activations and multipliers; the first convolution has no activation before it.
    held = 2 * size * baselines * sum(layer.cells_in * layer.channels_in for layer in layers[1:])
    if held > CLEARLY * BASELINES_SHARE * attribution.memory_gb * 1e9:
        raise SealiencyError(
            f"attribution.baseline_samples = {baselines}: the network's activations for so many baselines take about "
            f"{_size(held)}, more than fits attribution.memory_gb = {attribution.memory_gb:g}; lower it, or raise memory_gb "
            f"to {math.ceil(held / BASELINES_SHARE / 1e9)}"
        )


def _divide(attribution: Attribution, history: int, training: int, grid: Grid, work: float) -> tuple[int, int]:
    samples, bootstrap_blocks = attribution.count_samples(training), attribution.count_bootstrap_blocks(training)
    pixels = _count_pixels(attribution, grid)
    # More work than there is would overflow at extreme settings.
    work = min(work, pixels * samples)
    if attribution.pixels != "all":
        block_pixels, blocks = 1, pixels
    elif attribution.pixel_blocks != "auto":
        blocks = attribution.pixel_blocks
        block_pixels = math.ceil(pixels / blocks)
    else:
        fitting = count_fitting_pixels(attribution, history, training, grid)
        if attribution.sample_chunks == "auto":
            fewest = FEWEST_PIXELS if attribution.method in ENGINE_METHODS else 1
            in_one = int(work // min(samples, attribution.bootstrap_block))
            wanted = max(1, min(fewest, in_one), int(work // samples))
        else:
            in_chunk = math.ceil(bootstrap_blocks / attribution.sample_chunks) * attribution.bootstrap_block
            wanted = max(1, int(work // min(samples, in_chunk)))
        block_pixels = min(wanted, fitting, pixels)
        blocks = math.ceil(pixels / block_pixels)
        block_pixels = math.ceil(pixels / blocks)
    if attribution.sample_chunks != "auto":
        return blocks, attribution.sample_chunks
    if block_pixels * samples <= work:
        return blocks, 1
    in_chunk = max(1, int(work // (block_pixels * attribution.bootstrap_block)))
    return blocks, math.ceil(bootstrap_blocks / in_chunk)


def count_fitting_pixels(attribution: Attribution, history: int, training: int, grid: Grid) -> int:
    """Return how many pixels' float64 sums fit half of attribution.memory_gb; the other half is for the passes.

    Raises
    ------
    SealiencyError
        If not even one pixel's do.
    """
    blocks = attribution.count_bootstrap_blocks(training)
    one = 8 * (_count_radial(attribution, history, blocks) + _count_maps(attribution, history, grid))
    fitting = int(attribution.memory_gb * 1e9 / 2 // one)
    if not fitting:
        raise SealiencyError(
            f"attribution.memory_gb = {attribution.memory_gb:g}: the sums of one pixel take {_size(one)}, more than half "
            f"of it; set at least {math.ceil(2 * one / 1e6) / 1e3:g}"
            + (", or heatmaps: false" if attribution.keeps_heatmaps else "")
        )
    return fitting


def check_record_grid(planned: Grid, attribution: Attribution, history: int, training: int, grid: Grid) -> None:
    """Hold a plan against the grid of the record, which was not there yet when Snakemake needed the plan.

    Parameters
    ----------
    planned
        Grid that the jobs were planned on.
    attribution
        Attribution settings with numbers for every `auto`.
    history, training
        Months of input and training samples.
    grid
        Grid of the prepared record.

    Raises
    ------
    SealiencyError
        If the plan rests on a calibration on another grid, or the sums of a block exceed the memory.
    """
    if planned != grid:
        was, found = (f"{g.rows} x {g.columns} cells, {g.ocean_cells:,} of them ocean" for g in (planned, grid))
        if attribution.calibration:
            raise SealiencyError(
                f"attribution.calibration: {attribution.calibration} was measured on {was}; the record has {found}. {RENEW}"
            )
        LOGGER.warning("jobs were planned for %s; the record has %s. To plan on it, %s", was, found, MEASURE)
    fitting = count_fitting_pixels(attribution, history, training, grid)
    pixels = _count_pixels(attribution, grid)
    if math.ceil(pixels / int(attribution.pixel_blocks)) > fitting:
        raise SealiencyError(
            f"attribution.pixel_blocks = {attribution.pixel_blocks}: the sums of one block's pixels exceed half of "
            f"attribution.memory_gb = {attribution.memory_gb:g}; set at least {math.ceil(pixels / fitting)} blocks, or "
            "raise memory_gb"
        )


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
    if attribution.method in ENGINE_METHODS:
        speed = ENGINE_SPEEDS[kind] * PRECISION_FACTORS[attribution.precision]
        if attribution.method == "deeplift_shap":
            speed /= max(1, attribution.baseline_samples)
    else:
        # Captum's DeepLIFT passes over the sample and the baseline, integrated gradients over every step.
        speed = (
            CAPTUM_SPEEDS[kind] * min(1.0, PRECISION_FACTORS[attribution.precision]) * 2 / attribution.integration_steps
        )
    paper = _count_multiplications(Network(), PAPER_HISTORY, *PAPER_GRID)
    own = _count_multiplications(configuration.network, configuration.samples.history, grid.rows, grid.columns)
    threads = 1 if kind == "cuda" else THREADS
    return Speed(
        attributions_per_second=threads * speed * min(GREATEST_GAIN, paper / own),
        start_seconds=START_SECONDS,
        device="one GPU" if kind == "cuda" else _number(THREADS, "core"),
        on_gpu=kind == "cuda",
    )


class _Layer(NamedTuple):
    """A convolution and what comes before it."""

    cells_in: int
    cells_out: int
    channels_in: int
    channels_out: int
    kernel: int


def _list_layers(network: Network, history: int, rows: int, columns: int) -> list[_Layer]:
    # Those of sealiency.models.densenet.DenseNet, which cannot be asked without PyTorch.
    stem, growth, (first, middle, last) = network.stem_channels, network.growth_rate, network.dense_layers
    whole, half = rows * columns, math.ceil(rows / 2) * math.ceil(columns / 2)
    quarter = math.ceil(rows / 4) * math.ceil(columns / 4)
    # What the first upsampling gives.
    doubled = 4 * quarter
    after_first = stem + first * growth
    after_middle = after_first // 2 + middle * growth
    after_last = after_middle // 2 + last * growth

    def dense_block(cells: int, channels: int, layers: int) -> list[_Layer]:
        return [_Layer(cells, cells, channels + n * growth, growth, 3) for n in range(layers)]

    return [
        _Layer(whole, half, history, stem, 5),
        *dense_block(half, stem, first),
        _Layer(half, half, after_first, after_first // 2, 1),
        _Layer(half, quarter, after_first // 2, after_first // 2, 3),
        *dense_block(quarter, after_first // 2, middle),
        _Layer(quarter, quarter, after_middle, after_middle // 2, 1),
        _Layer(quarter, doubled, after_middle // 2, after_middle // 2, 3),
        *dense_block(doubled, after_middle // 2, last),
        _Layer(doubled, doubled, after_last, after_last // 2, 1),
        _Layer(doubled, whole, after_last // 2, after_last // 4, 3),
        _Layer(whole, whole, after_last // 4, 1, 3),
    ]


def _count_multiplications(network: Network, history: int, rows: int, columns: int) -> int:
    return sum(
        layer.cells_out * layer.kernel**2 * layer.channels_in * layer.channels_out
        for layer in _list_layers(network, history, rows, columns)
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


def _count_pixels(attribution: Attribution, grid: Grid) -> int:
    return grid.ocean_cells if attribution.pixels == "all" else len(attribution.pixels)


def _count_radial(attribution: Attribution, history: int, bootstrap_blocks: int) -> int:
    return 2 * bootstrap_blocks * history * len(attribution.distance_edges)


def _count_maps(attribution: Attribution, history: int, grid: Grid) -> int:
    return 2 * history * grid.rows * grid.columns if attribution.keeps_heatmaps else 0


def _mark(attribution: Attribution, origin: str) -> str:
    return f" ({origin})" if attribution.pixels == "all" or attribution.keeps_heatmaps else ""


def _number(count: int, name: str) -> str:
    return f"{count:,} {name}" + ("" if count == 1 else "s")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
