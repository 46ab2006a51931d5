"""Write the findings of a run, for machines (JSON) and people (Markdown)."""

import json

from sealiency.claims.findings import find
from sealiency.claims.telling import format_findings
from sealiency.config.findings import Findings
from sealiency.files import write_whole
from sealiency.logs import log_job


def main(job):
    """Write the findings."""
    findings = find(
        surveys=job.input.surveys,
        linear=job.input.linear,
        skill=job.input.skill,
        agreements=job.input.agreements,
        signs=job.input.signs,
        fidelity=job.input.fidelity,
        settings=Findings(**job.params.findings),
        leads=job.params.leads,
        has_filter=job.params.has_filter,
        method=job.params.method,
        data_set=job.params.data_set,
    )
    with write_whole(job.output.json) as partial:
        partial.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")
    with write_whole(job.output.text) as partial:
        partial.write_text(format_findings(findings), encoding="utf-8")


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
