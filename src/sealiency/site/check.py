"""The checks of a supercomputer before anything is submitted to it.

To add one, write a function that takes a `Context` and gives findings, and name it in `SITE_CHECKS` or, if it needs a
configuration, in `PLAN_CHECKS`. Those that need a compute node are in `jobs.py`.
"""

import getpass
import math
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from sealiency.attribution.planning import plan_shards
from sealiency.attribution.speed import THREADS
from sealiency.config.emulator import resolve_training
from sealiency.config.run import read_configuration
from sealiency.naming import expand_path
from sealiency.resources import (
    ANALYSIS_MINUTES,
    REDUCTION_MINUTES,
    TRAINING_THREADS,
    analysis_memory_mb,
    ask_gpus,
    reduction_memory_mb,
    training_memory_mb,
    training_minutes,
)
from sealiency.site.jobs import Context
from sealiency.site.running import check_jobs
from sealiency.site.settings import Partition, find_site, parse_minutes, read_site
from sealiency.site.slurm import Finding, SlurmError, call, count_gpus, parse_records
from sealiency.site.slurm import read_configuration as read_slurm

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "srun", "sinfo", "scontrol", "sacctmgr")
SUPPORT = "ask the support of the machine"

Check = Callable[[Context], Iterator[Finding]]


def check_site(config: Path | None, minutes: float, tell: Callable[[str], None]) -> Generator[Finding, None, None]:
    """Give a finding for each check: first of the site, then of jobs on it, then of what a configuration needs.

    Parameters
    ----------
    config
        Configuration file of a run, or None.
    minutes
        Longest wait for the jobs.
    tell
        Takes a line of progress.

    Raises
    ------
    SealiencyError
        If the site file or the configuration cannot be read.
    """
    context = read_context(config)
    yield Finding("ok", "site", f"{context.site_file} is valid")
    sound = True
    for check in SITE_CHECKS:
        for finding in run_check(check, context):
            sound = sound and finding.status != "fails"
            yield finding
    if sound:
        yield from check_jobs(context, minutes, tell)
    else:
        yield Finding("warning", "jobs", "none was submitted", "mend what fails above, and check again")
    for check in PLAN_CHECKS if context.configuration else ():
        yield from run_check(check, context)


def read_context(config: Path | None) -> Context:
    """Read the site file and the configuration."""
    path = find_site()
    configuration = read_configuration(config) if config else None
    folder = expand_path(configuration.run.folder) if configuration else Path()
    return Context(path, read_site(path), folder.absolute(), configuration)


def run_check(check: Check, context: Context) -> Iterator[Finding]:
    """Give the findings of one check; a command that fails is one of them."""
    try:
        yield from check(context)
    except SlurmError as error:
        yield Finding("fails", check.__name__.removeprefix("check_"), str(error), SUPPORT)


def check_commands(context: Context) -> Iterator[Finding]:
    """Find Slurm's commands."""
    missing = [command for command in COMMANDS if not shutil.which(command)]
    if missing:
        yield Finding(
            "fails",
            "commands",
            f"{', '.join(missing)} not found",
            "work on a login node, and load Slurm's module if it has one",
        )
    else:
        yield Finding("ok", "commands", f"all there, {call('sinfo', '--version').strip()}")


def check_controller(context: Context) -> Iterator[Finding]:
    """Ask the controller."""
    yield Finding("ok", "controller", f"answers, cluster {read_slurm().get('ClusterName', 'without a name')}")


def check_accounting(context: Context) -> Iterator[Finding]:
    """Ask accounting, from which Snakemake learns that a job has ended."""
    storage = read_slurm().get("AccountingStorageType", "(null)")
    if storage in ("(null)", "") or storage.endswith("none"):
        yield Finding(
            "fails",
            "accounting",
            f"AccountingStorageType = {storage}: nothing says how jobs end, and Snakemake would wait for ever",
            f"{SUPPORT} for Slurm's accounting (slurmdbd)",
        )
        return
    call("sacct", "--allocations", "--noheader")
    yield Finding("ok", "accounting", f"`sacct` answers ({storage})")


def check_account(context: Context) -> Iterator[Finding]:
    """Look for the account among the user's own; the plugin refuses others."""
    account = context.site.account
    if account is None:
        yield Finding("ok", "account", "none is given: jobs are charged to that of your latest job, or your default")
        return
    user = getpass.getuser()
    listed = call("sacctmgr", "--noheader", "--parsable2", "list", "user", user, "withassoc", "format=account").split()
    own = sorted(set(listed))
    if not own:
        yield Finding(
            "warning", "account", f"`sacctmgr` lists no account of {user}", f"make sure that {account} is yours"
        )
    elif account.lower() not in {name.lower() for name in own}:
        yield Finding(
            "fails",
            "account",
            f"account = {account!r} is none of yours",
            f"set one of {', '.join(own)} in {context.site_file}",
        )
    else:
        yield Finding("ok", "account", f"{account} is yours")


def check_partitions(context: Context) -> Iterator[Finding]:
    """Hold the site file's partitions against Slurm's."""
    partitions = {p["PartitionName"]: p for p in parse_records(call("scontrol", "--oneliner", "show", "partition"))}
    nodes = parse_records(call("scontrol", "--oneliner", "show", "node"))
    for name, limits in context.site.partitions.items():
        partition = partitions.get(name)
        if partition is None:
            yield _fail_partition(
                context, name, "there is none of this name", f"this machine has {', '.join(partitions)}"
            )
            continue
        own = [node for node in nodes if name in node.get("Partitions", "").split(",")]
        findings = [
            *_check_access(context, name, partition, own),
            *_check_limits(context, name, limits, partition, own),
            *_check_gpus(context, name, limits, own),
        ]
        yield from findings or [Finding("ok", f"partition {name}", f"is up, its limits hold (nodes: {len(own)})")]


def _check_access(
    context: Context, name: str, partition: dict[str, str], nodes: list[dict[str, str]]
) -> Iterator[Finding]:
    if (state := partition.get("State")) != "UP":
        yield _fail_partition(context, name, f"is {state}", "remove it, or wait until it is up")
    elif not [node for node in nodes if not any(bad in node.get("State", "") for bad in ("DOWN", "DRAIN", "FAIL"))]:
        yield _fail_partition(context, name, "has no node that works", "remove it, or wait until one does")
    site = context.site
    for what, own in (("Accounts", site.account), ("Qos", site.qos)):
        allowed = partition.get(f"Allow{what}", "ALL").split(",")
        denied = partition.get(f"Deny{what}", "").split(",")
        if own and (own in denied or (allowed != ["ALL"] and own not in allowed)):
            among = f"; it takes {', '.join(allowed)}" if allowed != ["ALL"] else ""
            yield _fail_partition(context, name, f"does not take {own!r}{among}", "remove it, or use another")


def _check_limits(
    context: Context, name: str, limits: Partition, partition: dict[str, str], nodes: list[dict[str, str]]
) -> Iterator[Finding]:
    time = partition.get("MaxTime", "UNLIMITED")
    memory = [_read_number(node.get("RealMemory")) for node in nodes]
    cores = [_read_number(node.get("CPUTot")) for node in nodes]
    allowed = {
        "max_runtime": (limits.max_minutes, math.inf if time == "UNLIMITED" else parse_minutes(time)),
        "max_mem_mb": (
            limits.max_mem_mb,
            min(_read_number(partition.get("MaxMemPerNode")), max(memory, default=math.inf)),
        ),
        "max_threads": (
            limits.max_threads,
            min(_read_number(partition.get("MaxCPUsPerNode")), max(cores, default=math.inf)),
        ),
    }
    for key, (own, most) in allowed.items():
        if own <= most:
            continue
        if math.isinf(own):
            yield Finding(
                "warning", f"partition {name}", f"{key} is not given", f"set {key}: {most:.0f} in {context.site_file}"
            )
        else:
            yield _fail_partition(
                context, name, f"{key} = {own:g}, but Slurm allows {most:g}", f"set {key}: {most:.0f}"
            )


def _check_gpus(context: Context, name: str, limits: Partition, nodes: list[dict[str, str]]) -> Iterator[Finding]:
    if not limits.max_gpu:
        return
    counts = [count_gpus(node.get("Gres", "")) for node in nodes]
    most = max((sum(count.values()) for count in counts), default=0)
    if limits.max_gpu > most:
        yield _fail_partition(
            context, name, f"max_gpu = {limits.max_gpu}, but a node has {most}", f"set max_gpu: {most}"
        )
    there = {model for count in counts for model in count if model}
    wanted = {*limits.available_gpu_models}
    if context.site.gpu_model and (not wanted or context.site.gpu_model in wanted):
        wanted.add(context.site.gpu_model)
    if most and (missing := sorted(wanted - there)):
        others = f"it has {', '.join(sorted(there))}" if there else "its GPUs have no type: set gpu_model: null"
        yield _fail_partition(context, name, f"has no GPU of type {', '.join(missing)}", others)


def _fail_partition(context: Context, name: str, text: str, mend: str) -> Finding:
    return Finding("fails", f"partition {name}", text, f"{mend} ({context.site_file})")


def _read_number(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else math.inf


def check_space(context: Context) -> Iterator[Finding]:
    """Hold what the attribution writes against the free space."""
    assert context.configuration is not None
    plan = plan_shards(context.configuration)
    needed = (plan.shard_bytes + plan.reduced_bytes) / 1e9
    there = next(parent for parent in (context.folder, *context.folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free / 1e9
    text = (
        f"{context.folder} has {free:,.3g} GB free, the attribution needs up to {needed:,.3g} GB; quotas are not seen"
    )
    if needed > free:
        yield Finding(
            "fails", "space", text, "set run.folder to a larger file system, or lower attribution.samples or pixels"
        )
    else:
        yield Finding("ok", "space", text)


def check_requests(context: Context) -> Iterator[Finding]:
    """Hold what the largest jobs ask for against the partitions; further tries ask for more, as far as these go."""
    configuration, site = context.configuration, context.site
    assert configuration is not None
    plan = plan_shards(configuration)
    has_gpus = bool(site.gpu_partitions)
    on_gpu = {
        "training": ask_gpus(configuration.training.device) * has_gpus,
        "attribution": ask_gpus(configuration.attribution.device) * has_gpus,
    }
    epochs = max(resolve_training(configuration.training, lead, 0).epochs for lead in plan.leads)
    ranks = configuration.attribution.ranks
    # Memory in MB, minutes, threads.
    asked = {
        "training": (
            training_memory_mb(configuration, plan.grid),
            training_minutes(configuration, plan.grid, epochs, on_gpu["training"]),
            TRAINING_THREADS,
        ),
        "attribution": (plan.memory_mb, plan.runtime, THREADS),
        "evaluation": (analysis_memory_mb(configuration, plan.grid), ANALYSIS_MINUTES, TRAINING_THREADS),
        "reduction": (reduction_memory_mb(ranks), REDUCTION_MINUTES, ranks),
    }
    for name, (memory_mb, minutes, threads) in asked.items():
        gpus, tasks = on_gpu.get(name, 0), ranks if name == "reduction" else 0
        clipped = site.clip(memory_mb, minutes, gpus, threads)
        partition = site.choose_partition(
            memory_mb=clipped[0], minutes=clipped[1], threads=threads, gpus=gpus, tasks=tasks, mpi=tasks > 0
        )
        text = f"a job of the {name} asks for {memory_mb:,} MB, {minutes:,} minutes, {threads} threads, {gpus} GPU"
        mend = f"name a larger partition in {context.site_file}, or ask for less (docs/slurm.md)"
        if partition is None:
            yield Finding("fails", "requests", f"{text}; no partition takes it", mend)
        elif clipped[0] < memory_mb:
            yield Finding("fails", "requests", f"{text}; {partition} gives no more than {clipped[0]:,} MB", mend)
        elif clipped[1] < minutes:
            yield Finding("warning", "requests", f"{text}; {partition} gives it {clipped[1]:,} minutes")
        else:
            yield Finding("ok", "requests", f"{text}: {partition}")


SITE_CHECKS: tuple[Check, ...] = (
    check_commands,
    check_controller,
    check_accounting,
    check_account,
    check_partitions,
)
PLAN_CHECKS: tuple[Check, ...] = (check_space, check_requests)
