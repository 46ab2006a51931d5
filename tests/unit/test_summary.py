"""What jobs asked for and used, from Snakemake's benchmark files."""

import json

import pandas as pd
import pytest

from sealiency.report.summary import find_share, format_summary, summarise_usage, tabulate_usage

PLAIN = ["s", "h:m:s", "max_rss", "max_vms", "max_uss", "max_pss", "io_in", "io_out", "mean_load", "cpu_time"]
EXTENDED = [
    *PLAIN,
    *["jobid", "rule_name", "wildcards", "params", "threads", "cpu_usage", "resources", "input_size_mb"],
]


@pytest.fixture
def write(tmp_path):
    """Return a function that writes one benchmark file of some rows as Snakemake does, and returns its path."""

    def write_rows(*rows, extended=True):
        header = EXTENDED if extended else PLAIN
        lines = [header] + [[str(row.get(name, "0.00")) for name in header] for row in rows]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tsv"
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
        return str(path)

    return write_rows


def job(seconds, rss="NA", load="NA", threads=2, params="{}", **resources):
    return {
        "s": f"{seconds:.4f}",
        "max_rss": rss,
        "mean_load": load,
        "params": params,
        "threads": threads,
        "resources": {"_cores": threads, "tmpdir": "/tmp", "mpi": "mpiexec", **resources},
    }


def test_the_largest_job_counts_and_load_is_a_mean_over_time(write):
    files = [
        write(job(60, rss="900.50", load="100.00", mem_mb=2000, runtime=30)),
        write(job(180, rss="400.00", load="20.00", threads=4, mem_mb=4000, runtime=15, gpu=1)),
    ]
    assert summarise_usage(files) == {
        "jobs": 2,
        "attempts": None,
        "wall_seconds": 240,
        "memory_asked_mb": 4000,
        "memory_used_mb": 900.5,
        "runtime_asked_minutes": 30,
        "runtime_used_minutes": 3,
        "threads": 4,
        "mean_load_percent": 40,
        "gpus": 1,
    }


def test_files_without_the_extended_columns_leave_what_was_asked_for_unknown(write):
    usage = summarise_usage([write(job(30, rss="100.00", load="50.00"), extended=False)])
    assert {name for name, value in usage.items() if value is None} == {
        "attempts",
        "memory_asked_mb",
        "runtime_asked_minutes",
        "threads",
        "gpus",
    }
    assert (usage["memory_used_mb"], usage["runtime_used_minutes"]) == (100, 0.5)


def test_old_and_new_files_beside_each_other(write):
    files = [write(job(30, rss="100.00"), extended=False), write(job(60, rss="50.00", mem_mb=500, attempt=1))]
    usage = summarise_usage(files)
    assert (usage["memory_asked_mb"], usage["memory_used_mb"], usage["gpus"]) == (500, 100, 0)
    assert usage["attempts"] is None


@pytest.mark.parametrize("missing", ["NA", "-", "", "nan"])
def test_jobs_too_short_to_be_measured(write, missing):
    short = job(0.2, rss=missing, load=missing, mem_mb=2000)
    usage = summarise_usage([write(short)])
    assert usage["memory_used_mb"] is None
    assert usage["mean_load_percent"] is None
    assert usage["wall_seconds"] == 0.2
    beside = summarise_usage([write(short), write(job(10, rss="70.00", load="80.00"))])
    assert (beside["memory_used_mb"], beside["mean_load_percent"]) == (70, 80)


def test_attempts_are_added_over_jobs(write):
    assert summarise_usage([write(job(5, attempt=3)), write(job(5, attempt=1))])["attempts"] == 4


def test_repeated_rows_are_one_job(write):
    usage = summarise_usage([write(job(60, rss="10.00", attempt=2), job(120, rss="20.00", attempt=2))])
    assert (usage["jobs"], usage["attempts"], usage["wall_seconds"]) == (1, 2, 180)
    assert (usage["memory_used_mb"], usage["runtime_used_minutes"]) == (20, 2)


def test_parameters_may_hold_quotes_and_be_long(write):
    usage = summarise_usage([write(job(5, params={"a": 'x"\t\n', "files": ["y" * 20] * 10_000}, mem_mb=7))])
    assert usage["memory_asked_mb"] == 7


@pytest.mark.parametrize("resources", ["-", "", "{'mem_mb': <TBD>}", "[1]"])
def test_resources_that_cannot_be_read_are_unknown(write, resources):
    usage = summarise_usage([write({**job(5), "resources": resources})])
    assert (usage["jobs"], usage["memory_asked_mb"], usage["gpus"]) == (1, None, None)


def test_a_file_of_no_rows_and_one_that_is_not_there(write, tmp_path):
    usage = summarise_usage([write(), str(tmp_path / "none.tsv")])
    assert (usage["jobs"], usage["wall_seconds"], usage["memory_used_mb"]) == (1, 0, None)
    assert summarise_usage([str(tmp_path / "none.tsv")])["jobs"] == 0


def test_the_table_has_empty_cells_and_whole_counts(write, tmp_path):
    stages = {
        "short": summarise_usage([write(job(1), extended=False)]),
        "long": summarise_usage([write(job(600, rss="1234.56", load="150.00", mem_mb=2000, runtime=60))]),
    }
    tabulate_usage(stages).to_csv(tmp_path / "usage.csv", index=False)
    first, long, short = (tmp_path / "usage.csv").read_text().splitlines()
    assert first == (
        "rule,jobs,attempts,wall_seconds,memory_asked_mb,memory_used_mb,runtime_asked_minutes,runtime_used_minutes,"
        "threads,mean_load_percent,gpus"
    )
    assert long == "long,1,,600,2000,1234.56,60,10.0,2,150,0"
    assert short == "short,1,,1,,,,0.02,,,"
    assert pd.read_csv(tmp_path / "usage.csv")["rule"].tolist() == ["long", "short"]


@pytest.fixture
def say(tmp_path):
    """Return a function that gives the printed end of a run with these stages."""

    def format_stages(stages):
        skill = {"lead": 1, "seed": 0, "period": "test", "predictor": "emulator", "rmse": 0.5}
        summary = {
            "run": "small",
            "skill": [skill],
            "beats_persistence": {},
            "worst_completeness_error": {"1": 1e-9},
            "jobs": 3,
            "stages": stages,
        }
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        return format_summary(str(tmp_path / "summary.json"), "report.html")

    return format_stages


def test_the_print_out_fits_a_terminal(write, say):
    resources = {"mem_mb": 1_234_567, "runtime": 14_400, "gpu": 8, "attempt": 3}
    large = job(864_000, rss="1234567.89", load="12800.00", threads=128, **resources)
    said = say({"plot_attribution_maps": summarise_usage([write(large)] * 9_999), "plan_run": summarise_usage([])})
    assert max(map(len, said.splitlines())) <= 100
    (row,) = [line.split() for line in said.splitlines() if "plot_attribution_maps" in line]
    assert row[1:] == ["9999", "29997", "1234567", "1234568", "14400", "14400.0", "128", "12800", "8"]
    (row,) = [line.split() for line in said.splitlines() if "plan_run" in line]
    assert row[1:] == ["0", *"-" * 8]


def test_columns_that_nobody_knows_are_not_printed(write, say):
    said = say({"plan_run": summarise_usage([write(job(90, rss="10.00", load="5.00"), extended=False)])})
    assert "MB used" in said
    assert "asked " not in said.replace("Asked for", "")
    assert "tries" not in said


def test_share_of_gain_counts_from_persistence_to_the_bound():
    rmse = {"emulator": 0.35, "persistence": 0.5, "ridge": 0.6, "bound": 0.25}
    assert {name: find_share(rmse, name) for name in rmse} == pytest.approx(
        {"emulator": 0.6, "persistence": 0, "ridge": -0.4, "bound": 1}
    )
    assert find_share({"emulator": 0.4, "persistence": 0.5}, "emulator") is None
