"""How far attributions agree with the best linear predictor, which is known of the synthetic world."""

from sealiency.naming import name_blocks

FIDELITY = f"{RUN}/measure_fidelity/lead{{lead}}_{{record}}.nc"
FIT_RECORDS = ["prepared"] + ["unfiltered"] * ("unfiltered_" in CONTROLS)
FIDELITIES = fill(FIDELITY, lead=CONFIG.leads, record=FIT_RECORDS)


# Emulators by the names that the comparison gives them; random weights on the unfiltered record have no file, they are
# drawn in the job.
KINDS = {
    "prepared": {"trained": ""} | {name: f"{name}_" for name in ("random", "shuffled") if f"{name}_" in CONTROLS},
    "unfiltered": {"trained": "unfiltered_"},
}


rule measure_fidelity:
    input:
        emulators=lambda w: [
            file
            for control in KINDS[w.record].values()
            for file in fill(EMULATOR, control=control, lead=w.lead, seed=CONTROLS[control])
        ],
        prepared=f"{RUN}/prepare_record/{{record}}.nc",
        propagator=PROPAGATOR,
    output:
        FIDELITY,
    log:
        f"{RUN}/logs/measure_fidelity/lead{{lead}}_{{record}}.log",
    benchmark:
        f"{RUN}/benchmarks/measure_fidelity/lead{{lead}}_{{record}}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        # The fit needs 2 GB.
        **ask(
            PLAN.memory_mb + ANALYSIS_MB + 2000, ANALYSIS_MINUTES * len(name_blocks(LISTED)), THREADS, ATTRIBUTION_GPUS
        ),
        # It sets how much is attributed at once and changes nothing beyond the last bits, so it is no parameter.
        memory_gb=str(CONFIG.attribution.memory_gb),
    params:
        synthetic=settings(CONFIG.data.synthetic),
        region=settings(CONFIG.data.region),
        findings=settings(CONFIG.findings, "simulated_years", "neighbourhood_km"),
        attribution=settings(
            LISTED,
            "pixels",
            "precision",
            "integration_steps",
            "device",
        ),
        kinds=lambda w: [kind for kind, control in KINDS[w.record].items() for _ in CONTROLS[control]],
        randomise=lambda w: w.record == "unfiltered" and "random_" in CONTROLS,
        code=code("measure_fidelity"),
    message:
        "comparing attributions of lead {wildcards.lead} with the best linear predictor ({wildcards.record} record)"
    script:
        "../scripts/measure_fidelity.py"
