"""Linear predictors of every surveyed pixel, and their attributions: nulls of the findings."""

LINEAR = f"{RUN}/fit_linear/lead{{lead}}/linear.nc"


rule fit_linear:
    input:
        prepared=PREPARED,
        unfiltered=UNFILTERED if CONFIG.data.filter != "none" else [],
    output:
        LINEAR,
    log:
        f"{RUN}/logs/fit_linear/lead{{lead}}.log",
    benchmark:
        f"{RUN}/benchmarks/fit_linear/lead{{lead}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 1
    resources:
        **ask(ANALYSIS_MB, ANALYSIS_MINUTES),
    params:
        samples=settings(CONFIG.samples),
        findings=settings(CONFIG.findings, "stride", "samples", "bootstrap_block", "neighbourhood_km"),
        distance_edges=CONFIG.attribution.distance_edges,
        code=code("fit_linear"),
    message:
        "fitting linear predictors of lead {wildcards.lead}"
    script:
        "../scripts/fit_linear.py"
