"""Names of files and blocks, known before any of them exists.

Snakemake reads this at every start, so it imports nothing heavy.
"""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from sealiency.config.attribution import Attribution
from sealiency.config.data import SyntheticWorld
from sealiency.errors import SealiencyError


def find_files(patterns: Sequence[str]) -> list[str]:
    """Return the files that paths or glob patterns name, each once, sorted by name within a pattern.

    Raises
    ------
    SealiencyError
        If a pattern names no file.
    """
    found: list[str] = []
    for pattern in patterns:
        matches = sorted(glob.glob(str(expand_path(pattern))))
        if not matches:
            raise SealiencyError(
                f"data.files.paths: {pattern!r} names no file (working directory {Path.cwd()}); correct the path"
            )
        found += [match for match in matches if match not in found]
    return found


def expand_path(path: str) -> Path:
    """Return a path with ~ and environment variables expanded."""
    return Path(os.path.expandvars(os.path.expanduser(path)))


def name_world_files(settings: SyntheticWorld) -> list[str]:
    """Return the names of the files that hold the record, in order of time, without making them."""
    return [
        f"tos_Omon_synthetic_piControl_r1i1p1f1_gr_{first:04d}01-{last:04d}12.nc"
        for first, last in split_years(settings)
    ]


def split_years(settings: SyntheticWorld) -> list[tuple[int, int]]:
    """Return the first and last year of each file."""
    firsts = range(1, settings.years + 1, settings.years_per_file)
    return [(first, min(first + settings.years_per_file - 1, settings.years)) for first in firsts]


def name_blocks(settings: Attribution) -> list[str]:
    """Return the names of all blocks: the listed pixels' own, or numbers for `all` pixels (their count is no `auto` here)."""
    if settings.pixels == "all":
        return [f"{number:04d}" for number in range(int(settings.pixel_blocks))]
    return [pixel.name for pixel in settings.pixels]


def name_shard(folder: str | Path, block: str, chunk: int) -> Path:
    """Return the path of a shard in the folder of its lead and method."""
    return Path(folder) / f"pixels-{block}_samples-{chunk:04d}.h5"
