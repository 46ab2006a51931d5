"""The claim that a longer lead looks further back: the difference between the longest and the shortest lead."""

import math
from typing import Any

from sealiency.claims.evidence import Evidence, judge_heard
from sealiency.claims.judge import Side, Statistic, Verdict, describe_statistic, judge
from sealiency.claims.surveys import AR1, PIXEL_RIDGE


def _describe(key: str, statistic: str, units: str, side: Side) -> Statistic:
    title = "The longer the lead, the further back the importance"
    return Statistic("memory", title, key, statistic, units, side, (AR1, PIXEL_RIDGE), 0.0)


STATISTICS = (
    _describe("mean_lag", "mean age of the input months", "months", "greater"),
    _describe("recent_share", "share of month \N{MINUS SIGN}1", "1", "smaller"),
    _describe("old_share", "share older than 12 months", "1", "greater"),
)


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged between leads; on a filtered record the memory must be there without the filter as well."""
    measured, claims = evidence.measured, []
    shortest, longest = min(evidence.leads), max(evidence.leads)
    for statistic in STATISTICS:
        pair = (longest, shortest)
        own = measured.subtract(("none", "none"), pair, statistic.key)
        nulls = {
            name: null
            for name in statistic.nulls
            if (null := measured.subtract((name, name), pair, statistic.key)) is not None
        }
        unfiltered = (
            measured.subtract(("unfiltered", "unfiltered"), pair, statistic.key) if evidence.has_filter else None
        )
        needed = (*statistic.nulls, "unfiltered") if evidence.has_filter else statistic.nulls
        obstacles = measured.find_obstacles("none", pair, needed)
        if shortest == longest:
            obstacles.append("there is one lead")
        explained = []
        if unfiltered is not None and not math.isfinite(unfiltered.low + unfiltered.high):
            obstacles.append("the unfiltered emulator has no value")
        elif unfiltered is not None:
            vanishes = judge(unfiltered, {}, statistic.side, statistic.bound)[0] != Verdict.SUPPORTED
            explained = ["the filter, without which the emulator does not show it,"] if vanishes else []
        verdict = judge_heard(measured, statistic, pair, own, nulls, obstacles, explained)
        shown = nulls | ({"unfiltered anomalies": unfiltered} if unfiltered is not None else {})
        claim = describe_statistic(statistic, None, own, shown, verdict)
        claim["statistic"] += f", lead {longest} less lead {shortest}"
        claims.append(claim)
    return claims
