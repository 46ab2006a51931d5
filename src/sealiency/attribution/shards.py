"""A shard: the sums of the attributions of one lead over one chunk of samples, for one block of pixels."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py

from sealiency.config.attribution import Attribution
from sealiency.data.samples import divide
from sealiency.errors import SealiencyError
from sealiency.provenance import hash_settings

# What changes the attribution of a pixel, beside the emulator and the record.
RULE_SETTINGS = ("method", "precision", "integration_steps", "baseline_samples")


@dataclass(frozen=True)
class Identity:
    """What all shards of one mean heatmap have in common."""

    model_sha256: str
    prepared_sha256: str
    lead: int
    method: str
    baseline: str
    baseline_sha256: str
    precision: str
    settings_sha256: str
    history: int
    rows: int
    columns: int
    heatmaps: bool
    bootstrap_block: int
    distance_edges: list[float]


@dataclass(frozen=True)
class Shard:
    """The small parts of a shard; the sums are read slab by slab from the open file.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    identity : Identity
        What it must have in common with the others.
    samples : list of int
        Samples it sums over, by number k.
    block_samples : list of int
        Number of samples in each bootstrap block.
    pixels : list of tuple
        Name, row and column of each pixel.
    completeness_error : float
        Worst |sum a - (f(x) - f(x0))| / sum |a| of its samples and pixels.
    """

    path: Path
    identity: Identity
    samples: list[int]
    block_samples: list[int]
    pixels: list[tuple[str, int, int]]
    completeness_error: float


def hash_rule(settings: Attribution) -> str:
    """Return the SHA-256 of the settings that the attribution of a pixel depends on."""
    return hash_settings(settings.model_dump(mode="json", include=set(RULE_SETTINGS)))


def divide_samples(samples: list[int], bootstrap_block: int, chunks: int, chunk: int) -> list[list[int]]:
    """Return the bootstrap blocks of one chunk, each a run of consecutive samples; the very last may be shorter.

    Parameters
    ----------
    samples
        All samples, by number k.
    bootstrap_block
        Samples in a block.
    chunks, chunk
        Number of chunks, and the chunk's own number.
    """
    blocks = [samples[start : start + bootstrap_block] for start in range(0, len(samples), bootstrap_block)]
    return divide(blocks, chunks, chunk)


def read_shard(path: Path) -> Shard:
    """Read the small parts of a shard.

    Raises
    ------
    SealiencyError
        If the file is missing, damaged or no shard.
    """
    try:
        with h5py.File(path, "r") as file:
            names = [name.decode() for name in file["pixel_name"][:]]
            return Shard(
                path=path,
                identity=Identity(**json.loads(file.attrs["identity"])),
                samples=file["samples"][:].tolist(),
                block_samples=file["block_samples"][:].tolist(),
                pixels=list(zip(names, file["pixel_row"][:].tolist(), file["pixel_column"][:].tolist(), strict=True)),
                completeness_error=float(file.attrs["completeness_error"]),
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SealiencyError(
            f"{path}: not a readable shard ({error}); delete it and run again to make it anew"
        ) from None
