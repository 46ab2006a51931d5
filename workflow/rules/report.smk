"""The end of every run: one summary for machines and people, and one report."""

import json
import time

STARTED = time.time()

CAPTIONS = sorted(map(str, (Path(workflow.basedir) / "workflow" / "report").glob("*.rst")))
SKILL_TABLE = f"{RUN}/write_summary/skill.csv"
USAGE_TABLE = f"{RUN}/write_summary/usage.csv"


# The benchmark files of the jobs of this run; those of an earlier configuration are not counted.
BENCHMARKS = {
    "simulate_world": [f"{RUN}/benchmarks/simulate_world.tsv"] if CONFIG.data.source == "synthetic" else [],
    "plot_group": expand(
        f"{RUN}/benchmarks/plot_group/lead{{lead}}_{{pixel}}.tsv", lead=CONFIG.leads, pixel=GROUP_PIXELS
    ),
    "plot_attribution_maps": expand(
        f"{RUN}/benchmarks/plot_attribution_maps/{MODEL}.tsv", lead=MAPPED_LEADS, seed=SEED
    ),
    "attribute_pixels": expand(
        f"{RUN}/benchmarks/attribute_pixels/{MODEL}/pixels-{{block}}_samples-{{chunk:04d}}.tsv",
        lead=CONFIG.leads,
        seed=CONFIG.training.seeds,
        block=BLOCKS,
        chunk=CHUNKS,
    ),
    **{name: [f"{RUN}/benchmarks/{name}.tsv"] for name in ("prepare_record", "plan_run", "plot_skill")},
    **{
        name: expand(f"{RUN}/benchmarks/{name}/{MODEL}.tsv", lead=CONFIG.leads, seed=CONFIG.training.seeds)
        for name in ("train_emulator", "evaluate_emulator", "reduce_shards", "plot_training")
    },
    **{
        name: by_lead(f"{RUN}/benchmarks/{name}/{MODEL}.tsv")
        for name in (
            "explain_instance",
            "ablate_region",
            "plot_forecast",
            "plot_methods",
            "plot_instance",
            "plot_ablation",
            "plot_skill_maps",
        )
    },
}


rule write_summary:
    input:
        plan=rules.plan_run.output[0],
        skill=expand(SKILL, lead=CONFIG.leads, seed=CONFIG.training.seeds),
        attributions=expand(ATTRIBUTIONS, lead=CONFIG.leads, seed=CONFIG.training.seeds),
        emulators=expand(EMULATOR, lead=CONFIG.leads, seed=CONFIG.training.seeds),
        figures=FIGURE_FILES,
    output:
        summary=SUMMARY,
        table=report(
            SKILL_TABLE,
            caption="../report/table.rst",
            category="1 Skill",
            labels={"lead": "all"},
        ),
        usage=report(
            USAGE_TABLE,
            caption="../report/usage.rst",
            category="6 Resources",
            labels={"lead": "all"},
        ),
    log:
        f"{RUN}/logs/write_summary.log",
    benchmark:
        f"{RUN}/benchmarks/write_summary.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        run=CONFIG.run.name,
        benchmarks=BENCHMARKS,
        code=code("write_summary"),
    message:
        "writing the summary"
    script:
        "../scripts/write_summary.py"


rule write_report:
    input:
        summary=SUMMARY,
        figures=FIGURE_FILES,
        captions=CAPTIONS,
    output:
        REPORT,
    log:
        f"{RUN}/logs/write_report.log",
    benchmark:
        f"{RUN}/benchmarks/write_report.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        # The environment of a job holds no Snakemake.
        python=sys.executable,
    params:
        configuration=json.dumps(config),
        snakefile=Path(workflow.basedir) / "Snakefile",
        code=code("write_report"),
    message:
        "writing the report"
    script:
        "../scripts/write_report.py"


report: "../report/workflow.rst"


onsuccess:
    from sealiency.analysis.summary import format_summary

    # A run of some other target says nothing of a summary that an earlier run made.
    if Path(REPORT).exists() and Path(REPORT).stat().st_mtime > STARTED:
        print(format_summary(SUMMARY, REPORT))
