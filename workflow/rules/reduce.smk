"""Mean attributions from the shards, summed under MPI."""

import json

from sealiency.resources import REDUCTION_MINUTES, reduction_memory_mb

ATTRIBUTIONS = f"{RUN}/reduce_shards/{MODEL}/{CONFIG.attribution.method}/attributions.nc"


rule reduce_shards:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
        shards=[str(name_shard(SHARD_FOLDER, block, chunk)) for block in BLOCKS for chunk in CHUNKS],
    output:
        ATTRIBUTIONS,
    log:
        f"{RUN}/logs/reduce_shards/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/reduce_shards/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: CONFIG.attribution.ranks
    resources:
        **ask(reduction_memory_mb(CONFIG.attribution.ranks), REDUCTION_MINUTES),
        mpi="mpiexec",
        tasks=CONFIG.attribution.ranks,
    params:
        folder=lambda w, input: Path(input.shards[0]).parent,
        blocks=BLOCKS,
        plan=json.dumps(
            {
                **settings(
                    CONFIG.attribution,
                    "method",
                    "pixels",
                    "samples",
                    "bootstrap_block",
                    "distance_edges",
                    "precision",
                    "integration_steps",
                    "baseline_samples",
                ),
                "sample_chunks": len(CHUNKS),
                "heatmaps": CONFIG.attribution.keeps_heatmaps,
            }
        ),
        script=Path(workflow.basedir) / "workflow" / "scripts" / "reduce_shards.py",
        code=code("reduce_shards"),
    message:
        "reducing the shards of lead {wildcards.lead}, seed {wildcards.seed} on {resources.tasks} ranks"
    shell:
        "{resources.mpi} -n {resources.tasks} python {params.script:q} --ranks {resources.tasks}"
        " --prepared {input.prepared:q} --emulator {input.emulator:q} --shards {params.folder:q}"
        " --blocks {params.blocks} --plan {params.plan:q} --target {output:q} --log {log:q}"
