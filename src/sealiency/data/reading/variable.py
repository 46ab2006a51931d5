"""The sea surface temperature of a file: which variable it is, how it is packed, what marks missing values, its units."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import netCDF4
import numpy as np
import xarray as xr

from sealiency.data.regridding import LARGEST_VALUE
from sealiency.errors import SealiencyError

STANDARD_NAMES = (
    "sea_surface_temperature",
    "sea_surface_foundation_temperature",
    "sea_surface_skin_temperature",
    "sea_surface_subskin_temperature",
)
# Words of standard names of temperatures that are not the sea surface's.
ELSEWHERE = frozenset(
    [
        "air",
        "dew",
        "soil",
        "ice",
        "snow",
        "land",
        "canopy",
        "brightness",
        "tropopause",
        "cloud",
        "floor",
        "bulb",
        "lake",
    ]
)
CELSIUS = re.compile(r"c|°\s*c|℃|(deg(ree)?s?)?[\s_]*(c|celsius|centigrade)|celsius[\s_]deg(ree)?s?", re.IGNORECASE)
KELVIN = re.compile(r"k|°\s*k|(deg(ree)?s?)?[\s_]*(k|kelvins?)", re.IGNORECASE)
KELVIN_OFFSET = 273.15
# Relative to a marker of missing values: what single precision loses of it.
ROUNDING = 1e-6


def find_variable(dataset: xr.Dataset, variable: str | None, path: str) -> xr.DataArray:
    """Return the named variable, or the one whose standard name is a sea surface temperature.

    Parameters
    ----------
    dataset
        The file.
    variable
        Its name, or None to find it.
    path
        Name of the file, for the error.

    Raises
    ------
    SealiencyError
        If the name is not there or is known to be something else, or not exactly one variable can be meant.
    """
    held = sorted(map(str, dataset.data_vars))
    if variable is None:
        found = [n for n, values in dataset.data_vars.items() if values.attrs.get("standard_name") in STANDARD_NAMES]
        if len(found) != 1:
            raise SealiencyError(
                f"{path}: {len(found)} variables have a standard name of sea surface temperature (the file holds {held}); "
                "name yours in data.files.variable"
            )
        return dataset[found[0]]
    if variable not in dataset.data_vars:
        raise SealiencyError(
            f"{path}: variable {variable!r} is not in the file, which holds {held}; name one of them, or take another file"
        )
    standard_name = str(dataset[variable].attrs.get("standard_name", ""))
    # After a blank stands a modifier, such as standard_error: then it is no temperature either.
    if " " in standard_name.strip() or ELSEWHERE & set(standard_name.lower().split("_")):
        raise SealiencyError(
            f"{path}: variable {variable!r} has the standard name {standard_name!r}, which is no sea surface temperature; "
            f"the file holds {held}: name another, or correct the attribute"
        )
    return dataset[variable]


@dataclass(frozen=True)
class Packing:
    """How stored values become numbers: packing, and what is missing by `_FillValue`, `missing_value` and valid ranges.

    A valid range of a packed variable is in packed units, unless its type is that of the scale factor; so is a
    `missing_value`, unless the packed type cannot hold it (NetCDF User Guide, appendix A; CF 2.5.1). A packed variable that
    declares nothing has the default fill value of its type.
    """

    dtype: np.dtype
    unsigned: bool
    scale: float | None
    offset: float
    # Of the stored values, as the stored type holds them.
    stored_missing: tuple[Any, ...]
    stored_range: tuple[float, float]
    # Of the unpacked ones.
    missing: tuple[float, ...]
    valid_range: tuple[float, float]

    @classmethod
    def of(cls, variable: xr.DataArray, path: str, missing: Sequence[float] = ()) -> Self:
        """Return the packing of a variable that was opened as it is stored.

        Parameters
        ----------
        variable
            The variable, with its attributes.
        path
            Name of the file, for the error.
        missing
            Further values that mark missing data, in the file's unpacked units.

        Raises
        ------
        SealiencyError
            If an attribute should be a number and is none.
        """

        def numbers(name: str) -> np.ndarray:
            return _read_numbers(variable.attrs.get(name), f"{path}: {variable.name} has {name}")

        unsigned = str(variable.attrs.get("_Unsigned", "false")).lower() == "true" and variable.dtype.kind == "i"
        dtype = np.dtype(f"u{variable.dtype.itemsize}") if unsigned else np.dtype(variable.dtype)
        scale, offset = numbers("scale_factor"), numbers("add_offset")
        packed = bool(scale.size or offset.size)
        whole = packed and dtype.kind in "iu"
        stored: list[Any] = []
        unpacked: list[float] = []
        for marker in (*numbers("_FillValue"), *numbers("missing_value")):
            if unsigned and marker < 0:
                marker = int(marker) + 2 ** (8 * dtype.itemsize)
            if dtype.kind == "f" or _is_stored(marker, dtype, scale, offset):
                with np.errstate(over="ignore"):
                    stored.append(np.asarray(marker).astype(dtype)[()])
            else:
                unpacked.append(float(marker))
        both = numbers("valid_range")
        edges: tuple[Any, Any] = (both[0], both[1]) if both.size == 2 else (-np.inf, np.inf)
        low, high = (*numbers("valid_min"), edges[0])[0], (*numbers("valid_max"), edges[1])[0]
        # A whole number's range is written with a point only where unpacked values are meant.
        in_unpacked = whole and any(np.asarray(edge).dtype.kind == "f" for edge in (low, high) if abs(edge) < np.inf)
        if whole and dtype.itemsize > 1 and not (stored or unpacked or low > -np.inf or high < np.inf):
            fill = _default_fill(dtype)
            low, high = (fill + 1, np.inf) if fill < 0 else (-np.inf, fill - 1)
        if unsigned and not in_unpacked:
            # Written in the signed type, a large unsigned number is negative.
            low, high = (edge + 2.0 ** (8 * dtype.itemsize) if -np.inf < edge < 0 else edge for edge in (low, high))
        everything, limits = (-np.inf, np.inf), (float(low), float(high))
        return cls(
            dtype=dtype,
            unsigned=unsigned,
            scale=float(scale[0]) if scale.size else (1.0 if packed else None),
            offset=float(offset[0]) if offset.size else 0.0,
            # Both attributes mostly name the same.
            stored_missing=tuple(dict.fromkeys(stored)),
            stored_range=everything if in_unpacked else limits,
            missing=(*unpacked, *missing),
            valid_range=limits if in_unpacked else everything,
        )

    def unpack(self, stored: np.ndarray) -> np.ndarray:
        """Return numbers, NaN where missing: float32 where float32 is stored unpacked, float64 otherwise.

        Parameters
        ----------
        stored
            Values as stored, of any shape.
        """
        if self.unsigned:
            stored = stored.view(self.dtype)
        if self.scale is None:
            values = stored.astype(stored.dtype if stored.dtype.kind == "f" else np.float64)
        else:
            values = stored.astype(np.float64) * self.scale + self.offset
        absent = np.zeros(stored.shape, bool)
        for marker in self.stored_missing:
            absent |= stored == marker
        if np.isfinite(self.stored_range).any():
            absent |= (stored < self.stored_range[0]) | (stored > self.stored_range[1])
        for marker in self.missing:
            # Half a step of the packing, or what single precision loses.
            slack = max(abs(self.scale or 0) / 2, ROUNDING * max(1, abs(marker)))
            absent |= np.abs(values - marker) <= slack
        if np.isfinite(self.valid_range).any():
            absent |= (values < self.valid_range[0]) | (values > self.valid_range[1])
        values[absent] = np.nan
        return values


def _default_fill(dtype: np.dtype) -> int:
    """Return the value that netCDF writes where nothing is written."""
    return int(netCDF4.default_fillvals[f"{dtype.kind}{dtype.itemsize}"])


def _is_stored(marker: Any, dtype: np.dtype, scale: np.ndarray, offset: np.ndarray) -> bool:
    """Tell whether a marker of a whole-number variable is meant as stored, rather than as unpacked."""
    limits = np.iinfo(dtype)
    if not (float(marker).is_integer() and limits.min <= marker <= limits.max):
        return False
    if np.asarray(marker).dtype.kind != "f" or not (scale.size or offset.size):
        return True
    # Its type is the unpacked one. It is meant so if the packing can hold it: -5.0 where -17 to 48 are packed, not -32767.0.
    packed = (float(marker) - float(offset.sum())) / (float(scale[0]) if scale.size else 1.0)
    return not limits.min <= packed <= limits.max


def _read_numbers(attribute: Any, key: str) -> np.ndarray:
    """Return an attribute's numbers, also where they are written as text."""
    if attribute is None:
        return np.empty(0)
    if isinstance(attribute, str):
        words = [word for word in re.split(r"[,\s]+", attribute.strip()) if word]
        try:
            whole = all(re.fullmatch(r"[+-]?\d+", word) for word in words)
            return np.array([int(word) if whole else float(word) for word in words])
        except ValueError:
            raise SealiencyError(f"{key} = {attribute!r}, which is no number; correct the attribute") from None
    numbers = np.atleast_1d(np.asarray(attribute))
    if numbers.dtype.kind not in "iuf":
        raise SealiencyError(f"{key} = {attribute!r}, which is no number; correct the attribute")
    return numbers


def read_offset(variable: xr.DataArray, path: str, anomalies: bool) -> float:
    """Return what is taken off a variable's values to make them degC.

    Parameters
    ----------
    variable
        The temperature; UDUNITS spellings of degC and K are known.
    path
        Name of the file, for the error.
    anomalies
        Whether the values are differences of temperatures, of which a kelvin and a degree Celsius are the same.

    Raises
    ------
    SealiencyError
        If its units are no temperature's.
    """
    units = str(variable.attrs.get("units", "")).strip()
    if CELSIUS.fullmatch(units):
        return 0.0
    if KELVIN.fullmatch(units):
        return 0.0 if anomalies else KELVIN_OFFSET
    raise SealiencyError(
        f"{path}: {variable.name} has units {units!r}, which is no temperature in degC or K; choose another variable or "
        "correct the units"
    )


def to_celsius(values: xr.DataArray, offset: float) -> xr.DataArray:
    """Return degC in float64, NaN where a value is beyond any number that is meant."""
    converted = values.astype(np.float64)
    if offset:
        converted = converted - offset
    return converted.where(np.abs(converted) < LARGEST_VALUE)
