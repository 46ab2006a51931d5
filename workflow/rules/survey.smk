"""The attributions of a thin grid of ocean pixels, by the run's own emulators and those made for comparison."""

from sealiency.resources import survey_minutes

SURVEY = f"{RUN}/survey_pixels/{MODEL}/survey.nc"
SURVEY_MINUTES = survey_minutes(CONFIG, PLAN.grid, PLAN.speed.attributions_per_second)


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
        **ask(PLAN.memory_mb + ANALYSIS_MB, SURVEY_MINUTES, THREADS, ATTRIBUTION_GPUS),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        attribution=settings(
            CONFIG.attribution,
            "method",
            "precision",
            "integration_steps",
            "distance_edges",
            "device",
        ),
        findings=settings(CONFIG.findings, "stride", "samples", "bootstrap_block"),
        code=code("survey_pixels"),
    message:
        "surveying pixels with the {wildcards.control}emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/survey_pixels.py"
