"""The claim that the monthly pattern of importance is the same everywhere."""

from typing import Any

from sealiency.claims.evidence import Evidence, judge_by_lead
from sealiency.claims.judge import NEARLY_ALL, Statistic
from sealiency.claims.surveys import AR1, RANDOM

STATISTICS = tuple(
    Statistic(
        "place",
        "The monthly pattern does not depend on the place",
        key,
        statistic,
        "1",
        "greater",
        (RANDOM, AR1),
        NEARLY_ALL,
    )
    for key, statistic in (
        ("common_variance", "share of the variance of the monthly curves that one common curve explains"),
        ("pattern_correlation", "mean correlation of the monthly curves of two pixels"),
    )
)


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged at every lead."""
    return judge_by_lead(STATISTICS, evidence)
