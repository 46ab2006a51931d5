"""How long preparing a record takes, beside reading its files once, and how much memory.

    python benchmarks/prepare.py

writes synthetic centuries into a temporary folder, reads and prepares them in turn, each time in a fresh process, prints
a table and writes `results/benchmarks/prepare.json`. Reading is netCDF4's own, 120 months at a time, discarded at once.
Memory is the sum of the resident sets of the job and all its workers, sampled ten times a second: pages that they share
count more than once.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import psutil
from centuries import write_centuries

from sealiency.provenance import name_processor

HISTORY = 36
TRAINING_SHARE = 0.6
SECONDS_BETWEEN_SAMPLES = 0.1
MONTHS_AT_ONCE = 120


def read_once(paths: Sequence[str]) -> None:
    """Read every month of every file and discard it."""
    for path in paths:
        with netCDF4.Dataset(path) as dataset:
            tos = dataset["tos"]
            for start in range(0, len(tos), MONTHS_AT_ONCE):
                tos[start : start + MONTHS_AT_ONCE]


def prepare(paths: Sequence[str], workers: int) -> None:
    """Prepare the record of the paper's case: its box, a trailing mean of 12 months."""
    # Here, so that the process that only reads does without them.
    from sealiency.config.data import Data, Files
    from sealiency.data.prepare import prepare_record

    months = 0
    for path in paths:
        with netCDF4.Dataset(path) as dataset:
            months += len(dataset.dimensions["time"])
    data = Data(source="files", files=Files(paths=list(paths)))
    with tempfile.TemporaryDirectory(dir=Path(paths[0]).parent) as folder:
        target = Path(folder) / "prepared.nc"
        start = time.perf_counter()
        prepare_record(paths, data, HISTORY, int(TRAINING_SHARE * months), target, threads=workers)
        print(time.perf_counter() - start)


def watch(command: Sequence[str]) -> tuple[str, float, float]:
    """Run a command and return what it prints, its seconds, and the peak memory of it and its children in GiB.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, _measure_memory(process.pid))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        printed = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return printed, time.perf_counter() - start, peak / 2**30


def _measure_memory(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for member in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
    return total


def run_apart(task: str, paths: Sequence[str], workers: int) -> dict[str, float]:
    """Run one task in a fresh process and return its seconds, without and with imports, and its peak memory in GiB."""
    printed, seconds, peak = watch([sys.executable, __file__, "--task", task, "--workers", str(workers), *paths])
    return {"seconds": float(printed), "process_seconds": seconds, "peak_memory_gib": peak}


def measure(months: int, rounds: int, workers: int, folder: Path) -> dict[str, Any]:
    """Return medians over rounds that read and prepare in turn, and every round."""
    paths = write_centuries(folder, years=months // 12)
    runs = []
    for number in range(rounds):
        runs.append({task: run_apart(task, paths, workers) for task in ("read", "prepare")})
        taken = [runs[-1][task]["seconds"] for task in ("read", "prepare")]
        print(f"{months} months, round {number + 1}: read {taken[0]:.2f} s, prepare {taken[1]:.2f} s", flush=True)

    def middle(task: str, key: str) -> float:
        return statistics.median(run[task][key] for run in runs)

    return {
        "months": months,
        "read_seconds": middle("read", "seconds"),
        "prepare_seconds": middle("prepare", "seconds"),
        "ratio": statistics.median(run["prepare"]["seconds"] / run["read"]["seconds"] for run in runs),
        "read_process_seconds": middle("read", "process_seconds"),
        "prepare_process_seconds": middle("prepare", "process_seconds"),
        "peak_memory_gib": max(run["prepare"]["peak_memory_gib"] for run in runs),
        "workers": workers,
        "device": name_processor(),
        "rounds": runs,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Time the preparation of long records beside reading them once.")
    parser.add_argument("--months", type=int, nargs="+", default=[960, 9600])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/prepare.json"))
    parser.add_argument("--task", choices=("read", "prepare"), help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task == "read":
        start = time.perf_counter()
        read_once(options.paths)
        print(time.perf_counter() - start)
        return
    if options.task == "prepare":
        prepare(options.paths, options.workers)
        return
    results = []
    for months in options.months:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(months, options.rounds, options.workers, Path(folder)))
    print(f"\n{'months':>8}{'read s':>10}{'prepare s':>11}{'ratio':>8}{'peak GiB':>10}")
    for result in results:
        print(
            f"{result['months']:8d}{result['read_seconds']:10.2f}{result['prepare_seconds']:11.2f}"
            f"{result['ratio']:8.2f}{result['peak_memory_gib']:10.2f}"
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
