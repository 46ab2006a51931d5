"""Write down which shards the reductions read and how they were made: thousands of names are too long for a command."""

import json
from pathlib import Path

from sealiency.files import write_whole
from sealiency.logs import log_job


def main(job):
    """Write the plan."""
    with write_whole(Path(job.output[0])) as partial:
        partial.write_text(json.dumps(dict(job.params.plan), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
