"""What a record's values must not be, looked for block by block while it is read; what is odd is told, what is wrong is refused."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import scipy.ndimage
import xarray as xr

from sealiency.config.data import Data
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)
# degC: beyond what any sea surface or sea ice shows, a value marks missing data or has another unit.
POSSIBLE = (-60.0, 60.0)
# degC: beyond what a monthly mean of the open sea shows.
ORDINARY = (-2.5, 36.0)
# degC: a sea under ice may be at the freezing point everywhere.
FREEZING = (-2.0, -1.7)
# degC: rounding of an interpolated constant.
ROUNDING = 1e-6
# degC: no climatology of a sea is so near 0 in each of its cells.
NEAR_ZERO = 1.0
# Ocean cells on land from which on, as a number and as a share of the region's land, a record is refused.
MANY, LARGE_SHARE = 10, 0.1


@dataclass(frozen=True)
class BlockFacts:
    """What is remembered of some months.

    Attributes
    ----------
    always, somewhere : numpy.ndarray
        Cells with data in all, and in any, of the months; bool of shape (lat, lon).
    constant : numpy.ndarray
        Cells with one value in all of them, bool of shape (lat, lon).
    first : numpy.ndarray
        Values of the first month, degC, float64 of shape (lat, lon).
    count : numpy.ndarray
        Cells with data, int of shape (time,).
    coldest, warmest : numpy.ndarray
        Extremes over all cells, degC, float64 of shape (time,), NaN in a month without data.
    flat : numpy.ndarray
        Months in which all cells that vary within the block, and there are two or more, have one value; bool of (time,).
    outside : numpy.ndarray
        Months in which a cell lies outside what is ordinary, int of shape (lat, lon); empty where none does.
    """

    always: np.ndarray
    somewhere: np.ndarray
    constant: np.ndarray
    first: np.ndarray
    count: np.ndarray
    coldest: np.ndarray
    warmest: np.ndarray
    flat: np.ndarray
    outside: np.ndarray


def describe_block(values: np.ndarray) -> BlockFacts:
    """Return what is remembered of some months of SST, degC, float64 of shape (time, lat, lon), NaN where missing."""
    valid = ~np.isnan(values)
    always = valid.all(axis=0)
    constant = always & (values[0] == values[-1]) & (values[0] == values[len(values) // 2])
    # Few cells are left by now, so that to look at each of their months costs nothing.
    constant[constant] = (values[:, constant] == values[0][constant]).all(axis=0)
    coldest, warmest = np.fmin.reduce(values, axis=(1, 2)), np.fmax.reduce(values, axis=(1, 2))
    flat = warmest - coldest <= ROUNDING
    varying = always & ~constant
    if constant.any() and varying.sum() > 1:
        inner = values[:, varying]
        flat = np.ptp(inner, axis=1) <= ROUNDING
    outside = np.zeros((0, 0), int)
    odd = (coldest < ORDINARY[0]) | (warmest > ORDINARY[1])
    if odd.any():
        outside = ((values[odd] < ORDINARY[0]) | (values[odd] > ORDINARY[1])).sum(axis=0)
    return BlockFacts(
        always=always,
        somewhere=valid.any(axis=0),
        constant=constant,
        first=values[0].copy(),
        count=valid.sum(axis=(1, 2)),
        coldest=coldest,
        warmest=warmest,
        flat=flat & (valid.sum(axis=(1, 2)) > 1),
        outside=outside,
    )


class RecordChecks:
    """The checks of a whole record, fed with its blocks in order.

    Parameters
    ----------
    record
        The record, lazily, with the coordinates time, lat, lon and path (time).
    settings
        What the user says of the files, and the bounds of the checks.
    """

    def __init__(self, record: xr.DataArray, settings: Data) -> None:
        self.settings = settings
        self.lat, self.lon = record["lat"].values, record["lon"].values
        self.months = [f"{date.year:04d}-{date.month:02d}" for date in record["time"].values]
        self.paths = record["path"].values
        shape = record.shape[1:]
        self.always, self.somewhere = np.ones(shape, bool), np.zeros(shape, bool)
        self.constant = np.ones(shape, bool)
        self.outside = np.zeros(shape, int)
        # How far each cell ever lay outside what is ordinary, with which value and in which month.
        self.beyond, self.farthest, self.farthest_month = np.zeros(shape), np.zeros(shape), np.zeros(shape, int)
        self.counts: list[int] = []
        self.first: np.ndarray | None = None
        self.anomalies = settings.source == "files" and settings.files is not None and settings.files.anomalies

    def add(self, facts: BlockFacts, values: np.ndarray) -> None:
        """Add the next months.

        Parameters
        ----------
        facts
            What is remembered of them.
        values
            The months themselves, degC, of shape (time, lat, lon): looked at again only where something is odd.

        Raises
        ------
        SealiencyError
            If a month has one constant value, or a value that no sea surface has.
        """
        start = len(self.counts)
        for month in range(len(facts.count)):
            where = f"{self.paths[start + month]}: month {self.months[start + month]}"
            if not facts.count[month]:
                continue
            for value in (facts.coldest[month], facts.warmest[month]):
                if not POSSIBLE[0] <= value <= POSSIBLE[1]:
                    raise SealiencyError(f"{where} {self._describe_impossible(values[month], float(value))}")
            if facts.flat[month] and not FREEZING[0] <= facts.warmest[month] <= FREEZING[1]:
                raise SealiencyError(
                    f"{where} holds one constant value, {facts.warmest[month]:g} degC, in every cell of data.region that "
                    "varies in other months; get the file again, or choose another region"
                )
        self.counts += facts.count.tolist()
        self.always &= facts.always
        self.somewhere |= facts.somewhere
        if self.first is None:
            self.first = facts.first
        self.constant &= facts.constant & (facts.first == self.first)
        if facts.outside.size and not self.anomalies:
            self.outside += facts.outside
            odd = facts.outside > 0
            beyond = np.fmax(ORDINARY[0] - values[:, odd], values[:, odd] - ORDINARY[1])
            month = np.nanargmax(beyond, axis=0)
            cells = np.arange(len(month))
            farther = beyond[month, cells] > self.beyond[odd]
            place = tuple(index[farther] for index in np.nonzero(odd))
            self.beyond[place] = beyond[month, cells][farther]
            self.farthest[place] = values[:, odd][month, cells][farther]
            self.farthest_month[place] = month[farther] + start

    def find_ocean(self) -> np.ndarray:
        """Return the cells with data that vary, in every month, bool of shape (lat, lon), and log what else was found.

        Raises
        ------
        SealiencyError
            If there is none, a month has no data, too many cells are lost because they lack data in some months, or many
            are land today.
        """
        self._refuse_empty()
        constant = self.constant & self.always
        ocean = self.always & ~constant
        lost = self.somewhere & ~self.always
        on_land, land = self._find_land(ocean)
        LOGGER.info(
            "%d months, %d x %d cells, %d ocean; %d cells with data in some months only count as land; %d cells that never "
            "change count as land; %d ocean cells lie on land by the packaged sea fraction",
            len(self.counts),
            *ocean.shape,
            int(ocean.sum()),
            int(lost.sum()),
            int(constant.sum()),
            int(on_land.sum()),
        )
        self._judge_lost(lost)
        if constant.any() and self.first is not None:
            values, counts = np.unique(self.first[constant], return_counts=True)
            LOGGER.warning(
                "%d cells never change (%d of them hold %g degC, such as that at %s) and count as land",
                constant.sum(),
                counts.max(),
                values[counts.argmax()],
                self._name_first(constant & (self.first == values[counts.argmax()])),
            )
        if not ocean.any():
            raise SealiencyError(
                f"data.region {self._name_region()} of {self.paths[0]} and the other files holds no cell with data in every "
                "month; choose a region with ocean"
            )
        if self.settings.coastline == "present" and on_land.sum() > max(MANY, LARGE_SHARE * land):
            row, column = np.argwhere(on_land)[0]
            value = np.nan if self.first is None else self.first[row, column]
            raise SealiencyError(
                f"{self.paths[0]} and the other files have data in {on_land.sum()} cells that are land, such as {value:g} degC "
                f"at {self._name_first(on_land)} in {self.months[0]}; declare the value that marks land as _FillValue or in "
                "data.files.missing, take a variable of the sea alone, or set data.coastline: any if these coasts are meant"
            )
        self._tell_outside(ocean)
        return ocean

    def tell_anomalies(self, climatology: np.ndarray) -> None:
        """Warn if the means of all ocean cells, degC, are so near 0 that the files seem to hold anomalies."""
        if not self.anomalies and np.nanmax(np.abs(climatology), initial=0) < NEAR_ZERO:
            LOGGER.warning(
                "the mean of every ocean cell lies within %g degC of 0: the files seem to hold anomalies, not temperatures; "
                "set data.files.anomalies: true if that is meant",
                NEAR_ZERO,
            )

    def _describe_impossible(self, month: np.ndarray, value: float) -> str:
        row, column = np.argwhere(month == value)[0]
        words = f"holds a sea surface temperature of {value:g} degC at {self._name_cell(row, column)}"
        if abs(value + 273.15) < 10:
            return f"{words}; its units are K, but its values are not: correct the units, or set data.files.anomalies: true"
        return (
            f"{words}; if this value marks missing data, set data.files.missing: [{value:g}] (in the units of the file), "
            "otherwise correct the units"
        )

    def _refuse_empty(self) -> None:
        if self.somewhere.any() and 0 in self.counts:
            month = self.counts.index(0)
            raise SealiencyError(
                f"{self.paths[month]}: month {self.months[month]} has no cell with data in data.region {self._name_region()}; "
                "get the file again, or leave the month out with data.first_month or data.last_month"
            )

    def _judge_lost(self, lost: np.ndarray) -> None:
        if not lost.any():
            return
        share = lost.sum() / self.somewhere.sum()
        worst = int(np.argmin(self.counts))
        lacking = 1 - self.counts[worst] / self.somewhere.sum()
        words = (
            f"{lost.sum()} cells ({share:.1%} of those with data) lack data in some month and count as land; the most are "
            f"missing in {self.months[worst]}: {lacking:.1%}, in {self.paths[worst]}"
        )
        if share > self.settings.largest_loss:
            raise SealiencyError(
                f"{words}. That is more than data.largest_loss = {self.settings.largest_loss:g}; get this file again, leave "
                "the month out, choose another region, or raise data.largest_loss"
            )
        LOGGER.warning("%s", words)

    def _tell_outside(self, ocean: np.ndarray) -> None:
        odd = ocean & (self.outside > 0)
        if not odd.any():
            return
        row, column = np.unravel_index(int(np.where(odd, self.beyond, 0).argmax()), odd.shape)
        LOGGER.warning(
            "%d values in %d ocean cells lie outside %g to %g degC; the farthest is %g degC at %s in %s",
            self.outside[odd].sum(),
            odd.sum(),
            *ORDINARY,
            self.farthest[row, column],
            self._name_cell(row, column),
            self.months[self.farthest_month[row, column]],
        )

    def _find_land(self, ocean: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the ocean cells that are land today, bool of shape (lat, lon), and how many cells of the region are."""
        land = find_land(self.lat, self.lon)
        return ocean & land, int(land.sum())

    def _name_region(self) -> str:
        region = self.settings.region
        return f"{region.south:g}..{region.north:g} N, {region.west:g}..{region.east:g} E"

    def _name_cell(self, row: np.integer | int, column: np.integer | int) -> str:
        return f"{self.lat[row]:g} N, {self.lon[column]:g} E"

    def _name_first(self, cells: np.ndarray) -> str:
        row, column = np.argwhere(cells)[0]
        return self._name_cell(row, column)


def find_land(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the cells that are land today: no sea in them, nor in the 1-degree cells around them.

    Parameters
    ----------
    lat, lon
        Cell centres, degrees, ascending.

    Returns
    -------
    numpy.ndarray
        Bool of shape (lat, lon), by the packaged sea fraction. Great lakes and the Caspian Sea count as land.
    """
    with resources.as_file(resources.files("sealiency.data") / "sea_area_fraction_1deg.nc") as path:
        fraction = xr.load_dataset(path, engine="netcdf4")["sftof"].values
    # One cell of 1 degree around, so that coasts may lie a little elsewhere; more where the record's own cells are wider.
    reach = [2 * max(1, int(np.ceil(_spacing(axis) / 2))) + 1 for axis in (lat, lon)]
    sea = scipy.ndimage.maximum_filter(fraction, size=reach, mode=("nearest", "wrap"))
    rows = np.clip(np.floor(lat + 90).astype(int), 0, 179)
    columns = np.floor(lon % 360).astype(int) % 360
    return sea[np.ix_(rows, columns)] == 0


def _spacing(centres: Sequence[float] | np.ndarray) -> float:
    return float(np.median(np.diff(centres))) if len(centres) > 1 else 1.0
