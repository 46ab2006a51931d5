"""The test of what the sign of an attribution means."""

from sealiency.config.attribution import select_listed

SIGNS = f"{RUN}/check_signs/{MODEL}/signs.nc"


rule check_signs:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
    output:
        SIGNS,
    log:
        f"{RUN}/logs/check_signs/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/check_signs/{MODEL}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        **ask(ANALYSIS_MB, ANALYSIS_MINUTES, THREADS, ATTRIBUTION_GPUS),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        samples=settings(CONFIG.samples),
        sign_check=settings(CONFIG.sign_check),
        attribution=settings(
            select_listed(CONFIG.attribution, CONFIG.instance.compared),
            "method",
            "pixels",
            "precision",
            "integration_steps",
            "bootstrap_block",
            "device",
        ),
        code=code("check_signs"),
    message:
        "checking the signs of the attributions of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/check_signs.py"


rule plot_sign_check:
    input:
        signs=by_lead(SIGNS),
        skill=by_lead(SKILL),
    output:
        **figure("plot_sign_check", "sign_check"),
    log:
        f"{RUN}/logs/plot_sign_check.log",
    benchmark:
        f"{RUN}/benchmarks/plot_sign_check.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("plot_sign_check"),
        code=code("plot_sign_check"),
    message:
        "drawing the sign check"
    script:
        "../scripts/plot_sign_check.py"
