"""How far attribution methods agree with each other, on trained and on random weights."""

AGREEMENT = f"{RUN}/compare_methods/{MODEL}/agreement.nc"


rule compare_methods:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
    output:
        AGREEMENT,
    log:
        f"{RUN}/logs/compare_methods/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/compare_methods/{MODEL}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        **ask(ANALYSIS_MB, ANALYSIS_MINUTES, THREADS, ATTRIBUTION_GPUS),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        instance=settings(CONFIG.instance, "compared", "methods"),
        attribution=settings(
            CONFIG.attribution,
            "precision",
            "integration_steps",
            "baseline_samples",
            "occlusion_window",
            "device",
        ),
        code=code("compare_methods"),
    message:
        "comparing methods on the {wildcards.control}emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/compare_methods.py"
