"""The configuration, and the names and paths that several stages share."""

import atexit
import gc
import os
import sys
import time
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from sealiency.attribution.planning import plan_shards
from sealiency.config.attribution import SCHEDULING, select_block, select_listed
from sealiency.config.emulator import resolve_training
from sealiency.config.networks import resolve_network
from sealiency.config.run import parse_configuration, read_settings
from sealiency.emulators.networks.own_files import hash_code_of, hash_weights_of
from sealiency.errors import SealiencyError
from sealiency.logs import describe_failures
from sealiency.naming import fill
from sealiency.provenance import hash_code
from sealiency.recovery import Presence
from sealiency.report.captions import render_caption
from sealiency.validation import check_run

BEGUN = time.time()
# Snakemake keeps its jobs to the end: looking for garbage among ten thousand takes an eighth of their planning.
gc.disable()


onstart:
    gc.enable()
    refuse_full_disk()
    # The executor of Slurm gives all of its jobs one name.
    checked(PRESENCE.take_over, getattr(workflow.scheduler._executor, "run_uuid", None))


onerror:
    if workflow.is_main_process:
        # At exit, so that it stands below everything that Snakemake says.
        atexit.register(print, describe_failures(list_failed_jobs(), BEGUN), file=sys.stderr)
    # The logs of jobs that met a full disk may be on it too, and then say nothing.
    refuse_full_disk()


# A configuration file replaces the demo as a whole; a `configfile:` beside it would be merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config/demo.yaml"


def checked(function, *arguments):
    """Return what a function returns; bad input ends Snakemake with the one clear message."""
    try:
        return function(*arguments)
    except SealiencyError as error:
        raise WorkflowError(str(error)) from None


def list_failed_jobs():
    """Return what each failed job did, in words, and its log files."""
    # Snakemake tells its hooks of no job, but its scheduler knows.
    failed = getattr(getattr(workflow, "scheduler", None), "failed", ())
    jobs = [job for jobs in failed for job in (jobs.jobs if jobs.is_group() else [jobs])]
    return sorted((str(job.message or job.rule.name), [str(log) for log in job.log]) for job in jobs)


def refuse_full_disk():
    """End Snakemake with a clear message if the run's folder cannot take any more."""
    # Here, because it takes a second to import, which every job would wait for.
    from sealiency.files import find_full_disk

    if Path(RUN).is_dir() and (said := find_full_disk(Path(RUN))):
        raise WorkflowError(f"{RUN}: {said}")


for file in workflow.overwrite_configfiles:
    # Snakemake itself would take the last of two equal keys.
    checked(read_settings, file, "sections such as `data:`")
CONFIG = checked(
    parse_configuration,
    config,
    ", ".join(map(str, workflow.overwrite_configfiles)) or "config/demo.yaml",
)
# Once and for all rules: after this line no setting of the attribution is `auto`.
PLAN = checked(plan_shards, CONFIG)
checked(check_run, CONFIG, PLAN.grid)
CONFIG = CONFIG.model_copy(update={"attribution": PLAN.attribution})
RUN = f"{CONFIG.run.folder}/{CONFIG.run.name}"
SEED = CONFIG.training.seeds[0]
# The seeds of each kind of emulator, by the beginning of its folder's name; the run's own has none.
CONTROLS = {"": CONFIG.training.seeds}
CONTROLS |= {
    f"{control}_": [SEED] if control == "shuffled" else CONFIG.training.seeds for control in CONFIG.find_controls()
}
# The points of the training-size curve by the beginning of an emulator's folder's name; the last are the run's own emulators.
SIZES = {f"samples{size}_": size for size in CONFIG.training_size.samples if size < CONFIG.samples.training}
SIZES = SIZES | {"": CONFIG.samples.training} if CONFIG.training_size.samples else {}
# The months and cells that emulators are given, by the beginning of their folders' names, to learn which suffice.
SEEN = {
    f"months{months}_cells{cells}_": (months, cells)
    for months in CONFIG.sufficiency.months
    for cells in CONFIG.sufficiency.neighbours
}
# Dry runs too: whether this is one is not known yet.
if workflow.is_main_process:
    PRESENCE = Presence(Path(".snakemake"), RUN)
    PRESENCE.release_locks()
# Pixels that figure 4 shows: those listed, or of all the one on which methods are compared; none without heatmaps.
GROUP_PIXELS = ["compared"] if CONFIG.attribution.pixels == "all" else [p.name for p in CONFIG.attribution.pixels]
GROUP_PIXELS = GROUP_PIXELS if CONFIG.attribution.keeps_heatmaps else []
LISTED = select_listed(CONFIG.attribution, CONFIG.instance.compared)
SUMMARY = f"{RUN}/summary.json"
REPORT = f"{RUN}/report.html"
PREPARED = f"{RUN}/prepare_record/prepared.nc"
UNFILTERED = f"{RUN}/prepare_record/unfiltered.nc"
PROPAGATOR = f"{RUN}/simulate_world/propagator.nc"
# Basins that are left out are no land to the world; its best predictor then lies partly outside the record.
WORLD_PROPAGATOR = [PROPAGATOR] if CONFIG.data.source == "synthetic" and not CONFIG.data.basins else []
# One emulator, and everything that is said of it, lies in a folder of this name.
MODEL = "{control}lead{lead}_seed{seed}"
EMULATOR = f"{RUN}/train_emulator/{MODEL}/emulator.pt"
SKILL = f"{RUN}/evaluate_emulator/{MODEL}/skill.nc"
TRAINING_SIZE = f"{RUN}/measure_training_size/lead{{lead}}.nc"
ATTENTION = f"{RUN}/measure_attention/lead{{lead}}.nc"
SUFFICIENCY = f"{RUN}/measure_sufficiency/lead{{lead}}.nc"

# Commands such as mpiexec come from the environment that Snakemake runs in, activated or not.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
# What envs/*.post-deploy.sh install sealiency from.
os.environ.setdefault("SEALIENCY_CHECKOUT", str(workflow.basedir))


wildcard_constraints:
    record="prepared|unfiltered",
    # Empty for the run's own emulators; the others are made for comparison with them.
    control=r"((random|shuffled|unfiltered|bottleneck|attention|samples\d+|months\d+_cells\d+)_)?",
    lead=r"\d+",
    seed=r"\d+",
    chunk=r"\d+",
    block=r"[A-Za-z0-9]+",
    pixel=r"[A-Za-z0-9]+",
    method=r"[a-z_]+",
    file=r"[A-Za-z0-9][A-Za-z0-9._-]*\.nc",


def settings(section, *keys):
    """Return a section of the configuration, or some of its keys, as plain values for `params`."""
    return section.model_dump(mode="json", include=set(keys) or None)


@cache
def block_settings(block):
    """Return what the shards of a block depend on, as plain values; thousands of jobs share it."""
    announce_plan()
    return select_block(CONFIG.attribution, block).model_dump(mode="json", exclude=set(SCHEDULING))


@cache
def announce_plan():
    """Print the plan at the end of a dry run, below its list of jobs, which may be long."""
    # Snakemake knows that it is a dry run only once it asks for jobs.
    if workflow.dryrun:
        atexit.register(print, f"\n{PLAN.describe()}", file=sys.stderr)


def training_settings(wildcards):
    """Return the settings of one training."""
    control = wildcards.control.rstrip("_")
    control = control if control in ("random", "shuffled") else "none"
    # The run's own emulators are trained alike with a curve and without.
    size = (
        (SIZES[wildcards.control], CONFIG.samples.training)
        if wildcards.control in SIZES and wildcards.control
        else None
    )
    return resolve_training(CONFIG.training, int(wildcards.lead), int(wildcards.seed), control, size)


def network_settings(wildcards):
    """Return the network's settings of one training."""
    return resolve_network(
        CONFIG.network,
        int(wildcards.lead),
        bottleneck=wildcards.control == "bottleneck_",
        seen=SEEN.get(wildcards.control),
        attention=wildcards.control == "attention_",
    )


def record_of(wildcards):
    """Return the prepared record that an emulator is trained on."""
    return UNFILTERED if wildcards.control == "unfiltered_" else PREPARED


def code(rule_name):
    """Return a hash of a rule's script and of the library modules it uses, so that changing them reruns the rule."""
    return hash_code(Path(workflow.basedir) / "workflow" / "scripts" / f"{rule_name}.py")


def figure(rule_name, name):
    """Return the three outputs of a figure: the PNG, the PDF and its caption as plain text."""
    return {
        "png": f"{RUN}/{rule_name}/{name}.png",
        "pdf": f"{RUN}/{rule_name}/{name}.pdf",
        "caption": f"{RUN}/{rule_name}/{name}.txt",
    }


# What captions may state, beside the wildcards of their figure; each states only what it needs.
STATED = {
    "data_set": CONFIG.data.describe(),
    "filter": CONFIG.data.describe_filter(),
    "seed": SEED,
    "bound": bool(WORLD_PROPAGATOR),
    "method": CONFIG.attribution.method.replace("_", " "),
    "baseline": CONFIG.attribution.describe_baseline(),
    "baselines": "; ".join(
        f"{m.replace('_', ' ')}: {CONFIG.attribution.describe_baseline(m)}" for m in CONFIG.instance.methods
    ),
    "samples": CONFIG.attribution.describe_samples(CONFIG.samples.training),
    "precision": CONFIG.attribution.precision,
    "shown_sample": CONFIG.instance.sample,
    "ablated_sample": CONFIG.ablation.sample,
    "months": CONFIG.ablation.describe_months(),
    "replacement": CONFIG.ablation.describe_replacement(),
    "checked_samples": min(CONFIG.sign_check.samples, CONFIG.samples.validation),
}


def caption(rule_name):
    """Return a function of wildcards that renders a figure's caption.

    The text is a parameter of the figure's rule: what changes it redraws that figure, and nothing else does.
    """
    template = Path(workflow.basedir) / "workflow" / "captions" / f"{rule_name.removeprefix('plot_')}.txt"
    return lambda wildcards: checked(render_caption, template, STATED | dict(wildcards.items()))


def by_lead(pattern):
    """Return the files of all leads, for the seed that figures show."""
    return fill(pattern, control="", lead=CONFIG.leads, seed=SEED)


def by_seed(pattern):
    """Return the files of all leads and seeds."""
    return fill(pattern, control="", lead=CONFIG.leads, seed=CONFIG.training.seeds)


def by_control(pattern, controls=CONTROLS):
    """Return the files of all leads and seeds of some kinds of emulator."""
    made = [fill(pattern, control=name, lead=CONFIG.leads, seed=CONTROLS[name]) for name in controls]
    return [file for files in made for file in files]


def by_variant(pattern):
    """Return the files of all leads and seeds of the emulators that see less than the run's own, or have attention."""
    variants = [name for name in (*SIZES, *SEEN, *(["attention_"] if CONFIG.attention.enabled else [])) if name]
    return fill(pattern, control=variants, lead=CONFIG.leads, seed=CONFIG.training.seeds)
