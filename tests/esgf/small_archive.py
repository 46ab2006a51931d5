"""A small CESM2 control run as files of the archive, and a run that is configured for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from archive import Archive

from small_run import SETTINGS, Workflow, merge
from small_world import make_sst

FACETS = {
    "activity_id": "CMIP",
    "institution_id": "NCAR",
    "source_id": "CESM2",
    "experiment_id": "piControl",
    "variant_label": "r1i1p1f1",
    "grid_label": "gr",
}
DATASET = "CMIP6.CMIP.NCAR.CESM2.piControl.r1i1p1f1.Omon.tos.gr"
VERSION = "v20190320"
MANIFEST = f"config/manifests/{DATASET}.json"
LAT, LON = np.arange(35.5, 60), np.arange(-59.5, -25)


def name_file(first_year: int, last_year: int) -> str:
    return f"tos_Omon_CESM2_piControl_r1i1p1f1_gr_{first_year:04d}01-{last_year:04d}12.nc"


def write_files(root: Path, files: int, years: int, version: str = VERSION, seed: int = 0) -> list[Path]:
    """Write a record of so many files, each of so many years, below a root of the archive."""
    record = make_sst(12 * files * years, start=(1, 1), lat=LAT, lon=LON, seed=seed)
    record["tos"].encoding = {"dtype": "f4", "_FillValue": np.float32(1e20)}
    folder = root.joinpath(*DATASET.split("."), version)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(files):
        paths.append(folder / name_file(number * years + 1, (number + 1) * years))
        part = record.isel(time=slice(12 * number * years, 12 * (number + 1) * years))
        part.to_netcdf(paths[-1], encoding={"time": {"units": "days since 0001-01-01"}})
    return paths


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and time of change of every file."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


class Run(Workflow):
    """A working directory whose record comes from an archive on loopback."""

    def __init__(self, folder: Path, archive: Archive, facets: dict[str, str] | None = None, **data: Any):
        esgf = {
            "facets": {**FACETS, **(facets or {})},
            "globus_indices": [archive.globus],
            "solr_indices": [archive.solr],
            "timeout": 0.8,
            "attempts": 3,
            "wait": 0.05,
        }
        settings = merge(SETTINGS, {"data": merge({"source": "esgf", "esgf": esgf}, data)})
        del settings["data"]["files"]
        settings["samples"] = {"history": 6, "training": 20, "validation": 1, "test": 1}
        super().__init__(folder, settings, {**os.environ, "no_proxy": "127.0.0.1"})
        self.archive = archive
        folder.mkdir(parents=True, exist_ok=True)

    def resolve(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `sealiency esgf resolve` in the working directory."""
        (self.folder / "configuration.yaml").write_text(yaml.safe_dump(self.settings))
        return subprocess.run(
            [sys.executable, "-m", "sealiency.cli", "esgf", "resolve", "configuration.yaml", *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def pin(self) -> dict[str, Any]:
        """Resolve the data set and return its manifest."""
        answer = self.resolve()
        assert answer.returncode == 0, answer.stdout
        return self.pinned()

    def pinned(self) -> dict[str, Any]:
        return json.loads((self.folder / MANIFEST).read_text())

    def fetch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Fetch all files that the run needs, by Snakemake."""
        return self.run("fetch_dataset", *arguments)

    @property
    def store(self) -> Path:
        """Folder of the downloaded files."""
        return self.folder / self.settings["data"]["esgf"].get("folder", "archive")

    def place(self, name: str) -> Path:
        """Return where a file of the archive belongs once it is fetched; `name` is part of its name."""
        return self.store / self.archive.path(name).relative_to(self.archive.root)

    def part(self, name: str) -> Path:
        """Return where a file lies while it is fetched."""
        place = self.place(name)
        return place.with_name(f".{place.name}.part")

    def put(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def is_whole(self, name: str) -> bool:
        """Tell whether a file is there, byte for byte, and nothing of its making."""
        place = self.place(name)
        same = place.is_file() and place.read_bytes() == self.archive.path(name).read_bytes()
        return same and not self.part(name).exists()

    def names(self) -> list[str]:
        """Return the names of the files that were fetched."""
        return sorted(path.name for path in self.store.rglob("tos_*.nc"))


def copy_root(root: Path, folder: Path) -> Path:
    """Copy an archive's files, to change some of them."""
    return Path(shutil.copytree(root, folder / "archive_root"))
