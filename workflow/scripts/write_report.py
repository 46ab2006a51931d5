"""Write Snakemake's report of the run as one self-contained HTML file."""

import subprocess
import tempfile
from pathlib import Path

import yaml

from sealiency.errors import SealiencyError
from sealiency.files import write_whole
from sealiency.logs import log_job


def main(job):
    """Ask Snakemake for the report of everything up to the summary."""
    with tempfile.TemporaryDirectory() as folder, write_whole(job.output[0]) as partial:
        configuration = Path(folder) / "configuration.yaml"
        configuration.write_text(yaml.safe_dump(yaml.safe_load(job.params.configuration)), encoding="utf-8")
        command = [job.resources.python, "-m", "snakemake", "--snakefile", str(job.params.snakefile)]
        command += ["--configfile", str(configuration), "--cores", "1", "--nolock"]
        # The outer run holds the lock, and its jobs are not all recorded as complete yet.
        command += ["--report", str(partial), "--", job.input.summary]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SealiencyError(f"{job.output[0]}: snakemake --report failed:\n{answer.stdout}{answer.stderr}")


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
