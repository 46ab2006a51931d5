"""The claim that importance is local: the radii that hold half and nine tenths of the attribution."""

from typing import Any

from sealiency.claims.evidence import Evidence, judge_by_lead
from sealiency.claims.judge import Statistic
from sealiency.claims.surveys import RANDOM, RIDGE

STATISTICS = tuple(
    Statistic(
        "locality",
        "Importance is local",
        f"radius_{percent}",
        f"radius that holds {percent} % of the attribution, median over pixels",
        "km",
        "smaller",
        (RANDOM, RIDGE),
    )
    for percent in (50, 90)
)


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged at every lead."""
    return judge_by_lead(STATISTICS, evidence)
