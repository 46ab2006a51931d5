"""The claim that attributions follow the known answer, where the world is known."""

from typing import Any

import numpy as np

from sealiency.claims.evidence import Evidence, average_samples
from sealiency.claims.judge import describe_claim, judge
from sealiency.claims.measures import summarise_seeds
from sealiency.claims.surveys import RANDOM

# An attribution counts as following the known answer from here on.
FOLLOWS = 0.5


def find(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the claim, judged at every lead, with the filter and without."""
    method, has_filter, settings = evidence.method, evidence.has_filter, evidence.settings
    claims = []
    for fidelity in evidence.fidelities:
        lead, filtered = int(fidelity.attrs["lead"]), int(fidelity.attrs["filter_width_months"]) > 1
        by_kind: dict[str, list[np.ndarray]] = {}
        samples = fidelity["correlation"].loc[{"method": method}].mean("pixel", skipna=False)
        for name in samples["emulator"].values.tolist():
            values = samples.sel(emulator=name).values
            by_kind.setdefault(name.split("_seed")[0], []).append(average_samples(values, settings))
        own = summarise_seeds(by_kind.pop("trained"))
        names = {"random": RANDOM, "shuffled": "shuffled targets"}
        nulls = {name: summarise_seeds(by_kind[kind]) for kind, name in names.items() if kind in by_kind}
        # Shuffled targets are trained on the run's own record only.
        of_run = filtered == has_filter
        needed = names.values() if of_run else [RANDOM]
        obstacles = evidence.measured.find_obstacles("none" if of_run else "unfiltered", [lead], ())
        obstacles += [f"no {name} at lead {lead}" for name in needed if name not in nulls]
        statistic = f"correlation with the best linear predictor, {'with' if filtered else 'without'} filter, {method}"
        verdict = judge(own, nulls, "greater", FOLLOWS, obstacles)
        title = "Attributions follow the known answer"
        claims.append(describe_claim("fidelity", title, lead, statistic, "1", own, nulls, verdict))
    return claims
