"""The claim that nothing comes from afar."""

import math
from typing import Any

from sealiency.claims.evidence import Evidence
from sealiency.claims.judge import Statistic, Verdict, describe_statistic

KEY = "far_share"
# Share of the attribution below which what comes from afar counts as nothing.
NOTHING = 0.01


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged at every lead on the network that could see it.

    The paper's network cannot see far, so it says nothing. If the network with a linear layer at the bottleneck, which sees
    every place, takes more from afar, the architecture alone explained why the other did not.
    """
    measured = evidence.measured
    statistic = Statistic(
        "teleconnections",
        "There are no teleconnections",
        KEY,
        f"share from beyond {evidence.settings.far_km:g} km, linear bottleneck less the run's own network",
        "1",
        "smaller",
        (),
    )
    claims = []
    for lead in sorted(evidence.leads):
        own = measured.subtract(("bottleneck", "none"), (lead, lead), statistic.key)
        obstacles = measured.find_obstacles("none", [lead], ["bottleneck"])
        if obstacles or own is None or not math.isfinite(own.low + own.high):
            verdict = Verdict.UNDECIDED, "; ".join(obstacles) or "it has no value for the same seeds"
        elif own.low > NOTHING:
            verdict = (
                Verdict.EXPLAINED,
                "a network that sees every place takes more from afar, so that the other took nothing is its architecture's "
                "doing; whether what comes from afar is there, this does not tell",
            )
        elif own.high < NOTHING:
            verdict = Verdict.SUPPORTED, "a network that sees every place takes no more from afar"
        else:
            verdict = Verdict.UNDECIDED, f"the interval holds {NOTHING:g}"
        shown = {
            name: value
            for name, kind in (("run's own network", "none"), ("linear bottleneck", "bottleneck"))
            if (value := measured.measure(kind, lead, statistic.key)) is not None
        }
        claims.append(describe_statistic(statistic, lead, own, shown, verdict))
    return claims
