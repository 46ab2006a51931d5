"""Progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 20.0

T = TypeVar("T")


def track(steps: Iterable[T], description: str, total: int, unit: str) -> Iterator[T]:
    """Pass on steps and show how many are done, at what rate, and the time left.

    Parameters
    ----------
    steps
        What is iterated over.
    description
        What is being done, for people.
    total
        Number of steps.
    unit
        Name of one step, such as "sample".
    """
    bar = tqdm(total=total, desc=description, unit=unit, disable=not sys.stderr.isatty(), leave=False)
    start = last = time.monotonic()
    with bar:
        for done, step in enumerate(steps, start=1):
            yield step
            bar.update()
            now = time.monotonic()
            if bar.disable and (now - last >= SECONDS_BETWEEN_LINES or done == total):
                last = now
                rate = done / max(now - start, 1e-9)
                left = (total - done) / rate
                LOGGER.info("%s: %d of %d, %.3g %s/s, %.0f s left", description, done, total, rate, unit, left)
