"""The claim that a positive attribution raises the output and a negative one lowers it."""

from typing import Any

import numpy as np
import xarray as xr

from sealiency.claims.evidence import Evidence
from sealiency.claims.judge import describe_claim, judge
from sealiency.claims.measures import Measure

CHANCE = 0.5


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged at every lead.

    In every seed, the pixel and combination in which it holds least often speaks for all.
    """
    by_lead: dict[int, list[xr.Dataset]] = {}
    for checked in evidence.signs:
        by_lead.setdefault(int(checked.attrs["lead"]), []).append(checked.isel(checked["fraction"].argmin(...)))
    claims = []
    for lead, least in sorted(by_lead.items()):
        values, lows, highs = (
            [float(one[name]) for one in least] for name in ("fraction", "fraction_low", "fraction_high")
        )
        own = Measure(float(np.mean(values)), min(lows), max(highs), values)
        verdict = judge(own, {}, "greater", CHANCE, evidence.measured.find_obstacles("none", [lead], ()))
        statistic = "fraction of samples in which the output moves as the sign says, where it does least often"
        title = "A positive attribution raises the output, a negative one lowers it"
        claims.append(describe_claim("signs", title, lead, statistic, "1", own, {}, verdict))
    return claims
