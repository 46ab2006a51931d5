"""The training-size curve: emulators trained on the last few of the training samples."""


rule measure_training_size:
    input:
        emulators=lambda w: fill(EMULATOR, control=SIZES, lead=w.lead, seed=CONFIG.training.seeds),
        skill=lambda w: fill(SKILL, control=SIZES, lead=w.lead, seed=CONFIG.training.seeds),
        prepared=PREPARED,
        propagator=PROPAGATOR,
    output:
        TRAINING_SIZE,
    log:
        f"{RUN}/logs/measure_training_size/lead{{lead}}.log",
    benchmark:
        f"{RUN}/benchmarks/measure_training_size/lead{{lead}}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        # The fit of the best linear predictor needs 2 GB.
        **ask(PLAN.memory_mb + ANALYSIS_MB + 2000, ANALYSIS_MINUTES, THREADS, ATTRIBUTION_GPUS),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        synthetic=settings(CONFIG.data.synthetic),
        region=settings(CONFIG.data.region),
        findings=settings(CONFIG.findings, "simulated_years", "neighbourhood_km"),
        attribution=settings(
            LISTED,
            "pixels",
            "method",
            "baseline",
            "baseline_samples",
            "precision",
            "integration_steps",
            "device",
        ),
        code=code("measure_training_size"),
    message:
        "comparing emulators of different numbers of training samples, lead {wildcards.lead}"
    script:
        "../scripts/measure_training_size.py"


rule plot_training_size:
    input:
        fill(TRAINING_SIZE, lead=CONFIG.leads),
    output:
        **figure("plot_training_size", "training_size"),
    log:
        f"{RUN}/logs/plot_training_size.log",
    benchmark:
        f"{RUN}/benchmarks/plot_training_size.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("plot_training_size"),
        code=code("plot_training_size"),
    message:
        "drawing skill by the number of training samples"
    script:
        "../scripts/plot_training_size.py"
