"""The judge of the claims: the rule of the verdicts, which was fixed before any number was looked at, and what it says.

docs/findings.md has the rule in words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from sealiency.claims.measures import Measure
from sealiency.config.findings import FEWEST_BLOCKS, FEWEST_SEEDS

Side = Literal["greater", "smaller"]


class Verdict(StrEnum):
    """What is said of a claim, by `RULE`."""

    SUPPORTED = "supported"
    EXPLAINED = "explained by the null"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not decidable"


RULE = (
    "An interval holds, for every training seed, the value and the 95 % interval of a moving-block bootstrap over samples. In "
    "this order: a claim is not decidable if an emulator that it rests on does not beat persistence, if there are fewer than "
    f"{FEWEST_SEEDS} training seeds or {FEWEST_BLOCKS} bootstrap blocks, or if it or a null that it needs is missing or has no "
    "value. Where the claim names a bound, it is contradicted if the interval lies wholly on the other side of the bound, and "
    "not decidable if the interval holds the bound. It is explained by a null unless the emulator's interval lies wholly beyond "
    "the null's, on the side that the claim names; a ridge regression that does not beat persistence has no say. A memory that "
    "the emulator without filter does not show, its interval wholly beyond 0, is explained by the filter. What remains is "
    "supported. That there are no teleconnections is judged by the network with a linear bottleneck, which sees every place: "
    "supported if the interval of what it takes more from afar lies below 0.01, explained by the architecture of the run's own "
    "network if it lies above, and not decidable otherwise."
)
# As in JSON, which has no number for it: a radius that ends in the last, open distance bin.
INFINITE = ("Infinity", "-Infinity")
# A pattern counts as the same, and a variance as explained, from here on.
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Statistic:
    """What is measured for a claim."""

    claim: str
    title: str
    key: str
    statistic: str
    units: str
    side: Side
    nulls: tuple[str, ...]
    bound: float | None = None


def judge(
    own: Measure | None,
    nulls: Mapping[str, Measure],
    side: Side,
    bound: float | None = None,
    obstacles: Sequence[str] = (),
    explained: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """Return the verdict on a claim and its reason, by `RULE`.

    Parameters
    ----------
    own
        What the emulator shows, or None if it was not measured.
    nulls
        What each null shows, by name.
    side
        On which side of its nulls, and of the bound, the claim says that the emulator lies.
    bound
        What the emulator must lie beyond in any case, or None.
    obstacles
        Why the claim cannot be decided, whatever the numbers.
    explained
        Other nulls that explain the claim, found by other means.
    """
    if obstacles:
        return Verdict.UNDECIDED, "; ".join(obstacles)
    if own is None or not all(math.isfinite(end) for end in (own.value, own.low, own.high)):
        return Verdict.UNDECIDED, "it has no finite value"
    sign = 1 if side == "greater" else -1
    worst, best = sorted((sign * own.low, sign * own.high))
    if bound is not None and best < sign * bound:
        return Verdict.CONTRADICTED, f"the interval lies on the other side of {bound:g}"
    if bound is not None and worst <= sign * bound:
        return Verdict.UNDECIDED, f"the interval holds {bound:g}"
    unknown = [name for name, null in nulls.items() if math.isnan(null.value + null.low) or math.isnan(null.high)]
    if unknown:
        return Verdict.UNDECIDED, f"no value of {', '.join(unknown)}"
    # An infinite end of a null is beyond every number.
    explaining = [name for name, null in nulls.items() if worst <= max(sign * null.low, sign * null.high)]
    explaining += explained
    if explaining:
        return Verdict.EXPLAINED, f"{' and '.join(explaining)} alone would show it too"
    beyond = f"beyond {' and '.join(nulls)}" if nulls else "beyond the bound"
    return Verdict.SUPPORTED, f"the interval lies {beyond}"


def describe_claim(
    claim: str,
    title: str,
    lead: int | None,
    statistic: str,
    units: str,
    own: Measure | None,
    nulls: Mapping[str, Measure],
    verdict: tuple[Verdict, str],
) -> dict[str, Any]:
    """Return a judged claim as plain values: None where nothing is known, and "Infinity", which JSON has no number for."""
    return {
        "claim": claim,
        "title": title,
        "lead": lead,
        "statistic": statistic,
        "units": units,
        "value": None if own is None else plain(own.value),
        "interval": None if own is None else [plain(own.low), plain(own.high)],
        "seeds": [] if own is None else [plain(value) for value in own.seeds],
        "nulls": [
            {"name": name, "value": plain(null.value), "interval": [plain(null.low), plain(null.high)]}
            for name, null in nulls.items()
        ],
        "verdict": verdict[0].value,
        "reason": verdict[1],
    }


def describe_statistic(
    statistic: Statistic,
    lead: int | None,
    own: Measure | None,
    nulls: Mapping[str, Measure],
    verdict: tuple[Verdict, str],
) -> dict[str, Any]:
    """Return a judged claim as plain values, named as its statistic is; see `describe_claim`."""
    return describe_claim(
        statistic.claim, statistic.title, lead, statistic.statistic, statistic.units, own, nulls, verdict
    )


def plain(value: float) -> float | str | None:
    """Return a number as JSON can hold it, to four digits."""
    if math.isinf(value):
        return INFINITE[value < 0]
    return None if math.isnan(value) else float(f"{value:.4g}")
