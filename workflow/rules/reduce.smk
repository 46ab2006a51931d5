"""Mean attributions from the shards, summed under MPI."""

from sealiency.resources import REDUCTION_MINUTES, reduction_memory_mb

ATTRIBUTIONS = f"{RUN}/reduce_shards/{MODEL}/{CONFIG.attribution.method}/attributions.nc"


rule plan_reduction:
    output:
        f"{RUN}/plan_reduction/plan.json",
    log:
        f"{RUN}/logs/plan_reduction.log",
    benchmark:
        f"{RUN}/benchmarks/plan_reduction.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        plan={
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
            "blocks": BLOCKS,
            "sample_chunks": len(CHUNKS),
            "heatmaps": CONFIG.attribution.keeps_heatmaps,
        },
        code=code("plan_reduction"),
    message:
        "planning the reduction"
    script:
        "../scripts/plan_reduction.py"


rule reduce_shards:
    input:
        prepared=PREPARED,
        emulator=EMULATOR,
        plan=rules.plan_reduction.output[0],
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
        script=Path(workflow.basedir) / "workflow" / "scripts" / "reduce_shards.py",
        code=code("reduce_shards"),
    message:
        "reducing the shards of lead {wildcards.lead}, seed {wildcards.seed} on {resources.tasks} ranks"
    shell:
        "{resources.mpi} -n {resources.tasks} python {params.script:q} --ranks {resources.tasks}"
        " --prepared {input.prepared:q} --emulator {input.emulator:q} --shards {params.folder:q}"
        " --plan {input.plan:q} --target {output:q} --log {log:q}"
