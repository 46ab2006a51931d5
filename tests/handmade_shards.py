"""Shards of random numbers, written by hand: what the reduction reads, without the code that writes it in a run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from sealiency.attribution.collection import ShardSet
from sealiency.attribution.shards import Identity, hash_rule
from sealiency.config.attribution import Attribution
from sealiency.emulators.emulator import Emulator

Pixels = list[tuple[str, int, int]]

EDGES = [0.0, 100.0, 300.0, 1000.0]
# Eleven samples of 6..29 make six bootstrap blocks of 2, the last with one, two in each of three chunks.
PLAN: dict[str, object] = {
    "method": "deeplift",
    "pixels": "all",
    "samples": 11,
    "sample_chunks": 3,
    "bootstrap_block": 2,
    "heatmaps": True,
    "distance_edges": EDGES,
    "precision": "float32",
    "integration_steps": 64,
    "baseline_samples": 0,
}
BLOCKS: dict[str, Pixels] = {
    "0000": [("r3c1", 3, 1), ("r3c2", 3, 2), ("r3c3", 3, 3)],
    "0001": [("r4c5", 4, 5), ("r5c8", 5, 8)],
    "0002": [("r7c4", 7, 4), ("r0c9", 0, 9), ("r6c0", 6, 0)],
}


def identify(emulator: Emulator, **changes: object) -> dict[str, object]:
    """What the shards of an emulator say of themselves."""
    rows, columns = emulator.ocean.shape
    return {
        "model_sha256": emulator.model_sha256,
        "prepared_sha256": emulator.prepared_sha256,
        "lead": emulator.lead,
        "method": "deeplift",
        "baseline": "zero",
        "baseline_sha256": "b" * 64,
        "precision": "float32",
        "settings_sha256": hash_rule(Attribution(**PLAN)),
        "history": emulator.history,
        "rows": rows,
        "columns": columns,
        "heatmaps": True,
        "bootstrap_block": 2,
        "distance_edges": EDGES,
    } | changes


def name(folder: Path, block: str, chunk: int) -> Path:
    return folder / f"pixels-{block}_samples-{chunk:04d}.h5"


def split(samples: list[int], width: int, chunks: int) -> list[list[list[int]]]:
    """The bootstrap blocks of each chunk."""
    count = -(-len(samples) // width)
    runs = [samples[width * at : width * at + width] for at in range(count)]
    return [runs[count * chunk // chunks : count * (chunk + 1) // chunks] for chunk in range(chunks)]


def draw(pixel: str, first_sample: int, sign: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Sums of one pixel and bootstrap block: the same in whatever chunk they lie, a third of them zero."""
    seed = [*pixel.encode(), first_sample, *sign.encode(), *kind.encode()]
    rng = np.random.default_rng(seed)
    return rng.exponential(size=shape) * (rng.random(shape) > 1 / 3)


def write_shards(
    folder: Path,
    identity: Mapping[str, object],
    samples: list[int],
    chunks: int,
    blocks: Mapping[str, Pixels] = BLOCKS,
    order: Iterable[int] | None = None,
) -> Path:
    """Write all shards, in another order if one is given, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    planned = split(samples, identity["bootstrap_block"], chunks)
    todo = [(block, chunk) for block in blocks for chunk in range(chunks)]
    for at in range(len(todo)) if order is None else order:
        block, chunk = todo[at]
        write_shard(name(folder, block, chunk), identity, blocks[block], planned[chunk])
    return folder


def write_shard(path: Path, identity: Mapping[str, object], pixels: Pixels, runs: list[list[int]]) -> None:
    radial_shape = (identity["history"], len(identity["distance_edges"]))
    field = (identity["history"], identity["rows"], identity["columns"])
    with h5py.File(path, "w") as file:
        for sign in ("positive", "negative"):
            file[f"radial_{sign}"] = np.stack(
                [[draw(pixel, run[0], sign, radial_shape, "radial") for run in runs] for pixel, _, _ in pixels]
            )
            if identity["heatmaps"]:
                sums = np.stack(
                    [sum(draw(pixel, run[0], sign, field, "map") for run in runs) for pixel, _, _ in pixels]
                )
                file.create_dataset(
                    f"{sign}_sum", data=sums if sign == "positive" else -sums, chunks=(1, *field), compression=1, shuffle=True
                )  # fmt: skip
        worst = [10.0 ** -(6 + row + column) * len(runs) for _, row, column in pixels]
        file["completeness"] = np.array(worst)
        file["samples"] = np.array([sample for run in runs for sample in run])
        file["block_samples"] = np.array([len(run) for run in runs])
        file["pixel_name"] = np.array([pixel[0] for pixel in pixels], dtype=h5py.string_dtype())
        file["pixel_row"] = np.array([pixel[1] for pixel in pixels])
        file["pixel_column"] = np.array([pixel[2] for pixel in pixels])
        file.attrs["count"] = sum(map(len, runs))
        file.attrs["completeness_error"] = max(worst)
        file.attrs["identity"] = json.dumps(dict(identity))


def describe_set(
    folder: Path, identity: Mapping[str, object], samples: list[int], chunks: int, blocks: Mapping[str, Pixels] = BLOCKS
) -> ShardSet:
    """What checking the shards would come to, without checking them."""
    planned = split(samples, identity["bootstrap_block"], chunks)
    return ShardSet(
        identity=Identity(**identity),
        samples=samples,
        block_samples=[len(run) for runs in planned for run in runs],
        chunk_starts=[0, *np.cumsum([len(runs) for runs in planned]).tolist()],
        paths=[[name(folder, block, chunk) for chunk in range(chunks)] for block in blocks],
        pixels=list(blocks.values()),
        completeness_error=1e-7,
    )
