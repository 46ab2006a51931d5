"""Write the summary of a run, for machines (JSON) and as tables of skill and of usage (CSV)."""

import json

from sealiency.files import write_whole
from sealiency.logs import log_job
from sealiency.report.summary import summarise_run, tabulate_usage


def main(job):
    """Write the summary and the tables."""
    summary, table = summarise_run(
        run=job.params.run,
        plan=job.input.plan,
        skill=job.input.skill,
        heatmaps=job.input.attributions,
        emulators=job.input.emulators,
        benchmarks=job.params.benchmarks,
    )
    with write_whole(job.output.table) as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    with write_whole(job.output.usage) as partial:
        tabulate_usage(summary["stages"]).to_csv(partial, index=False)
    with write_whole(job.output.summary) as partial:
        partial.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
