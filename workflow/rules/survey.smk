"""The attributions of a thin grid of ocean pixels, by the run's own emulators and those made for comparison."""

SURVEY = f"{RUN}/survey_pixels/{MODEL}/survey.nc"


rule survey_pixels:
    input:
        prepared=record_of,
        emulator=EMULATOR,
    output:
        SURVEY,
    log:
        f"{RUN}/logs/survey_pixels/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/survey_pixels/{MODEL}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        **ask(PLAN.memory_mb + ANALYSIS_MB, ANALYSIS_MINUTES, THREADS, ATTRIBUTION_GPUS),
    params:
        attribution=settings(
            CONFIG.attribution,
            "method",
            "precision",
            "integration_steps",
            "baseline_samples",
            "distance_edges",
            "device",
        ),
        findings=settings(CONFIG.findings, "stride", "samples", "bootstrap_block"),
        code=code("survey_pixels"),
    message:
        "surveying pixels with the {wildcards.control}emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/survey_pixels.py"
