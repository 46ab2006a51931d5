import logging
import os
import warnings

import pytest

from sealiency.errors import SealiencyError
from sealiency.logs import describe_failures, log_job
from sealiency.progress import track


@pytest.fixture(autouse=True)
def _own_handlers():
    """Give the root logger back the handlers that a job takes from it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_bad_input_ends_a_job_with_one_clear_message(tmp_path, capfd):
    with pytest.raises(SystemExit) as ended, log_job(tmp_path / "deep" / "job.log"):
        raise SealiencyError("a.nc: no such file")
    assert ended.value.code == 1
    text = (tmp_path / "deep" / "job.log").read_text()
    assert "error: a.nc: no such file" in text
    assert "Traceback" not in text
    assert "error: a.nc: no such file" in capfd.readouterr().err


def test_fault_ends_a_job_with_its_traceback_in_the_log(tmp_path):
    with pytest.raises(SystemExit) as ended, log_job(tmp_path / "job.log"):
        raise ZeroDivisionError("oops")
    assert ended.value.code == 1
    text = (tmp_path / "job.log").read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError: oops" in text


def test_messages_and_warnings_reach_the_log(tmp_path):
    with log_job(tmp_path / "job.log"):
        logging.getLogger("sealiency.data").info("70 x 125 cells")
        warnings.warn("something odd", stacklevel=1)
    text = (tmp_path / "job.log").read_text()
    assert "70 x 125 cells" in text
    assert "something odd" in text


def test_each_job_writes_its_own_log_anew(tmp_path):
    for name, message in (("a.log", "old"), ("b.log", "other"), ("a.log", "new")):
        with log_job(tmp_path / name):
            logging.getLogger("sealiency").info(message)
    text = (tmp_path / "a.log").read_text()
    assert "new" in text
    assert "old" not in text
    assert "new" not in (tmp_path / "b.log").read_text()


def test_progress_passes_on_every_step_and_tells_the_last(caplog):
    with caplog.at_level(logging.INFO):
        steps = list(track(iter("abc"), "reduction", 3, "pixel"))
    assert steps == ["a", "b", "c"]
    # Not a line a step.
    (line,) = caplog.messages
    assert line.startswith("reduction: 3 of 3, ")
    assert "pixel/s" in line


def test_progress_weighs_steps(caplog):
    with caplog.at_level(logging.INFO):
        assert list(track(iter([b"aaa", b"b"]), "fetching", 4e-6, "MB", lambda chunk: len(chunk) / 1e6)) == [
            b"aaa",
            b"b",
        ]
    (line,) = caplog.messages
    assert line.startswith("fetching: 4e-06 of 4e-06, ")
    assert "MB/s" in line


def fail(path, error: Exception) -> str:
    """Write the log of a job that ends with an error, and return its name."""
    with pytest.raises(SystemExit), log_job(path):
        raise error
    return str(path)


def test_a_failed_run_ends_with_the_cause_of_each_job_and_its_log(tmp_path):
    mendable = fail(tmp_path / "a.log", SealiencyError("a.nc: no such file;\nget it again"))
    fault = fail(tmp_path / "b.log", ZeroDivisionError("oops"))
    killed = tmp_path / "c.log"
    killed.write_text("2026-01-01 10:00:00,000 epoch 3 of 9\n")
    # The first rank was ended by the second, which knows why.
    (tmp_path / "d.log").write_text("2026-01-01 10:00:00,000 reading\n")
    fail(tmp_path / "d.rank1.log", SealiencyError("shard.h5: damaged"))
    fail(tmp_path / "d.rank1.extra.log", SealiencyError("of another job"))
    failed = [
        ("preparing", [mendable]),
        ("training", [fault]),
        ("evaluating", [str(killed)]),
        ("reducing", [str(tmp_path / "d.log")]),
        ("drawing", [str(tmp_path / "none.log")]),
    ]
    assert describe_failures(failed, since=0).splitlines() == [
        "",
        "The run failed:",
        "- preparing: a.nc: no such file;",
        "get it again",
        f"  log: {mendable}",
        "- training: unexpected error, ZeroDivisionError: oops (the log has the whole of it)",
        f"  log: {fault}",
        "- evaluating: it ended without an error of its own; it may have been killed, for example for its memory or run time. "
        "Its last words: 2026-01-01 10:00:00,000 epoch 3 of 9",
        f"  log: {killed}",
        "- reducing: shard.h5: damaged",
        f"  log: {tmp_path / 'd.log'}",
        "- drawing: it ended without an error of its own; it may have been killed, for example for its memory or run time.",
        f"  log: {tmp_path / 'none.log'}",
    ]


def test_an_error_of_an_earlier_run_is_not_told_again(tmp_path):
    log = fail(tmp_path / "a.log", SealiencyError("long mended"))
    os.utime(log, (1000, 1000))
    assert "long mended" not in describe_failures([("preparing", [log])], since=2000)
