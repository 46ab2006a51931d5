"""The summary that every run ends with."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import netCDF4
import pandas as pd

from sealiency import __version__
from sealiency.files import read_netcdf
from sealiency.models.emulator import load_torch
from sealiency.provenance import find_commit

PACKAGES = ("captum", "dask", "h5py", "mpi4py", "netCDF4", "numpy", "snakemake", "torch", "xarray")


def summarise_run(
    run: str,
    plan: str,
    skill: Sequence[str],
    heatmaps: Sequence[str],
    emulators: Sequence[str],
    benchmarks: Mapping[str, Sequence[str]],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Collect what a run came to.

    Parameters
    ----------
    run
        Name of the run.
    plan, skill, heatmaps, emulators
        Files of the stages.
    benchmarks
        Snakemake's benchmark files by rule.

    Returns
    -------
    dict
        Skill by lead, seed, period and predictor; worst completeness error by lead; jobs, wall time and peak memory by
        stage; versions; seeds.
    pandas.DataFrame
        The skill as a table, one row a lead, seed, period and predictor.
    """
    rows: list[dict[str, Any]] = []
    beats: dict[str, bool] = {}
    for path in skill:
        dataset = read_netcdf(path)
        lead, seed = int(dataset.attrs["lead"]), int(dataset.attrs["seed"])
        beats[f"lead{lead}_seed{seed}"] = bool(dataset.attrs["beats_persistence"])
        for period in dataset["period"].values.tolist():
            for predictor in dataset["predictor"].values.tolist():
                chosen = dataset.sel(period=period, predictor=predictor)
                rows.append(
                    {
                        "lead": lead,
                        "seed": seed,
                        "period": period,
                        "predictor": predictor,
                        "rmse": float(chosen["rmse_mean"]),
                        "rmse_degC": float(chosen["rmse_mean"] * dataset["scale"]),
                        "anomaly_correlation": float(chosen["acc_mean"]),
                        "emulator_beats_persistence": "yes" if dataset.attrs["beats_persistence"] else "NO SKILL",
                    }
                )
    completeness: dict[str, float] = {}
    for path in heatmaps:
        # Only the attributes: the heatmaps of every pixel would not fit into memory.
        attributes = _read_attributes(path)
        key = str(attributes["lead"])
        completeness[key] = max(completeness.get(key, 0.0), float(attributes["completeness_error"]))
    trained = [load_torch(path) for path in emulators]
    stages = {name: _summarise_stage(files) for name, files in benchmarks.items() if files}
    summary = {
        "run": run,
        "skill": rows,
        "beats_persistence": beats,
        "worst_completeness_error": completeness,
        "jobs": sum(stage["jobs"] for stage in stages.values()),
        "stages": stages,
        "training": [
            {key: content[key] for key in ("lead", "seed", "best_epoch", "precision", "device", "threads")}
            for content in trained
        ],
        "seeds": sorted({content["seed"] for content in trained}),
        "plan": json.loads(Path(plan).read_text(encoding="utf-8")),
        "versions": {
            "sealiency": __version__,
            "commit": find_commit(),
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }
    return summary, pd.DataFrame(rows)


def format_summary(path: str, report: str) -> str:
    """Return the summary as text for a terminal: the table of skill, and where the results are."""
    summary = json.loads(Path(path).read_text(encoding="utf-8"))
    table = pd.DataFrame(summary["skill"]).pivot_table(
        index=["lead", "seed", "period"], columns="predictor", values="rmse", sort=False
    )
    lines = [
        f"Run {summary['run']}: RMSE in standard deviations of the training anomalies",
        table.reset_index().to_string(index=False, float_format="%.3f"),
    ]
    lines += [
        f"NO SKILL: {name} does not beat persistence in every period; do not interpret its attributions"
        for name, beats in summary["beats_persistence"].items()
        if not beats
    ]
    worst = ", ".join(f"lead {lead} {error:.2g}" for lead, error in summary["worst_completeness_error"].items())
    seconds = sum(stage["wall_seconds"] for stage in summary["stages"].values())
    lines += [
        f"Worst completeness error: {worst}",
        f"{summary['jobs']} jobs, {seconds / 60:.1f} minutes of jobs in all",
        f"Report:  {report}",
        f"Summary: {path}",
    ]
    return "\n".join(["", *lines, ""])


def _summarise_stage(files: Sequence[str]) -> dict[str, float]:
    tables = [pd.read_csv(file, sep="\t") for file in files if Path(file).exists()]
    # A job shorter than the sampling interval has no memory figure, which reads as NaN.
    memory = [float(table["max_rss"].max()) for table in tables]
    known = [value for value in memory if value == value]
    return {
        "jobs": len(tables),
        "wall_seconds": round(sum(float(table["s"].sum()) for table in tables), 2),
        "peak_memory_mb": max(known, default=0.0),
    }


def _read_attributes(path: str) -> dict[str, Any]:
    with netCDF4.Dataset(path) as dataset:
        return {name: dataset.getncattr(name) for name in dataset.ncattrs()}
