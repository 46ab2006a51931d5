"""Time the planning of many shards: `snakemake --dry-run` of every ocean pixel in blocks and chunks.

    python benchmarks/planning.py

plans in a temporary folder, each time in a fresh process, prints a table and writes `results/benchmarks/planning.json`.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[1]
LEADS = [1, 6, 9]
# Bootstrap blocks of 32 samples, of which a chunk holds one at least.
TRAINING = 1056


def configure(pixel_blocks: int, sample_chunks: int) -> dict[str, Any]:
    """Return a run of every ocean pixel of the synthetic world at 1 degree."""
    return {
        "run": {"name": "planning"},
        "leads": LEADS,
        "data": {"synthetic": {"resolution": 1, "years": 200, "years_per_file": 50}},
        "samples": {"training": TRAINING, "validation": 100},
        "attribution": {"pixels": "all", "pixel_blocks": pixel_blocks, "sample_chunks": sample_chunks},
    }


def plan(settings: dict[str, Any]) -> tuple[float, float, int]:
    """Return wall seconds, processor seconds and planned shards of one dry run.

    Raises
    ------
    subprocess.CalledProcessError
        If Snakemake refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "configuration.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--dry-run"]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        answer = subprocess.run(
            [*command, "--configfile", str(path), "--directory", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    shards = re.search(r"^attribute_pixels +(\d+)$", answer.stdout, flags=re.MULTILINE)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, processor, int(shards.group(1)) if shards else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Time dry runs of many shards.")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 11, 104])
    parser.add_argument("--chunks", type=int, default=33)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/planning.json"))
    options = parser.parse_args(arguments)
    results = []
    print(f"{'shards':>8}{'seconds':>10}{'processor':>11}{'load before':>13}")
    for blocks in options.blocks:
        load = os.getloadavg()[0]
        rounds = [plan(configure(blocks, options.chunks)) for _ in range(options.rounds)]
        result = {
            "shards": rounds[0][2],
            "seconds": statistics.median(seconds for seconds, _, _ in rounds),
            "processor_seconds": statistics.median(processor for _, processor, _ in rounds),
            "load_before": load,
            "rounds": [{"seconds": seconds, "processor_seconds": processor} for seconds, processor, _ in rounds],
        }
        results.append(result)
        print(
            f"{result['shards']:8,}{result['seconds']:10.1f}{result['processor_seconds']:11.1f}{load:13.2f}", flush=True
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
