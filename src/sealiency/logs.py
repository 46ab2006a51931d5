"""What a job says: into its log file, and onto the terminal."""

import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealiency.errors import SealiencyError

LOGGER = logging.getLogger("sealiency")
# How a job's log begins what a user can mend, and what nobody foresaw.
MENDABLE, UNFORESEEN = "error: ", "unexpected error"
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ ")


@contextmanager
def log_job(path: str | Path) -> Iterator[None]:
    """Log a job to its file and the terminal; end it with status 1 and one clear message on bad input."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)]
    # Other libraries are heard only when something is wrong.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", handlers=handlers, force=True)
    LOGGER.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    except SealiencyError as error:
        LOGGER.error("%s%s", MENDABLE, error)
        sys.exit(1)
    except Exception:
        LOGGER.exception(UNFORESEEN)
        sys.exit(1)
    finally:
        logging.shutdown()


def describe_failures(failed: Iterable[tuple[str, list[str]]], since: float) -> str:
    """Return what a failed run ends with: the cause of each failed job, in plain words, and where its log is.

    Parameters
    ----------
    failed
        What each job did, in words, and its log files.
    since
        When the run began, seconds since 1970: an older log is an earlier run's.
    """
    lines = ["", "The run failed:"]
    for message, logs in failed:
        written = [log for name in logs for log in _find_logs(Path(name)) if log.stat().st_mtime >= since]
        causes = [cause for log in written if (cause := _find_cause(log))]
        lines.append(f"- {message}: {causes[0] if causes else _describe_silence(written)}")
        lines += [f"  log: {log}" for log in (written or logs)[:1]]
    return "\n".join(lines)


def _find_logs(log: Path) -> list[Path]:
    """Return a job's log file and those of its further MPI ranks, as far as they are there."""
    ranks = re.compile(rf"{re.escape(log.stem)}\.rank\d+{re.escape(log.suffix)}")
    beside = sorted(path for path in log.parent.glob("*") if ranks.fullmatch(path.name)) if log.parent.is_dir() else []
    return [path for path in (log, *beside) if path.is_file()]


def _find_cause(log: Path) -> str | None:
    """Return the error that a log ends with, without its time; of an unforeseen one, the last line of its traceback."""
    entries: list[str] = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if _STAMP.match(line) or not entries:
            entries.append(_STAMP.sub("", line))
        else:
            entries[-1] += f"\n{line}"
    for entry in reversed(entries):
        if entry.startswith(MENDABLE):
            return entry.removeprefix(MENDABLE)
        if entry.startswith(UNFORESEEN):
            return f"{UNFORESEEN}, {entry.splitlines()[-1].strip()} (the log has the whole of it)"
    return None


def _describe_silence(logs: list[Path]) -> str:
    said = [log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] for log in logs]
    last = f" Its last words: {said[0][0]}" if said and said[0] else ""
    return (
        f"it ended without an error of its own; it may have been killed, for example for its memory or run time.{last}"
    )
