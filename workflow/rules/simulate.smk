"""The embedded synthetic world, written as CMIP6-named files."""

from sealiency.naming import name_world_files

WORLD_FILES = [f"{RUN}/simulate_world/{name}" for name in name_world_files(CONFIG.data.synthetic)]


rule simulate_world:
    output:
        files=WORLD_FILES,
        propagator=PROPAGATOR,
    log:
        f"{RUN}/logs/simulate_world.log",
    benchmark:
        f"{RUN}/benchmarks/simulate_world.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        **ask(1500, 30),
    params:
        synthetic=settings(CONFIG.data.synthetic),
        region=settings(CONFIG.data.region),
        code=code("simulate_world"),
    message:
        "simulating the synthetic world"
    script:
        "../scripts/simulate_world.py"
