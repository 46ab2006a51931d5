"""One emulator per lead and seed."""

from sealiency.config.emulator import resolve_training


rule train_emulator:
    input:
        prepared=PREPARED,
    output:
        emulator=EMULATOR,
        history=f"{RUN}/train_emulator/{MODEL}/history.csv",
    log:
        f"{RUN}/logs/train_emulator/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/train_emulator/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=720,
    params:
        network=settings(CONFIG.network),
        training=lambda w: settings(resolve_training(CONFIG.training, int(w.lead), int(w.seed))),
        samples=settings(CONFIG.samples, "history", "training", "validation"),
        code=code("train_emulator"),
    message:
        "training the emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/train_emulator.py"
