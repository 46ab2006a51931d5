"""The summary that every run ends with."""

import ast
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import netCDF4
import pandas as pd

from sealiency import __version__
from sealiency.emulators.emulator import load_torch
from sealiency.files import read_netcdf
from sealiency.provenance import find_commit
from sealiency.skill import BOUND

# Columns of the printed table of usage: its heading, and the format of its numbers.
USAGE_HEADINGS = {
    "rule": ("rule", "s"),
    "jobs": ("jobs", "d"),
    "attempts": ("tries", "d"),
    "memory_asked_mb": ("MB asked", ".0f"),
    "memory_used_mb": ("MB used", ".0f"),
    "runtime_asked_minutes": ("min asked", ".0f"),
    "runtime_used_minutes": ("min used", ".1f"),
    "threads": ("threads", "d"),
    "mean_load_percent": ("load %", ".0f"),
    "gpus": ("GPUs", "d"),
}
PACKAGES = ("dask", "h5py", "mpi4py", "netCDF4", "numpy", "snakemake", "torch", "xarray")


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
        Skill by lead, seed, period and predictor; worst completeness error by lead; what each stage asked for and used
        (see `summarise_usage`); SHA-256 of the record and of the emulators; versions; seeds.
    pandas.DataFrame
        The skill as a table, one row a lead, seed, period and predictor.
    """
    rows: list[dict[str, Any]] = []
    beats: dict[str, bool] = {}
    hashes: dict[str, str] = {}
    for path in skill:
        dataset = read_netcdf(path)
        lead, seed = int(dataset.attrs["lead"]), int(dataset.attrs["seed"])
        beats[f"lead{lead}_seed{seed}"] = bool(dataset.attrs["beats_persistence"])
        inputs = json.loads(dataset.attrs["inputs_sha256"])
        hashes |= {"record": inputs["prepared"], f"emulator_lead{lead}_seed{seed}": inputs["emulator"]}
        for period in dataset["period"].values.tolist():
            rmse = dict(
                zip(dataset["predictor"].values.tolist(), dataset["rmse_mean"].sel(period=period).values, strict=True)
            )
            for predictor in rmse:
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
                        "share_of_gain": find_share(rmse, predictor),
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
    stages = {name: summarise_usage(files) for name, files in benchmarks.items() if files}
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
        "sha256": hashes,
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


def find_share(rmse: Mapping[str, float], predictor: str) -> float | None:
    """Return a predictor's gain over persistence as a share of the bound's, None where no bound is known."""
    if BOUND not in rmse:
        return None
    return float((rmse["persistence"] - rmse[predictor]) / (rmse["persistence"] - rmse[BOUND]))


def summarise_usage(files: Sequence[str]) -> dict[str, Any]:
    """Collect what the jobs of one rule asked for and used; None is unknown.

    Parameters
    ----------
    files
        Snakemake's benchmark files, one a job, with or without the columns of `--benchmark-extended`; of those that do
        not exist there was no job.

    Returns
    -------
    dict
        `jobs`; `attempts`, where jobs have a resource `attempt`; `wall_seconds` of all jobs; and of the largest job
        `memory_asked_mb` and `memory_used_mb` (resident, with its child processes), `runtime_asked_minutes` and
        `runtime_used_minutes`, `threads` and `gpus`; `mean_load_percent`, 100 a busy core, the mean over time. An MB of
        memory used is 1024**2 bytes, as in Slurm.
    """
    jobs = [_read_benchmark(file) for file in files if Path(file).exists()]
    rows = [row for job in jobs for row in job]
    asked = [_parse_resources(row) for row in rows]
    # A job shorter than the sampling interval has neither memory nor load.
    loads = [
        (load, _number(row.get("s")) or 0.0) for row in rows if (load := _number(row.get("mean_load"))) is not None
    ]
    seconds = sum(time for _, time in loads)
    # A file may have several rows, but they are repetitions of the last attempt.
    attempts = [n for job in jobs if job and (n := _number(_parse_resources(job[-1]).get("attempt"))) is not None]
    return {
        "jobs": len(jobs),
        "attempts": _whole(sum(attempts)) if jobs and len(attempts) == len(jobs) else None,
        "wall_seconds": round(sum(_number(row.get("s")) or 0.0 for row in rows), 2),
        "memory_asked_mb": _largest(resources.get("mem_mb") for resources in asked),
        "memory_used_mb": _largest(row.get("max_rss") for row in rows),
        "runtime_asked_minutes": _largest(resources.get("runtime") for resources in asked),
        "runtime_used_minutes": _largest((_number(row.get("s")) or 0.0) / 60 for row in rows),
        "threads": _whole(_largest(row.get("threads") for row in rows)),
        "mean_load_percent": round(sum(load * time for load, time in loads) / seconds, 1) if seconds else None,
        "gpus": _whole(_largest(resources.get("gpu", 0) for resources in asked if resources)),
    }


def tabulate_usage(stages: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return what stages asked for and used as a table, one row a rule, those that took longest first."""
    longest = sorted(stages, key=lambda name: -(stages[name]["wall_seconds"] or 0.0))
    # Nullable types, so that a count stays an integer beside an unknown one.
    return pd.DataFrame([{"rule": name, **stages[name]} for name in longest]).convert_dtypes()


def format_summary(path: str, report: str) -> str:
    """Return the summary as text for a terminal: the tables of skill and of usage, and where the results are."""
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
        "",
        "Asked for and used, by the largest job of a rule (load: 100 % is one core):",
        _format_usage(summary["stages"]),
        "",
        f"{summary['jobs']} jobs, {seconds / 60:.1f} minutes of jobs in all",
        f"Report:  {report}",
        f"Summary: {path}",
    ]
    return "\n".join(["", *lines, ""])


def _format_usage(stages: Mapping[str, Mapping[str, Any]]) -> str:
    table = tabulate_usage(stages)
    # Who ran without extended benchmarks or retries has no use for empty columns.
    known = [name for name in USAGE_HEADINGS if name in table and table[name].notna().any()]
    text = {
        USAGE_HEADINGS[name][0]: [
            "-" if pd.isna(value) else format(value, USAGE_HEADINGS[name][1]) for value in table[name]
        ]
        for name in known
    }
    return pd.DataFrame(text).to_string(index=False)


def _read_benchmark(path: str) -> list[dict[str, str]]:
    # By hand: fields hold quotes and may be longer than csv's limit; tabs and line ends within them are escaped.
    header, *lines = Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
    return [dict(zip(header.split("\t"), line.split("\t"), strict=False)) for line in lines]


def _parse_resources(row: Mapping[str, str]) -> dict[str, Any]:
    try:
        resources = ast.literal_eval(row.get("resources", ""))
    except (SyntaxError, ValueError):
        return {}
    return resources if isinstance(resources, dict) else {}


def _number(value: object) -> float | None:
    """Return a number, or None for what Snakemake writes where it has none, such as NA or -."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _largest(values: Iterable[object]) -> float | None:
    numbers = [number for value in values if (number := _number(value)) is not None]
    return round(max(numbers), 2) if numbers else None


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _read_attributes(path: str) -> dict[str, Any]:
    with netCDF4.Dataset(path) as dataset:
        return {name: dataset.getncattr(name) for name in dataset.ncattrs()}
