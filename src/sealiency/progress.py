"""Progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 20.0

T = TypeVar("T")


def track(
    steps: Iterable[T], description: str, total: float, unit: str, weigh: Callable[[T], float] = lambda step: 1
) -> Iterator[T]:
    """Pass on steps and show how many are done, at what rate, and the time left.

    Parameters
    ----------
    steps
        What is iterated over.
    description
        What is being done, for people.
    total
        Number of steps, or the sum of their weights.
    unit
        Name of one step, such as "sample", or the unit of their weights, such as "MB".
    weigh
        Weight of a step; without it, each counts as one.
    """
    bar = tqdm(total=total, desc=description, unit=unit, disable=not sys.stderr.isatty(), leave=False)
    start = last = time.monotonic()
    done = 0.0
    with bar:
        for step in steps:
            yield step
            done += weigh(step)
            bar.update(weigh(step))
            now = time.monotonic()
            if bar.disable and (now - last >= SECONDS_BETWEEN_LINES or done >= total):
                last = now
                rate = done / max(now - start, 1e-9)
                left = max(total - done, 0) / rate
                LOGGER.info("%s: %.6g of %.6g, %.3g %s/s, %.0f s left", description, done, total, rate, unit, left)
