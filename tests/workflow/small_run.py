"""A small run of the whole workflow, as a user would start it."""

import copy
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
SHARED_DATA = Path(os.environ.get("SEALIENCY_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
YEARS = range(1950, 1970)

SETTINGS: dict[str, Any] = {
    "run": {"name": "small"},
    "leads": [1, 6],
    "data": {
        "source": "files",
        "files": {"variable": "sst"},
        "region": {"south": 35, "north": 60, "west": -60, "east": -25},
        "trend": "linear",
    },
    "samples": {"training": 50, "validation": 20, "test": 10},
    "network": {"stem_channels": 8, "growth_rate": 4, "dense_layers": [1, 1, 1], "residual": True},
    "training": {"epochs": 3, "dropout": 0.1, "batch_size": 16, "precision": "float32"},
    "attribution": {
        "pixels": [{"name": "north", "lat": 55.5, "lon": -43.5}, {"name": "south", "row": 5, "column": 20}],
        "samples": 12,
        "bootstrap_block": 3,
        "sample_chunks": 2,
    },
    "instance": {"compared": {"name": "coast", "lat": 50.5, "lon": -48.5}},
    "ablation": {"region": {"south": 44, "north": 48, "west": -42, "east": -38}},
    "figures": {"dpi": 60},
}


@dataclass
class Workflow:
    """A working directory with a configuration, in which Snakemake runs as a user would run it."""

    folder: Path
    settings: dict[str, Any]
    environment: dict[str, str] = field(default_factory=lambda: {**os.environ})

    def command(self, *arguments: str) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "configuration.yaml"
        configuration.write_text(yaml.safe_dump(self.settings))
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        return [
            *snakemake,
            "--configfile",
            str(configuration),
            "--directory",
            str(self.folder),
            "--cores",
            "2",
            *arguments,
        ]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake and return its exit status and everything it said."""
        return subprocess.run(
            self.command(*arguments), env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def planned(self, **changes: Any) -> set[str]:
        """Return what Snakemake would do after a change of settings, as the messages of its jobs."""
        changed = Workflow(self.folder, merge(self.settings, changes), self.environment)
        answer = changed.run("--dry-run")
        assert answer.returncode == 0, answer.stdout
        return set(re.findall(r"^Job \d+: (.*)$", answer.stdout, flags=re.MULTILINE))

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.settings["run"]["name"]


def merge(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(settings)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key, {}), dict)
        merged[key] = merge(merged.get(key, {}), value) if both else value
    return merged


def link_years(sst_files: Path, folder: Path, years: range = YEARS) -> str:
    """Link yearly files into a folder and return the pattern that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    for year in years:
        (folder / f"sst_{year}.nc").symlink_to(sst_files / f"sst_{year}.nc")
    return str(folder / "sst_*.nc")
