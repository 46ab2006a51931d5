"""A finished run as xarray, read when it is asked for."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sealiency.errors import SealiencyError


class Run:
    """A finished run; nothing is read before it is asked for, and PyTorch is imported only to compute.

    Parameters
    ----------
    folder
        Folder of the run, such as "results/demo".

    Raises
    ------
    SealiencyError
        If the folder holds no finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / "summary.json").is_file():
            raise SealiencyError(f"{folder}: holds no summary.json, so no finished run; name the folder of one")

    def __repr__(self) -> str:
        """Name the run, its leads and its seeds."""
        return f"Run({str(self.folder)!r}, leads={self.leads}, seeds={self.seeds})"

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return what `summary.json` holds."""
        return dict(json.loads((self.folder / "summary.json").read_text(encoding="utf-8")))

    @property
    def leads(self) -> list[int]:
        """Leads, months."""
        return sorted({lead for lead, _ in self._emulators})

    @property
    def seeds(self) -> list[int]:
        """Training seeds; where none is asked for, the first speaks."""
        return [int(seed) for seed in self.summary["seeds"]]

    @cached_property
    def _emulators(self) -> list[tuple[int, int]]:
        names = [path.parent.name for path in self.folder.glob("evaluate_emulator/lead*_seed*/skill.nc")]
        return sorted((int(lead[4:]), int(seed[4:])) for lead, seed in (name.split("_") for name in names))

    def _find(self, stage: str, lead: int, seed: int | None) -> Path:
        asked = lead, self.seeds[0] if seed is None else seed
        if asked not in self._emulators:
            raise SealiencyError(
                f"{self.folder}: no emulator of lead {asked[0]} and seed {asked[1]}; leads are {self.leads}"
            )
        return self.folder / stage / f"lead{asked[0]}_seed{asked[1]}"

    @cached_property
    def skill(self) -> xr.Dataset:
        """Scores of the emulators and of simpler predictors, with dimensions lead and seed before those of `skill.nc`."""
        by_lead = []
        for lead in self.leads:
            seeds = [xr.open_dataset(self._find("evaluate_emulator", lead, seed) / "skill.nc") for seed in self.seeds]
            seeds = [dataset[["rmse", "acc", "rmse_mean", "acc_mean"]] for dataset in seeds]
            by_lead.append(xr.concat(seeds, xr.Variable("seed", self.seeds), combine_attrs="drop_conflicts"))
        return xr.concat(by_lead, xr.Variable("lead", self.leads, {"units": "months"}), combine_attrs="drop_conflicts")

    def heatmaps(
        self, lead: int, pixel: str | None = None, seed: int | None = None, method: str | None = None
    ) -> xr.Dataset:
        """Open the mean attributions of one lead.

        Parameters
        ----------
        lead
            Lead, months.
        pixel
            Name of an explained pixel; None for all of them.
        seed
            Training seed; None for the first.
        method
            Attribution method; None where the run used one.

        Returns
        -------
        xarray.Dataset
            The variables of `attributions.nc` (docs/architecture.md), not read yet.

        Raises
        ------
        SealiencyError
            If the run has no such lead, seed, pixel or method, or several methods and none is named.
        """
        folder = self._find("reduce_shards", lead, seed)
        methods = sorted(path.parent.name for path in folder.glob("*/attributions.nc"))
        if (method not in methods) if method else len(methods) != 1:
            found = ", ".join(methods) or "none"
            raise SealiencyError(f"{folder}: heatmaps of {method or 'one method'} are wanted; there are: {found}")
        path = folder / (method or methods[0]) / "attributions.nc"
        dataset = xr.open_dataset(path)
        if pixel is None:
            return dataset
        names = dataset["pixel"].values.tolist()
        if pixel not in names:
            some = ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
            raise SealiencyError(f"{path}: no pixel {pixel!r}; there are {some}")
        return dataset.isel(pixel=names.index(pixel))

    @cached_property
    def findings(self) -> dict[str, Any]:
        """What `findings.json` holds: the claims with number, interval, nulls and verdict, the measures and the rule.

        Raises
        ------
        SealiencyError
            If the run made no findings.
        """
        path = self.folder / "findings.json"
        if not path.is_file():
            raise SealiencyError(f"{path}: no such file; run Snakemake again to the end")
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def explain(
        self,
        lead: int,
        lat: float,
        lon: float,
        sample: int,
        method: str = "deeplift",
        seed: int | None = None,
        part: str = "all",
    ) -> xr.DataArray:
        """Explain one forecast of the ocean pixel nearest to a place.

        Parameters
        ----------
        lead
            Lead, months.
        lat, lon
            Place, degrees north and east.
        sample
            The sample by its number k: its input ends with month k - 1 of the prepared record, counted from 0.
        method
            Name of an attribution method.
        seed
            Training seed; None for the first.
        part
            The part of the forecast that is explained: `all`, the linear `skip`, or what the `network` adds to it.

        Returns
        -------
        xarray.DataArray
            Attributions of shape (lag, lat, lon), float32, in standardised units; `month` of its target, `pixel_lat` and
            `pixel_lon` of the pixel are attributes.

        Raises
        ------
        SealiencyError
            If the run has no such lead, seed, sample or part, no ocean pixel is near, or attributions are not complete.
        """
        from sealiency.config.attribution import Pixel
        from sealiency.data.places import locate_pixel
        from sealiency.data.prepare import PreparedRecord
        from sealiency.data.samples import SampleWindows
        from sealiency.emulators.emulator import load_emulator
        from sealiency.notebook.attributing import attribute

        emulator = load_emulator(self._find("train_emulator", lead, seed) / "emulator.pt")
        record = PreparedRecord(self.folder / "prepare_record" / "prepared.nc")
        emulator.check_record(record.sha256)
        last = len(record.months) - lead
        if not emulator.history <= sample <= last:
            raise SealiencyError(f"sample {sample}: the record has samples {emulator.history} to {last} of lead {lead}")
        row, column = locate_pixel(
            Pixel(name="asked", lat=lat, lon=lon), record.ocean.numpy(), record.lat, record.lon, "the place"
        )
        inputs = SampleWindows(record.anomaly, lead, emulator.history).inputs([sample])
        found = attribute(emulator.network.take_part(part), inputs, [(row, column)], method)[0, 0]
        found = found.drop_vars(["row", "column"]).assign_coords(
            lat=record.statistics["lat"], lon=record.statistics["lon"]
        )
        found.attrs |= {
            "lead": lead,
            "month": record.months[sample + lead - 1],
            "pixel_lat": float(np.round(record.lat[row], 6)),
            "pixel_lon": float(np.round(record.lon[column], 6)),
            "units": "1",
        }
        return found


def open_run(folder: str | Path) -> Run:
    """Open a finished run; see `Run`."""
    return Run(folder)
