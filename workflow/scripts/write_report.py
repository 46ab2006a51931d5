"""Write the report of the run as one self-contained HTML file."""

from pathlib import Path

from sealiency.files import write_whole
from sealiency.logs import log_job
from sealiency.report.page import build_report


def main(job):
    """Write the report."""
    report = build_report(
        summary=job.input.summary,
        figures=job.params.figures,
        folder=Path(job.output[0]).parent,
        data_set=job.params.data_set,
        configuration=job.params.configuration,
        findings=job.input.findings,
    )
    with write_whole(job.output[0]) as partial:
        partial.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
