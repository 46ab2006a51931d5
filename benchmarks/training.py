"""Processor time and memory of training and of forecasts, with memory that is given back and with memory that is kept.

    python benchmarks/training.py

trains the paper's network on noise on its grid, one epoch of a few batches, and forecasts as an evaluation does, each in
fresh processes in turn; prints a table and writes `results/benchmarks/training.json`. Kept is how every job runs its network
(`set_up_process`); given back is glibc's default. Processor time, of user and system, on one thread hardly depends on what else
runs; idle threads spin.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sealiency.config.emulator import Training, resolve_training
from sealiency.config.networks import DenseNetwork
from sealiency.data.samples import Split
from sealiency.emulators.devices import set_up_process
from sealiency.emulators.emulator import Emulator, hash_weights
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.emulators.training import train_emulator
from sealiency.provenance import name_processor
from sealiency.skill.evaluation import SAMPLES_AT_ONCE

GRID, HISTORY = (70, 125), 36
TASKS = {"training, bfloat16": "bfloat16", "training, float32": "float32", "forecasts, float32": None}
MEMORY = ("given back", "kept")


def make_noise(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return anomalies of shape (time, lat, lon) for so many samples of lead 1, and the ocean, bool of shape (lat, lon)."""
    generator = torch.Generator().manual_seed(0)
    ocean = torch.rand(GRID, generator=generator) < 0.7
    return torch.randn(HISTORY + samples, *GRID, generator=generator) * ocean, ocean


def train(samples: int, batch_size: int, precision: str) -> str:
    """Train one epoch of lead 1 and return the hash of the weights."""
    anomaly, ocean = make_noise(samples + 1)
    first, last = HISTORY, HISTORY + samples
    # One sample of validation, so that next to nothing but training counts.
    split = Split(range(first, last), range(last, last + 1), range(last + 1, last + 1))
    training = Training(epochs=1, batch_size=batch_size, precision=precision, device="cpu")
    settings = resolve_training(training, lead=1, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        result = train_emulator(anomaly, ocean, split, HISTORY, DenseNetwork(), settings, checkpoint, "")
    return hash_weights(result.weights)


def forecast(samples: int) -> str:
    """Forecast noise and return the hash of the forecasts."""
    anomaly, ocean = make_noise(samples)
    torch.manual_seed(0)
    emulator = Emulator(DenseNet(DenseNetwork(), HISTORY, GRID).eval(), ocean, 1, 0, HISTORY, "", "")
    inputs = anomaly.unfold(0, HISTORY, 1).permute(0, 3, 1, 2)[:samples]
    forecasts = [emulator.forecast(part) for part in inputs.split(SAMPLES_AT_ONCE)]
    return hash_weights({"forecasts": torch.cat(forecasts)})


def run_task(task: str, memory: str, threads: int, samples: int, batch_size: int) -> dict[str, Any]:
    """Run one task in this process and return its milliseconds a sample, peak memory and hash of what it made."""
    if memory == "kept":
        set_up_process(threads)
    else:
        torch.set_num_threads(threads)
    precision = TASKS[task]

    def work(count: int) -> str:
        return train(count, batch_size, precision) if precision else forecast(count)

    # Once before: what PyTorch loads at its first batch is no part of the others.
    work(batch_size)
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    sha256 = work(samples)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "processor_ms": 1e3 * (user + system) / samples,
        "system_ms": 1e3 * system / samples,
        "wall_ms": 1e3 * wall / samples,
        "peak_memory_gib": after.ru_maxrss / 2**20,
        "sha256": sha256,
    }


def run_apart(task: str, memory: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one task in a fresh process."""
    command = [sys.executable, __file__, "--task", task, "--memory", memory, "--threads", str(options.threads)]
    command += ["--batches", str(options.batches), "--batch-size", str(options.batch_size)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def compare(task: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return every round of one task, both ways in turn, and what it comes to.

    Raises
    ------
    SystemExit
        If the two ways make anything different.
    """
    rounds: dict[str, list[dict[str, Any]]] = {memory: [] for memory in MEMORY}
    for number in range(options.rounds):
        for memory in MEMORY:
            rounds[memory].append(run_apart(task, memory, options))
            taken = rounds[memory][-1]
            print(f"{task}, {memory}, round {number + 1}: {taken['processor_ms']:.1f} ms a sample", flush=True)
    if len({run["sha256"] for runs in rounds.values() for run in runs}) != 1:
        sys.exit(f"{task}: results differ")
    middle = {memory: statistics.median(run["processor_ms"] for run in rounds[memory]) for memory in MEMORY}
    return {"task": task, "ratio": middle["given back"] / middle["kept"], "rounds": rounds}


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print what was measured."""
    print(f"\n{'':30} {'processor ms a sample':^27} {'system':>8} {'peak':>9}")
    print(f"{'':30} {'min':>8} {'median':>9} {'max':>8} {'median':>8} {'GiB':>9}")
    for result in results:
        for memory, runs in result["rounds"].items():
            taken = sorted(run["processor_ms"] for run in runs)
            system = statistics.median(run["system_ms"] for run in runs)
            peak = max(run["peak_memory_gib"] for run in runs)
            times = f"{taken[0]:8.1f} {statistics.median(taken):9.1f} {taken[-1]:8.1f}"
            print(f"{result['task'] + ', ' + memory:30} {times} {system:8.1f} {peak:9.2f}")
        print(f"{'':30} {'':8} {result['ratio']:7.2f} x")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/training.json"))
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--memory", choices=MEMORY, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task:
        samples = options.batches * options.batch_size
        print(json.dumps(run_task(options.task, options.memory, options.threads, samples, options.batch_size)))
        return
    results = [compare(task, options) for task in TASKS]
    print_table(results)
    machine = {"device": name_processor(), "threads": options.threads, "torch": torch.__version__}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**machine, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
