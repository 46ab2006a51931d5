"""Which month each mean belongs to: time units, calendars, bounds and stamps."""

import datetime
import re
from dataclasses import dataclass

import cftime
import numpy as np
import xarray as xr

from sealiency.data.reading.variable import Packing
from sealiency.errors import SealiencyError

SINCE = re.compile(r"\s*(?P<unit>[a-z_]+)\s+since\s+(?P<reference>.+?)\s*", re.IGNORECASE)
MONTHS_OF = {"month": 1, "months": 1, "mon": 1, "mons": 1, "year": 12, "years": 12, "yr": 12, "yrs": 12}
# Written as one number, 195001 or 19500115.5: what a year is multiplied by, and the first year of four digits.
COMPACT = ((100, 100_001), (10_000, 10_000_101))
BOUNDS = ("time_bnds", "time_bounds", "time_bound", "bounds_time", "time_bnd")
# Days of a span that can be one month, in any calendar and however its ends are written.
ONE_MONTH = (20.0, 45.0)
# By how a unit begins, the longer beginnings first.
SECONDS = {"min": 60, "mi": 1, "s": 1, "h": 3600, "d": 86400}
DAY = datetime.timedelta(days=1)
# Whole months, or their middles, may be rounded by so much of a month.
ROUNDED = 0.02


@dataclass(frozen=True)
class Months:
    """The months of a file.

    Attributes
    ----------
    numbers : numpy.ndarray
        12 times the year plus the month counted from 0, int of shape (time,).
    dates : numpy.ndarray
        cftime dates inside these months, of shape (time,).
    notes : tuple of str
        What is to be told of how they were found.
    """

    numbers: np.ndarray
    dates: np.ndarray
    notes: tuple[str, ...]


def name_month(number: int) -> str:
    """Return the name, YYYY-MM, of a month counted as in `Months`."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def middle_of_month(number: int, calendar: str) -> cftime.datetime:
    """Return a date in the middle of a month counted as in `Months`."""
    return cftime.datetime(number // 12, number % 12 + 1, 15, calendar=calendar)


def read_months(dataset: xr.Dataset, time: xr.DataArray, stamp: str | None, path: str) -> Months:
    """Return the months that a file's means belong to.

    The middle of its bounds tells the month of a mean, where the bounds are those of one month and hold or touch the
    stamp. Otherwise the stamp tells it. Stamps that all lie at 00:00 on the first of a month may mean the month that
    begins there or the one that ends there; without bounds and without `stamp` the first is taken, and told.

    Parameters
    ----------
    dataset
        The file, times as numbers.
    time
        Its time, numbers of shape (time,), with units.
    stamp
        Which end of a mean the stamps mark, "start", "middle" or "end", whatever the bounds say; None asks the bounds.
    path
        Name of the file, for the error.

    Raises
    ------
    SealiencyError
        If the times cannot be decoded or one is missing.
    """
    attributes = {name: value for name, value in time.attrs.items() if name in ("units", "calendar")}
    values = _read_stamps(time, path)
    months = _count_whole_months(values, attributes, stamp, path)
    if months is not None:
        calendar = str(attributes.get("calendar", "standard"))
        return Months(months, np.array([middle_of_month(number, calendar) for number in months.tolist()]), ())
    rounding = _find_rounding(time, attributes)
    dates = _round_to_midnight(_decode(values, attributes, path), rounding)
    notes = []
    if stamp is None:
        bounds, why_not = _read_bounds(dataset, time, attributes, dates, rounding)
        if bounds is not None:
            dates = bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2
        elif why_not:
            notes.append(why_not)
        if bounds is None and all(date.day == 1 and _since_midnight(date) == 0 for date in dates):
            notes.append(
                "every time stamp lies at 00:00 on the first of a month, and no bounds tell which month is meant; the month "
                "that begins there is taken. Set data.files.stamp: end for the one that ends there, or start if this is right"
            )
    numbers = np.array([date.year * 12 + date.month - 1 for date in dates])
    if stamp == "end":
        before = [date - datetime.timedelta(seconds=1) for date in dates]
        numbers = np.array([date.year * 12 + date.month - 1 for date in before])
        dates = np.array([middle_of_month(number, dates[0].calendar) for number in numbers.tolist()])
    return Months(numbers, dates, tuple(notes))


def _read_stamps(time: xr.DataArray, path: str) -> np.ndarray:
    """Return the stamps as float64, or as text; none is missing."""
    if time.dtype.kind in "SUO":
        return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in time.values.tolist()])
    values = Packing.of(time, path).unpack(time.values).astype(np.float64)
    # What no calendar reaches is a fill value that is not declared.
    missing = np.flatnonzero(~np.isfinite(values) | (np.abs(values) > 1e15))
    if missing.size:
        raise SealiencyError(
            f"{path}: {len(missing)} of its {len(values)} time stamps hold no time (number {missing[0] + 1} is "
            f"{time.values[missing[0]]}); correct the time, or leave the file out"
        )
    return values


def _count_whole_months(
    values: np.ndarray, attributes: dict[str, str], stamp: str | None, path: str
) -> np.ndarray | None:
    """Return months where they are counted as such, or written as one number or text; None where a calendar is needed."""
    units = str(attributes.get("units", "")).strip()
    since = SINCE.fullmatch(units)
    if values.dtype.kind == "U":
        found = [re.match(r"(\d{4})-?(\d{2})(\D|$|\d{2})", text.strip()) for text in values.tolist()]
        if all(found):
            return np.array([int(match[1]) * 12 + int(match[2]) - 1 for match in found if match])
        raise SealiencyError(f"{path}: its times are text such as {values[0]!r}; write numbers with units, or YYYY-MM")
    if since is None:
        for factor, lowest in COMPACT:
            year, month = values // factor, values // (factor // 100) % 100
            if ((values >= lowest) & (values < 10_000 * factor) & (month >= 1) & (month <= 12)).all():
                return (year * 12 + month - 1).astype(np.int64)
        raise SealiencyError(
            f"{path}: time has no units such as 'days since 1850-01-01' (its units are {units!r}, its first value is "
            f"{values[0]:g}); add them"
        )
    length = MONTHS_OF.get(since["unit"].lower())
    if length is None:
        return None
    (first,) = _decode(np.zeros(1), attributes | {"units": f"days since {since['reference']}"}, path)
    months = values * length
    whole = np.round(months)
    # Middles: 0.5 is the middle of the first month.
    halves = np.floor(months)
    slack = ROUNDED * length if length > 1 else ROUNDED
    if (np.abs(months - whole) <= slack).all():
        counted = whole - (stamp == "end")
    elif (np.abs(months - halves - 0.5) <= slack).all():
        counted = halves
    else:
        raise SealiencyError(
            f"{path}: time in {units!r} holds parts of a month (such as {values[np.abs(months - whole).argmax()]:g}), which no "
            "calendar defines; write it in days since a date"
        )
    return (counted + first.year * 12 + first.month - 1).astype(np.int64)


def _decode(values: np.ndarray, attributes: dict[str, str], path: str) -> np.ndarray:
    coded = xr.Dataset(coords={"time": ("time", values, attributes)})
    try:
        return xr.decode_cf(coded, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))["time"].values
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:
        said = str(error).split("\n")[0]
        raise SealiencyError(
            f"{path}: its time has units {attributes.get('units')!r} and calendar {attributes.get('calendar', 'standard')!r}, "
            f"by which it cannot be decoded ({said}); correct them, for example to 'days since 1850-01-01'"
        ) from None


def _find_rounding(time: xr.DataArray, attributes: dict[str, str]) -> float:
    """Return by how many seconds the stored type may have rounded a stamp."""
    if time.dtype.kind != "f":
        return 0.0
    unit = str(attributes["units"]).strip().lower()
    seconds = next((length for name, length in SECONDS.items() if unit.startswith(name)), 1)
    return float(np.spacing(np.abs(time.values).max())) * seconds


def _since_midnight(date: cftime.datetime) -> float:
    return date.hour * 3600 + date.minute * 60 + date.second + date.microsecond / 1e6


def _round_to_midnight(dates: np.ndarray, rounding: float) -> np.ndarray:
    """Return the dates, those that lie no farther than the rounding from a midnight at this midnight."""
    rounded = []
    for date in dates:
        after = _since_midnight(date)
        if 0 < after <= rounding:
            date = date - datetime.timedelta(seconds=after)
        elif 0 < 86400 - after <= rounding:
            date = date + datetime.timedelta(seconds=86400 - after)
        rounded.append(date)
    return np.array(rounded)


def _read_bounds(
    dataset: xr.Dataset, time: xr.DataArray, attributes: dict[str, str], stamps: np.ndarray, rounding: float
) -> tuple[np.ndarray | None, str | None]:
    """Return the bounds of each month, dates of shape (time, 2); or None and, where there are some, why they serve not."""
    name = next((n for n in (time.attrs.get("bounds"), *BOUNDS) if n in dataset.variables), None)
    if name is None:
        return None, None
    told = f"the bounds of time, {name!r}, {{}} and are not used"
    stored = dataset[name]
    if stored.size != 2 * len(stamps):
        return None, told.format(f"have {stored.shape} values for {len(stamps)} stamps")
    numbers = stored.values.reshape(len(stamps), 2).astype(np.float64)
    # CF lets bounds go without units; some files give them half a unit, such as days.
    has_units = SINCE.fullmatch(str(stored.attrs.get("units", "")))
    own = {key: str(stored.attrs[key]) for key in ("units", "calendar") if has_units and key in stored.attrs}
    if not np.isfinite(numbers).all():
        return None, told.format("hold missing values")
    try:
        bounds = _round_to_midnight(_decode(numbers.ravel(), attributes | own, ""), rounding).reshape(-1, 2)
    except SealiencyError:
        return None, told.format("hold no times")
    days = np.array([(end - start) / DAY for start, end in bounds])
    odd = (days < ONE_MONTH[0]) | (days > ONE_MONTH[1])
    if odd.any():
        return None, told.format(f"are not those of one month (one spans {days[odd][0]:g} days)")
    apart = [stamp for (start, end), stamp in zip(bounds, stamps, strict=True) if not start <= stamp <= end]
    if apart:
        return None, told.format(f"neither hold nor touch its stamps (such as {apart[0].strftime('%Y-%m-%d')})")
    return bounds, None
