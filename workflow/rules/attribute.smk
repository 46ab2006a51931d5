"""Sums of attributions, one shard per lead, seed, chunk of samples and block of pixels."""

from sealiency.naming import name_blocks, name_shard

SHARD_FOLDER = f"{RUN}/attribute_pixels/{MODEL}/{CONFIG.attribution.method}"
BLOCKS = name_blocks(CONFIG.attribution)
CHUNKS = range(CONFIG.attribution.sample_chunks)


rule attribute_pixels:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
    output:
        f"{SHARD_FOLDER}/pixels-{{block}}_samples-{{chunk}}.h5",
    log:
        f"{RUN}/logs/attribute_pixels/{MODEL}/pixels-{{block}}_samples-{{chunk}}.log",
    benchmark:
        f"{RUN}/benchmarks/attribute_pixels/{MODEL}/pixels-{{block}}_samples-{{chunk}}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        **ask(PLAN.memory_mb, PLAN.runtime, THREADS, ATTRIBUTION_GPUS),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        attribution=lambda w: block_settings(w.block),
        code=code("attribute_pixels"),
    message:
        "attributing lead {wildcards.lead}, seed {wildcards.seed}, pixels {wildcards.block}, chunk {wildcards.chunk}"
    script:
        "../scripts/attribute_pixels.py"
