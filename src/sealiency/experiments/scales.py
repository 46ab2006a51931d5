"""Attributions summed over boxes of cells and runs of months."""

import numpy as np

from sealiency.worlds.ocean_physics import Floats

# Cells along each side of a box, and months of a run.
SCALES = ((1, 1), (1, 36), (3, 12), (5, 12), (5, 36))


def aggregate(fields: Floats, cells: int, months: int) -> Floats:
    """Sum fields over boxes and runs.

    Parameters
    ----------
    fields
        Of shape (..., lag, lat, lon), 0 where there is nothing.
    cells
        Cells along each side of a box, counted from the south-western corner; those at the other edges may be cut.
    months
        Months of a run, counted back from the last; the earliest may be cut.

    Returns
    -------
    numpy.ndarray
        Sums, of shape (..., run, row of boxes, column of boxes).
    """
    *outer, lags, rows, columns = fields.shape
    whole = [-(-lags // months), -(-rows // cells), -(-columns // cells)]
    missing = [whole[0] * months - lags, whole[1] * cells - rows, whole[2] * cells - columns]
    padded = np.pad(fields, [(0, 0)] * len(outer) + [(missing[0], 0), (0, missing[1]), (0, missing[2])])
    return padded.reshape(*outer, whole[0], months, whole[1], cells, whole[2], cells).sum((-5, -3, -1))
