"""The end of every run: one summary for machines and people, and one report."""

from sealiency.provenance import hash_settings
from sealiency.report import TEMPLATE

FIGURE_FILES = [file for kinds in FIGURES.values() for files in kinds.values() for file in files]
SKILL_TABLE = f"{RUN}/write_summary/skill.csv"
USAGE_TABLE = f"{RUN}/write_summary/usage.csv"


# The benchmark files of the jobs of this run; those of an earlier configuration are not counted.
BENCHMARKS = {
    "simulate_world": [f"{RUN}/benchmarks/simulate_world.tsv"] if CONFIG.data.source == "synthetic" else [],
    "prepare_unfiltered": [f"{RUN}/benchmarks/prepare_unfiltered.tsv"] if CONFIG.data.filter != "none" else [],
    "plot_group": fill(
        f"{RUN}/benchmarks/plot_group/lead{{lead}}_{{pixel}}.tsv", lead=CONFIG.leads, pixel=GROUP_PIXELS
    ),
    "plot_attribution_maps": (
        by_lead(f"{RUN}/benchmarks/plot_attribution_maps/{MODEL}.tsv") if CONFIG.attribution.pixels == "all" else []
    ),
    "attribute_pixels": fill(
        f"{RUN}/benchmarks/attribute_pixels/{MODEL}/pixels-{{block}}_samples-{{chunk:04d}}.tsv",
        control="",
        lead=CONFIG.leads,
        seed=CONFIG.training.seeds,
        block=BLOCKS,
        chunk=CHUNKS,
    ),
    "measure_fidelity": (
        fill(f"{RUN}/benchmarks/measure_fidelity/lead{{lead}}_{{record}}.tsv", lead=CONFIG.leads, record=FIT_RECORDS)
        if WORLD_PROPAGATOR
        else []
    ),
    "measure_training_size": (
        fill(f"{RUN}/benchmarks/measure_training_size/lead{{lead}}.tsv", lead=CONFIG.leads) if SIZES else []
    ),
    **{
        name: (fill(f"{RUN}/benchmarks/{name}/lead{{lead}}.tsv", lead=CONFIG.leads) if CONFIG.attention.enabled else [])
        for name in ("measure_attention", "plot_attention")
    },
    "measure_sufficiency": (
        fill(f"{RUN}/benchmarks/measure_sufficiency/lead{{lead}}.tsv", lead=CONFIG.leads) if SEEN else []
    ),
    "plot_sufficiency": [f"{RUN}/benchmarks/plot_sufficiency.tsv"] if SEEN else [],
    "plot_training_size": [f"{RUN}/benchmarks/plot_training_size.tsv"] if SIZES else [],
    "fit_linear": fill(f"{RUN}/benchmarks/fit_linear/lead{{lead}}.tsv", lead=CONFIG.leads),
    **{
        name: [f"{RUN}/benchmarks/{name}.tsv"]
        for name in ("prepare_record", "plan_run", "plan_reduction", "plot_skill", "plot_sign_check", "write_findings")
    },
    **{
        name: by_seed(f"{RUN}/benchmarks/{name}/{MODEL}.tsv")
        for name in ("reduce_shards", "check_signs", "plot_training")
    },
    **{
        name: by_seed(f"{RUN}/benchmarks/{name}/{MODEL}.tsv") if UNCERTAIN else []
        for name in ("evaluate_uncertainty", "plot_uncertainty")
    },
    **{
        name: by_control(f"{RUN}/benchmarks/{name}/{MODEL}.tsv", made)
        + (
            by_variant(f"{RUN}/benchmarks/{name}/{MODEL}.tsv")
            if name in ("train_emulator", "evaluate_emulator")
            else []
        )
        for name, made in (
            ("train_emulator", CONTROLS),
            ("evaluate_emulator", EVALUATED),
            ("survey_pixels", CONTROLS),
            ("compare_methods", COMPARED),
        )
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
        skill=by_seed(SKILL),
        attributions=by_seed(ATTRIBUTIONS),
        emulators=by_seed(EMULATOR),
        findings=FINDINGS,
        figures=FIGURE_FILES,
    output:
        summary=SUMMARY,
        table=SKILL_TABLE,
        usage=USAGE_TABLE,
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
        findings=FINDINGS,
        figures=FIGURE_FILES,
        captions=[str(Path(file).with_suffix(".txt")) for file in FIGURE_FILES],
        skill=SKILL_TABLE,
        usage=USAGE_TABLE,
    output:
        REPORT,
    log:
        f"{RUN}/logs/write_report.log",
    benchmark:
        f"{RUN}/benchmarks/write_report.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        data_set=CONFIG.data.describe(),
        # Plain names, which the script can be sent: Snakemake's own hang on their rule.
        figures={
            part: {kind: [str(file) for file in files] for kind, files in kinds.items()}
            for part, kinds in FIGURES.items()
        },
        configuration=CONFIG.model_dump(mode="json"),
        template=hash_settings(TEMPLATE.read_text(encoding="utf-8")),
        code=code("write_report"),
    message:
        "writing the report"
    script:
        "../scripts/write_report.py"


onsuccess:
    from sealiency.report.summary import format_summary

    # A run of some other target says nothing of a summary that an earlier run made.
    if Path(REPORT).exists() and Path(REPORT).stat().st_mtime > BEGUN:
        print(format_summary(SUMMARY, REPORT))
