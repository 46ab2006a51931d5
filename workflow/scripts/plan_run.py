"""Check every lead, sample and pixel against the prepared record, and write down what will be explained."""

import json

from sealiency.attribution.speed import Grid
from sealiency.config.attribution import Ablation, Attribution, Instance
from sealiency.config.data import Samples
from sealiency.config.findings import Findings
from sealiency.data.prepare import PreparedRecord
from sealiency.experiments.plan import plan_run
from sealiency.files import write_whole
from sealiency.logs import log_job


def main(job):
    """Write the plan."""
    plan = plan_run(
        record=PreparedRecord(job.input.prepared),
        leads=list(job.params.leads),
        samples=Samples(**job.params.samples),
        attribution=Attribution(**job.params.attribution),
        instance=Instance(**job.params.instance),
        ablation=Ablation(**job.params.ablation),
        findings=Findings(**job.params.findings),
        planned=Grid(**job.params.planned),
    )
    with write_whole(job.output[0]) as partial:
        partial.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
