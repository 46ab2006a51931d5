"""What a job says: into its log file, and onto the terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealiency.errors import SealiencyError

LOGGER = logging.getLogger("sealiency")


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
        LOGGER.error("error: %s", error)
        sys.exit(1)
    except Exception:
        LOGGER.exception("unexpected error")
        sys.exit(1)
    finally:
        logging.shutdown()
