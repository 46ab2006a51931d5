"""Whether a run can be: what can be told of a configuration before any job, and what it will take."""

from sealiency.attribution.planning import plan_shards
from sealiency.attribution.speed import Grid
from sealiency.config.run import Configuration
from sealiency.data.samples import split_samples
from sealiency.errors import SealiencyError
from sealiency.naming import find_files
from sealiency.resources import estimate_record_mb, training_memory_mb

# No machine holds more: the largest nodes have a few TB.
MOST_MEMORY_MB = 4e6


def check_run(configuration: Configuration, grid: Grid) -> None:
    """Refuse a run that no machine can hold, or whose samples a record of known length cannot.

    Parameters
    ----------
    configuration
        The settings.
    grid
        Grid of the region, as planned.

    Raises
    ------
    SealiencyError
        Every problem, one a line.
    """
    if problems := _find_oversize(configuration, grid) or _find_shortage(
        configuration, _count_named_months(configuration)
    ):
        raise SealiencyError("\n".join(problems))


def describe_run(configuration: Configuration) -> str:
    """Return what a run will take, for `sealiency validate`, having looked at the record as far as it is there.

    Parameters
    ----------
    configuration
        The settings.

    Raises
    ------
    SealiencyError
        Every problem, one a line: of sizes, of the files, of the length of the record.
    """
    plan = plan_shards(configuration)
    check_run(configuration, plan.grid)
    grid, samples, seeds = plan.grid, configuration.samples, len(configuration.training.seeds)
    months = _count_named_months(configuration)
    cells = f"about {grid.rows} x {grid.columns} cells, {grid.ocean_cells:,} of them ocean"
    if configuration.data.source == "files" and configuration.data.files is not None:
        # Here, because it takes a second to import.
        from sealiency.data.reading.record import open_record

        months, rows, columns = open_record(find_files(configuration.data.files.paths), configuration.data).shape
        cells = f"{rows} x {columns} cells"
    if problems := _find_shortage(configuration, months):
        raise SealiencyError("\n".join(problems))
    parameters = grid.find_size(configuration).parameters
    made = seeds + sum(1 if control == "shuffled" else seeds for control in configuration.find_controls())
    return "\n".join(
        [
            f"  record      {'length not known yet' if months is None else f'{months:,} months'}, {cells}",
            f"  samples     {samples.training:,} training, {samples.validation:,} validation, {samples.test} test",
            f"  network     {parameters:,} parameters",
            f"  training    {len(configuration.leads) * made} emulators, about {training_memory_mb(configuration, grid) / 1000:.1f} GB of memory each",
            f"  attribution {plan.shards:,} jobs, about {plan.memory_mb / 1000:.1f} GB of memory each",
        ]
    )


def _find_oversize(configuration: Configuration, grid: Grid) -> list[str]:
    samples = configuration.samples
    size = grid.find_size(configuration)
    if "guided_backprop" in configuration.instance.methods and (others := [f for f in size.functions if f != "relu"]):
        return [
            f"instance.methods: guided_backprop is defined for relu, and the network has {', '.join(others)}; take it out of "
            "the list"
        ]
    if (record := estimate_record_mb(configuration, grid)) > MOST_MEMORY_MB:
        return [
            f"samples: the record of {samples.training} training and {samples.validation} validation samples takes "
            f"{record / 1e6:,.3g} TB; lower samples.training and samples.validation"
        ]
    if (memory := training_memory_mb(configuration, grid)) > MOST_MEMORY_MB:
        return [
            f"training.batch_size = {configuration.training.batch_size}: a training takes about {memory / 1e6:,.3g} TB of memory; "
            "lower it, or the widths of the network"
        ]
    return []


def _count_named_months(configuration: Configuration) -> int | None:
    """Return the months of the record where the settings alone tell."""
    data = configuration.data
    first, last = (None if month is None else _number(month) for month in (data.first_month, data.last_month))
    if data.source == "synthetic":
        begin, end = _number("0001-01"), 12 * data.synthetic.years + 11
        first = begin if first is None else max(first, begin)
        last = end if last is None else min(last, end)
    if first is None or last is None:
        return None
    return max(last - first + 1, 0)


def _number(month: str) -> int:
    """Return a month, YYYY-MM, counted from the year 0."""
    return int(month[:4]) * 12 + int(month[5:]) - 1


def _find_shortage(configuration: Configuration, months: int | None) -> list[str]:
    if months is None:
        return []
    width = configuration.data.filter_width
    try:
        # The longest lead needs the most months.
        split_samples(months - width + 1, max(configuration.leads), configuration.samples, width)
    except SealiencyError as error:
        return [str(error)]
    return []
