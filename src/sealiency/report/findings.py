"""Findings as the report shows them: claims, what was measured, and what the nulls give."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from sealiency.claims.judge import Verdict
from sealiency.errors import SealiencyError

Interval = tuple[float | None, float | None]


class Null(BaseModel):
    """What the statistic is where there is nothing to find."""

    name: str
    value: float | None
    interval: Interval | None = None


class Claim(BaseModel):
    """One claim at one lead, or at all leads where `lead` is None."""

    claim: str
    title: str
    lead: int | None
    statistic: str
    units: str
    value: float | None
    interval: Interval | None = None
    seeds: list[float | None] = []
    nulls: list[Null] = []
    verdict: Verdict
    reason: str


class Findings(BaseModel):
    """Every claim of a run, and the rule by which verdicts are reached."""

    rule: str
    claims: list[Claim]


def read_findings(path: str | Path) -> Findings:
    """Read the findings of a run.

    Raises
    ------
    SealiencyError
        If the file cannot be read, or does not hold findings.
    """
    try:
        return Findings.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise SealiencyError(f"{path}: cannot be read ({error.strerror}); run again to make it anew") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SealiencyError(
            f"{path}: {place} is {str(first['input'])[:80]!r} ({first['msg']}); delete the file and run again to make it anew"
        ) from None
