"""Names of files and blocks, known before any of them exists.

Snakemake reads this at every start, so it imports nothing heavy.
"""

import glob
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sealiency.config.attribution import Attribution
from sealiency.config.base import WILDCARD
from sealiency.config.data import SyntheticWorld
from sealiency.errors import SealiencyError


def find_files(patterns: Sequence[str]) -> list[str]:
    """Return the files that paths or glob patterns name, each once, sorted by name within a pattern.

    A path that exists is taken as it is, whatever characters it holds; ~ and environment variables are expanded in others.

    Raises
    ------
    SealiencyError
        If a pattern names no file.
    """
    found: list[str] = []
    for pattern in patterns:
        matches = _match(Path(pattern)) or _match(expand_path(pattern))
        if not matches:
            raise SealiencyError(
                f"data.files.paths: {pattern!r} names no file (working directory {Path.cwd()}); correct the path"
            )
        found += [match for match in matches if match not in found]
    return found


def _match(pattern: Path) -> list[str]:
    """Return what a pattern names; the folders that it begins with, and that exist, are no pattern."""
    begin, rest = Path(), list(pattern.parts)
    while rest and (begin / rest[0]).exists():
        begin /= rest.pop(0)
    if not rest:
        return [str(begin)]
    return sorted(str(begin / name) for name in glob.glob(str(Path(*rest)), root_dir=begin))


def fill(pattern: str, **values: object) -> list[str]:
    """Return a pattern's files: every combination of the values of its wildcards, the last of them varying fastest.

    Unlike Snakemake's `expand`, it leaves alone every brace that belongs to none of the named wildcards.

    Parameters
    ----------
    pattern
        Path with wildcards such as `{lead}` or, with a format, `{chunk:04d}`.
    values
        Of each wildcard, one value or several.
    """
    several = {
        name: list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        for name, given in values.items()
    }
    wildcard = re.compile(rf"\{{({'|'.join(several)})(?::([^{{}}]*))?\}}")
    combinations = (dict(zip(several, chosen, strict=True)) for chosen in itertools.product(*several.values()))
    return [
        wildcard.sub(lambda match, chosen=chosen: format(chosen[match[1]], match[2] or ""), pattern)  # type: ignore[misc]
        for chosen in combinations
    ]


def describe_unnamed(paths: Sequence[str]) -> dict[str, list[float]]:
    """Return total size (bytes) and latest change (s) of the inputs whose changes Snakemake cannot follow by name.

    These are paths that it would take for patterns, and folders, of which it sees no change inside. As parameters they
    rerun what depends on them all the same.

    Parameters
    ----------
    paths
        Paths that exist.
    """
    described = {}
    for path in paths:
        if WILDCARD.search(path) or Path(path).is_dir():
            files = [file for file in Path(path).rglob("*") if file.is_file()] if Path(path).is_dir() else [Path(path)]
            stats = [file.stat() for file in files]
            described[path] = [float(sum(s.st_size for s in stats)), max((s.st_mtime for s in stats), default=0.0)]
    return described


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
