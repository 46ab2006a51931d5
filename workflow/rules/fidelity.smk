"""How far attributions agree with the best linear predictor, which is known of the synthetic world."""

from sealiency.config.attribution import select_listed

FIDELITY = f"{RUN}/measure_fidelity/lead{{lead}}_{{record}}.nc"
# Its best predictor has fixed weights only in a record without a seasonal cycle.
MEASURED_RECORDS = {
    "prepared": CONFIG.data.climatology == "monthly" or CONFIG.data.filter_width % 12 == 0,
    "unfiltered": "unfiltered_" in CONTROLS,
}
FIT_RECORDS = [record for record, is_fit in MEASURED_RECORDS.items() if is_fit]
FIDELITIES = expand(FIDELITY, lead=CONFIG.leads, record=FIT_RECORDS)


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
            for file in expand(EMULATOR, control=control, lead=w.lead, seed=CONTROLS[control])
        ],
        prepared=f"{RUN}/prepare_record/{{record}}.nc",
        propagator=rules.simulate_world.output.propagator,
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
        **ask(PLAN.memory_mb + ANALYSIS_MB + 2000, ANALYSIS_MINUTES, THREADS, ATTRIBUTION_GPUS),
    params:
        synthetic=settings(CONFIG.data.synthetic),
        region=settings(CONFIG.data.region),
        findings=settings(CONFIG.findings, "simulated_years", "neighbourhood_km"),
        attribution=settings(
            select_listed(CONFIG.attribution, CONFIG.instance.compared),
            "pixels",
            "precision",
            "integration_steps",
            "baseline_samples",
            "device",
        ),
        kinds=lambda w: [kind for kind, control in KINDS[w.record].items() for _ in CONTROLS[control]],
        randomise=lambda w: w.record == "unfiltered" and "random_" in CONTROLS,
        code=code("measure_fidelity"),
    message:
        "comparing attributions of lead {wildcards.lead} with the best linear predictor ({wildcards.record} record)"
    script:
        "../scripts/measure_fidelity.py"
