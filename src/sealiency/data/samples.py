"""Samples: which months are read, which month is forecast, and which period a sample belongs to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sealiency.config.data import Samples
from sealiency.errors import SealiencyError

T = TypeVar("T")

if TYPE_CHECKING:
    # The processes that read files need no PyTorch, which takes a second and 170 MB each.
    from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Samples of each period, by number k: sample k reads months k-history..k-1 and targets month k+lead-1."""

    training: range
    validation: range
    test: range


def count_training_months(history: int, training: int) -> int:
    """Return how many filtered months, from the first on, are input of one of so many training samples."""
    return history + training - 1


def split_samples(months: int, lead: int, samples: Samples, filter_width: int) -> Split:
    """Divide a record into training, validation and test samples that share no raw month.

    Parameters
    ----------
    months
        Filtered months of the record.
    lead
        Lead, months.
    samples
        Wanted number of samples a period.
    filter_width
        Raw months that one filtered month is made of.

    Raises
    ------
    SealiencyError
        If the record is too short; the message says how many raw months there are and are needed.
    """
    # The last target's raw months end at k+lead-1; the next period's first input begins filter_width-1 months early.
    gap = samples.history + lead - 1 + filter_width - 1
    asked_test = 0 if samples.test == "rest" else samples.test
    needed = samples.history + samples.training + gap + samples.validation + lead - 1
    if asked_test:
        needed += gap + asked_test
    if needed > months:
        lost = filter_width - 1
        raise SealiencyError(
            f"samples: {samples.training} training, {samples.validation} validation and {samples.test} test samples at "
            f"lead {lead} need {needed + lost} months; the record has {months + lost}. Lower samples.training, "
            "samples.validation or samples.test, or add months"
        )
    validation = samples.history + samples.training + gap
    test = validation + samples.validation + gap
    end = months - lead + 1 if samples.test == "rest" else test + asked_test
    return Split(
        training=range(samples.history, samples.history + samples.training),
        validation=range(validation, validation + samples.validation),
        test=range(test, max(test, end)) if samples.test == "rest" or asked_test else range(test, test),
    )


def choose_validation_sample(split: Split, position: int, key: str) -> int:
    """Return the number k of a sample by its position in the validation period.

    Raises
    ------
    SealiencyError
        If the validation period has fewer samples.
    """
    if position >= len(split.validation):
        raise SealiencyError(
            f"{key} = {position}: the validation period has {len(split.validation)} samples, counted from 0; lower it"
        )
    return split.validation[position]


def choose_samples(training: range, count: int | str) -> list[int]:
    """Return `count` training samples spread evenly from the first to the last, or `all` of them."""
    if count == "all":
        return list(training)
    positions = np.linspace(0, len(training) - 1, int(count))
    return [training[int(position)] for position in np.round(positions)]


def choose_blocks(training: range, most: int, bootstrap_block: int) -> list[list[int]]:
    """Return at most so many training samples, spread evenly, in bootstrap blocks of consecutive ones; the last may be shorter."""
    chosen = choose_samples(training, min(most, len(training)))
    return [chosen[start : start + bootstrap_block] for start in range(0, len(chosen), bootstrap_block)]


def divide(items: list[T], parts: int, part: int) -> list[T]:
    """Return part number `part` of a list divided into `parts` runs whose lengths differ by one at most."""
    return items[part * len(items) // parts : (part + 1) * len(items) // parts]


class SampleWindows:
    """Inputs and targets of samples, cut from a record held in memory.

    Parameters
    ----------
    anomaly
        Standardised anomalies, float32 of shape (time, lat, lon), 0 on land.
    lead
        Lead, months.
    history
        Months of input.
    """

    def __init__(self, anomaly: "Tensor", lead: int, history: int) -> None:
        self.anomaly = anomaly
        self.lead = lead
        self.lags = np.arange(-history, 0)

    def inputs(self, samples: list[int] | range) -> "Tensor":
        """Return inputs of shape (sample, history, lat, lon), oldest month first."""
        return self.anomaly[np.asarray(samples)[:, None] + self.lags]

    def targets(self, samples: list[int] | range) -> "Tensor":
        """Return targets of shape (sample, lat, lon)."""
        return self.anomaly[np.asarray(samples) + self.lead - 1]

    def known_months(self, samples: range) -> "Tensor":
        """Return all months that consecutive samples read, of shape (month, lat, lon)."""
        return self.anomaly[samples.start - len(self.lags) : samples.stop - 1]

    def persistence(self, samples: list[int] | range) -> "Tensor":
        """Return the last input month, of shape (sample, lat, lon)."""
        return self.anomaly[np.asarray(samples) - 1]
