"""The claim that integrated gradients and DeepLIFT agree, which speaks for them."""

from typing import Any

import numpy as np

from sealiency.claims.evidence import Evidence, average_samples
from sealiency.claims.judge import NEARLY_ALL, describe_claim, judge
from sealiency.claims.measures import summarise_seeds
from sealiency.claims.surveys import RANDOM


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged at every lead."""
    series: dict[tuple[str, int], list[np.ndarray]] = {}
    for agreement in evidence.agreements:
        pair = agreement["correlation"].loc[{"method": "deeplift", "other": "integrated_gradients"}].values
        place = (agreement.attrs["control"], int(agreement.attrs["lead"]))
        series.setdefault(place, []).append(average_samples(pair, evidence.settings))
    claims = []
    for lead in sorted({lead for _, lead in series}):
        own, null = (
            summarise_seeds(found) if (found := series.get((kind, lead))) else None for kind in ("none", "random")
        )
        obstacles = evidence.measured.find_obstacles("none", [lead], ())
        obstacles += [] if null else [f"no {RANDOM} at lead {lead}"]
        nulls = {RANDOM: null} if null else {}
        statistic = "correlation of the heatmaps of integrated gradients and DeepLIFT"
        verdict = judge(own, nulls, "greater", NEARLY_ALL, obstacles)
        title = "Integrated gradients and DeepLIFT agree, which speaks for them"
        claims.append(describe_claim("agreement", title, lead, statistic, "1", own, nulls, verdict))
    return claims
