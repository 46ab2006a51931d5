"""How long reducing shards takes, beside reading them once, on one and two ranks, and how much memory a rank needs.

    python benchmarks/reduction.py

writes shards of random numbers on the paper's grid into a temporary folder, reads and reduces them in turn, each time in
fresh processes, prints a table and writes `results/benchmarks/reduction.json`. Reading is h5py's own, one pixel at a time,
discarded at once; both find the files in the system's cache, so that what counts is unpacking, adding and packing, not
the disk. Seconds are without imports; memory is the largest resident set of any rank.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from sealiency.provenance import name_processor

ROWS, COLUMNS, HISTORY = 70, 125, 36
CHUNKS, BOOTSTRAP_BLOCK, SAMPLES = 4, 32, 1280
PIXELS_IN_BLOCK = 8
EDGES = [float(edge) for edge in (*range(0, 2000, 100), *range(2000, 6000, 500))]
LAND_SHARE = 0.4
LAT, LON = 0.5 + np.arange(ROWS), -99.5 + np.arange(COLUMNS)
PLAN: dict[str, Any] = {
    "method": "deeplift",
    "pixels": "all",
    "samples": SAMPLES,
    "sample_chunks": CHUNKS,
    "bootstrap_block": BOOTSTRAP_BLOCK,
    "heatmaps": True,
    "distance_edges": EDGES,
    "precision": "float32",
    "integration_steps": 64,
    "baseline_samples": 0,
}


def write_inputs(folder: Path, ocean: np.ndarray) -> dict[str, Any]:
    """Write a prepared record without anomalies and an untrained emulator, and return the identity of its shards."""
    import torch

    from sealiency.attribution.shards import hash_rule
    from sealiency.config.attribution import Attribution
    from sealiency.config.networks import DenseNetwork
    from sealiency.emulators.emulator import hash_weights, save_torch
    from sealiency.emulators.networks.densenet import DenseNet
    from sealiency.files import sha256

    prepared = xr.Dataset(
        {"ocean": (("lat", "lon"), ocean.astype(np.int8))},
        coords={"lat": LAT, "lon": LON},
        attrs={"settings": json.dumps({"history": HISTORY, "training": SAMPLES})},
    )
    prepared.to_netcdf(folder / "prepared.nc", engine="netcdf4")
    network = DenseNetwork(stem_channels=8, growth_rate=4, dense_layers=(1, 1, 1))
    weights = DenseNet(network, HISTORY, (ROWS, COLUMNS)).state_dict()
    record = sha256(folder / "prepared.nc")
    content = {
        "weights": weights,
        "network": network.model_dump(mode="json"),
        "history": HISTORY,
        "lead": 6,
        "seed": 0,
        "ocean": torch.from_numpy(ocean),
        "prepared_sha256": record,
    }
    save_torch(content, folder / "emulator.pt")
    return {
        "model_sha256": hash_weights(weights),
        "prepared_sha256": record,
        "lead": 6,
        "method": "deeplift",
        "baseline": "zero",
        "baseline_sha256": "0" * 64,
        "precision": "float32",
        "settings_sha256": hash_rule(Attribution(**PLAN)),
        "history": HISTORY,
        "rows": ROWS,
        "columns": COLUMNS,
        "heatmaps": True,
        "bootstrap_block": BOOTSTRAP_BLOCK,
        "distance_edges": EDGES,
    }


def write_shards(folder: Path, size: float) -> tuple[list[str], int]:
    """Write shards of at least so many bytes; return the names of their blocks of pixels and the number of pixels."""
    from sealiency.attribution.shards import divide_samples
    from sealiency.config.attribution import Attribution
    from sealiency.data.places import list_block_pixels
    from sealiency.naming import name_shard

    rng = np.random.default_rng(0)
    ocean = rng.random((ROWS, COLUMNS)) >= LAND_SHARE
    samples = list(range(HISTORY, HISTORY + SAMPLES))
    one_block = Attribution(pixels="all", pixel_blocks=1)
    cells = np.array([cell for _, *cell in list_block_pixels(one_block, "0000", ocean, LAT, LON)])
    blocks: list[str] = []
    written = 0
    while written < size and (len(blocks) + 1) * PIXELS_IN_BLOCK <= len(cells):
        pixels = cells[len(blocks) * PIXELS_IN_BLOCK : (len(blocks) + 1) * PIXELS_IN_BLOCK]
        blocks.append(f"{len(blocks):04d}")
        for chunk in range(CHUNKS):
            runs = divide_samples(samples, BOOTSTRAP_BLOCK, CHUNKS, chunk)
            path = name_shard(folder, blocks[-1], chunk)
            with h5py.File(path, "w") as file:
                for name, sign in (("positive", 1), ("negative", -1)):
                    radial = rng.exponential(size=(len(pixels), len(runs), HISTORY, len(EDGES)))
                    _write(file, f"radial_{name}", radial)
                    heatmaps = sign * rng.exponential(size=(len(pixels), HISTORY, ROWS, COLUMNS)) * ocean
                    _write(file, f"{name}_sum", heatmaps)
                file["completeness"] = np.full(len(pixels), 1e-7)
                file["samples"] = np.array([sample for run in runs for sample in run])
                file["block_samples"] = np.array([len(run) for run in runs])
                names = [f"r{row}c{column}" for row, column in pixels]
                file["pixel_name"] = np.array(names, dtype=h5py.string_dtype())
                file["pixel_row"], file["pixel_column"] = pixels.T
                file.attrs["completeness_error"] = 1e-7
            written += path.stat().st_size
    # The reduction wants all of the sea, so the record's sea is the cells that were written.
    explained = np.zeros_like(ocean)
    explained[tuple(cells[: len(blocks) * PIXELS_IN_BLOCK].T)] = True
    identity = write_inputs(folder, explained)
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file.attrs["identity"] = json.dumps(identity)
    return blocks, len(blocks) * PIXELS_IN_BLOCK


def _write(file: h5py.File, name: str, values: np.ndarray) -> None:
    chunks = (1, *values.shape[1:])
    file.create_dataset(name, data=values, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)


def read_once(paths: Sequence[Path]) -> None:
    """Read every dataset of every shard and discard it."""
    for path in paths:
        with h5py.File(path, "r") as file:
            for dataset in file.values():
                if dataset.ndim == 4:
                    for pixel in range(len(dataset)):
                        dataset[pixel]
                else:
                    dataset[:]


def reduce(folder: Path, ranks: int) -> None:
    """Reduce the shards on every rank of this MPI world, and say how long that took and the memory of each rank."""
    from mpi4py import MPI

    from sealiency.attribution.reduction import reduce_attributions

    world = MPI.COMM_WORLD
    blocks = json.loads((folder / "blocks.json").read_text(encoding="utf-8"))
    target = folder / f"attributions{ranks}.nc"
    world.Barrier()
    start = time.perf_counter()
    arguments = (folder / "prepared.nc", folder / "emulator.pt", folder, blocks, PLAN, target, ranks)
    reduce_attributions(*arguments, world)
    world.Barrier()
    seconds = time.perf_counter() - start
    peaks = world.gather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    if world.rank == 0:
        print(json.dumps({"seconds": seconds, "peak_memory_gib": peaks}))


def run_apart(task: str, folder: Path, ranks: int) -> dict[str, Any]:
    """Run one task in fresh processes and return what it measured."""
    command = [sys.executable, __file__, "--task", task, "--folder", str(folder), "--ranks", str(ranks)]
    if task == "reduce":
        beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
        command = [beside or "mpiexec", "-n", str(ranks), *command]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measure(size: float, rounds: int, ranks: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Return for each number of ranks the medians over rounds that read and reduce in turn, and every round."""
    blocks, pixels = write_shards(folder, size)
    (folder / "blocks.json").write_text(json.dumps(blocks), encoding="utf-8")
    paths = sorted(folder.glob("*.h5"))
    stored = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} shards, {pixels} pixels, {stored / 1e9:.2f} GB", flush=True)
    read_once(paths)
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        runs.append({"read": run_apart("read", folder, 1)})
        runs[-1] |= {str(count): run_apart("reduce", folder, count) for count in ranks}
        taken = ", ".join(f"{task} {run['seconds']:.2f} s" for task, run in runs[-1].items())
        print(f"round {number + 1}: {taken}", flush=True)
    files = {(folder / f"attributions{count}.nc").read_bytes() for count in ranks}
    if len(files) > 1:
        raise RuntimeError(f"the results of {list(ranks)} ranks differ")
    results = []
    for count in ranks:
        seconds = statistics.median(run[str(count)]["seconds"] for run in runs)
        results.append(
            {
                "ranks": count,
                "bytes": stored,
                "shards": len(paths),
                "pixels": pixels,
                "seconds": seconds,
                "bytes_per_second": stored / seconds,
                "read_seconds": statistics.median(run["read"]["seconds"] for run in runs),
                "ratio_to_reading": statistics.median(
                    run[str(count)]["seconds"] / run["read"]["seconds"] for run in runs
                ),
                "peak_memory_gib": max(max(run[str(count)]["peak_memory_gib"]) for run in runs),
                "result_bytes": (folder / f"attributions{count}.nc").stat().st_size,
                "device": name_processor(),
                "rounds": [{"read": run["read"], "reduce": run[str(count)]} for run in runs],
            }
        )
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Time the reduction of shards beside reading them once.")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="bytes of shards, at least")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/reduction.json"))
    parser.add_argument("--task", choices=("read", "reduce"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task == "read":
        start = time.perf_counter()
        read_once(sorted(options.folder.glob("*.h5")))
        print(json.dumps({"seconds": time.perf_counter() - start}))
        return
    if options.task == "reduce":
        reduce(options.folder, options.ranks[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.gigabytes * 1e9, options.rounds, options.ranks, Path(folder))
    print(f"\n{'ranks':>6}{'read s':>10}{'reduce s':>10}{'ratio':>8}{'MB/s':>8}{'peak GiB a rank':>18}")
    for result in results:
        print(
            f"{result['ranks']:6d}{result['read_seconds']:10.2f}{result['seconds']:10.2f}{result['ratio_to_reading']:8.2f}"
            f"{result['bytes_per_second'] / 1e6:8.1f}{result['peak_memory_gib']:18.2f}"
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
