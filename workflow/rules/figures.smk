"""The figures: the paper's five by lead, maps of every pixel's attributions, the training curves, and skill."""


rule plot_forecast:
    input:
        instance=INSTANCE,
        skill=SKILL,
    output:
        **figure(
            "plot_forecast",
            MODEL,
            "3 One forecast",
            "Fig. 1 forecast",
            lead="{lead}",
        ),
    log:
        f"{RUN}/logs/plot_forecast/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_forecast/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "filter", "lead"),
        code=code("plot_forecast"),
    message:
        "drawing figure 1, lead {wildcards.lead}"
    script:
        "../scripts/plot_forecast.py"


rule plot_methods:
    input:
        instance=INSTANCE,
        skill=SKILL,
    output:
        **figure("plot_methods", MODEL, "3 One forecast", "Fig. 2 methods", lead="{lead}"),
    log:
        f"{RUN}/logs/plot_methods/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_methods/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "lead", "baselines"),
        code=code("plot_methods"),
    message:
        "drawing figure 2, lead {wildcards.lead}"
    script:
        "../scripts/plot_methods.py"


rule plot_instance:
    input:
        instance=INSTANCE,
        skill=SKILL,
    output:
        **figure("plot_instance", MODEL, "3 One forecast", "Fig. 3 places", lead="{lead}"),
    log:
        f"{RUN}/logs/plot_instance/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_instance/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "lead", "method", "baseline"),
        code=code("plot_instance"),
    message:
        "drawing figure 3, lead {wildcards.lead}"
    script:
        "../scripts/plot_instance.py"


rule plot_group:
    input:
        skill=by_lead(SKILL),
        attributions=by_lead(ATTRIBUTIONS),
    output:
        **figure(
            "plot_group",
            "lead{lead}_{pixel}",
            "2 Training set",
            "Fig. 4 mean heatmaps",
            lead="{lead}",
            pixel="{pixel}",
        ),
    log:
        f"{RUN}/logs/plot_group/lead{{lead}}_{{pixel}}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_group/lead{{lead}}_{{pixel}}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        compared=settings(CONFIG.instance.compared),
        caption=caption("data_set", "filter", "lead", "method", "baseline", "samples", "pixel"),
        code=code("plot_group"),
    message:
        "drawing figure 4, lead {wildcards.lead}, pixel {wildcards.pixel}"
    script:
        "../scripts/plot_group.py"


rule plot_attribution_maps:
    input:
        attributions=ATTRIBUTIONS,
        skill=SKILL,
    output:
        **figure(
            "plot_attribution_maps",
            MODEL,
            "2 Training set",
            "Maps of attributions",
            lead="{lead}",
        ),
    log:
        f"{RUN}/logs/plot_attribution_maps/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_attribution_maps/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "filter", "lead", "method", "baseline", "samples", "precision"),
        code=code("plot_attribution_maps"),
    message:
        "drawing maps of attributions, lead {wildcards.lead}"
    script:
        "../scripts/plot_attribution_maps.py"


rule plot_ablation:
    input:
        ablation=ABLATION,
        skill=SKILL,
    output:
        **figure("plot_ablation", MODEL, "4 Ablation", "Fig. 5 ablation", lead="{lead}"),
    log:
        f"{RUN}/logs/plot_ablation/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_ablation/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "lead", "months"),
        code=code("plot_ablation"),
    message:
        "drawing figure 5, lead {wildcards.lead}"
    script:
        "../scripts/plot_ablation.py"


rule plot_training:
    input:
        history=rules.train_emulator.output.history,
        skill=SKILL,
    output:
        **figure(
            "plot_training",
            MODEL,
            "5 Training",
            "Learning curves",
            lead="{lead}",
            seed="{seed}",
        ),
    log:
        f"{RUN}/logs/plot_training/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_training/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "lead"),
        code=code("plot_training"),
    message:
        "drawing the learning curves of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/plot_training.py"


rule plot_skill:
    input:
        skill=by_lead(SKILL),
    output:
        **figure("plot_skill", "skill", "1 Skill", "By lead", lead="all"),
    log:
        f"{RUN}/logs/plot_skill.log",
    benchmark:
        f"{RUN}/benchmarks/plot_skill.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "filter"),
        code=code("plot_skill"),
    message:
        "drawing skill by lead"
    script:
        "../scripts/plot_skill.py"


rule plot_skill_maps:
    input:
        skill=SKILL,
    output:
        **figure("plot_skill_maps", MODEL, "1 Skill", "Maps", lead="{lead}"),
    log:
        f"{RUN}/logs/plot_skill_maps/{MODEL}.log",
    benchmark:
        f"{RUN}/benchmarks/plot_skill_maps/{MODEL}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(2000, 15),
    params:
        figures=settings(CONFIG.figures),
        caption=caption("data_set", "lead"),
        code=code("plot_skill_maps"),
    message:
        "drawing maps of skill, lead {wildcards.lead}"
    script:
        "../scripts/plot_skill_maps.py"


# A map of a few listed pixels shows nothing.
MAPPED_LEADS = CONFIG.leads if CONFIG.attribution.pixels == "all" else []
# Training curves of every seed; everything else of the first.
FIGURE_FILES = [
    *by_lead(
        [
            rules.plot_forecast.output.png,
            rules.plot_methods.output.png,
            rules.plot_instance.output.png,
        ]
    ),
    *by_lead([rules.plot_ablation.output.png, rules.plot_skill_maps.output.png]),
    *expand(rules.plot_training.output.png, lead=CONFIG.leads, seed=CONFIG.training.seeds),
    *expand(rules.plot_group.output.png, lead=CONFIG.leads, pixel=GROUP_PIXELS),
    *expand(rules.plot_attribution_maps.output.png, lead=MAPPED_LEADS, seed=SEED),
    rules.plot_skill.output.png,
]
