"""What the jobs beside the attribution's ask for, by the size of what they work on.

Snakemake reads this at every start, before any file exists, so it imports nothing heavy and rests on the configuration. The
numbers are assumptions with a margin: a job that needs more comes back with more. Shards are planned in
`sealiency.attribution.planning`, on measured speed where there is a calibration.
"""

import math

from sealiency.attribution.speed import Grid
from sealiency.config.run import Configuration

# PyTorch, xarray and what else a process holds before it reads anything.
LIBRARIES_MB = 1500
# Copies of the record that training, evaluation and explanations hold at once.
RECORD_COPIES = 6
# Activations are kept for the backward pass, with their normalised, concatenated and gradient forms.
ACTIVATION_COPIES = 4
# Assumed speed of training, floating-point operations a second: eight threads of a processor, or one GPU.
TRAINING_SPEEDS = {"cpu": 2e11, "gpu": 5e12}
# A forward pass, and twice as much for the backward pass; two operations a multiplication.
OPERATIONS = 6
MARGIN = 3
LEAST_RUNTIME = 15
ANALYSIS_MINUTES = 60
REDUCTION_MINUTES = 60
# Of training and evaluation.
TRAINING_THREADS = 8


def ask_gpus(device: str) -> int:
    """Return the GPUs that a job with a `device` setting asks for: none for cpu, else one."""
    return 0 if device == "cpu" else 1


def estimate_record_mb(configuration: Configuration, grid: Grid) -> int:
    """Return the size of the prepared record, MB, taking a test period that is `rest` for as long as the training's."""
    samples = configuration.samples
    test = samples.training if samples.test == "rest" else samples.test
    months = samples.history + samples.training + samples.validation + test
    return math.ceil(4 * months * grid.rows * grid.columns / 1e6)


def analysis_memory_mb(configuration: Configuration, grid: Grid) -> int:
    """Return the memory, MB, of a job that holds the record, such as an evaluation."""
    return 2 * LIBRARIES_MB + RECORD_COPIES * estimate_record_mb(configuration, grid)


def reduction_memory_mb(ranks: int) -> int:
    """Return the memory, MB, of all ranks of the reduction."""
    return 1000 * (ranks + 1)


def survey_minutes(configuration: Configuration, grid: Grid, attributions_per_second: float) -> int:
    """Return the run time, minutes, of the survey of one emulator, at the speed of one job of the attribution."""
    findings = configuration.findings
    pixels = math.ceil(grid.ocean_cells / findings.stride**2)
    samples = min(findings.samples, configuration.samples.training)
    return LEAST_RUNTIME + math.ceil(MARGIN * pixels * samples / attributions_per_second / 60)


def findings_memory_mb(configuration: Configuration, grid: Grid) -> int:
    """Return the memory, MB, of the findings, which hold every draw's sums over lags and over distances by pixel."""
    pixels = math.ceil(grid.ocean_cells / configuration.findings.stride**2)
    lengths = configuration.samples.history + len(configuration.attribution.distance_edges)
    return 2 * LIBRARIES_MB + math.ceil(4 * 8 * configuration.findings.draws * pixels * lengths / 1e6)


def training_memory_mb(configuration: Configuration, grid: Grid) -> int:
    """Return the memory, MB, of the training of one emulator; on a GPU the activations lie elsewhere, but not with `auto` and none there."""
    batch = 4 * configuration.training.batch_size * grid.find_size(configuration).values
    return analysis_memory_mb(configuration, grid) + math.ceil(ACTIVATION_COPIES * batch / 1e6)


def training_minutes(configuration: Configuration, grid: Grid, epochs: int, gpus: int) -> int:
    """Return the run time, minutes, of the training of one emulator through all of its epochs, with a GPU or without."""
    samples = configuration.samples
    passes = epochs * (samples.training + samples.validation / 3)
    operations = OPERATIONS * grid.find_size(configuration).multiplications
    speed = TRAINING_SPEEDS["gpu" if gpus else "cpu"]
    return LEAST_RUNTIME + math.ceil(MARGIN * passes * operations / speed / 60)
