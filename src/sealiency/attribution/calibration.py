"""Measuring how fast attribution works on a machine, for `sealiency.attribution.planning` to size jobs by.

Shards are made as a run makes them, only smaller and of an untrained network: speed does not depend on the weights. The
seconds that more samples add give the attributions a second; what is left is a job's start-up.
"""

import logging
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from sealiency.attribution.explanation import attribute_pixels
from sealiency.attribution.planning import FEWEST_PIXELS
from sealiency.attribution.speed import THREADS, describe_measured
from sealiency.config.run import Configuration
from sealiency.data.places import list_block_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.devices import choose_device, set_up_process
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.networks.registry import build_network
from sealiency.errors import SealiencyError
from sealiency.naming import name_blocks
from sealiency.provenance import name_processor

LOGGER = logging.getLogger(__name__)

# Blocks measured, by their place in the list of all: sea and coast, north and south.
PLACES = (0.25, 0.5, 0.75)
# What the samples added to the first must take at least.
SECONDS = 5.0


def name_prepared(configuration: Configuration) -> Path:
    """Return the path of a run's prepared record."""
    return Path(configuration.run.folder) / configuration.run.name / "prepare_record" / "prepared.nc"


def calibrate(configuration: Configuration) -> dict[str, Any]:
    """Measure the speed of the configured attribution on this machine.

    Parameters
    ----------
    configuration
        Settings of a run whose record is prepared.

    Returns
    -------
    dict
        `attributions_per_second` and `start_seconds` of one job; `rows`, `columns` and `ocean_cells` of the record; `device`,
        `on_gpu`, `threads`, `torch`, `date`; and in `settings` what the speed depends on.

    Raises
    ------
    SealiencyError
        If there is no prepared record.
    """
    path = name_prepared(configuration)
    if not path.exists():
        raise SealiencyError(
            f"{path}: the record is not prepared yet; run `snakemake prepare_record --configfile CONFIG` first"
        )
    # A job starts by importing the library and reading the record.
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {attribute_pixels.__module__}"], check=True)
    record = PreparedRecord(path)
    before = time.perf_counter() - start
    grid = (int(record.ocean.shape[0]), int(record.ocean.shape[1]))
    ocean_cells = int(record.ocean.sum())
    set_up_process(THREADS)
    device = choose_device(configuration.attribution.device)
    network = build_network(configuration.network, configuration.samples.history, grid)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            # A network with a skip begins with zeros.
            torch.nn.init.kaiming_normal_(parameter)
    emulator = Emulator(
        network=network.eval(),
        ocean=record.ocean,
        lead=1,
        seed=0,
        history=configuration.samples.history,
        training_samples=record.training_samples,
        prepared_sha256=record.sha256,
        model_sha256="untrained",
    )
    settings = configuration.attribution.model_copy(
        update={"sample_chunks": 1, "pixel_blocks": max(1, ocean_cells // FEWEST_PIXELS)}
    )
    names = name_blocks(settings)
    chosen = sorted({names[int(place * len(names))] for place in PLACES})
    blocks = {name: list_block_pixels(settings, name, record.ocean.numpy(), record.lat, record.lon) for name in chosen}
    pixels = sum(map(len, blocks.values()))

    def attribute(samples: int) -> float:
        """Return the seconds that so many samples take."""
        few = settings.model_copy(update={"samples": samples})
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for name in blocks:
                attribute_pixels(emulator, record, few, name, 0, Path(folder) / f"{name}.h5")
        return time.perf_counter() - start

    most = len(record.training_samples)
    cold, least = attribute(1), attribute(1)
    samples = min(2, most)
    seconds = attribute(samples)
    while seconds - least < SECONDS and samples < most:
        samples = min(2 * samples, most)
        seconds = attribute(samples)
    # Where a few samples are all there are, noise must not pass for speed.
    per_second = pixels * max(1, samples - 1) / max(seconds - least, seconds / 10)
    LOGGER.info(
        "%d blocks, %d pixels, up to %d samples: %.3g attributions a second", len(blocks), pixels, samples, per_second
    )
    return {
        "attributions_per_second": per_second,
        "start_seconds": before + max(0.0, cold - pixels / per_second),
        "device": torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{THREADS} thread(s) of {name_processor()}",
        "on_gpu": device.type == "cuda",
        "threads": THREADS,
        "rows": grid[0],
        "columns": grid[1],
        "ocean_cells": ocean_cells,
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": describe_measured(configuration),
    }
