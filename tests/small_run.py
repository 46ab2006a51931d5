"""A small run of the whole workflow, as a user would start it."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

REPOSITORY = Path(__file__).parents[1]
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
    "network": {"stem_channels": 8, "growth_rate": 4, "dense_layers": [1, 1, 1], "skip": "persistence"},
    "training": {"epochs": 3, "dropout": 0.1, "batch_size": 16, "precision": "float32"},
    "attribution": {
        "pixels": [{"name": "north", "lat": 55.5, "lon": -43.5}, {"name": "south", "row": 5, "column": 20}],
        "samples": 12,
        "bootstrap_block": 3,
        "sample_chunks": 2,
    },
    "findings": {
        "controls": ["random"],
        "stride": 6,
        "samples": 24,
        "bootstrap_block": 2,
        "draws": 100,
        "neighbourhood_km": 500,
        "far_km": 1000,
    },
    "figures": {"dpi": 60},
}


@dataclass
class Workflow:
    """A working directory with a configuration, in which Snakemake runs as a user would run it."""

    folder: Path
    settings: dict[str, Any]
    environment: dict[str, str] = field(default_factory=lambda: {**os.environ})
    options: Sequence[str] = ("--cores", "2")

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
            *self.options,
            *arguments,
        ]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake and return its exit status and everything it said."""
        process = self.start(*arguments, stdout=subprocess.PIPE)
        said, _ = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, said)

    def start(self, *arguments: str, stdout: Any) -> subprocess.Popen[str]:
        """Start Snakemake in a session of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def planned(self, **changes: Any) -> set[str]:
        """Return what Snakemake would do after a change of settings, as the messages of its jobs."""
        changed = replace(self, settings=merge(self.settings, changes))
        answer = changed.run("--dry-run")
        assert answer.returncode == 0, answer.stdout
        return set(re.findall(r"^Job \d+: (.*)$", answer.stdout, flags=re.MULTILINE))

    @property
    def results(self) -> Path:
        run = self.settings["run"]
        return self.folder / run.get("folder", "results") / run["name"]


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


def gather_years(folder: Path) -> None:
    """Write yearly files sst_YYYY.nc, one more than the runs use: real ones, or noise where there are none."""
    for year in (*YEARS, YEARS.stop):
        real = SHARED_DATA / "cobesst2" / f"cobesst2_sst_{year}.nc"
        if real.exists():
            shutil.copy(real, folder / f"sst_{year}.nc")
        else:
            _write_synthetic_year(folder / f"sst_{year}.nc", year)


def _write_synthetic_year(path: Path, year: int) -> None:
    rng = np.random.default_rng(year)
    lat, lon = np.arange(-89.5, 90), np.arange(0.5, 360)
    values = 15 + rng.normal(size=(12, lat.size, lon.size)).cumsum(axis=0)
    values[:, :, (lon > 322) & (lon < 328)] = np.nan
    time = xr.date_range(f"{year}-01-01", periods=12, freq="MS", use_cftime=True)
    sst = xr.DataArray(values.astype("f4"), dims=("time", "lat", "lon"), coords={"time": time, "lat": lat, "lon": lon})
    sst["lat"].attrs, sst["lon"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    sst.attrs = {"units": "degC"}
    sst.to_dataset(name="sst").to_netcdf(path)
