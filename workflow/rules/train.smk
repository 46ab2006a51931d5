"""One emulator per lead and seed."""

from sealiency.resources import training_memory_mb, training_minutes


rule train_emulator:
    input:
        prepared=record_of,
    output:
        emulator=EMULATOR,
        history=f"{RUN}/train_emulator/{MODEL}/history.csv",
    log:
        f"{RUN}/logs/train_emulator/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/train_emulator/{MODEL}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: TRAINING_THREADS
    resources:
        **ask(
            training_memory_mb(CONFIG, PLAN.grid),
            lambda w: training_minutes(CONFIG, PLAN.grid, training_settings(w).epochs, TRAINING_GPUS),
            TRAINING_THREADS,
            TRAINING_GPUS,
        ),
    params:
        network=lambda w: settings(network_settings(w)),
        # None but for the user's own network.
        network_code=lambda w: checked(hash_code_of, CONFIG.network),
        network_weights=lambda w: checked(hash_weights_of, network_settings(w)),
        training=lambda w: settings(training_settings(w)),
        samples=settings(CONFIG.samples, "history", "training", "validation"),
        code=code("train_emulator"),
    message:
        "training the {wildcards.control}emulator of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/train_emulator.py"
