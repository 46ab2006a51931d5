"""Fit linear predictors of the surveyed pixels and sum up their attributions."""

from sealiency.claims.linear_nulls import fit_linear
from sealiency.config.data import Samples
from sealiency.config.findings import Findings
from sealiency.data.prepare import PreparedRecord
from sealiency.files import sha256, write_netcdf
from sealiency.logs import log_job
from sealiency.provenance import describe_file


def main(job):
    """Write the attributions of the linear predictors."""
    # A record that has no filter has no unfiltered one beside it.
    inputs = {name: path for name, path in job.input.items() if path}
    linear = fit_linear(
        record=PreparedRecord(inputs["prepared"]),
        unfiltered=PreparedRecord(inputs["unfiltered"]) if "unfiltered" in inputs else None,
        lead=int(job.wildcards.lead),
        samples=Samples(**job.params.samples),
        settings=Findings(**job.params.findings),
        distance_edges=job.params.distance_edges,
    )
    settings = {"lead": job.wildcards.lead, **dict(job.params.items())}
    linear.attrs |= describe_file(job.rule, settings, {name: sha256(path) for name, path in inputs.items()})
    write_netcdf(linear, job.output[0])


if __name__ == "__main__":
    with log_job(snakemake.log[0]):
        main(snakemake)
