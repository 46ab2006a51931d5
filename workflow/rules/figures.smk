"""The figures: the paper's five by lead, maps of every pixel's attributions, the training curves, and skill."""


rule plot_forecast:
    input:
        instance=INSTANCE,
        skill=SKILL,
    output:
        **figure("plot_forecast", MODEL),
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
        caption=caption("plot_forecast"),
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
        **figure("plot_methods", MODEL),
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
        caption=caption("plot_methods"),
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
        **figure("plot_instance", MODEL),
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
        caption=caption("plot_instance"),
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
        **figure("plot_group", "lead{lead}_{pixel}"),
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
        caption=caption("plot_group"),
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
        **figure("plot_attribution_maps", MODEL),
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
        caption=caption("plot_attribution_maps"),
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
        **figure("plot_ablation", MODEL),
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
        caption=caption("plot_ablation"),
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
        **figure("plot_training", MODEL),
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
        caption=caption("plot_training"),
        code=code("plot_training"),
    message:
        "drawing the learning curves of lead {wildcards.lead}, seed {wildcards.seed}"
    script:
        "../scripts/plot_training.py"


rule plot_skill:
    input:
        skill=by_lead(SKILL),
    output:
        **figure("plot_skill", "skill"),
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
        caption=caption("plot_skill"),
        code=code("plot_skill"),
    message:
        "drawing skill by lead"
    script:
        "../scripts/plot_skill.py"


rule plot_skill_maps:
    input:
        skill=SKILL,
    output:
        **figure("plot_skill_maps", MODEL),
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
        caption=caption("plot_skill_maps"),
        code=code("plot_skill_maps"),
    message:
        "drawing maps of skill, lead {wildcards.lead}"
    script:
        "../scripts/plot_skill_maps.py"


# A map of a few listed pixels shows nothing.
MAPPED_LEADS = CONFIG.leads if CONFIG.attribution.pixels == "all" else []
# Every figure of the run, by part of the report and by kind; training curves of every seed, everything else of the first.
FIGURES = {
    "Skill": {
        "Skill by lead": [rules.plot_skill.output.png],
        "Skill by place": by_lead(rules.plot_skill_maps.output.png),
        "Uncertainty": by_seed(rules.plot_uncertainty.output.png) if UNCERTAIN else [],
        "Skill by the number of training samples": [rules.plot_training_size.output.png] if SIZES else [],
        "Which months and neighbours suffice": [rules.plot_sufficiency.output.png] if SEEN else [],
    },
    "Training set": {
        "Mean heatmaps (Fig. 4)": fill(rules.plot_group.output.png, lead=CONFIG.leads, pixel=GROUP_PIXELS),
        "Every pixel": by_lead(rules.plot_attribution_maps.output.png) if CONFIG.attribution.pixels == "all" else [],
    },
    "Single forecast": {
        "Forecast (Fig. 1)": by_lead(rules.plot_forecast.output.png),
        "Methods side by side (Fig. 2)": by_lead(rules.plot_methods.output.png),
        "Three places (Fig. 3)": by_lead(rules.plot_instance.output.png),
    },
    "Ablation and sign check": {
        "Ablation (Fig. 5)": by_lead(rules.plot_ablation.output.png),
        "Signs tested": [rules.plot_sign_check.output.png],
    },
    "Training": {
        "Attention": fill(rules.plot_attention.output.png, lead=CONFIG.leads) if CONFIG.attention.enabled else [],
        "Learning curves": by_seed(rules.plot_training.output.png) if CONFIG.training.enabled else [],
    },
}
