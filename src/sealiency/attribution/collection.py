"""Checking that the shards of one result belong together and are complete, before any is summed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sealiency.attribution.shards import RULE_SETTINGS, Identity, Shard, divide_samples, hash_rule, read_shard
from sealiency.config.attribution import Attribution
from sealiency.data.places import list_block_pixels
from sealiency.errors import SealiencyError
from sealiency.naming import name_shard
from sealiency.progress import track

if TYPE_CHECKING:
    from sealiency.emulators.emulator import Emulator

# What an error calls a part of the identity, where that is not its own name.
WORDS = {
    "model_sha256": "model",
    "prepared_sha256": "prepared record",
    "baseline_sha256": "baseline",
    "settings_sha256": f"set of {', '.join(RULE_SETTINGS)}",
    "rows": "grid",
    "columns": "grid",
    "heatmaps": "kind",
}


@dataclass(frozen=True)
class ShardSet:
    """The shards of one result, checked and in order.

    Attributes
    ----------
    identity : Identity
        What all of them have in common.
    samples : list of int
        Samples summed over, by number k.
    block_samples : list of int
        Number of samples in each bootstrap block.
    chunk_starts : list of int
        Bootstrap blocks before each chunk of samples, and in all of them.
    paths : list of list of pathlib.Path
        Files by block of pixels, in the order of chunks.
    pixels : list of list of tuple
        Name, row and column of each pixel, by block of pixels.
    completeness_error : float
        Worst completeness error of all.
    """

    identity: Identity
    samples: list[int]
    block_samples: list[int]
    chunk_starts: list[int]
    paths: list[list[Path]]
    pixels: list[list[tuple[str, int, int]]]
    completeness_error: float


def collect_shards(
    folder: Path,
    blocks: Sequence[str],
    samples: Sequence[int],
    settings: Attribution,
    emulator: "Emulator",
    grid: xr.Dataset,
) -> ShardSet:
    """Read the small parts of all shards of a lead and check that they belong together and are complete.

    Parameters
    ----------
    folder
        Folder of the shards of one lead, seed and method.
    blocks
        Names of the pixel blocks.
    samples
        Every sample that must be summed, by number k.
    settings
        What was planned; `sample_chunks` and `pixel_blocks` are numbers.
    emulator
        The emulator that must have been explained.
    grid
        `ocean(lat, lon)` of the record, with its axes.

    Raises
    ------
    SealiencyError
        If a shard is missing, damaged, given twice or of another identity than it should be, or covers other samples or
        pixels than planned; the file, what differs and the mend are named.
    """
    chunks = int(settings.sample_chunks)
    planned = [divide_samples(list(samples), settings.bootstrap_block, chunks, chunk) for chunk in range(chunks)]
    ocean, lat, lon = grid["ocean"].values.astype(bool), grid["lat"].values, grid["lon"].values
    identity = _read_present(name_shard(folder, blocks[0], 0)).identity
    # The baseline's values follow from the rest; they must at least be the same in all of them.
    wanted = asdict(identity) | {
        "model_sha256": emulator.model_sha256,
        "prepared_sha256": emulator.prepared_sha256,
        "lead": emulator.lead,
        "history": emulator.history,
        "method": settings.method,
        "baseline": settings.describe_baseline(),
        "precision": settings.precision,
        "settings_sha256": hash_rule(settings),
        "rows": len(lat),
        "columns": len(lon),
        "heatmaps": settings.keeps_heatmaps,
        "bootstrap_block": settings.bootstrap_block,
        "distance_edges": [float(edge) for edge in settings.distance_edges],
    }
    error = 0.0
    paths: list[list[Path]] = []
    pixels: list[list[tuple[str, int, int]]] = []
    for block in track(blocks, "checking the shards", len(blocks), "block"):
        # The blocks share out the ocean, so a set in which each has its own pixels covers every cell once.
        pixels.append(list_block_pixels(settings, block, ocean, lat, lon))
        row = [name_shard(folder, block, chunk) for chunk in range(chunks)]
        for chunk, path in enumerate(row):
            shard = _read_present(path)
            _check_identity(shard, wanted)
            _check_pixels(shard, pixels[-1])
            _check_samples(shard, chunk, planned, row)
            error = max(error, shard.completeness_error)
        paths.append(row)
    return ShardSet(
        identity=identity,
        samples=list(samples),
        block_samples=[len(block) for chunk in planned for block in chunk],
        chunk_starts=np.cumsum([0, *map(len, planned)]).tolist(),
        paths=paths,
        pixels=pixels,
        completeness_error=error,
    )


def _read_present(path: Path) -> Shard:
    if not path.exists():
        raise SealiencyError(f"{path}: this shard is missing; run again to make it")
    return read_shard(path)


def _check_identity(shard: Shard, wanted: dict[str, Any]) -> None:
    for key, value in asdict(shard.identity).items():
        if value != wanted[key]:
            raise SealiencyError(
                f"{shard.path}: a shard of another {WORDS.get(key, key.replace('_', ' '))} ({key} = {value}, not "
                f"{wanted[key]}); delete it and run again"
            )


def _check_pixels(shard: Shard, wanted: list[tuple[str, int, int]]) -> None:
    if shard.pixels == wanted:
        return
    found, expected = set(shard.pixels), set(wanted)
    if not found ^ expected:
        raise SealiencyError(
            f"{shard.path}: its pixels stand twice or out of order, {_show(shard.pixels)} first; delete it and run again"
        )
    raise SealiencyError(
        f"{shard.path}: holds other pixels than planned, missing: {_show(sorted(expected - found))}; not planned: "
        f"{_show(sorted(found - expected))}; delete it and run again"
    )


def _show(pixels: list[tuple[str, int, int]]) -> str:
    return ", ".join(f"{name} (row {row}, column {column})" for name, row, column in pixels[:5]) or "none"


def _check_samples(shard: Shard, chunk: int, planned: list[list[list[int]]], row: list[Path]) -> None:
    wanted = [sample for block in planned[chunk] for sample in block]
    if shard.samples != wanted:
        found, expected = set(shard.samples), set(wanted)
        if not found ^ expected:
            raise SealiencyError(
                f"{shard.path}: its samples stand twice or out of order, {shard.samples[:5]} first; delete it and run again"
            )
        for other, path in enumerate(row):
            if other != chunk and found == {sample for block in planned[other] for sample in block}:
                raise SealiencyError(
                    f"{shard.path}: holds the samples of chunk {other}, {shard.samples[:5]} first, so that {path} is "
                    "given twice; delete it and run again"
                )
        raise SealiencyError(
            f"{shard.path}: of the samples planned for it {sorted(expected - found)[:5]} are missing, and "
            f"{sorted(found - expected)[:5]} do not belong; delete it and run again"
        )
    sizes = [len(block) for block in planned[chunk]]
    if shard.block_samples != sizes:
        raise SealiencyError(
            f"{shard.path}: its {len(wanted)} samples lie in bootstrap blocks of block_samples = {shard.block_samples}, not "
            f"{sizes}; delete it and run again"
        )
