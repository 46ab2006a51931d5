"""The ablation experiment."""

ABLATION = f"{RUN}/ablate_region/{MODEL}/ablation.nc"


rule ablate_region:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
    output:
        ABLATION,
    log:
        f"{RUN}/logs/ablate_region/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/ablate_region/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: TRAINING_THREADS
    resources:
        **ask(ANALYSIS_MB, ANALYSIS_MINUTES, TRAINING_THREADS),
    params:
        samples=settings(CONFIG.samples),
        ablation=settings(CONFIG.ablation),
        code=code("ablate_region"),
    message:
        "ablating the input of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/ablate_region.py"
