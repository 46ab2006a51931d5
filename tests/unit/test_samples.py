import itertools
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sealiency.config.data import Samples
from sealiency.data.samples import SampleWindows, choose_samples, count_training_months, divide, split_samples
from sealiency.errors import SealiencyError

small = st.integers(min_value=1, max_value=30)


def raw_months(samples: range, history: int, lead: int, width: int) -> set[int]:
    """Every raw month that inputs or targets of samples are made of; filtered month f is the mean of f..f+width-1."""
    filtered = {f for k in samples for f in (*range(k - history, k), k + lead - 1)}
    return {f + n for f in filtered for n in range(width)}


def months_needed(lead: int, samples: Samples, width: int) -> int:
    """The number of filtered months below which the split is refused, found by asking."""
    months = 0
    while True:
        try:
            split_samples(months, lead, samples, width)
        except SealiencyError:
            months += 1
        else:
            return months


@given(history=small, training=small, validation=small, test=st.integers(0, 20), lead=small, width=small)
def test_periods_share_no_raw_month(history, training, validation, test, lead, width):
    samples = Samples(history=history, training=training, validation=validation, test=test)
    months = 4 * (history + lead + width) + training + validation + test
    split = split_samples(months, lead, samples, width)
    periods = (split.training, split.validation, split.test)
    assert [len(period) for period in periods] == [training, validation, test]
    used = [raw_months(period, history, lead, width) for period in periods]
    assert not used[0] & used[1]
    assert not (used[0] | used[1]) & used[2]
    # No month before the record, none after it.
    assert min(used[0]) == 0
    assert max(set().union(*used)) < months + width - 1


@given(history=small, lead=small, width=small, months=st.integers(300, 320))
def test_rest_takes_the_record_to_its_end(history, lead, width, months):
    split = split_samples(months, lead, Samples(history=history, training=20, validation=10, test="rest"), width)
    last = split.test[-1] + lead - 1
    assert last == months - 1
    assert not raw_months(split.validation, history, lead, width) & raw_months(split.test, history, lead, width)


def test_gap_is_no_longer_than_it_must_be():
    split = split_samples(500, 3, Samples(history=4, training=10, validation=10, test=10), 5)
    used = [raw_months(period, 4, 3, 5) for period in (split.training, split.validation, split.test)]
    assert min(used[1]) == max(used[0]) + 1
    assert min(used[2]) == max(used[1]) + 1


@pytest.mark.parametrize(("lead", "width", "test"), [(1, 12, 5), (9, 12, 0), (6, 1, "rest"), (6, 12, "rest")])
def test_message_counts_the_raw_months_that_suffice(lead, width, test):
    samples = Samples(history=7, training=11, validation=5, test=test)
    enough = months_needed(lead, samples, width)
    message = rf"lead {lead} need {enough + width - 1} months; the record has {enough + width - 2}\. Lower samples"
    with pytest.raises(SealiencyError, match=message):
        split_samples(enough - 1, lead, samples, width)
    split = split_samples(enough, lead, samples, width)
    last = max(split.validation[-1], split.test[-1] if split.test else 0) + lead - 1
    assert last == enough - 1


def test_rest_may_be_empty():
    samples = Samples(history=7, training=11, validation=5, test="rest")
    split = split_samples(months_needed(2, samples, 12), 2, samples, 12)
    assert len(split.test) == 0


def test_training_samples_do_not_depend_on_the_lead():
    samples = Samples(history=7, training=11, validation=5, test=0)
    assert {split_samples(200, lead, samples, 12).training for lead in (1, 6, 9)} == {range(7, 18)}


def test_inputs_and_target_of_a_sample():
    # Each month's field holds its own number.
    anomaly = torch.arange(50.0)[:, None, None].expand(50, 2, 3)
    windows = SampleWindows(anomaly, lead=4, history=6)
    inputs = windows.inputs([10, 30])
    assert inputs.shape == (2, 6, 2, 3)
    assert inputs[0, :, 0, 0].tolist() == [4, 5, 6, 7, 8, 9]
    assert inputs[1, :, 1, 2].tolist() == [24, 25, 26, 27, 28, 29]
    assert windows.targets([10, 30])[:, 0, 0].tolist() == [13, 33]
    assert windows.persistence(range(10, 12))[:, 0, 0].tolist() == [9, 10]


def test_training_months_are_those_of_the_inputs():
    months = {month for k in range(36, 36 + 20) for month in range(k - 36, k)}
    assert count_training_months(36, 20) == len(months) == max(months) + 1


@given(start=st.integers(0, 50), count=st.integers(1, 300), data=st.data())
def test_chosen_samples_are_spread_over_the_whole_period(start, count, data):
    training = range(start, start + count)
    wanted = data.draw(st.integers(1, count))
    chosen = choose_samples(training, wanted)
    assert len(set(chosen)) == wanted
    assert chosen == sorted(chosen)
    assert set(chosen) <= set(training)
    if wanted > 1:
        assert (chosen[0], chosen[-1]) == (training[0], training[-1])
        steps = {b - a for a, b in itertools.pairwise(chosen)}
        assert max(steps) - min(steps) <= 1
    assert choose_samples(training, "all") == list(training)


@given(items=st.lists(st.integers(), max_size=60), parts=st.integers(1, 70))
def test_parts_make_up_the_whole_in_order(items, parts):
    divided = [divide(items, parts, part) for part in range(parts)]
    assert [item for part in divided for item in part] == items
    assert max(map(len, divided)) - min(map(len, divided)) <= 1


def test_test_samples_must_not_be_negative():
    with pytest.raises(ValueError, match=re.escape("test (-1) must not be negative")):
        Samples(test=-1)
