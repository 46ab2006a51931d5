"""Checking that the shards of one result belong together and are complete, before any is summed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sealiency.attribution.shards import Identity, Shard, divide_samples, read_shard
from sealiency.errors import SealiencyError
from sealiency.naming import name_shard
from sealiency.progress import track

if TYPE_CHECKING:
    from sealiency.models.emulator import Emulator

# What an error calls a part of the identity, where that is not its own name.
WORDS = {
    "model_sha256": "model",
    "prepared_sha256": "prepared record",
    "baseline_sha256": "baseline",
    "settings_sha256": "set of attribution settings",
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
    folder: Path, blocks: Sequence[str], samples: Sequence[int], plan: dict[str, Any], emulator: "Emulator"
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
    plan
        What was planned: see `sealiency.attribution.reduction.reduce_attributions`.
    emulator
        The emulator that must have been explained.

    Raises
    ------
    SealiencyError
        If a shard is missing, damaged, given twice or of another identity than it should be, or covers samples or
        pixels that it should not; the file, what differs and the mend are named.
    """
    chunks = plan["sample_chunks"]
    planned = [divide_samples(list(samples), plan["bootstrap_block"], chunks, chunk) for chunk in range(chunks)]
    rows, columns = emulator.ocean.shape
    identity = _read_present(name_shard(folder, blocks[0], 0)).identity
    # What neither the emulator nor the plan tells must at least be the same in all of them.
    wanted = asdict(identity) | {
        "model_sha256": emulator.model_sha256,
        "prepared_sha256": emulator.prepared_sha256,
        "lead": emulator.lead,
        "history": emulator.history,
        "rows": rows,
        "columns": columns,
        **{key: plan[key] for key in ("method", "heatmaps", "bootstrap_block")},
    }
    error = 0.0
    paths: list[list[Path]] = []
    pixels: list[list[tuple[str, int, int]]] = []
    owners: dict[tuple[str, int, int], Path] = {}
    for block in track(blocks, "checking the shards", len(blocks), "block"):
        row = [name_shard(folder, block, chunk) for chunk in range(chunks)]
        for chunk, path in enumerate(row):
            shard = _read_present(path)
            _check_identity(shard, wanted)
            if chunk == 0:
                _check_pixels(shard, owners)
                pixels.append(shard.pixels)
            elif shard.pixels != pixels[-1]:
                raise SealiencyError(f"{path}: its pixels differ from those of {row[0]}; delete both and run again")
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


def _check_pixels(shard: Shard, owners: dict[tuple[str, int, int], Path]) -> None:
    """Refuse a pixel that stands in an earlier block: the copy of its shard agrees in everything but its place."""
    for pixel in shard.pixels:
        if owner := owners.get(pixel):
            raise SealiencyError(
                f"{shard.path}: pixel {pixel[0]} (row {pixel[1]}, column {pixel[2]}) stands in {owner} too; delete both "
                "and run again"
            )
        owners[pixel] = shard.path


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
