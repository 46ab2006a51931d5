"""How far the forecast variance is that of the errors, of networks that forecast one."""

UNCERTAINTY = f"{RUN}/evaluate_uncertainty/{MODEL}/uncertainty.nc"
UNCERTAIN = getattr(CONFIG.network, "uncertainty", False)


rule evaluate_uncertainty:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
    output:
        UNCERTAINTY,
    log:
        f"{RUN}/logs/evaluate_uncertainty/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_uncertainty/{MODEL}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        **ask(PLAN.memory_mb + ANALYSIS_MB, ANALYSIS_MINUTES, THREADS, ATTRIBUTION_GPUS),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        samples=settings(CONFIG.samples),
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
        code=code("evaluate_uncertainty"),
    message:
        "evaluating the uncertainty of the emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate_uncertainty.py"


rule plot_uncertainty:
    input:
        uncertainty=UNCERTAINTY,
        skill=SKILL,
    output:
        **figure("plot_uncertainty", MODEL),
    log:
        f"{RUN}/logs/plot_uncertainty/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_uncertainty/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("plot_uncertainty"),
        code=code("plot_uncertainty"),
    message:
        "drawing the uncertainty of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/plot_uncertainty.py"
