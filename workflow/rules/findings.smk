"""The paper's claims as numbers beside their nulls."""

from sealiency.resources import findings_memory_mb

FINDINGS = f"{RUN}/findings.json"
# Random weights and shuffled targets have no skill by design; their skill is not asked for.
EVALUATED = [control for control in CONTROLS if control not in ("random_", "shuffled_")]
COMPARED = [control for control in ("", "random_") if control in CONTROLS]
COMPARED = COMPARED if {"deeplift", "integrated_gradients"} <= set(CONFIG.instance.methods) else []


rule write_findings:
    input:
        surveys=by_control(SURVEY),
        linear=fill(LINEAR, lead=CONFIG.leads),
        skill=by_control(SKILL, EVALUATED),
        agreements=by_control(AGREEMENT, COMPARED),
        signs=by_seed(SIGNS),
        fidelity=FIDELITIES if WORLD_PROPAGATOR else [],
    output:
        json=FINDINGS,
        text=f"{RUN}/findings.md",
    log:
        f"{RUN}/logs/write_findings.log",
    benchmark:
        f"{RUN}/benchmarks/write_findings.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(findings_memory_mb(CONFIG, PLAN.grid), ANALYSIS_MINUTES),
    params:
        findings=settings(CONFIG.findings),
        leads=CONFIG.leads,
        has_filter=CONFIG.data.filter != "none",
        method=CONFIG.attribution.method,
        data_set=CONFIG.data.describe(),
        code=code("write_findings"),
    message:
        "measuring the claims beside their nulls"
    script:
        "../scripts/write_findings.py"
