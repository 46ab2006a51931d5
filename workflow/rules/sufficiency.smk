"""Which months and neighbours suffice: emulators and regressions that are given so many and no more."""


rule measure_sufficiency:
    input:
        skill=lambda w: fill(SKILL, control=SEEN, lead=w.lead, seed=CONFIG.training.seeds),
        prepared=PREPARED,
    output:
        SUFFICIENCY,
    log:
        f"{RUN}/logs/measure_sufficiency/lead{{lead}}.log",
    benchmark:
        f"{RUN}/benchmarks/measure_sufficiency/lead{{lead}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: TRAINING_THREADS
    resources:
        **ask(ANALYSIS_MB, 10 * ANALYSIS_MINUTES, TRAINING_THREADS),
    params:
        sufficiency=settings(CONFIG.sufficiency),
        samples=settings(CONFIG.samples),
        seeds=CONFIG.training.seeds,
        code=code("measure_sufficiency"),
    message:
        "fitting regressions on few months and neighbours, lead {wildcards.lead}"
    script:
        "../scripts/measure_sufficiency.py"


rule plot_sufficiency:
    input:
        fill(SUFFICIENCY, lead=CONFIG.leads),
    output:
        **figure("plot_sufficiency", "sufficiency"),
    log:
        f"{RUN}/logs/plot_sufficiency.log",
    benchmark:
        f"{RUN}/benchmarks/plot_sufficiency.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("plot_sufficiency"),
        code=code("plot_sufficiency"),
    message:
        "drawing skill by months and neighbours"
    script:
        "../scripts/plot_sufficiency.py"
