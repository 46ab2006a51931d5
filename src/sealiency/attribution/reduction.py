"""The reduction of shards to mean attributions, in bounded memory and the same bit for bit on any number of ranks.

Rank 0 checks all shards and tells the others what to do. Pixels are cut into slabs that fit into memory, which the ranks
take in turn. A rank adds a slab's chunks in their order, compresses the means as HDF5 stores them, and hands them to
rank 0 before it begins its next slab; rank 0 writes slabs in their order. So no sum and no byte depends on the ranks.

What the file holds is told in `reduced_file`.
"""

import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import netCDF4
import numpy as np
import xarray as xr

from sealiency.attribution.collection import ShardSet, collect_shards
from sealiency.attribution.reduced_file import SIGNS, define_file
from sealiency.config.attribution import Attribution
from sealiency.data.samples import choose_samples
from sealiency.errors import SealiencyError
from sealiency.files import deflate, sha256, write_whole
from sealiency.progress import track
from sealiency.provenance import describe_file

LOGGER = logging.getLogger(__name__)
# Bytes of sums that a rank holds at once; one pixel is summed whatever it takes.
SLAB_BYTES = 64 * 2**20


class Communicator(Protocol):
    """The part of an MPI communicator that the reduction uses."""

    rank: int
    size: int

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Give every rank the root's object."""

    def ssend(self, obj: Any, dest: int) -> None:
        """Send an object to a rank and return when it receives it."""

    def recv(self, *, source: int) -> Any:
        """Receive an object from a rank."""


@dataclass(frozen=True)
class Slab:
    """Pixels that are summed together."""

    first: int
    """The first pixel's number in the result."""
    part: slice
    """The pixels' places in their shards."""
    paths: list[Path]
    """Their shards, in the order of chunks."""

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.part.stop - self.part.start


@dataclass(frozen=True)
class Means:
    """What a slab comes to."""

    rows: dict[str, np.ndarray]
    """Small variables, of shape (pixel, ...)."""
    chunks: list[dict[str, bytes]]
    """Large variables of each pixel, as HDF5 stores them."""


def reduce_attributions(
    prepared: Path,
    emulator: Path,
    folder: Path,
    blocks: Sequence[str],
    plan: dict[str, Any],
    target: Path,
    ranks: int,
    communicator: Communicator,
) -> None:
    """Check the shards of one emulator and reduce them to mean attributions; every rank calls it alike.

    Parameters
    ----------
    prepared, emulator
        Files of the prepared record and of the emulator that was explained.
    folder
        Folder of the shards.
    blocks
        Names of the pixel blocks.
    plan
        The attribution settings that the shards depend on: `heatmaps` is true or false, `sample_chunks` is a number.
    target
        NetCDF file to write.
    ranks
        Number of ranks that were asked for.
    communicator
        MPI communicator.

    Raises
    ------
    SealiencyError
        If the communicator has another number of ranks, or the shards are not what was planned (see `collect_shards`).
    """
    # A launcher of another MPI starts so many runs of one rank each, and all of them would write the same file.
    if communicator.size != ranks:
        raise SealiencyError(
            f"attribution.ranks = {ranks}, but MPI sees {communicator.size} rank(s): the launcher belongs to another MPI "
            "than mpi4py; install mpi4py against the site's MPI, or set the launcher with --set-resources reduce_shards:mpi"
        )
    if communicator.rank:
        sum_slabs(communicator)
        return
    # Here, because the other ranks need no PyTorch.
    from sealiency.emulators.emulator import load_emulator

    model = load_emulator(emulator)
    record_sha256 = sha256(prepared)
    model.check_record(record_sha256)
    grid, training = _read_grid(prepared)
    settings = Attribution(**plan, pixel_blocks=len(blocks))
    shards = collect_shards(folder, blocks, choose_samples(training, settings.samples), settings, model, grid)
    provenance = describe_file(
        "reduce_shards",
        {**plan, "blocks": list(blocks)},
        {"model": model.model_sha256, "prepared": record_sha256},
        seed=model.seed,
    )
    reduce_shards(shards, grid, target, provenance, communicator)


def _read_grid(prepared: Path) -> tuple[xr.Dataset, range]:
    """Return the ocean mask with its axes, and the training samples, without the anomalies."""
    try:
        with xr.open_dataset(prepared, engine="netcdf4", decode_times=False) as dataset:
            settings = json.loads(dataset.attrs["settings"])
            return dataset[["ocean"]].load(), range(settings["history"], settings["history"] + settings["training"])
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise SealiencyError(f"{prepared}: cannot be read ({error}); delete it and run again to make it anew") from None


def reduce_shards(
    shards: ShardSet, grid: xr.Dataset, target: Path, provenance: dict[str, Any], communicator: Communicator
) -> None:
    """Sum shards over their chunks, divide by the number of samples, and write the means: the part of rank 0.

    Parameters
    ----------
    shards
        From `collect_shards`.
    grid
        `ocean(lat, lon)` with its axes.
    target
        NetCDF file to write.
    provenance
        Attributes to store.
    communicator
        MPI communicator, whose other ranks call `sum_slabs`.

    Raises
    ------
    SealiencyError
        If a shard cannot be read or holds what no shard holds, whichever rank finds it; no file is left.
    """
    communicator.bcast(shards)
    slabs = cut_slabs(shards)
    pixels = sum(map(len, shards.pixels))
    with write_whole(target) as partial:
        with netCDF4.Dataset(partial, "w", format="NETCDF4") as file:
            define_file(file, shards, grid, provenance)
        # Chunks that are compressed already can be written with h5py only.
        with h5py.File(partial, "r+") as file:
            for number, slab in enumerate(track(slabs, "reduction", pixels, "pixel", lambda slab: slab.size)):
                owner = number % communicator.size
                means = communicator.recv(source=owner) if owner else _sum_slab(slab, shards)
                if isinstance(means, SealiencyError):
                    raise means
                for name, values in means.rows.items():
                    file[name][slab.first : slab.first + slab.size] = values
                for pixel, chunks in enumerate(means.chunks, start=slab.first):
                    for name, chunk in chunks.items():
                        file[name].id.write_direct_chunk((pixel, 0, 0, 0), chunk)
    LOGGER.info("%d pixels, worst completeness error %.3g", pixels, shards.completeness_error)


def sum_slabs(communicator: Communicator) -> None:
    """Sum every slab that is this rank's and hand it to rank 0: the part of all ranks but 0."""
    shards: ShardSet = communicator.bcast(None)
    for slab in cut_slabs(shards)[communicator.rank :: communicator.size]:
        try:
            means: Means | SealiencyError = _sum_slab(slab, shards)
        except SealiencyError as error:
            # Raised by rank 0, which has a half-written file to remove.
            means = error
        # Returns when rank 0 takes it, so that no rank runs ahead and fills its memory.
        communicator.ssend(means, dest=0)
        if isinstance(means, SealiencyError):
            return


def cut_slabs(shards: ShardSet) -> list[Slab]:
    """Return the slabs in the order of pixels: the same whatever the number of ranks, and none across two files."""
    identity = shards.identity
    field = identity.history * identity.rows * identity.columns if identity.heatmaps else 0
    radial = len(shards.block_samples) * identity.history * len(identity.distance_edges)
    # Both signs' sums in float64, what is read of one sign, and both signs' means.
    most = max(1, SLAB_BYTES // (32 * (radial + field)))
    slabs: list[Slab] = []
    first = 0
    for paths, pixels in zip(shards.paths, shards.pixels, strict=True):
        # Of one size, as ranks wait for each other.
        parts = math.ceil(len(pixels) / most)
        for part in range(parts):
            start, stop = (len(pixels) * edge // parts for edge in (part, part + 1))
            slabs.append(Slab(first + start, slice(start, stop), paths))
        first += len(pixels)
    return slabs


def _sum_slab(slab: Slab, shards: ShardSet) -> Means:
    identity, starts = shards.identity, shards.chunk_starts
    blocks = np.array(shards.block_samples)
    radial_shape = (identity.history, len(identity.distance_edges))
    field = (identity.history, identity.rows, identity.columns)
    radial = np.empty((2, slab.size, len(blocks), *radial_shape))
    heatmaps = np.zeros((2, slab.size, *field)) if identity.heatmaps else None
    values = np.empty((slab.size, *field)) if identity.heatmaps else None
    completeness = np.zeros(slab.size)
    for path, start, stop in zip(slab.paths, starts, starts[1:], strict=False):
        with _open_shard(path) as file:
            np.maximum(completeness, file["completeness"][slab.part], out=completeness)
            for sign, name in enumerate(SIGNS):
                part = np.empty((slab.size, stop - start, *radial_shape))
                _read(file, f"radial_{name}", slab.part, part, path)
                radial[sign, :, start:stop] = part
                if heatmaps is not None and values is not None:
                    _read(file, f"{name}_sum", slab.part, values, path)
                    heatmaps[sign] += values
    monthly = np.empty((3, slab.size, identity.history))
    chunks: list[dict[str, bytes]] = []
    # Pixel by pixel, so that no rounding depends on how many of them a slab has.
    for at in range(slab.size):
        chunks.append({})
        for sign, name in enumerate(SIGNS):
            monthly[sign, at] = radial[sign, at].sum(0).sum(-1) / blocks.sum()
            chunks[at][f"radial_{name}"] = deflate((radial[sign, at] / blocks[:, None, None]).astype("<f4"))
        if heatmaps is not None:
            for sign, name in enumerate(SIGNS):
                chunks[at][f"{name}_mean"] = deflate((heatmaps[sign, at] / blocks.sum()).astype("<f4"))
    monthly[2] = monthly[0] + monthly[1]
    rows = {f"monthly_{name}": monthly[at].astype(np.float32) for at, name in enumerate((*SIGNS, "all"))}
    return Means({**rows, "completeness": completeness}, chunks)


@contextmanager
def _open_shard(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SealiencyError(f"{path}: cannot be read ({error}); delete it and run again to make it anew") from None


def _read(file: h5py.File, name: str, part: slice, values: np.ndarray, path: Path) -> None:
    """Read the sums of some pixels, and refuse what no sum of one sign can be."""
    dataset = file[name]
    if dataset.shape[1:] != values.shape[1:]:
        raise SealiencyError(
            f"{path}: {name} has the shape {dataset.shape[1:]} for each pixel, not {values.shape[1:]}; delete it and run "
            "again to make it anew"
        )
    dataset.read_direct(values, np.s_[part])
    low, high = values.min(), values.max()
    # A NaN is neither above nor below.
    if not (-np.inf < low <= high <= 0 if name == "negative_sum" else 0 <= low <= high < np.inf):
        raise SealiencyError(
            f"{path}: {name} holds values from {low:g} to {high:g}, where sums of one sign are finite and "
            f"{'at most' if name == 'negative_sum' else 'at least'} 0; delete it and run again to make it anew"
        )
