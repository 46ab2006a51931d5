"""Skill beside the linear rivals, and beside the bound of the synthetic world."""


rule evaluate_emulator:
    input:
        prepared=record_of,
        emulator=EMULATOR,
        propagator=WORLD_PROPAGATOR,
    output:
        SKILL,
    log:
        f"{RUN}/logs/evaluate_emulator/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_emulator/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: TRAINING_THREADS
    resources:
        **ask(ANALYSIS_MB, ANALYSIS_MINUTES, TRAINING_THREADS),
    params:
        **(
            {"synthetic": settings(CONFIG.data.synthetic), "region": settings(CONFIG.data.region)}
            if WORLD_PROPAGATOR
            else {}
        ),
        samples=settings(CONFIG.samples),
        code=code("evaluate_emulator"),
    message:
        "evaluating the {wildcards.control}emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_emulator.py"
