"""How the attribution is divided into jobs: pixel blocks x sample chunks x leads x seeds, one shard each.

Snakemake reads this at every start, so it imports nothing heavy. What it returns depends on the configuration and on the
file of `sealiency calibrate` that it names, and never on a file of the run: the jobs of a run must not change under way.
An attribution, the unit of the work, is of one output pixel and one sample.
"""

import logging
import math
from dataclasses import dataclass

from sealiency.attribution.speed import (
    MEASURE,
    RENEW,
    THREADS,
    Grid,
    Speed,
    assume_speed,
    estimate_grid,
    read_calibration,
)
from sealiency.config.attribution import Attribution
from sealiency.config.run import Configuration
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
# With fewer pixels in a block, the engine's passes over each sample, which the pixels share, weigh on every attribution.
FEWEST_PIXELS = 64
# What a job holds besides its working memory and its samples' inputs: the libraries and the record.
OVERHEAD_MB = 1500
MOST_OF_EXPECTED = 3
LEAST_RUNTIME = 10
# The engine's passes against many baselines may hold a quarter; only what is clearly more is refused so early.
BASELINES_SHARE = 0.25
CLEARLY = 2


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
    # What the activations are given, and their multipliers.
    held = 2 * size * baselines * grid.find_size(configuration).activations
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
            in_one = int(work // min(samples, attribution.bootstrap_block))
            wanted = max(1, min(FEWEST_PIXELS, in_one), int(work // samples))
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
