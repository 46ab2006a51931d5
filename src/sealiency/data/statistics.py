"""Statistics of the training months, and the anomalies that follow from them."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sealiency.config.data import Data
from sealiency.errors import SealiencyError


@dataclass(frozen=True)
class Statistics:
    """What turns filtered SST into anomalies.

    Attributes
    ----------
    kept : ndarray
        Mask of the cells below, of shape (lat, lon); some may be land.
    climatology : ndarray
        Of shape (1 or 12, kept cell), degC, NaN on land.
    trend : ndarray or None
        Of shape (kept cell,), degC per month, NaN on land.
    scale : float
        degC of one standardised unit.
    calendar : ndarray
        Number of the climatology of each month, of shape (time,).
    elapsed : ndarray
        Months since the middle of the training period, of shape (time,).
    """

    kept: np.ndarray
    climatology: np.ndarray
    trend: np.ndarray | None
    scale: float
    calendar: np.ndarray
    elapsed: np.ndarray

    def standardise(self, filtered: np.ndarray, start: int) -> np.ndarray:
        """Return standardised anomalies, float32, of filtered SST of shape (time, kept cell) from month `start` on."""
        months = slice(start, start + len(filtered))
        anomaly = filtered - self.climatology[self.calendar[months]]
        if self.trend is not None:
            anomaly -= self.trend * self.elapsed[months, None]
        anomaly /= self.scale
        return anomaly.astype(np.float32)

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return values of shape (..., kept cell) on the grid, (..., lat, lon), NaN elsewhere."""
        field = np.full((*values.shape[:-1], *self.kept.shape), np.nan, values.dtype)
        field[..., self.kept] = values
        return field


class TrainingSums:
    """Sums over the training months, gathered as the months come by, from which all statistics follow.

    With d the difference from the first month, the least-squares fit of (monthly) means and a line needs the sum of d
    for each mean, and the sum of d times the months elapsed since the middle of what that mean is taken over. The two
    parts of the fit are orthogonal, so that what each explains comes off the sum of squares.

    Parameters
    ----------
    time
        Months of the filtered record, cftime dates of shape (time,) without a gap.
    settings
        Preparation settings.
    training_months
        How many of them, from the first on, are training months.

    Raises
    ------
    SealiencyError
        If the training months lack a calendar month that a mean is asked for.
    """

    def __init__(self, time: xr.DataArray, settings: Data, training_months: int) -> None:
        self.means = 12 if settings.climatology == "monthly" else 1
        self.calendar = np.array([(date.month - 1) % self.means for date in time.values])
        if training_months < self.means:
            raise SealiencyError(
                f"data.climatology = monthly: the {training_months} training months do not hold every calendar month; "
                "raise samples.training"
            )
        self.training_months = training_months
        # Zero in the middle of the training period, where a fitted line passes through the mean.
        self.elapsed = np.arange(len(time)) - (training_months - 1) / 2
        training = self.calendar[:training_months]
        self.counts = np.bincount(training)
        self.mean_elapsed = np.bincount(training, self.elapsed[:training_months]) / self.counts
        self.deviation = self.elapsed[:training_months] - self.mean_elapsed[training]
        self.added = 0

    def add(self, filtered: np.ndarray) -> None:
        """Add the next months, of shape (time, cell), degC; those after the training months are passed over."""
        start = self.added
        self.added = min(start + len(filtered), self.training_months)
        if start == self.added:
            return
        if start == 0:
            self.first = filtered[0].copy()
            self.sums = np.zeros((self.means, len(self.first)))
            self.squares, self.products = np.zeros_like(self.first), np.zeros_like(self.first)
        difference = filtered[: self.added - start] - self.first
        for number in range(self.means):
            same = difference[(number - self.calendar[start]) % self.means :: self.means]
            self.sums[number] += same.sum(axis=0)
        self.squares += np.einsum("tc,tc->c", difference, difference)
        self.products += np.einsum("t,tc->c", self.deviation[start : self.added], difference)

    def fit(self, ocean: np.ndarray, kept: np.ndarray, trend: bool) -> Statistics:
        """Return the statistics of the kept cells over the ocean, masks of shape (lat, lon), with a trend or without.

        Raises
        ------
        SealiencyError
            If nothing varies.
        """
        ocean = ocean[kept]
        counts = self.counts[:, None]
        climatology = np.where(ocean, self.first + self.sums / counts, np.nan)
        rest = self.squares - (self.sums**2 / counts).sum(axis=0)
        slope = None
        if trend:
            spread = (self.deviation**2).sum()
            slope = np.where(ocean, self.products / spread, np.nan)
            climatology -= slope * self.mean_elapsed[:, None]
            rest -= self.products**2 / spread
        # Where the fit explains everything, no more than the rounding of the sums is left.
        if not rest[ocean].sum() > 1e-12 * self.squares[ocean].sum():
            raise SealiencyError(
                "the training months of data.region hold one constant value; choose another region or file"
            )
        scale = float(rest[ocean].mean() / self.training_months) ** 0.5
        return Statistics(kept, climatology, slope, scale, self.calendar, self.elapsed)
