"""The report of a run as one self-contained HTML page."""

import base64
import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from sealiency.claims.judge import Verdict
from sealiency.errors import SealiencyError
from sealiency.report import TEMPLATE
from sealiency.report.captions import split_paragraphs
from sealiency.report.findings import read_findings
from sealiency.skill import BOUND

UNKNOWN = "\N{EN DASH}"
# Colour is never alone: each verdict has a sign and its words.
VERDICTS = {
    Verdict.SUPPORTED: ("good", "\N{CHECK MARK}"),
    Verdict.EXPLAINED: ("doubtful", "\N{ALMOST EQUAL TO}"),
    Verdict.CONTRADICTED: ("bad", "\N{BALLOT X}"),
    Verdict.UNDECIDED: ("open", "?"),
}
USAGE = {
    "jobs": "Jobs",
    "attempts": "Attempts",
    "wall_seconds": "Time of all jobs (s)",
    "memory_asked_mb": "Memory asked (MB)",
    "memory_used_mb": "Memory used (MB)",
    "runtime_asked_minutes": "Time asked (min)",
    "runtime_used_minutes": "Time used (min)",
    "threads": "Threads",
    "mean_load_percent": "Load (%)",
    "gpus": "GPUs",
}


def build_report(
    summary: str | Path,
    figures: Mapping[str, Mapping[str, Sequence[str]]],
    folder: str | Path,
    data_set: str,
    configuration: Mapping[str, Any],
    findings: str | Path | None = None,
) -> str:
    """Make the report of a run.

    Parameters
    ----------
    summary
        The run's summary (JSON).
    figures
        PNG files by part of the report and by kind; each has its PDF and its caption (.txt) beside it.
    folder
        Where the report will lie; it names PDF files as seen from there.
    data_set
        The data set in words.
    configuration
        Every setting of the run, as plain values.
    findings
        Findings of the run (JSON), if it makes any.

    Returns
    -------
    str
        A page that asks for no other file.

    Raises
    ------
    SealiencyError
        If one of the files is missing or is not what it should be.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": format_number, "interval": _format_interval, "spread": _format_spread}
    environment.filters |= {"fixed": lambda value: format_number(value, ".3f")}
    run = _read_summary(summary)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        data_set=data_set,
        findings=read_findings(findings) if findings else None,
        verdicts=VERDICTS,
        warnings=_warn_of_no_skill(run),
        parts=_read_parts(figures, Path(folder)),
        bounded=any(row["predictor"] == BOUND for row in run["skill"]),
        predictors=list(dict.fromkeys(row["predictor"] for row in run["skill"])),
        skill=_tabulate_skill(run),
        usage=USAGE,
        stages=sorted(run["stages"].items(), key=lambda stage: -(stage[1]["wall_seconds"] or 0)),
        configuration=yaml.safe_dump(dict(configuration), sort_keys=False, allow_unicode=True),
    )


def format_number(value: float | None, form: str = "") -> str:
    """Write a number in four digits, or as `form` says, with a true minus sign; an en dash if there is none."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = format(value, form) if form else f"{float(f'{value:.4g}'):g}"
    return text.replace("-", "\N{MINUS SIGN}").replace("inf", "\N{INFINITY}")


def _format_interval(interval: Sequence[float | None] | None) -> str:
    return f"[{', '.join(map(format_number, interval))}]" if interval else ""


def _format_spread(seeds: Sequence[float | None]) -> str:
    known = [value for value in seeds if value is not None and not math.isnan(value)]
    if not known:
        return UNKNOWN
    if len(known) == 1:
        return f"{format_number(known[0])} (one seed)"
    return f"{format_number(min(known))} to {format_number(max(known))} ({len(known)} seeds)"


def _read_summary(path: str | Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SealiencyError(f"{path}: cannot be read ({error}); delete it and run again to make it anew") from None
    return summary


def _warn_of_no_skill(run: Mapping[str, Any]) -> list[str]:
    """Return a warning for each emulator that does not beat persistence, with the periods in which it does not."""
    rmse = {(row["lead"], row["seed"], row["period"], row["predictor"]): row["rmse"] for row in run["skill"]}
    warnings = []
    for lead, seed in dict.fromkeys((row["lead"], row["seed"]) for row in run["skill"]):
        if run["beats_persistence"][f"lead{lead}_seed{seed}"]:
            continue
        lost = [
            f"{period} (RMSE {format_number(value)} against {format_number(rmse[lead, seed, period, 'persistence'])})"
            for (*emulator, period, predictor), value in rmse.items()
            if emulator == [lead, seed]
            and predictor == "emulator"
            # Neither is better where one is unknown.
            and not (value or math.nan) < (rmse[lead, seed, period, "persistence"] or math.nan)
        ]
        warnings.append(
            f"No skill: the lead-{lead} emulator of seed {seed} does not beat persistence on {' and '.join(lost)}. "
            "Do not interpret its attributions."
        )
    return warnings


def _tabulate_skill(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a lead, seed and period, with the scores by predictor and the predictor of the smallest error."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in run["skill"]:
        key = row["lead"], row["seed"], row["period"]
        scores = rows.setdefault(key, {"rmse": {}, "acc": {}, "share": {}})
        scores["rmse"][row["predictor"]] = row["rmse"]
        scores["acc"][row["predictor"]] = row["anomaly_correlation"]
        scores["share"][row["predictor"]] = row.get("share_of_gain")
    table = []
    for (lead, seed, period), scores in rows.items():
        known = {
            name: value
            for name, value in scores["rmse"].items()
            if name != BOUND and value is not None and math.isfinite(value)
        }
        table.append(
            {
                **{"lead": lead, "seed": seed, "period": period},
                **scores,
                "best": min(known, key=known.__getitem__, default=None),
                "beats": run["beats_persistence"][f"lead{lead}_seed{seed}"],
            }
        )
    return table


def _read_parts(figures: Mapping[str, Mapping[str, Sequence[str]]], folder: Path) -> list[dict[str, Any]]:
    """Return the parts of the report that have a figure, each with its kinds of figures, each with its figures."""
    parts = []
    for title, by_kind in figures.items():
        kinds = [
            {"title": kind, "figures": [_read_figure(Path(path), folder) for path in paths]}
            for kind, paths in by_kind.items()
            if paths
        ]
        if kinds:
            parts.append({"title": title, "anchor": title.lower().replace(" ", "-"), "kinds": kinds})
    return parts


def _read_figure(png: Path, folder: Path) -> dict[str, Any]:
    caption = split_paragraphs(_read_file(png.with_suffix(".txt")).decode("utf-8"))
    if not caption:
        raise SealiencyError(f"{png.with_suffix('.txt')}: is empty, but must hold the caption; delete it and run again")
    image = _read_file(png)
    if image[:8] != b"\x89PNG\r\n\x1a\n" or len(image) < 24:
        raise SealiencyError(f"{png}: is no PNG image; delete it and run again to draw it anew")
    width, height = struct.unpack(">II", image[16:24])
    return {
        "anchor": f"{png.parent.name}-{png.stem}",
        "image": base64.b64encode(image).decode("ascii"),
        "width": width,
        "height": height,
        "caption": caption,
        "pdf": Path(os.path.relpath(png.with_suffix(".pdf"), folder)).as_posix(),
    }


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SealiencyError(
            f"{path}: cannot be read ({error.strerror}), but the report shows it; run again to draw it anew"
        ) from None
