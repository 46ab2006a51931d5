"""The bound of predictability of the synthetic ocean: the forecasts of the world's own propagator."""

import itertools
import json

import numpy as np

from sealiency.data.prepare import PreparedRecord, find_filter_offset
from sealiency.worlds.ocean import simulate_anomalies
from sealiency.worlds.ocean_physics import Floats
from sealiency.worlds.ocean_truth import World


def forecast_best(world: World, record: PreparedRecord, lead: int, samples: range) -> Floats:
    """Forecast samples as well as can be: the propagator carries the last raw month on, then the filter is applied.

    Months of the target that the last input month already holds are known. No predictor that has the inputs alone can be
    better in the mean, since the forcing is white in time; with a filter none can be quite as good, since it does not know the
    raw months.

    Parameters
    ----------
    world
        The world.
    record
        A prepared record of it, filtered or not.
    lead
        Lead, months.
    samples
        Numbers of the samples.

    Returns
    -------
    numpy.ndarray
        Forecasts of the ocean cells in the order of the record's mask, standardised units, float64 of shape (sample, cell).
        They hold the record's own climatology, so that their error is that of the propagator alone.
    """
    width = record.filter_width
    # Raw months are counted from the world's first, January of year 1; sample k knows those up to `known + k`.
    settings = json.loads(record.attributes["settings"])["data"]
    year, month = (int(part) for part in record.months[0].split("-"))
    known = 12 * (year - 1) + month - 1 - find_filter_offset(settings["filter"], width) + width - 2
    years = range((known + samples.start) // 12, (known + samples.stop + lead) // 12 + 1)
    simulated = simulate_anomalies(world.propagator, world.forcing, world.seed)
    raw = np.concatenate(list(itertools.islice(simulated, years.start, years.stop)))
    numbers = np.asarray(samples)
    now = known + numbers - 12 * years.start
    state = raw[now].T
    error = np.zeros_like(raw[now])
    # Of the target's months, those after the last known one; the others have no error.
    for ahead in range(1, lead + 1):
        state = world.propagator @ state
        if ahead > lead - width:
            error += state.T - raw[now + ahead]
    order = np.argsort(world.positions)
    observed = record.anomaly[numbers + lead - 1].numpy()[:, record.ocean.numpy()].astype(np.float64)
    return observed + error[:, order] / (width * record.scale)
