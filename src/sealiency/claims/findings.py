"""The findings of a run: every claim as a number beside the nulls that could have produced it, judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sealiency.claims import agreement, known_answer, locality, memory, place, teleconnections
from sealiency.claims import signs as signs_claim
from sealiency.claims.evidence import Evidence
from sealiency.claims.judge import RULE
from sealiency.claims.surveys import measure_all
from sealiency.claims.tables import tabulate_measures, tabulate_methods
from sealiency.config.findings import Findings
from sealiency.files import read_netcdf, sha256
from sealiency.provenance import describe_provenance

# In the order in which they are told; a claim more is a name more.
CLAIMS = (locality, place, memory, teleconnections, agreement, signs_claim, known_answer)


def find(
    surveys: Sequence[str],
    linear: Sequence[str],
    skill: Sequence[str],
    agreements: Sequence[str],
    signs: Sequence[str],
    fidelity: Sequence[str],
    settings: Findings,
    leads: Sequence[int],
    has_filter: bool,
    method: str,
    data_set: str,
) -> dict[str, Any]:
    """Measure and judge every claim.

    Parameters
    ----------
    surveys, linear, skill, agreements, signs, fidelity
        Files of the stages; surveys and agreements in the order of their seeds.
    settings
        Draws, seed and distances.
    leads
        Leads of the run, months.
    has_filter
        Whether the run's record is filtered.
    method, data_set
        Attribution method and data set, for the text.

    Returns
    -------
    dict
        `rule`, the rule of the verdicts; `claims`, each with its number, interval, nulls and verdict; `measures`, the same
        numbers for every kind of emulator and null; `method`, `data_set`, and the versions and settings as everywhere.
    """
    without_skill = {
        dataset.attrs["model_sha256"] for dataset in map(read_netcdf, skill) if not dataset.attrs["beats_persistence"]
    }
    measured = measure_all(map(read_netcdf, surveys), map(read_netcdf, linear), without_skill, settings)
    evidence = Evidence(
        measured,
        agreements=list(map(read_netcdf, agreements)),
        signs=list(map(read_netcdf, signs)),
        fidelities=list(map(read_netcdf, fidelity)),
        settings=settings,
        leads=leads,
        has_filter=has_filter,
        method=method,
    )
    claims = [judged for claim in CLAIMS for judged in claim.find(evidence)]
    files = (*surveys, *linear, *skill, *agreements, *signs, *fidelity)
    inputs = {"/".join(Path(path).parts[-2:]): sha256(path) for path in files}
    return {
        "data_set": data_set,
        "method": method,
        "rule": RULE,
        "claims": claims,
        "measures": tabulate_measures(measured),
        "methods": tabulate_methods(evidence.agreements, evidence.fidelities),
        **describe_provenance(settings.model_dump(mode="json"), inputs),
    }
