"""The end of every run: one summary for machines and people, and one report."""

import json

SKILL_TABLE = f"{RUN}/write_summary/skill.csv"


def expected_benchmarks():
    """Return the benchmark files of the jobs of this run, so that those of an earlier one are not counted."""
    models = expand(MODEL, lead=CONFIG.leads, seed=CONFIG.training.seeds)
    shown = expand(MODEL, lead=CONFIG.leads, seed=SEED)
    shards = [f"pixels-{block}_samples-{chunk:04d}" for block in BLOCKS for chunk in CHUNKS]
    jobs = {
        "simulate_world": [""] if CONFIG.data.source == "synthetic" else [],
        "prepare_record": [""],
        "plan_run": [""],
        "attribute_pixels": [f"/{model}/{shard}" for model in models for shard in shards],
        "plot_group": [f"/lead{lead}_{pixel}" for lead in CONFIG.leads for pixel in GROUP_PIXELS],
        "plot_skill": [""],
    }
    for rule_name in ("train_emulator", "evaluate_emulator", "reduce_shards", "plot_training"):
        jobs[rule_name] = [f"/{model}" for model in models]
    for rule_name in (
        "explain_instance",
        "ablate_region",
        "plot_forecast",
        "plot_methods",
        "plot_instance",
        "plot_ablation",
        "plot_skill_maps",
    ):
        jobs[rule_name] = [f"/{model}" for model in shown]
    return {name: [f"{RUN}/benchmarks/{name}{job}.tsv" for job in names] for name, names in jobs.items()}


rule write_summary:
    input:
        plan=rules.plan_run.output[0],
        skill=expand(SKILL, lead=CONFIG.leads, seed=CONFIG.training.seeds),
        heatmaps=expand(HEATMAPS, lead=CONFIG.leads, seed=CONFIG.training.seeds),
        emulators=expand(EMULATOR, lead=CONFIG.leads, seed=CONFIG.training.seeds),
        figures=FIGURE_FILES,
    output:
        summary=SUMMARY,
        table=report(SKILL_TABLE, caption="../report/table.rst", category="1 Skill", labels={"lead": "all"}),
    log:
        f"{RUN}/logs/write_summary.log",
    params:
        run=CONFIG.run.name,
        benchmarks=expected_benchmarks(),
        code=code("write_summary"),
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    message:
        "writing the summary"
    script:
        "../scripts/write_summary.py"


rule write_report:
    input:
        summary=SUMMARY,
        figures=FIGURE_FILES,
        captions=collect("workflow/report/{name}.rst", name=["workflow"]),
    output:
        REPORT,
    log:
        f"{RUN}/logs/write_report.log",
    params:
        configuration=json.dumps(config),
        snakefile=Path(workflow.basedir) / "Snakefile",
        code=code("write_report"),
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    message:
        "writing the report"
    script:
        "../scripts/write_report.py"


onsuccess:
    from sealiency.analysis.summary import format_summary

    if Path(SUMMARY).exists():
        print(format_summary(SUMMARY, REPORT))
