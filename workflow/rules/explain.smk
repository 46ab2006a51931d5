"""The explanation of one forecast."""

INSTANCE = f"{RUN}/explain_instance/{MODEL}/instance.nc"


rule explain_instance:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
    output:
        INSTANCE,
    log:
        f"{RUN}/logs/explain_instance/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/explain_instance/{MODEL}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: TRAINING_THREADS
    resources:
        **ask(ANALYSIS_MB, ANALYSIS_MINUTES, TRAINING_THREADS, ATTRIBUTION_GPUS),
    params:
        samples=settings(CONFIG.samples),
        instance=settings(CONFIG.instance),
        attribution=settings(
            CONFIG.attribution,
            "method",
            "precision",
            "integration_steps",
            "baseline_samples",
            "device",
        ),
        code=code("explain_instance"),
    message:
        "explaining one forecast of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/explain_instance.py"
