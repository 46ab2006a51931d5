"""Filtered, standardised anomalies; and what the run will explain, checked before any long work."""

from dataclasses import asdict

from sealiency.naming import describe_unnamed, find_files

if CONFIG.data.source == "esgf":
    RECORD_FILES, CHECKSUMS, SOURCE_DATASET = fetched_files, pinned_checksums, pinned_version
elif CONFIG.data.source == "files":
    RECORD_FILES, CHECKSUMS, SOURCE_DATASET = checked(find_files, CONFIG.data.files.paths), {}, None
else:
    RECORD_FILES, CHECKSUMS, SOURCE_DATASET = WORLD_FILES, {}, None

BASINS = [CONFIG.data.basins.path] if CONFIG.data.basins else []
# Only the user's own files have names that Snakemake may not take.
UNNAMED = {} if callable(RECORD_FILES) else checked(describe_unnamed, [*RECORD_FILES, *BASINS])
if not callable(RECORD_FILES):
    RECORD_FILES = [file for file in RECORD_FILES if file not in UNNAMED]


rule prepare_record:
    input:
        files=RECORD_FILES,
        basins=[file for file in BASINS if file not in UNNAMED],
    output:
        PREPARED,
    log:
        f"{RUN}/logs/prepare_record.log",
    benchmark:
        f"{RUN}/benchmarks/prepare_record.tsv"
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        **ask(2000, 60, threads=2),
        # Where the work is done changes nothing of the result, so it is no parameter.
        dask_scheduler=CONFIG.run.dask_scheduler or "",
    params:
        data=CONFIG.data.describe_preparation(),
        unnamed=UNNAMED,
        checksums=CHECKSUMS,
        source_dataset=SOURCE_DATASET,
        samples=settings(CONFIG.samples, "history", "training"),
        code=code("prepare_record"),
    message:
        "preparing anomalies"
    script:
        "../scripts/prepare_record.py"


use rule prepare_record as prepare_unfiltered with:
    output:
        UNFILTERED,
    log:
        f"{RUN}/logs/prepare_unfiltered.log",
    benchmark:
        f"{RUN}/benchmarks/prepare_unfiltered.tsv"
    params:
        data=CONFIG.data.without_filter().describe_preparation(),
        unnamed=UNNAMED,
        checksums=CHECKSUMS,
        source_dataset=SOURCE_DATASET,
        samples=settings(CONFIG.samples, "history", "training"),
        code=code("prepare_record"),
    message:
        "preparing anomalies without the filter"


rule plan_run:
    input:
        prepared=PREPARED,
    output:
        f"{RUN}/plan_run/plan.json",
    log:
        f"{RUN}/logs/plan_run.log",
    benchmark:
        f"{RUN}/benchmarks/plan_run.tsv"
    # First and alone: nobody should wait for hours to hear that a pixel does not exist.
    priority: 100
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    threads: workflow.cores or 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        leads=CONFIG.leads,
        samples=settings(CONFIG.samples),
        attribution=CONFIG.attribution.model_dump(mode="json", exclude={"job_minutes", "ranks"}),
        instance=settings(CONFIG.instance),
        ablation=settings(CONFIG.ablation),
        findings=settings(CONFIG.findings, "stride"),
        planned=asdict(PLAN.grid),
        code=code("plan_run"),
    message:
        "checking that every pixel, sample and lead exists"
    script:
        "../scripts/plan_run.py"
