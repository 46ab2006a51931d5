"""From sea surface temperature to standardised anomalies, with all statistics from the training months."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import h5py
import netCDF4
import numpy as np
import xarray as xr
from dask.optimization import cull

from sealiency.config.data import Data, Samples
from sealiency.data.basins import exclude_basins
from sealiency.data.checks import BlockFacts, RecordChecks, describe_block
from sealiency.data.cluster import compute_in_order, open_cluster
from sealiency.data.description import ANOMALY, describe_record, describe_statistics, encode_time
from sealiency.data.reading.file import MONTHS_PER_CHUNK
from sealiency.data.reading.record import open_record
from sealiency.data.samples import Split, count_training_months, split_samples
from sealiency.data.statistics import Statistics, TrainingSums
from sealiency.errors import SealiencyError
from sealiency.files import deflate, measure_size, read_netcdf, sha256, write_netcdf, write_whole
from sealiency.progress import track

LOGGER = logging.getLogger(__name__)
# Bytes of source files below which a cluster takes longer to start (about 1.5 s) than it saves.
WORTH_A_CLUSTER = 256 * 2**20
# Largest block of months held in float64 (120 months of a global 1-degree grid need 59 MiB), and all blocks in flight.
BLOCK_BYTES = 64 * 2**20
FLIGHT_BYTES = 4 * BLOCK_BYTES
MOST_IN_FLIGHT = 8
# HDF5 would keep 64 MB of every open file, though a month is read once: 200 years and more would not fit into memory.
CHUNK_CACHE = 2**20


def prepare_record(
    paths: Sequence[str],
    settings: Data,
    history: int,
    training: int,
    target: Path,
    threads: int = 1,
    scheduler: str | None = None,
    checksums: Mapping[str, str] | None = None,
    source_dataset: str | None = None,
) -> None:
    """Write the prepared record: filtered, standardised anomalies on the region's grid.

    The sources are read once, block by block on the workers of a Dask cluster; filtered months go to a scratch file
    beside the target, and the anomalies come from that. Memory is bounded by some blocks of months whatever the length
    of the record, and the result is the same bit for bit however many workers there are.

    Parameters
    ----------
    paths
        CF NetCDF files of monthly SST.
    settings
        Preparation settings.
    history, training
        Months of input of a sample and number of training samples: they tell which months statistics come from.
    target
        File to write, with `anomaly(time, lat, lon)` float32 (1), `ocean(lat, lon)`, `climatology` (degC), `scale`
        (degC) and, where one is removed, `trend` (degC per month). `anomaly * scale + climatology + trend * (months
        since `trend_reference`)` gives back filtered SST in degC.
    threads
        Workers of the cluster that is started, each a process; threads where the files are small.
    scheduler
        Address of a Dask scheduler that is already there, whose workers see the files; None starts a cluster.
    checksums
        SHA-256 that files must have, by file name.
    source_dataset
        Identifier of the data set with its version, where it has one.

    Raises
    ------
    SealiencyError
        If the files are unusable (see `open_record`) or not those pinned, the record is too short, the region holds no
        ocean, or no scheduler answers.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    training_months = count_training_months(history, training)
    with (
        _open_executor(paths, threads, scheduler) as executor,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".filtered-") as folder,
    ):
        # Hashed by the workers while the headers are read here.
        hashes = [executor.submit(sha256, Path(path).absolute()) for path in paths]
        netCDF4.set_chunk_cache(CHUNK_CACHE)
        record = open_record(paths, settings)
        months = record.sizes["time"]
        needed = training_months + settings.filter_width - 1
        if needed > months:
            raise SealiencyError(
                f"samples.training = {training}: the inputs of the training samples alone need {needed} months, the "
                f"record has {months}; lower samples.training or add months"
            )
        inputs = _name_inputs(paths, [future.result() for future in hashes], checksums or {})
        scratch = Path(folder) / "filtered.f8"
        first = find_filter_offset(settings.filter, settings.filter_width)
        time = record["time"].isel(time=slice(first, None))[: months - settings.filter_width + 1]
        sums = TrainingSums(time, settings, training_months)
        checks, ocean, kept = _filter_record(executor, record, paths, settings, sums, scratch)
        statistics = sums.fit(ocean.values, kept, trend=settings.trend == "linear")
        checks.tell_anomalies(statistics.climatology)
        prepared = describe_statistics(statistics, ocean, time)
        prepared.attrs = describe_record(settings, history, training, prepared, inputs)
        prepared.attrs["regridding"] = record.attrs["regridding"]
        if source_dataset:
            prepared.attrs["source_dataset"] = source_dataset
        with write_whole(target) as partial:
            write_netcdf(prepared, partial, encoding={"time": encode_time(time)}, unlimited_dims=["time"])
            _write_anomaly(partial, statistics, scratch, threads)


def find_filter_offset(kind: str, width: int) -> int:
    """Return how many months before the month that a filtered month is stamped with its raw months begin."""
    return {"centred_mean": width // 2, "trailing_mean": width - 1, "none": 0}[kind]


@contextmanager
def _open_executor(paths: Sequence[str], threads: int, scheduler: str | None) -> Iterator[Executor]:
    # A file that is missing is named when it is opened.
    size = sum(measure_size(path) for path in paths)
    if scheduler is None and size < WORTH_A_CLUSTER:
        with ThreadPoolExecutor(threads) as executor:
            yield executor
    else:
        with open_cluster(scheduler, threads) as client:
            yield client.get_executor(pure=False)


def _name_inputs(paths: Sequence[str], hashes: Sequence[str], checksums: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of each file by its name, once they are found to be those that are pinned."""
    names = [Path(path).name for path in paths]
    for path, name, found in zip(paths, names, hashes, strict=True):
        if found != checksums.get(name, found):
            raise SealiencyError(
                f"{path}: its SHA-256 is {found}, but {checksums[name]} is pinned; delete it and run again to fetch it "
                "anew"
            )
    # A name alone leaves the record the same wherever its files lie; only namesakes need their folders.
    return {
        path if names.count(name) > 1 else name: found for path, name, found in zip(paths, names, hashes, strict=True)
    }


@dataclass(frozen=True)
class _Block:
    """Some months as read: SST of shape (time, lat, lon), degC, and what is remembered of them."""

    values: np.ndarray
    facts: BlockFacts


def _read_block(graph: dict[Any, Any], key: tuple[Any, ...]) -> _Block:
    netCDF4.set_chunk_cache(CHUNK_CACHE)
    values = dask.get(graph, key)
    return _Block(values, describe_block(values))


def _count_months(cells: int) -> int:
    """Return the most months that a block has on so many cells."""
    return max(1, min(MONTHS_PER_CHUNK, BLOCK_BYTES // (8 * cells)))


def _split_record(record: xr.DataArray) -> list[Callable[[], _Block]]:
    """Return what reads one block of months each, none of them twice."""
    most = _count_months(record[0].size)
    lengths = [0]
    for length in record.chunksizes["time"]:
        if lengths[-1] and lengths[-1] + length > most:
            lengths.append(0)
        lengths[-1] += length
    (blocks,) = dask.optimize(record.chunk(time=tuple(lengths), lat=-1, lon=-1).data)
    graph = dict(blocks.__dask_graph__())
    # Each block with its part of the graph: the whole would be sent as often as there are blocks.
    return [partial(_read_block, cull(graph, key)[0], key) for ((key,),) in blocks.__dask_keys__()]


def _read_blocks(executor: Executor, record: xr.DataArray, paths: Sequence[str], settings: Data) -> Iterator[_Block]:
    tasks = _split_record(record)
    ahead = max(2, min(MOST_IN_FLIGHT, FLIGHT_BYTES // (8 * record[0].size * _count_months(record[0].size))))
    try:
        yield from track(compute_in_order(executor, tasks, ahead), "reading the record", len(tasks), "block")
    except (OSError, RuntimeError) as error:
        damaged = _find_damaged(paths, settings)
        raise SealiencyError(
            f"{damaged}: reading it failed ({error}); it is damaged, get it again"
            if damaged
            else f"{paths[0]} or another file: reading it failed ({error}), but not when tried again; run again, and if "
            "run.dask_scheduler is set, see that its workers have these files and this environment"
        ) from None


def _find_damaged(paths: Sequence[str], settings: Data) -> str | None:
    for path in paths:
        try:
            whole = settings.model_copy(update={"first_month": None, "last_month": None})
            for read in _split_record(open_record([path], whole)):
                read()
        except (OSError, RuntimeError, SealiencyError):
            return path
    return None


def _filter_record(
    executor: Executor,
    record: xr.DataArray,
    paths: Sequence[str],
    settings: Data,
    sums: TrainingSums,
    scratch: Path,
) -> tuple[RecordChecks, xr.DataArray, np.ndarray]:
    """Write filtered SST to the scratch file as float64 of shape (time, kept cell), degC.

    Returns what was found of the record, the ocean mask and the mask of kept cells, both of shape (lat, lon): a cell
    without data in the first block is land whatever follows, and is not carried on.
    """
    kept = np.zeros(record.shape[1:], bool)
    checks = RecordChecks(record, settings)
    carried: np.ndarray | None = None
    with open(scratch, "wb") as stream:
        for block in _read_blocks(executor, record, paths, settings):
            checks.add(block.facts, block.values)
            if carried is None:
                kept = block.facts.always
                carried = np.empty((0, np.count_nonzero(kept)))
            joined = np.concatenate([carried, block.values[:, kept]])
            means = _average(joined, settings.filter_width)
            carried = joined[len(means) :]
            sums.add(means)
            means.tofile(stream)
    coordinates = {name: record[name] for name in ("lat", "lon")}
    ocean = exclude_basins(xr.DataArray(checks.find_ocean(), coordinates, ("lat", "lon")), settings.basins)
    if not ocean.any():
        raise SealiencyError(
            "data.basins.exclude leaves no ocean cell in data.region; exclude fewer basins or choose another region"
        )
    return checks, ocean, kept


def _average(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of every `width` months on end; always added up in one order, so that no bit varies."""
    count = max(len(values) - width + 1, 0)
    means = np.empty((count, *values.shape[1:]))
    for month in range(count):
        np.add.reduce(values[month : month + width], axis=0, out=means[month])
    means /= width
    return means


def _write_anomaly(path: Path, statistics: Statistics, scratch: Path, threads: int) -> None:
    """Add the anomalies to a file that has the rest, compressed by several threads: HDF5 itself would use one."""
    months, grid = len(statistics.calendar), statistics.kept.shape
    length = min(_count_months(grid[0] * grid[1]), months)
    with netCDF4.Dataset(path, "a") as dataset:
        anomaly = dataset.createVariable(
            "anomaly",
            "<f4",
            ("time", "lat", "lon"),
            compression="zlib",
            complevel=1,
            shuffle=True,
            chunksizes=(length, *grid),
            fill_value=np.float32(np.nan),
        )
        anomaly.setncatts(ANOMALY)

    def pack(start: int) -> bytes:
        size = np.count_nonzero(statistics.kept)
        filtered = np.fromfile(scratch, count=length * size, offset=start * size * 8).reshape(-1, size)
        chunk = np.full((length, *grid), np.nan, "<f4")
        chunk[: len(filtered)] = statistics.place(statistics.standardise(filtered, start))
        return deflate(chunk)

    starts = range(0, months, length)
    with ThreadPoolExecutor(threads) as executor, h5py.File(path, "r+") as file:
        file["anomaly"].resize(months, axis=0)
        packed = compute_in_order(executor, (partial(pack, start) for start in starts), ahead=2 * threads)
        for start, chunk in zip(starts, track(packed, "writing the anomalies", len(starts), "block"), strict=True):
            file["anomaly"].id.write_direct_chunk((start, 0, 0), chunk)


class PreparedRecord:
    """The prepared record in memory, as the emulator reads it.

    Attributes
    ----------
    anomaly : torch.Tensor
        Standardised anomalies, float32 of shape (time, lat, lon), 0 on land.
    ocean : torch.Tensor
        Bool of shape (lat, lon).
    lat, lon : numpy.ndarray
        Cell centres, degrees north and east, ascending.
    months : list of str
        Month of each time step, YYYY-MM.
    scale : float
        degC of one standardised unit.
    filter_width : int
        Raw months of one filtered month.
    training_samples : range
        Training samples, by number k: the same for every lead.
    attributes : dict of str
        Filter, region, training period, settings and hashes of the inputs, as the file states them.
    sha256 : str
        Hash of the file.
    """

    def __init__(self, path: str | Path) -> None:
        # Here, so that the workers of a cluster do without it.
        import torch

        dataset = read_netcdf(path)
        self.statistics = dataset.drop_vars("anomaly").drop_dims("time", errors="ignore")
        self.ocean = torch.from_numpy(dataset["ocean"].values.astype(bool))
        self.anomaly = torch.from_numpy(dataset["anomaly"].values.astype(np.float32))
        self.anomaly[:, ~self.ocean] = 0
        self.lat = dataset["lat"].values.copy()
        self.lon = dataset["lon"].values.copy()
        time = xr.CFTimeIndex(dataset["time"].values) if dataset["time"].dtype == object else dataset["time"].to_index()
        self.months = [f"{date.year:04d}-{date.month:02d}" for date in time]
        self.scale = float(dataset["scale"])
        self.filter_width = int(dataset.attrs["filter_width_months"])
        described = ("filter", "filter_width_months", "region", "training_period", "settings", "inputs_sha256")
        self.attributes = {name: str(dataset.attrs[name]) for name in described}
        settings = json.loads(dataset.attrs["settings"])
        self.training_samples = range(settings["history"], settings["history"] + settings["training"])
        self.sha256 = sha256(path)

    @property
    def area(self) -> np.ndarray:
        """Relative area of each ocean cell, float64 of shape (cell,), in the order of the mask."""
        weights: np.ndarray = np.broadcast_to(np.cos(np.deg2rad(self.lat))[:, None], self.ocean.shape)
        return weights[self.ocean.numpy()]

    @property
    def varying(self) -> np.ndarray:
        """Ocean cells whose anomaly varies, bool of shape (lat, lon): under ice it may be constant."""
        return (self.ocean & (self.anomaly != self.anomaly[0]).any(0)).numpy()

    def split(self, lead: int, samples: Samples) -> Split:
        """Return the samples of each period of a lead; see `split_samples` for the error."""
        return split_samples(len(self.months), lead, samples, self.filter_width)
