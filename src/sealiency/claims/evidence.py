"""What a claim is judged on, and the way from a statistic to a verdict that claims share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sealiency.claims.judge import Statistic, Verdict, describe_statistic, judge
from sealiency.claims.measures import Measure, count_draws
from sealiency.claims.surveys import Surveys
from sealiency.config.findings import Findings


@dataclass(frozen=True)
class Evidence:
    """What the stages before the findings made, and the settings of the run."""

    measured: Surveys
    agreements: Sequence[xr.Dataset]
    """Correlations of methods, with the attributes `control` and `lead`, in the order of their seeds."""
    signs: Sequence[xr.Dataset]
    """Sign checks, with the attribute `lead`, in the order of their seeds."""
    fidelities: Sequence[xr.Dataset]
    """Comparisons with the best linear predictor: `correlation` (emulator, method, pixel, sample), with emulators named by
    kind and seed; attributes `lead` and `filter_width_months`."""
    settings: Findings
    leads: Sequence[int]
    """Leads of the run, months."""
    has_filter: bool
    """Whether the run's record is filtered."""
    method: str
    """Method of the mean heatmaps."""


def judge_by_lead(statistics: Sequence[Statistic], evidence: Evidence) -> list[dict[str, Any]]:
    """Return claims on statistics that every lead has by itself, judged."""
    measured, claims = evidence.measured, []
    for statistic in statistics:
        for lead in sorted(evidence.leads):
            own = measured.measure("none", lead, statistic.key)
            nulls = {
                name: null
                for name in statistic.nulls
                if (null := measured.measure(name, lead, statistic.key)) is not None
            }
            obstacles = measured.find_obstacles("none", [lead], statistic.nulls)
            verdict = judge_heard(measured, statistic, [lead], own, nulls, obstacles)
            claims.append(describe_statistic(statistic, lead, own, nulls, verdict))
    return claims


def judge_heard(
    measured: Surveys,
    statistic: Statistic,
    leads: Sequence[int],
    own: Measure | None,
    nulls: Mapping[str, Measure],
    obstacles: Sequence[str],
    explained: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """Judge a claim beside the nulls that have a say, and name in the reason those that have none."""
    heard = {name: null for name, null in nulls.items() if measured.has_say(name, leads)}
    verdict, reason = judge(own, heard, statistic.side, statistic.bound, obstacles, explained)
    silent = [name for name in nulls if name not in heard]
    if silent and verdict in (Verdict.SUPPORTED, Verdict.EXPLAINED):
        reason += f"; {' and '.join(silent)}, without skill, had no say"
    return verdict, reason


def average_samples(samples: np.ndarray, settings: Findings) -> np.ndarray:
    """Return the mean over samples and its draws, as a series."""
    counts = count_draws(len(samples), settings.draws, settings.seed)
    return np.asarray(counts @ samples / counts.sum(1))
