import logging
import warnings

import pytest

from sealiency.errors import SealiencyError
from sealiency.logs import log_job
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
