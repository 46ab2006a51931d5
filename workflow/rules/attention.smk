"""Emulators that attend to a map of their own, beside the run's own."""


rule measure_attention:
    input:
        plain=lambda w: fill(EMULATOR, control="", lead=w.lead, seed=CONFIG.training.seeds),
        attending=lambda w: fill(EMULATOR, control="attention_", lead=w.lead, seed=CONFIG.training.seeds),
        plain_skill=lambda w: fill(SKILL, control="", lead=w.lead, seed=CONFIG.training.seeds),
        attending_skill=lambda w: fill(SKILL, control="attention_", lead=w.lead, seed=CONFIG.training.seeds),
        prepared=PREPARED,
    output:
        ATTENTION,
    log:
        f"{RUN}/logs/measure_attention/lead{{lead}}.log",
    benchmark:
        f"{RUN}/benchmarks/measure_attention/lead{{lead}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: TRAINING_THREADS
    resources:
        **ask(PLAN.memory_mb + ANALYSIS_MB, 4 * ANALYSIS_MINUTES, TRAINING_THREADS),
    params:
        attention=settings(CONFIG.attention),
        compared=settings(CONFIG.instance, "compared"),
        code=code("measure_attention"),
    message:
        "comparing emulators with attention and without, lead {wildcards.lead}"
    script:
        "../scripts/measure_attention.py"


rule plot_attention:
    input:
        ATTENTION,
    output:
        **figure("plot_attention", "lead{lead}"),
    log:
        f"{RUN}/logs/plot_attention/lead{{lead}}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_attention/lead{{lead}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("plot_attention"),
        code=code("plot_attention"),
    message:
        "drawing attention, lead {wildcards.lead}"
    script:
        "../scripts/plot_attention.py"
