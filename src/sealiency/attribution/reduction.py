"""The reduction of shards to mean heatmaps: ranks divide pixels, and every sum runs in the order of chunks."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import h5py
import netCDF4
import numpy as np

from sealiency.attribution.shards import Identity, Shard, read_shard
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import choose_samples
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf, write_whole
from sealiency.models.emulator import Emulator, load_emulator
from sealiency.naming import name_shard
from sealiency.progress import track
from sealiency.provenance import describe_provenance

LOGGER = logging.getLogger(__name__)


class Communicator(Protocol):
    """The part of an MPI communicator that the reduction uses."""

    rank: int
    size: int

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object to a rank."""

    def recv(self, source: int, tag: int = 0) -> Any:
        """Receive an object from a rank."""


def reduce_heatmaps(
    prepared: Path,
    emulator: Path,
    folder: Path,
    blocks: Sequence[str],
    plan: dict[str, Any],
    target: Path,
    ranks: int,
    communicator: Communicator,
) -> None:
    """Check the shards of one emulator and reduce them to mean heatmaps; every rank calls it alike.

    Parameters
    ----------
    prepared, emulator
        Files of the prepared record and of the emulator that was explained.
    folder
        Folder of the shards.
    blocks
        Names of the pixel blocks.
    plan
        The attribution settings `method`, `samples` and `sample_chunks`.
    target
        NetCDF file to write; see `reduce_shards`.
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
    model, record = load_emulator(emulator), PreparedRecord(prepared)
    model.check_record(record.sha256)
    samples = choose_samples(record.training_samples, plan["samples"])
    shards = collect_shards(folder, blocks, plan["sample_chunks"], samples, model, plan["method"])
    provenance = describe_provenance(
        {**plan, "blocks": list(blocks)}, {"model": model.model_sha256, "prepared": record.sha256}, seed=model.seed
    )
    reduce_shards(shards, prepared, target, provenance, communicator)


def collect_shards(
    folder: Path, blocks: Sequence[str], chunks: int, samples: Sequence[int], emulator: Emulator, method: str
) -> list[list[Shard]]:
    """Read the small parts of all shards of a lead and check that they belong together and are complete.

    Parameters
    ----------
    folder
        Folder of the shards of one lead, seed and method.
    blocks
        Names of the pixel blocks.
    chunks
        Number of sample chunks.
    samples
        Every sample that must be summed, by number k.
    emulator
        The emulator that must have been explained.
    method
        The method that must have been used.

    Returns
    -------
    list of list of Shard
        Shards by block, each in the order of chunks.

    Raises
    ------
    SealiencyError
        If a shard is missing, is of another model, record, method, lead, baseline or precision than it should be, or
        covers samples or pixels that it should not; the file, what differs and the mend are named.
    """
    shards: list[list[Shard]] = []
    first: Identity | None = None
    for block in blocks:
        row: list[Shard] = []
        for chunk in range(chunks):
            path = name_shard(folder, block, chunk)
            if not path.exists():
                raise SealiencyError(f"{path}: this shard is missing; run again to make it")
            shard = read_shard(path)
            _check_identity(shard, first, emulator, method)
            first = shard.identity
            if row and shard.pixels != row[0].pixels:
                raise SealiencyError(
                    f"{path}: its pixels differ from those of {row[0].path}; delete both and run again"
                )
            row.append(shard)
        # The copy of another block's shard agrees with itself in everything but its place.
        known = {pixel for earlier in shards for pixel in earlier[0].pixels}
        if twice_given := known.intersection(row[0].pixels):
            raise SealiencyError(
                f"{row[0].path}: pixel {sorted(twice_given)[0]} stands in an earlier block too; delete it and run again"
            )
        found = [sample for shard in row for sample in shard.samples]
        if found != list(samples):
            twice = sorted({sample for sample in found if found.count(sample) > 1})
            missing = sorted(set(samples) - set(found))
            raise SealiencyError(
                f"{row[0].path} and its {chunks - 1} other chunk(s): samples {twice[:5]} stand twice, {missing[:5]} are "
                f"missing, {sorted(set(found) - set(samples))[:5]} do not belong; delete them and run again"
            )
        shards.append(row)
    return shards


def _check_identity(shard: Shard, first: Identity | None, emulator: Emulator, method: str) -> None:
    wanted = {
        "model_sha256": emulator.model_sha256,
        "prepared_sha256": emulator.prepared_sha256,
        "lead": emulator.lead,
        "method": method,
        **({} if first is None else asdict(first)),
    }
    for key, value in asdict(shard.identity).items():
        if key in wanted and value != wanted[key]:
            raise SealiencyError(
                f"{shard.path}: a shard of another {key.removesuffix('_sha256')} ({key} = {value}, not {wanted[key]}); "
                "delete it and run again"
            )


def reduce_shards(
    shards: list[list[Shard]], prepared: Path, target: Path, provenance: dict[str, Any], communicator: Communicator
) -> None:
    """Sum shards over their chunks, divide by the number of samples, and write the mean heatmaps.

    Rank r sums pixels r, r + size, ...; rank 0 writes them in order. Each pixel's chunks are added by one rank in chunk
    order, so the result is the same to the last bit for any number of ranks.

    Parameters
    ----------
    shards
        Shards by block and chunk, from `collect_shards`; every rank gives the same.
    prepared
        Prepared record, for the grid and the ocean mask.
    target
        NetCDF file to write: `positive_mean`, `negative_mean` (pixel, lag, lat, lon) and `monthly_positive`,
        `monthly_negative`, `monthly_all` (pixel, lag), float32, in standardised units.
    provenance
        Attributes to store.
    communicator
        MPI communicator.
    """
    places = [(block, at) for block, row in enumerate(shards) for at in range(len(row[0].pixels))]
    if communicator.rank:
        for number in range(communicator.rank, len(places), communicator.size):
            communicator.send(_sum_pixel(shards, *places[number]), dest=0, tag=number)
        return
    with write_whole(target) as partial, netCDF4.Dataset(partial, "w", format="NETCDF4") as file:
        _define(file, shards, prepared, provenance)
        for number in track(range(len(places)), "reduction", len(places), "pixel"):
            owner = number % communicator.size
            means = communicator.recv(source=owner, tag=number) if owner else _sum_pixel(shards, *places[number])
            for name, values in means.items():
                file[name][number] = values


def _sum_pixel(shards: list[list[Shard]], block: int, at: int) -> dict[str, np.ndarray]:
    sums: dict[str, np.ndarray] = {}
    count = 0
    for shard in shards[block]:
        with h5py.File(shard.path, "r") as file:
            for sign in ("positive", "negative"):
                values = file[f"{sign}_sum"][at]
                sums[sign] = sums[sign] + values if sign in sums else values
            count += len(shard.samples)
    positive, negative = sums["positive"] / count, sums["negative"] / count
    monthly_positive, monthly_negative = positive.sum((1, 2)), np.abs(negative).sum((1, 2))
    return {
        "positive_mean": positive.astype(np.float32),
        "negative_mean": negative.astype(np.float32),
        "monthly_positive": monthly_positive.astype(np.float32),
        "monthly_negative": monthly_negative.astype(np.float32),
        "monthly_all": (monthly_positive + monthly_negative).astype(np.float32),
    }


def _define(file: netCDF4.Dataset, shards: list[list[Shard]], prepared: Path, provenance: dict[str, Any]) -> None:
    record = read_netcdf(prepared)
    rows = [shard for row in shards for shard in row]
    identity = rows[0].identity
    pixels = [pixel for row in shards for pixel in row[0].pixels]
    sizes = {"pixel": len(pixels), "lag": identity.history, "lat": identity.rows, "lon": identity.columns}
    for name, size in sizes.items():
        file.createDimension(name, size)
    lag_name = "month of input relative to the first month after it"
    coordinates: dict[str, tuple[tuple[str, ...], Any, np.ndarray, dict[str, str]]] = {
        "pixel": (("pixel",), str, np.array([name for name, _, _ in pixels], object), {"long_name": "explained pixel"}),
        "lag": (("lag",), "i4", np.arange(-identity.history, 0), {"long_name": lag_name, "units": "month"}),
        "lat": (("lat",), "f8", record["lat"].values, dict(record["lat"].attrs)),
        "lon": (("lon",), "f8", record["lon"].values, dict(record["lon"].attrs)),
        "ocean": (("lat", "lon"), "i1", record["ocean"].values, dict(record["ocean"].attrs)),
    }
    for position, (axis, units) in enumerate((("lat", "degrees_north"), ("lon", "degrees_east")), start=1):
        index = np.array([pixel[position] for pixel in pixels])
        coordinates[f"pixel_{'row' if axis == 'lat' else 'column'}"] = (
            ("pixel",), "i4", index, {"long_name": f"index of the pixel along {axis}", "units": "1"},
        )  # fmt: skip
        coordinates[f"pixel_{axis}"] = (
            ("pixel",), "f8", record[axis].values[index], {**record[axis].attrs, "units": units},
        )  # fmt: skip
    for name, (dims, dtype, values, attrs) in coordinates.items():
        variable = file.createVariable(name, dtype, dims)
        variable[:] = values
        variable.setncatts({key: value for key, value in attrs.items() if key != "axis" or name in sizes})
    long_names = {
        "positive_mean": "mean over samples of the positive part of the attribution",
        "negative_mean": "mean over samples of the negative part of the attribution",
        "monthly_positive": "sum over space of positive_mean",
        "monthly_negative": "sum over space of the absolute value of negative_mean",
        "monthly_all": "sum of monthly_positive and monthly_negative",
    }
    for name, long_name in long_names.items():
        heatmap = name.endswith("mean")
        dims = ("pixel", "lag", "lat", "lon") if heatmap else ("pixel", "lag")
        chunks = (1, *list(sizes.values())[1:]) if heatmap else None
        variable = file.createVariable(
            name,
            "f4",
            dims,
            zlib=heatmap,
            complevel=1,
            shuffle=heatmap,
            chunksizes=chunks,
            fill_value=np.float32(np.nan),
        )
        variable.setncatts({"long_name": long_name, "units": "1"})
    samples = sum(len(shard.samples) for shard in shards[0])
    file.setncatts(
        {
            "Conventions": "CF-1.11",
            "title": f"Mean attribution heatmaps of the lead-{identity.lead} emulator over training samples",
            "samples": samples,
            "completeness_error": max(shard.completeness_error for shard in rows),
            **{key: value for key, value in asdict(identity).items() if key not in ("rows", "columns", "history")},
            **provenance,
        }
    )
