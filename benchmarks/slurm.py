"""Measure what Slurm and Snakemake add to a shard: many tiny shards on the cluster of the tests, which this starts and stops.

    python benchmarks/slurm.py

prints a table and writes `results/benchmarks/slurm.json`. As root on Debian or Ubuntu; 500 shards take half an hour on 2 cores.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "slurm"))

from cluster import Cluster  # noqa: E402

SAMPLES = 10


def configure(shards: int) -> dict[str, Any]:
    """Return a run of every ocean pixel of a small region, in so many shards of a small network."""
    return {
        "run": {"name": "overhead"},
        "leads": [1],
        "data": {
            "synthetic": {"resolution": 2, "years": 40, "years_per_file": 40},
            "region": {"south": 30, "north": 60, "west": -60, "east": -20},
        },
        "samples": {"training": 200, "validation": 40, "test": 0},
        "network": {"stem_channels": 8, "growth_rate": 4, "dense_layers": [1, 1, 1], "skip": "persistence"},
        "training": {"epochs": 1, "batch_size": 16},
        "attribution": {
            "pixels": "all",
            "pixel_blocks": shards // SAMPLES,
            "samples": SAMPLES,
            "bootstrap_block": 1,
            "sample_chunks": SAMPLES,
        },
        "instance": {"compared": {"name": "open", "lat": 45, "lon": -35}},
        "ablation": {"region": {"south": 44, "north": 48, "west": -42, "east": -38}},
    }


def run(cluster: Cluster, settings: dict[str, Any], folder: Path, target: str) -> float:
    """Return the seconds that the workflow takes to a target.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    (folder / "configuration.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    profile = REPOSITORY / "profiles" / "slurm"
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--configfile", "configuration.yaml", "--profile", str(profile)]
    environment = {**cluster.environment, "SEALIENCY_SITE": str(profile / "site.pmi2.yaml")}
    start = time.monotonic()
    with open(folder / "said.txt", "a", encoding="utf-8") as said:
        subprocess.run(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT, check=True)
    return time.monotonic() - start


def read_jobs(cluster: Cluster, folder: Path) -> list[dict[str, float]]:
    """Return, for each shard's job, the seconds that it waited, ran and spent in the script."""
    fields = "Submit,Start,End,State,Comment,WorkDir"
    said = cluster.call("sacct", "-X", "-P", "-n", "-S", "now-6hours", "-E", "now", f"--format={fields}")
    jobs = []
    for line in said.splitlines():
        *times, state, comment, workdir = line.split("|")
        if Path(workdir) == folder and comment.startswith("rule_attribute_pixels") and state == "COMPLETED":
            submit, start, end = (datetime.fromisoformat(moment).timestamp() for moment in times)
            block, chunk = comment.split("_")[-2:]
            name = f"pixels-{block}_samples-{chunk}.tsv"
            path = folder / "results/overhead/benchmarks/attribute_pixels/lead1_seed0" / name
            with open(path, encoding="utf-8") as table:
                script = float(next(csv.DictReader(table, delimiter="\t"))["s"])
            jobs.append({"waited": start - submit, "ran": end - start, "script": script})
    return jobs


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure the overhead of a shard on Slurm.")
    parser.add_argument("--shards", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks/slurm.json"))
    options = parser.parse_args(arguments)
    settings = configure(options.shards)
    cluster = Cluster()
    cluster.start()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            run(cluster, settings, folder, "results/overhead/train_emulator/lead1_seed0/emulator.pt")
            seconds = run(
                cluster, settings, folder, "results/overhead/reduce_shards/lead1_seed0/deeplift/attributions.nc"
            )
            jobs = read_jobs(cluster, folder)
    finally:
        cluster.stop()
    medians = {key: statistics.median(job[key] for job in jobs) for key in ("waited", "ran", "script")}
    result = {"shards": len(jobs), "seconds": seconds, "seconds_a_shard": seconds / len(jobs), **medians}
    result["overhead"] = result["ran"] - result["script"]
    for key, value in result.items():
        print(f"{key:>16}{value:10.2f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
